//! A world in which nothing is left to do sees no write, however often one looks.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use codex_k8s::{
    domain::{ids::IssueNumber, run::RunState, trigger::Disposition},
    sandbox::github::Lag,
};

use super::stage::Stage;

const FORCED: usize = 100;
/// After this time an idle connection has handed over its counts.
const COUNTS_COME_WITHIN: Duration = Duration::from_secs(11);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_passes_over_a_settled_world_write_nothing() {
    // Sweeps as well: they read everything again, and move cursors a last time.
    let mut stage = Stage::start(0.2, &[("CODEXK8S_TIMING_SWEEP", "3s")]).await;
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

    let quiet = at_rest(&stage).await;
    let before = stage.table("repositories").await;
    stage.force_passes(FORCED).await;
    // With its connections, all of a process's counts are in the statistics.
    stage.world.stop_serve().await.unwrap();
    let after = written(&stage).await;
    let changed: Vec<_> = after
        .rows
        .iter()
        .filter(|(table, rows)| quiet.rows.get(*table) != Some(rows))
        .collect();
    let now = stage.table("repositories").await;
    assert!(
        changed.is_empty(),
        "{changed:?}\n{before}\n{now}\n{}",
        stage.history().await
    );
    let github = stage.world.github().writes();
    let cluster = stage.world.kubernetes().unwrap().writes();
    assert_eq!(after.forge, quiet.forge, "{:?}", github.last());
    assert_eq!(after.cluster, quiet.cluster, "{:?}", cluster.last());
    dispositions(&stage).await;
    stage.end().await;
}

/// What was written so far.
#[derive(Debug, PartialEq)]
struct Written {
    rows: BTreeMap<String, i64>,
    forge: usize,
    cluster: usize,
}

async fn written(stage: &Stage) -> Written {
    Written {
        rows: stage.rows_written().await,
        forge: stage.world.github().writes().len(),
        cluster: stage.world.kubernetes().unwrap().write_count(),
    }
}

/// Waits until nothing more is written.
async fn at_rest(stage: &Stage) -> Written {
    let last = Mutex::new((written(stage).await, Instant::now()));
    stage
        .until("nothing more is written", || async {
            let now = written(stage).await;
            let mut last = last.lock().unwrap();
            if last.0 != now {
                *last = (now, Instant::now());
            }
            (last.1.elapsed() > COUNTS_COME_WITHIN).then_some(())
        })
        .await;
    last.into_inner().unwrap().0
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
