//! `kill -9` of `serve` wherever something new is under way: the end is the same.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use codex_k8s::{
    domain::run::RunState,
    sandbox::{
        github::{Fault, FaultRule, Often},
        kubernetes,
    },
};

use super::stage::{Stage, note};

/// Short, so that a successor need not wait long; the relations between them hold.
const TIMES: [(&str, &str); 4] = [
    ("CODEXK8S_TIMING_LEASE", "4s"),
    ("CODEXK8S_TIMING_MARGIN", "1.2s"),
    ("CODEXK8S_TIMING_REQUEST_TIMEOUT", "1s"),
    ("CODEXK8S_TIMING_STATEMENT_TIMEOUT", "1.2s"),
];
/// How much later answers come, so that effects are found between call and done.
const SLOW_MS: u64 = 200;
/// Long enough that taking the label off is seen before the agent is done: also when events lag
/// and a new holder waits for the end of the killed one's lease.
const AGENT_SECONDS: f64 = 20.0;
const LIMIT: Duration = Duration::from_mins(6);
const LOOK_EVERY: Duration = Duration::from_millis(4);

/// What can be killed at: a run in a state, an effect between call and done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    State(String),
    Effect(String),
}

/// What is under way now.
async fn moments(stage: &Stage) -> Vec<Moment> {
    let states: Vec<(i64, String)> =
        sqlx::query_as("select number, state::text from runs order by number")
            .fetch_all(&stage.db)
            .await
            .unwrap();
    let effects: Vec<(String,)> = sqlx::query_as(
        "select kind from effects where attempted_at is not null and done_at is null order by key",
    )
    .fetch_all(&stage.db)
    .await
    .unwrap();
    let states = states.into_iter().map(|(_, state)| Moment::State(state));
    let effects = effects.into_iter().map(|(kind,)| Moment::Effect(kind));
    effects.chain(states).collect()
}

fn slow_down(stage: &Stage) {
    let slow = Fault::Slow { by_ms: SLOW_MS };
    for route in ["POST *", "PATCH *", "PUT *", "DELETE *", "GIT receive-pack"] {
        let rule = FaultRule {
            route: route.to_owned(),
            fault: slow,
            often: Often::PerMillion(1_000_000),
            skip: 0,
            mentions: None,
        };
        stage.world.github().add_fault(rule);
    }
    let slow = kubernetes::Fault::Slow(Duration::from_millis(SLOW_MS));
    for verb in [kubernetes::Verb::Apply, kubernetes::Verb::Delete] {
        stage
            .world
            .kubernetes()
            .unwrap()
            .fault(kubernetes::FaultRule {
                verb: Some(verb),
                resource: None,
                fault: slow.clone(),
                times: None,
                per_million: None,
            });
    }
}

/// One slot, so that a second run waits in the queue.
fn allow_one_run(stage: &Stage) {
    let files = codex_k8s::sandbox::seed::config_files(
        &codex_k8s::sandbox::seed::SeededAgent::Scripted(AGENT_SECONDS),
        None,
    );
    let path = "projects/demo/project.yaml";
    let text = files[path]
        .replace("slots: 2", "slots: 1")
        .replace("maxRuns: 2", "maxRuns: 1")
        .replace("dev: 2", "dev: 1");
    stage
        .world
        .config()
        .commit("Allow one run", [(path, text.as_str())])
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_new_moment_the_platform_reaches_the_same_end() {
    let mut stage = Stage::prepare(AGENT_SECONDS, &TIMES).await;
    allow_one_run(&stage);
    slow_down(&stage);
    stage.serve().await;
    // The one that is taken back goes first.
    stage.label(2, "run:dev");
    stage.label(1, "run:dev");
    let began = Instant::now();
    let mut seen = BTreeSet::new();
    let mut withdrawn = false;
    loop {
        let new = moments(&stage)
            .await
            .into_iter()
            .find(|moment| !seen.contains(moment));
        if let Some(moment) = new {
            stage.world.kill_serve().unwrap();
            note(&format!("kill {} at {moment:?}", seen.len() + 1));
            seen.insert(moment);
            stage.world.start_serve().unwrap();
        }
        let second = stage.runs_on(2).await.pop();
        let started = second.is_some_and(|run| run.state == RunState::Running);
        if started && !withdrawn {
            stage.unlabel(2, "run:dev");
            withdrawn = true;
        }
        let runs = stage.runs().await;
        if runs.len() == 2 && runs.iter().all(|run| run.finalized_at.is_some()) {
            break;
        }
        assert!(began.elapsed() < LIMIT, "{}", stage.history().await);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let states = seen
        .iter()
        .filter(|moment| matches!(moment, Moment::State(_)))
        .count();
    let effects = seen.len() - states;
    note(&format!(
        "killed {} times: at {states} run states, at {effects} effects",
        seen.len()
    ));
    assert!(
        seen.len() >= 10 && states >= 6 && effects >= 4,
        "{seen:?}\n{}",
        stage.history().await
    );

    stage.finished(1, RunState::Succeeded).await;
    stage.finished(2, RunState::Cancelled).await;
    assert_eq!(stage.runs().await.len(), 2);
    assert_eq!(stage.pulls().len(), 1, "{}", stage.history().await);
    assert_eq!(stage.comments(1).len(), 1, "{}", stage.history().await);
    assert_eq!(stage.comments(2).len(), 1, "{}", stage.history().await);
    assert_eq!(stage.labels(1), ["state:in-review"]);
    assert_eq!(stage.labels(2), Vec::<String>::new());
    assert_eq!(stage.run_namespaces(), Vec::<String>::new());
    assert_eq!(stage.pod_processes(), Vec::<u32>::new());
    stage.end().await;
}
