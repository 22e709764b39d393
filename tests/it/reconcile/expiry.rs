//! When rows that are kept no longer are looked for, and that nothing is written otherwise.

use chrono::TimeDelta;
use codex_k8s::{
    desired::model::Retention,
    domain::{
        Timestamp,
        ids::{AttemptNo, RunId},
    },
    reconcile::expiry::Expiry,
};

use crate::store::fixtures::World;

/// A finished run with one chunk of log.
async fn finished(world: &World, number: i64) -> RunId {
    let run = world.preparing_run(number, 1).await;
    let api = world.database.api().await;
    let new = api.append_log_chunk(run.id, AttemptNo(1), 0, b"bye\n");
    assert!(new.await.unwrap());
    world.cancelled(&run).await.id
}

async fn has_logs(world: &World, run: RunId) -> bool {
    let log = world.store.reads().read_logs(run, None, 1).await;
    !log.unwrap().is_empty()
}

#[tokio::test]
async fn expired_rows_are_looked_for_some_minutes_apart_and_after_a_change_of_holder() {
    let world = World::bound().await;
    let (expiry, retention) = (Expiry::default(), Retention::default());
    let look = async |at: Timestamp| {
        let looked = expiry.run(&world.store, &world.grant, &retention, at).await;
        looked.unwrap();
    };
    let first = finished(&world, 1).await;
    let now = world.store.now().await.unwrap();
    look(now).await;
    assert!(has_logs(&world, first).await, "its time is not over");
    let later = now + TimeDelta::days(15);
    look(later).await;
    assert!(!has_logs(&world, first).await, "it is now");

    let second = finished(&world, 2).await;
    look(later + TimeDelta::minutes(4)).await;
    assert!(has_logs(&world, second).await, "it was just looked");
    look(later + TimeDelta::minutes(5)).await;
    assert!(!has_logs(&world, second).await);

    let third = finished(&world, 3).await;
    expiry.forget();
    look(later + TimeDelta::minutes(6)).await;
    assert!(!has_logs(&world, third).await, "another term looks at once");
}
