//! A world in which nothing is left to do sees no write, however often one looks.

use std::collections::BTreeMap;

use codex_k8s::{
    domain::{ids::IssueNumber, run::RunState, trigger::Disposition},
    sandbox::github::Lag,
};
use rustix::process::{Pid, Signal, kill_process};

use super::stage::Stage;

const PASSES: usize = 100;
const COUNT: &str = "codexk8s_pass_duration_seconds_count";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_passes_over_a_settled_world_write_nothing() {
    let mut stage = Stage::start(0.2, &[]).await;
    // One finished, one refused, and two that wait for each other to be taken off.
    stage.label(1, "run:dev");
    stage.label_as("margaret", 3, "run:dev");
    stage.finished(1, RunState::Succeeded).await;
    stage.world.stop_serve().await.unwrap();
    stage.world.github().set_lag(Lag::NONE);
    let pull = stage.pulls()[0];
    stage.label(1, "run:dev");
    stage.label(pull, "run:dev:revise");
    stage.serve().await;
    dispositions(&stage).await;

    // Twice: what the first start after a change writes is not of a settled world.
    let mut quiet = (BTreeMap::new(), 0, 0);
    for round in 0..2 {
        // With its connections, a process's counts are all in the statistics.
        stage.world.stop_serve().await.unwrap();
        quiet = written(&stage).await;
        stage.serve().await;
        force_passes(&mut stage, PASSES).await;
        stage.world.stop_serve().await.unwrap();
        if round == 0 {
            continue;
        }
        let after = written(&stage).await;
        let changed: Vec<_> = after
            .0
            .iter()
            .filter(|(table, rows)| quiet.0.get(*table) != Some(rows))
            .collect();
        assert_eq!(
            changed,
            Vec::<(&String, &i64)>::new(),
            "{}",
            stage.history().await
        );
        let github = stage.world.github().writes();
        let cluster = stage.world.kubernetes().unwrap().writes();
        assert_eq!(after.1, quiet.1, "{:?}", github.last());
        assert_eq!(after.2, quiet.2, "{:?}", cluster.last());
    }
    assert!(!quiet.0.is_empty());
    dispositions(&stage).await;
    stage.end().await;
}

/// Rows, forge writes and cluster writes so far.
async fn written(stage: &Stage) -> (BTreeMap<String, i64>, usize, usize) {
    let cluster = stage.world.kubernetes().unwrap().write_count();
    (
        stage.rows_written().await,
        stage.world.github().writes().len(),
        cluster,
    )
}

/// Waits until the triggers stand as wanted: finished, refused and waiting.
async fn dispositions(stage: &Stage) {
    let on = |number| async move {
        let run = stage.runs_on(1).await[0].clone();
        let mut subject = run.subject();
        subject.number = IssueNumber(number);
        stage.store.reads().triggers_of(subject).await.unwrap()
    };
    let pull = i64::try_from(stage.pulls()[0]).unwrap();
    stage
        .until("a finished, a refused and two waiting triggers", || async {
            let (first, third, revise) = (on(1).await, on(3).await, on(pull).await);
            let wanted = matches!(
                (&first[..], &third[..], &revise[..]),
                ([ended, second], [third], [revise])
                    if matches!(ended.disposition, Disposition::Run { .. })
                        && matches!(second.disposition, Disposition::Waiting(_))
                        && matches!(third.disposition, Disposition::Refused(_))
                        && matches!(revise.disposition, Disposition::Waiting(_))
            );
            wanted.then_some(())
        })
        .await;
}

/// Asks for a pass and waits until it is through, again and again.
async fn force_passes(stage: &mut Stage, passes: usize) {
    let id = stage.world.serve().unwrap().id();
    let process = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    let stage = &*stage;
    for _ in 0..passes {
        let before = stage.metric(COUNT).await;
        kill_process(process, Signal::USR1).unwrap();
        stage
            .until("the pass is through", || async {
                (stage.metric(COUNT).await > before).then_some(())
            })
            .await;
    }
}
