//! One holder at a time, and no write by a stale one.

use std::time::Duration;

use codex_k8s::{
    domain::{event::EventKind, ids::Epoch},
    store::{LeaseMark, Notice, StoreError},
};
use futures::StreamExt;

use super::fixtures::{World, event};
use crate::support::postgres::LEASE;

#[tokio::test]
async fn a_held_lease_is_not_taken_and_one_run_out_is_taken_with_a_new_epoch() {
    let world = World::new().await;
    assert_eq!(
        world.store.try_acquire("second", LEASE).await.unwrap(),
        None
    );
    let renewed = world.store.renew(&world.grant, LEASE).await.unwrap();
    assert_eq!(renewed.epoch, world.grant.epoch);
    assert!(renewed.beat > world.grant.beat);

    world.database.shift_clock(LEASE * 2).await;
    assert!(matches!(
        world.store.renew(&world.grant, LEASE).await,
        Err(StoreError::LeaseLost)
    ));
    let taken = world
        .store
        .try_acquire("second", LEASE)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(taken.epoch, Epoch(world.grant.epoch.0 + 1));
}

#[tokio::test]
async fn of_many_who_want_a_free_lease_one_gets_it() {
    let world = World::new().await;
    world.store.release(&world.grant).await.unwrap();
    let wants = (0..8).map(|n| {
        let store = world.store.clone();
        async move {
            store
                .try_acquire(&format!("replica-{n}"), LEASE)
                .await
                .unwrap()
        }
    });
    let grants = futures::future::join_all(wants).await;
    assert_eq!(grants.iter().flatten().count(), 1);
}

#[tokio::test]
async fn a_stale_holder_begins_no_transaction() {
    let world = World::new().await;
    world.database.shift_clock(LEASE * 2).await;
    let lost = world.store.begin_holder(&world.grant).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost)), "run out");

    let second = world
        .store
        .try_acquire("second", LEASE)
        .await
        .unwrap()
        .unwrap();
    let lost = world.store.begin_holder(&world.grant).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost)), "taken over");
    assert!(world.store.begin_holder(&second).await.is_ok());
}

#[tokio::test]
async fn a_takeover_waits_for_the_holders_transaction_and_a_renewal_does_not() {
    let world = World::new().await;
    let mut tx = world.begin().await;
    tx.insert_event(&event(EventKind::ConfigAccepted))
        .await
        .unwrap();
    world.database.shift_clock(LEASE / 2).await;
    // The renewal passes the open transaction's lock.
    let renewed = tokio::time::timeout(
        Duration::from_secs(10),
        world.store.renew(&world.grant, Duration::from_secs(1)),
    )
    .await
    .expect("a renewal does not wait")
    .unwrap();
    assert!(renewed.until < world.grant.until);
    world.database.shift_clock(LEASE * 2).await;

    let store = world.store.clone();
    let mut takeover =
        tokio::spawn(async move { store.try_acquire("second", LEASE).await.unwrap() });
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut takeover).await;
    assert!(
        waited.is_err(),
        "the takeover waits for the open transaction"
    );
    tx.commit().await.unwrap();
    let taken = takeover.await.unwrap().expect("then it has the lease");
    assert!(taken.epoch > world.grant.epoch);
}

/// A copy of the lease at this distance from the row.
async fn copy(world: &World, epochs: i64, beats: i64) -> LeaseMark {
    let row = world.store.read_lease().await.unwrap();
    LeaseMark {
        epoch: Epoch(row.epoch.0 + epochs),
        beat: row.beat + beats,
    }
}

#[tokio::test]
async fn a_database_behind_the_copy_of_its_lease_is_restored_and_jumps_ahead_of_it() {
    // A beat is enough: one holder may have kept the lease since the backup.
    for (epochs, beats) in [(0, 1), (3, -2), (1, 40)] {
        let world = World::new().await;
        world.store.release(&world.grant).await.unwrap();
        let copy = copy(&world, epochs, beats).await;
        let taken = world
            .store
            .acquire_after("second", LEASE, Some(copy))
            .await
            .unwrap()
            .expect("the lease is free");
        assert!(taken.restored_at.is_some(), "{copy:?}");
        assert!(taken.epoch > copy.epoch && taken.beat > copy.beat);
        let lost = world.store.begin_holder(&world.grant).await;
        assert!(matches!(lost, Err(StoreError::LeaseLost)));
        // Who comes after still knows, and finds no second restore.
        world.store.release(&taken).await.unwrap();
        let third = world
            .store
            .acquire_after("third", LEASE, Some(copy))
            .await
            .unwrap()
            .expect("the lease is free");
        assert_eq!(third.restored_at, taken.restored_at);
        assert_eq!(third.epoch.0, taken.epoch.0 + 1);
    }
}

#[tokio::test]
async fn a_copy_that_is_as_far_as_the_database_or_behind_it_says_nothing() {
    for (epochs, beats) in [(0, 0), (0, -1), (-1, 5)] {
        let world = World::new().await;
        world.store.release(&world.grant).await.unwrap();
        let copy = copy(&world, epochs, beats).await;
        let taken = world
            .store
            .acquire_after("second", LEASE, Some(copy))
            .await
            .unwrap()
            .expect("the lease is free");
        assert_eq!(taken.restored_at, None, "{copy:?}");
        assert_eq!(taken.epoch.0, world.grant.epoch.0 + 1);
    }
}

#[tokio::test]
async fn a_lease_given_back_is_announced() {
    let world = World::new().await;
    let mut notices = world.store.listen().await.unwrap();
    world.store.release(&world.grant).await.unwrap();
    let notice = tokio::time::timeout(Duration::from_secs(10), notices.next()).await;
    assert_eq!(notice.expect("it is announced"), Some(Notice::LeaseFree));
}

#[tokio::test]
async fn a_grant_says_whether_the_former_lease_was_given_back() {
    let world = World::new().await;
    let former = world.store.renew(&world.grant, LEASE).await.unwrap();
    let past = LEASE + Duration::from_secs(1);
    world.database.shift_clock(past).await;
    let second = world.store.try_acquire("second", LEASE).await.unwrap();
    let second = second.expect("it ran out");
    assert_eq!(second.former_until, Some(former.until));
    world.store.release(&second).await.unwrap();
    let third = world.store.try_acquire("third", LEASE).await.unwrap();
    assert_eq!(third.expect("it is free").former_until, None);
}
