//! Told to stop, a process has ended within ten seconds, whatever hangs.

use std::time::{Duration, Instant};

use codex_k8s::{
    domain::run::RunState,
    sandbox::github::{Fault, FaultRule, Often},
};
use rustix::process::Signal;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    cast::{Cast, ENDS_WITHIN},
    link::Link,
};

/// Tells it to stop and waits for its end, which must be its own and in time.
async fn stops(cast: &mut Cast, name: &str) -> Duration {
    let began = Instant::now();
    let status = cast.take(name).stop(ENDS_WITHIN).await.unwrap();
    assert!(status.success(), "after {:?}: {status}", began.elapsed());
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_it_finishes_what_is_in_hand_and_waits_for_nobody_else() {
    let mut cast = Cast::of(0.5).await;
    // It serves pods itself, and nothing else does.
    let api = cast.take("api");
    api.stop(ENDS_WITHIN).await.unwrap();
    cast.add("a", &[], &[]);
    cast.until_reconciles("a").await;
    // A client that never gets to the end of its request.
    let addresses = cast.stage.world.addresses();
    let api = addresses.api.trim_start_matches("http://").to_owned();
    let mut stuck = TcpStream::connect(api).await.unwrap();
    stuck
        .write_all(b"GET /api/v1/runs HTTP/1.1\r\nHost: x\r\n")
        .await
        .unwrap();
    // The agent's push waits for its outcome, and the forge takes its time with it.
    let slow = FaultRule {
        route: "GIT receive-pack".to_owned(),
        fault: Fault::Slow { by_ms: 3_000 },
        often: Often::Times(1),
        skip: 0,
        mentions: None,
    };
    cast.stage.world.github().add_fault(slow);
    cast.stage.label(1, "run:dev");
    cast.until_sent("GIT receive-pack").await;
    stops(&mut cast, "a").await;
    drop(stuck);
    let row = cast.stage.store.read_lease().await.unwrap();
    assert_eq!(row.holder, None);
    let pushed: i64 = sqlx::query_scalar(
        "select count(*) from effects where kind = 'push_branch' and done_at is not null",
    )
    .fetch_one(&cast.stage.db)
    .await
    .unwrap();
    assert_eq!(pushed, 1, "the action in hand is done and recorded");
    // The next one goes on.
    cast.add("b", &[], &[]);
    cast.same_end(1).await;
    cast.nothing_left();
    cast.check_fences().await;
    cast.all_alive();
    cast.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_takes_too_long_is_left_and_the_lease_with_it() {
    let mut cast = Cast::of(0.5).await;
    cast.reconciler("a", &[]);
    cast.until_reconciles("a").await;
    cast.reconciler("b", &[]);
    // Longer than the action may take, and than a push may take at all.
    cast.slow("GIT receive-pack", ENDS_WITHIN * 2);
    cast.stage.label(1, "run:dev");
    cast.until_sent("GIT receive-pack").await;
    stops(&mut cast, "a").await;
    cast.same_end(1).await;
    let terms = cast.terms().await;
    assert!(!terms[0].given_back, "{terms:?}");
    cast.nothing_left();
    cast.check_fences().await;
    cast.all_alive();
    cast.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_without_postgres_it_ends_and_leaves_the_lease_to_run_out() {
    let mut cast = Cast::of(0.5).await;
    let link = Link::to(cast.stage.world.postgres().unwrap().port()).await;
    let url = cast.url_over(&link);
    cast.reconciler("a", &[("CODEXK8S_DATABASE_URL", url.as_str())]);
    cast.until_reconciles("a").await;
    cast.stage.label(1, "run:dev");
    cast.stage.run_in(1, RunState::Preparing).await;
    link.freeze(true);
    stops(&mut cast, "a").await;
    let row = cast.stage.store.read_lease().await.unwrap();
    assert!(row.holder.is_some(), "nobody could give it back");
    link.freeze(false);

    // One that hangs in its start ends as well.
    link.freeze(true);
    cast.reconciler("b", &[("CODEXK8S_DATABASE_URL", url.as_str())]);
    cast.stage
        .until("it listens for signals", || async {
            cast.log("b").contains("starting").then_some(())
        })
        .await;
    cast.signal("b", Signal::TERM);
    stops(&mut cast, "b").await;
    link.freeze(false);

    cast.reconciler("c", &[]);
    cast.same_end(1).await;
    cast.nothing_left();
    cast.check_fences().await;
    cast.all_alive();
    cast.end().await;
}
