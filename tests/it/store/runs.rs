//! Triggers and runs: once each, moved by compare-and-set, never two at one place.

use codex_k8s::{
    domain::{
        event::EventKind,
        ids::{BranchName, SlotNo},
        run::{Environment, EnvironmentState, Outcome, RunState},
        trigger::{Disposition, RefusalReason, WaitReason},
    },
    store::{Change, RunChanges, StoreError, Transition},
};

use super::fixtures::{World, event, launch, run, trigger};

#[tokio::test]
async fn a_trigger_and_its_run_are_kept_once() {
    let world = World::bound().await;
    let run = world.pending_run(1).await;
    let mut tx = world.begin().await;
    let seen = event(EventKind::TriggerSeen);
    assert!(!tx.insert_trigger(&trigger(1), &seen).await.unwrap());
    assert!(!tx.insert_run(&run, &seen).await.unwrap());
    tx.commit().await.unwrap();

    let events = world.store.reads().events_since(0, 100).await.unwrap();
    let seen = events
        .iter()
        .filter(|e| e.event.kind == EventKind::TriggerSeen);
    assert_eq!(seen.count(), 1);
}

#[tokio::test]
async fn a_disposition_moves_only_from_where_it_stands() {
    let world = World::bound().await;
    world.pending_run(1).await;
    let id = trigger(1).identity;
    let waiting = Disposition::Waiting(WaitReason::New);
    let refused = Disposition::Refused(RefusalReason::Bot);
    let mut tx = world.begin().await;
    tx.set_disposition(&id, &waiting, &refused, None)
        .await
        .unwrap();
    let again = tx
        .set_disposition(&id, &waiting, &Disposition::Withdrawn, None)
        .await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })));
    assert!(tx.mark_trigger_settled(&id).await.unwrap());
    assert!(!tx.mark_trigger_settled(&id).await.unwrap());
    tx.commit().await.unwrap();

    let kept = world
        .store
        .reads()
        .triggers_of(trigger(1).subject())
        .await
        .unwrap();
    assert_eq!(kept[0].disposition, refused);
}

#[tokio::test]
async fn of_two_steps_from_one_version_the_second_is_refused_without_an_event() {
    let world = World::bound().await;
    let run = world.preparing_run(1, 1).await;
    let started = event(EventKind::RunStarted);
    let step = Transition {
        run: run.id,
        from: RunState::Preparing,
        to: RunState::Running,
        version: run.version,
        changes: RunChanges::default(),
        event: &started,
    };
    let mut tx = world.begin().await;
    assert_eq!(tx.transition_run(&step).await.unwrap(), run.version + 1);
    assert!(matches!(
        tx.transition_run(&step).await,
        Err(StoreError::Conflict { .. })
    ));
    tx.commit().await.unwrap();

    assert!(world.run(run.id).await.started_at.is_some());
    let events = world.store.reads().events_since(0, 100).await.unwrap();
    let started = events
        .iter()
        .filter(|e| e.event.kind == EventKind::RunStarted);
    assert_eq!(started.count(), 1);
}

#[tokio::test]
async fn concurrent_steps_from_one_version_succeed_once() {
    let world = World::bound().await;
    let run = world.preparing_run(1, 1).await;
    let steps = (0..4).map(|_| async {
        let started = event(EventKind::RunStarted);
        let mut tx = world.begin().await;
        let moved = tx
            .transition_run(&Transition {
                run: run.id,
                from: RunState::Preparing,
                to: RunState::Running,
                version: run.version,
                changes: RunChanges::default(),
                event: &started,
            })
            .await;
        tx.commit().await.unwrap();
        moved.is_ok()
    });
    let moved = futures::future::join_all(steps).await;
    assert_eq!(moved.into_iter().filter(|moved| *moved).count(), 1);
}

#[tokio::test]
async fn a_step_that_the_table_forbids_is_refused() {
    let world = World::bound().await;
    let run = world.pending_run(1).await;
    let event = event(EventKind::RunStarted);
    let mut tx = world.begin().await;
    let refused = tx
        .transition_run(&Transition {
            run: run.id,
            from: RunState::Pending,
            to: RunState::Running,
            version: run.version,
            changes: RunChanges::default(),
            event: &event,
        })
        .await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })));
}

