//! The end of a scenario as a picture that is the same however it was reached.

use std::fmt;

use codex_k8s::sandbox::seed::PLATFORM_LOGIN;
use serde_json::Value;

use super::{driver::World, platform::ours, scenario::Scenario};

/// What is there in the end, line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndState {
    pub(crate) lines: Vec<String>,
    pulls: usize,
    /// What must not be there, whatever the scenario.
    wrongs: Vec<String>,
}

impl fmt::Display for EndState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

/// One run with its attempts: work item, kind, state, outcome, reason, attempts, pull request.
/// How far the attempt had come that people stopped is no part of it.
const RUNS: &str = "
    select format('run %s#%s %s%s: %s%s, %s, attempts [%s], slot %s, pull request %s, %s',
        r.repository_id, r.number, r.stage, case when r.revise then ':revise' else '' end,
        r.state, coalesce(' ' || r.outcome, ''), coalesce(r.reason, 'no reason'),
        coalesce((select string_agg(case
                when r.state = 'cancelled' and a.state in ('starting', 'running') then 'stopped'
                else a.state::text end, ' ' order by a.attempt)
            from attempts a where a.run_id = r.run_id), ''),
        coalesce(r.slot::text, 'none'), coalesce(r.pull_request::text, 'none'),
        case when r.finalized_at is null then 'open' else 'finalized' end
            || case when r.held is null then '' else ', held: ' || r.held end)
    from runs r order by r.repository_id, r.number, length(r.source_id),
        r.source_id";
const TRIGGERS: &str = "
    select format('trigger %s#%s %s by %s: %s%s%s', t.repository_id, t.number,
        coalesce(t.label, t.stage), t.actor->>'login', t.disposition,
        case when t.disposition in ('refused', 'waiting') then ' ' || t.disposition_detail::text else '' end,
        case when t.settled then ', settled' else '' end)
    from triggers t order by t.repository_id, t.number, t.source, t.disposition = 'run',
        length(t.source_id), t.source_id";
const ENVIRONMENTS: &str = "
    select format('environment of %s#%s: %s', r.repository_id, r.number, e.state)
    from environments e join runs r using (run_id)
    order by r.repository_id, r.number, length(r.source_id),
        r.source_id";
const APPROVALS: &str = "
    select format('approval %s#%s %s: %s by %s%s', a.repository_id, a.number, a.target, a.state,
        coalesce(a.decision->'actor'->>'login', 'nobody'),
        case when a.settled then ', settled' else '' end)
    from approvals a order by a.repository_id, a.number, a.target, a.requested_at";
/// What is to be tried again. What a stopped run had begun is not gone on with.
pub(crate) const UNDONE: &str = "
    select 'effect not done: ' || e.key from effects e where e.done_at is null
    and not exists (select from runs r where r.run_id = e.run_id
        and r.finished_at is not null and r.outcome is distinct from 'succeeded'
        and e.kind in ('apply_attempt', 'apply_environment', 'push_branch', 'open_pull_request'))
    and not exists (select from runs r join forge_issues i
        on i.repository_id = r.repository_id and i.number = r.number
        where r.run_id = e.run_id and i.state = 'gone')";
const SLOTS: &str = "
    select format('slot %s of %s is kept by a run that is %s', s.slot, s.project, r.state)
    from slots s join runs r using (run_id)
    where r.state in ('succeeded', 'failed', 'timed_out', 'cancelled', 'rejected')";
const EVENTS: &str = "
    select format('%s events of %s', count(*), effect_key) from flow_events
    where effect_key is not null group by effect_key, effect_hash having count(*) > 1";
const EVENTLESS: &str = "
    select 'effect without event: ' || e.key from effects e where e.done_at is not null
    and not exists (select from flow_events f
        where f.effect_key = e.key and f.effect_hash = e.content_hash)";

impl EndState {
    /// The picture of a world.
    pub(crate) async fn of(world: &World) -> Self {
        let mut lines = Vec::new();
        for query in [RUNS, TRIGGERS, APPROVALS, ENVIRONMENTS] {
            lines.extend(rows(world, query).await);
        }
        let mut wrongs = Vec::new();
        for query in [UNDONE, SLOTS, EVENTS, EVENTLESS] {
            wrongs.extend(rows(world, query).await);
        }
        let state = world.outside.github.state_json();
        let repositories = state["repositories"].as_array().unwrap();
        let mut pulls = 0;
        for repository in repositories {
            pulls += forge(world, repository, &mut lines, &mut wrongs);
        }
        for kind in ["namespaces", "jobs", "pods", "secrets", "networkpolicies"] {
            let objects = world.outside.kubernetes.objects(kind);
            let left = objects.iter().filter(|object| ours(object));
            lines.extend(
                left.map(|object| format!("left in the cluster: {kind} {}", place(object))),
            );
        }
        Self {
            lines,
            pulls,
            wrongs,
        }
    }

    /// Holds the picture against what the scenario says of its end.
    pub(crate) fn check(&self, scenario: &Scenario, restored: bool) -> Result<(), String> {
        let mut wrongs = self.wrongs.clone();
        // Attempts may be forgotten with the rows.
        let kept = |wanted: &&&str| !(restored && wanted.contains("attempts ["));
        for wanted in scenario.ends_with.iter().filter(kept) {
            if !self.lines.iter().any(|line| line.contains(wanted)) {
                wrongs.push(format!("the end does not show: {wanted}"));
            }
        }
        if self.pulls != scenario.pulls {
            wrongs.push(format!(
                "{} pull requests, not {}",
                self.pulls, scenario.pulls
            ));
        }
        if wrongs.is_empty() {
            return Ok(());
        }
        Err(format!("{}\nend:\n{self}", wrongs.join("\n")))
    }

