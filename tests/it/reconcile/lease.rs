//! The keeper of the lease: when a holder may write outside, and when not yet or no more.

use std::{sync::Arc, time::Duration};

use codex_k8s::{
    apply::WriterProof,
    forge::WriteGate,
    reconcile::lease::{LeaseKeeper, LeaseState, LeaseTiming, TakerClock},
    telemetry::metrics::Metrics,
};
use tokio_util::sync::CancellationToken;

use crate::{
    store::fixtures::World,
    support::{no_cluster::NoCluster, postgres::LEASE},
};

const MARGIN: Duration = Duration::from_mins(1);

/// A keeper at work, until it holds the lease.
async fn taken(world: &World) -> (LeaseState, CancellationToken, tokio::task::JoinHandle<()>) {
    let (state, stop) = (LeaseState::default(), CancellationToken::new());
    assert!(state.may_write().is_err() && state.grant().is_none());
    let keeper = LeaseKeeper::new(
        world.store.clone(),
        Arc::new(NoCluster),
        "second".to_owned(),
        LeaseTiming {
            lease: LEASE,
            margin: MARGIN,
            taker: TakerClock::Both,
        },
        state.clone(),
        Metrics::new().unwrap(),
    );
    let mut held = state.held();
    let until = stop.clone();
    let task = tokio::spawn(async move {
        keeper.run(until).await;
        keeper.give_back().await;
    });
    let waited = tokio::time::timeout(Duration::from_secs(30), held.wait_for(|held| *held));
    waited.await.expect("the lease is free").unwrap();
    (state, stop, task)
}

#[tokio::test]
async fn a_new_holder_keeps_quiet_while_the_former_ones_requests_may_be_on_their_way() {
    let world = World::new().await;
    let soon = world.store.renew(&world.grant, Duration::from_millis(1));
    soon.await.unwrap();
    let (state, stop, task) = taken(&world).await;
    assert!(state.grant().is_some(), "rows may be written at once");
    let why = state.may_write().unwrap_err();
    assert!(why.contains("former holder"), "{why}");
    let quiet = state.quiet_for().unwrap();
    // The former holder was seen for the first time, so it may have renewed just before.
    assert!(quiet <= LEASE && quiet + MARGIN > LEASE, "{quiet:?}");
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_lease_that_was_given_back_is_taken_without_a_pause_and_given_back_in_turn() {
    let world = World::new().await;
    world.store.release(&world.grant).await.unwrap();
    let (state, stop, task) = taken(&world).await;
    assert_eq!(state.may_write(), Ok(()));
    assert_eq!(state.quiet_for(), Some(Duration::ZERO));
    stop.cancel();
    task.await.unwrap();
    assert!(state.may_write().is_err() && state.grant().is_none());
    assert_eq!(world.store.read_lease().await.unwrap().holder, None);
}