#[tokio::test]
async fn a_slot_is_held_by_one_run_until_its_end() {
    let world = World::bound().await;
    let first = world.preparing_run(1, 1).await;
    let second = world.pending_run(2).await;
    let launched = event(EventKind::RunLaunched);
    let taken = world
        .begin()
        .await
        .transition_run(&launch(&second, 1, &launched))
        .await;
    assert!(
        matches!(taken, Err(StoreError::Conflict { .. })),
        "{taken:?}"
    );

    let stopping = world
        .step(
            &first,
            RunState::Stopping,
            RunChanges {
                outcome: Some(Outcome::Cancelled),
                ..RunChanges::default()
            },
        )
        .await;
    assert_eq!(stopping.slot, Some(SlotNo(1)));
    let ended = world
        .step(&stopping, RunState::Cancelled, RunChanges::default())
        .await;
    assert_eq!((ended.slot, ended.finished_at.is_some()), (None, true));

    let mut tx = world.begin().await;
    tx.transition_run(&launch(&second, 1, &launched))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let snapshot = world.store.load_pass(None).await.unwrap();
    let slots: Vec<_> = snapshot
        .slots
        .iter()
        .map(|slot| (slot.slot, slot.run))
        .collect();
    assert_eq!(slots, [(SlotNo(1), second.id)]);
}

#[tokio::test]
async fn a_work_item_and_a_branch_have_one_active_run() {
    let world = World::bound().await;
    world.preparing_run(1, 1).await;

    // A second trigger of the same issue.
    let mut again = trigger(1);
    again.identity.source_id = "2".to_owned();
    let second = run(&again);
    // Another issue's run that would work on the first one's branch.
    let third = world.pending_run(3).await;
    let mut tx = world.begin().await;
    let seen = event(EventKind::TriggerSeen);
    tx.insert_trigger(&again, &seen).await.unwrap();
    tx.insert_run(&second, &seen).await.unwrap();
    tx.commit().await.unwrap();

    let mut step = launch(&second, 2, &seen);
    step.changes.branch = Some(BranchName::from("codex/issue-1-again"));
    let two = world.begin().await.transition_run(&step).await.unwrap_err();
    assert!(
        two.to_string().contains("runs_one_active_per_work_item"),
        "{two}"
    );

    let mut step = launch(&third, 2, &seen);
    step.changes.branch = Some(BranchName::from("codex/issue-1"));
    let two = world.begin().await.transition_run(&step).await.unwrap_err();
    assert!(
        two.to_string().contains("runs_one_active_per_branch"),
        "{two}"
    );
}

#[tokio::test]
async fn fields_change_under_the_rows_version_and_are_cleared_only_when_asked() {
    let world = World::bound().await;
    let run = world.pending_run(1).await;
    let held = RunChanges {
        held: Change::Set("conflict".to_owned()),
        ..RunChanges::default()
    };
    let mut tx = world.begin().await;
    let version = tx
        .update_run_fields(run.id, run.version, &held)
        .await
        .unwrap();
    let stale = tx.update_run_fields(run.id, run.version, &held).await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })));
    let priority = RunChanges {
        priority: Some(5),
        ..RunChanges::default()
    };
    let version = tx
        .update_run_fields(run.id, version, &priority)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.run(run.id).await.held.as_deref(), Some("conflict"));

    let cleared = RunChanges {
        held: Change::Clear,
        ..RunChanges::default()
    };
    let mut tx = world.begin().await;
    tx.update_run_fields(run.id, version, &cleared)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let now = world.run(run.id).await;
    assert_eq!((now.held, now.priority), (None, 5));
}

#[tokio::test]
async fn a_transaction_reads_an_environment_on_its_own_connection() {
    let world = World::bound().await;
    let run = world.preparing_run(1, 1).await;
    let mut tx = world.begin().await;
    let environment = Environment {
        run: run.id,
        namespace: "codex-issue-demo-i1".to_owned(),
        state: EnvironmentState::Active,
        uid: None,
        input_hash: None,
        created_at: world.run(run.id).await.created_at,
        retained_at: None,
        deleting_at: None,
    };
    tx.upsert_environment(&environment, None).await.unwrap();
    // No other connection sees it yet.
    let found = tx.environment_of(run.id).await.unwrap();
    assert_eq!(found.map(|row| row.namespace), Some(environment.namespace));
}