    /// What differs from the undisturbed end beyond what a restore may lose: a run that is found
    /// again by its pull request has no attempts, slot and environment of its own any more.
    pub(crate) fn restored_as(&self, undisturbed: &Self) -> Result<(), String> {
        let promised = |end: &Self| -> Vec<String> {
            let lines = end.lines.iter();
            let lines = lines
                .filter(|line| !(line.starts_with("environment of") && line.ends_with(": gone")));
            lines.map(|line| outcome(line)).collect()
        };
        if promised(self) == promised(undisturbed) {
            return Ok(());
        }
        Err(format!(
            "not what is promised of a restore\nundisturbed:\n{undisturbed}\nnow:\n{self}"
        ))
    }

    /// What differs from the undisturbed end, the order of things apart.
    pub(crate) fn same_as(&self, undisturbed: &Self) -> Result<(), String> {
        let promised = |end: &Self| -> Vec<String> {
            let mut lines: Vec<String> = end.lines.iter().map(|line| unordered(line)).collect();
            lines.sort();
            lines
        };
        if promised(self) == promised(undisturbed) {
            return Ok(());
        }
        Err(format!(
            "another end than undisturbed\nundisturbed:\n{undisturbed}\nnow:\n{self}"
        ))
    }
}

async fn rows(world: &World, query: &str) -> Vec<String> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()))
        .fetch_all(&world.outside.db)
        .await
        .unwrap()
}

/// What a run's line promises: not how its end was seen, its attempts and its slot.
fn outcome(line: &str) -> String {
    let cut = line.split_once(", attempts [").and_then(|(before, rest)| {
        let (state, _) = before.split_once(", ")?;
        let (_, after) = rest.split_once(", pull request")?;
        Some(format!("{state}, pull request{after}"))
    });
    cut.unwrap_or_else(|| line.to_owned())
}

/// A line without what hangs on the order of things: whether a run that people took back had
/// begun an attempt by then, and which of several reviews that one run answers was seen first.
fn unordered(line: &str) -> String {
    if line.contains(": cancelled cancelled,") {
        return line.replace("attempts [stopped]", "attempts []");
    }
    let of_review = line.strip_prefix("trigger ").and_then(|trigger| {
        let (what, by) = trigger.split_once(" by ")?;
        let (_, disposition) = by.split_once(": ")?;
        (!what.contains("run:")).then(|| format!("trigger {what}: {disposition}"))
    });
    of_review.unwrap_or_else(|| line.to_owned())
}

fn place(object: &Value) -> String {
    // Names hold what is drawn; the kind and how many say enough.
    let of = object["metadata"]["labels"]["codex-k8s.dev/issue"].as_str();
    format!("of issue {}", of.unwrap_or("?"))
}

fn texts(value: &Value) -> Vec<&str> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).collect()
}

/// Adds a repository's lines; answers how many pull requests it has.
fn forge(
    world: &World,
    repository: &Value,
    lines: &mut Vec<String>,
    wrongs: &mut Vec<String>,
) -> usize {
    let named = repository["name"].as_str().unwrap();
    let mut pulls = 0;
    for issue in repository["issues"].as_array().unwrap() {
        let mut labels = texts(&issue["labels"]);
        labels.sort_unstable();
        let ours: Vec<&str> = issue["comments"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|comment| comment["author"] == PLATFORM_LOGIN)
            .filter_map(|comment| comment["body"].as_str())
            .collect();
        for marker in twice(ours.iter().filter_map(|body| marker(body))) {
            wrongs.push(format!(
                "{named}#{}: two comments of {marker}",
                issue["number"]
            ));
        }
        let what = if issue["pull"].is_null() {
            "issue".to_owned()
        } else {
            pulls += 1;
            let head = issue["pull"]["head"].as_str().unwrap();
            let at = world.outside.github.branch_commit(named, head);
            let sound = at.as_deref() == issue["pull"]["head_sha"].as_str();
            let work = if sound {
                work(world, named, head)
            } else {
                "another head".to_owned()
            };
            format!("pull request {} ({work})", named_alike(head))
        };
        lines.push(format!(
            "{named}#{} {what}: {}, labels {labels:?}, {} of our comments",
            issue["number"],
            issue["state"].as_str().unwrap(),
            ours.len()
        ));
    }
    pulls
}

/// A branch's name without the run that it may be named after: events shift the names of runs.
fn named_alike(branch: &str) -> String {
    let mut parts = branch.splitn(3, '-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(start), Some(number), Some(_)) => format!("{start}-{number}-RUN"),
        _ => branch.to_owned(),
    }
}

/// How many runs' lines a branch holds.
fn work(world: &World, repository: &str, branch: &str) -> String {
    let id = world.outside.github.repository_id(repository).unwrap();
    let path = world.outside.folder.path().join(format!("github/{id}.git"));
    let git = git2::Repository::open_bare(path).unwrap();
    let reference = git.find_reference(&format!("refs/heads/{branch}")).unwrap();
    let tree = reference.peel_to_tree().unwrap();
    let number = branch.split('-').nth(1).unwrap_or_default();
    let name = format!("issue-{number}.md");
    let done = tree.get_name(&name).map_or(0, |entry| {
        let blob = git.find_blob(entry.id()).unwrap();
        String::from_utf8_lossy(blob.content()).lines().count()
    });
    format!("the work of {done} runs")
}

/// The hidden marker of a comment.
pub(crate) fn marker(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("<!--")?;
    rest.split_once("-->").map(|(marker, _)| marker.trim())
}

/// What comes more than once.
pub(crate) fn twice<'a>(all: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    all.filter(|one| !seen.insert(one.to_owned()))
        .map(str::to_owned)
        .collect()
}
