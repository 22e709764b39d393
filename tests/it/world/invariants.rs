//! What must hold after every step.

use std::collections::BTreeMap;

use codex_k8s::sandbox::seed::PLATFORM_LOGIN;
use serde_json::Value;

use super::{
    driver::World,
    end::{marker, twice},
};

/// Two active runs where one is allowed, and slots beyond the project's.
const NEVER_TWO: &str = "
    select format('two active runs on %s#%s', repository_id, work_item) from runs
    where state in ('preparing', 'running', 'waiting_mcp', 'waiting_owner_review', 'stopping')
    group by repository_id, work_item having count(*) > 1
    union all
    select format('two active runs on branch %s', branch) from runs
    where state in ('preparing', 'running', 'waiting_mcp', 'waiting_owner_review', 'stopping')
    group by repository_id, branch having count(*) > 1
    union all
    select format('%s runs hold slots of %s', count(*), project) from slots
    group by project having count(*) > 2
    union all
    select format('two runs of one trigger: %s', source_id) from runs
    group by forge, repository_id, source, source_id having count(*) > 1
    union all
    select format('%s events of %s', count(*), effect_key) from flow_events
    where effect_key is not null group by effect_key, effect_hash having count(*) > 1
    union all
    select format('a finished run holds slot %s', s.slot) from slots s join runs r using (run_id)
    where r.state in ('succeeded', 'failed', 'timed_out', 'cancelled', 'rejected')";

/// Checks everything.
pub(crate) async fn check(world: &World) -> Result<(), String> {
    let rows: Vec<String> = sqlx::query_scalar(NEVER_TWO)
        .fetch_all(&world.outside.db)
        .await
        .unwrap();
    let mut broken = rows;
    broken.extend(world.violations.iter().cloned());
    broken.extend(two_agents(world).await);
    let state = world.outside.github.state_json();
    for repository in state["repositories"].as_array().unwrap() {
        broken.extend(forge(repository));
    }
    if broken.is_empty() {
        return Ok(());
    }
    Err(format!("an invariant is broken: {}", broken.join("; ")))
}

/// Two agents at work on one work item.
async fn two_agents(world: &World) -> Vec<String> {
    let at_work = world.outside.pods.runs();
    if at_work.len() < 2 {
        return Vec::new();
    }
    let mut by_item: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    for run in world.runs().await {
        let pods = at_work.iter().filter(|id| **id == run.id.to_string());
        *by_item
            .entry((run.repository.0, run.work_item.0))
            .or_default() += pods.count();
    }
    let two = by_item.into_iter().filter(|(_, agents)| *agents > 1);
    two.map(|((repository, item), agents)| format!("{agents} agents work on {repository}#{item}"))
        .collect()
}

fn forge(repository: &Value) -> Vec<String> {
    let issues = repository["issues"].as_array().unwrap();
    let open = issues
        .iter()
        .filter(|issue| issue["state"] == "open" && !issue["pull"].is_null());
    let heads = open.filter_map(|issue| issue["pull"]["head"].as_str());
    let heads = twice(heads).into_iter();
    let heads = heads.map(|head| format!("two open pull requests of {head}"));
    let comments = issues.iter().flat_map(|issue| {
        let ours = issue["comments"].as_array().into_iter().flatten();
        let ours = ours.filter(|comment| comment["author"] == PLATFORM_LOGIN);
        let markers = ours.filter_map(|comment| marker(comment["body"].as_str()?));
        twice(markers)
            .into_iter()
            .map(|marker| format!("two comments of {marker}"))
    });
    heads.chain(comments).collect()
}
