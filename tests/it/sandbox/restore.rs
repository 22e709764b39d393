//! The database is set back under the real platform while forge and cluster stay where they are.

use codex_k8s::domain::run::{Run, RunState};

use super::stage::Stage;
use crate::support::restore;

/// Short, so that who finds a restored database need not keep quiet for long; and a runner
/// waits out several restores.
const TIMES: [(&str, &str); 5] = [
    ("CODEXK8S_TIMING_LEASE", "4s"),
    ("CODEXK8S_TIMING_MARGIN", "1.2s"),
    ("CODEXK8S_TIMING_REQUEST_TIMEOUT", "1s"),
    ("CODEXK8S_TIMING_STATEMENT_TIMEOUT", "1.2s"),
    ("CODEXK8S_TIMING_HEARTBEAT_LOST", "5m"),
];

/// Keeps all rows as they are at one moment under a name.
async fn back_up(stage: &Stage, name: &str) {
    let mut db = stage.db.acquire().await.unwrap();
    restore::back_up(&mut db, name).await;
}

/// Kills the platform, sets the database back, and starts it again.
async fn set_back(stage: &mut Stage, name: &str) {
    stage.world.kill_serve().unwrap();
    let mut db = stage.db.acquire().await.unwrap();
    restore::set_back(&mut db, name).await;
    drop(db);
    stage.serve().await;
}

/// One run, one pull request, one comment, the right labels, and nothing left behind.
async fn check_end(stage: &Stage, run: &Run, after: &str) {
    let ended = stage.finished(1, RunState::Succeeded).await;
    let shown = format!("set back to {after}\n{}", stage.history().await);
    assert_eq!(ended.id, run.id, "{shown}");
    assert_eq!(stage.runs().await.len(), 1, "{shown}");
    assert_eq!(stage.pulls().len(), 1, "{shown}");
    assert_eq!(
        ended.pull_request.map(|number| number.0),
        i64::try_from(stage.pulls()[0]).ok()
    );
    assert_eq!(stage.comments(1).len(), 1, "{shown}");
    assert_eq!(stage.labels(1), ["state:in-review"], "{shown}");
    assert_eq!(stage.run_namespaces(), Vec::<String>::new(), "{shown}");
    assert_eq!(stage.pod_processes(), Vec::<u32>::new(), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_back_after_the_end_a_run_is_found_and_nothing_is_done_twice() {
    let mut stage = Stage::prepare(1.0, &TIMES).await;
    back_up(&stage, "empty").await;
    stage.serve().await;
    back_up(&stage, "unlabelled").await;
    stage.label(1, "run:dev");
    let run = stage.run_in(1, RunState::Running).await;
    back_up(&stage, "running").await;
    stage
        .until("the result is in", || async {
            let facts = stage.table("run_facts").await;
            let mut facts = facts.as_array().unwrap().iter();
            facts.any(|fact| fact["kind"] == "result").then_some(())
        })
        .await;
    back_up(&stage, "reported").await;
    check_end(&stage, &run, "nothing").await;
    let head = stage
        .world
        .github()
        .branch_commit("example-org/hello", "codex/issue-1");
    for backup in ["reported", "running", "unlabelled", "empty"] {
        set_back(&mut stage, backup).await;
        check_end(&stage, &run, backup).await;
        let now = stage
            .world
            .github()
            .branch_commit("example-org/hello", "codex/issue-1");
        assert_eq!(now, head, "{backup}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_back_under_a_live_agent_it_goes_on_and_hands_in_its_result() {
    let mut stage = Stage::prepare(30.0, &TIMES).await;
    back_up(&stage, "empty").await;
    stage.serve().await;
    back_up(&stage, "unlabelled").await;
    stage.label(1, "run:dev");
    let run = stage.run_in(1, RunState::Running).await;
    let pods = |stage: &Stage| stage.world.kubernetes().unwrap().objects("pods");
    let uid = pods(&stage)[0]["metadata"]["uid"].clone();
    back_up(&stage, "running").await;
    for backup in ["running", "unlabelled", "empty"] {
        set_back(&mut stage, backup).await;
        stage
            .until("the run is there again", || async {
                let mut runs = stage.runs_on(1).await;
                let found = runs.pop()?;
                found
                    .state
                    .takes_facts()
                    .then_some(())
                    .or(found.finalized_at.map(|_| ()))
            })
            .await;
        for pod in pods(&stage) {
            assert_eq!(pod["metadata"]["uid"], uid, "{backup}");
        }
    }
    check_end(&stage, &run, "empty, with an agent at work").await;
    let attempts = stage.table("attempts").await;
    let attempts = attempts.as_array().unwrap();
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    let again = stage.runs_on(1).await.remove(0);
    assert_eq!((again.branch, again.frozen), (run.branch, run.frozen));
    stage.end().await;
}
