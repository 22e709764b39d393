//! Facts of live runs, over the API's own login.

use std::time::Duration;

use codex_k8s::{
    domain::{
        answer::Answer,
        event::EventKind,
        fact::{Fact, PushFact, PushOutcome, ResultRecord, ResultStatus},
        ids::{AttemptNo, BranchName, CommitSha, RunId},
        run::{Outcome, RunState},
    },
    store::{RunChanges, StoreError},
};
use futures::StreamExt;
use secrecy::ExposeSecret as _;
use sqlx::Connection as _;

use super::fixtures::{World, attempt, event};

const FIRST: AttemptNo = AttemptNo(1);

fn result(summary: &str) -> Fact {
    Fact::Result(ResultRecord {
        status: ResultStatus::Completed,
        answer: Answer {
            summary: summary.to_owned(),
            ..Answer::default()
        },
        head: None,
        exit_code: Some(0),
    })
}

fn stop() -> RunChanges {
    RunChanges {
        outcome: Some(Outcome::Cancelled),
        ..RunChanges::default()
    }
}

#[tokio::test]
async fn only_the_current_attempt_of_a_live_run_adds_facts() {
    let world = World::bound().await;
    let api = world.database.api().await;
    let pending = world.pending_run(2).await;
    let refused = api.insert_fact(pending.id, FIRST, &Fact::Heartbeat).await;
    assert!(
        matches!(refused, Err(StoreError::Conflict { .. })),
        "pending"
    );

    let run = world.preparing_run(1, 1).await;
    api.insert_fact(run.id, FIRST, &Fact::Heartbeat)
        .await
        .unwrap();
    let mut tx = world.begin().await;
    let started = event(EventKind::AttemptStarted);
    tx.insert_attempt(&attempt(run.id, 2), &started)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let refused = api.insert_fact(run.id, FIRST, &Fact::Heartbeat).await;
    assert!(
        matches!(refused, Err(StoreError::Conflict { .. })),
        "an older attempt"
    );
    let access = api.run_access(run.id).await.unwrap().unwrap();
    assert_eq!(
        (access.state, access.attempt),
        (RunState::Preparing, Some(AttemptNo(2)))
    );

    world.step(&run, RunState::Stopping, stop()).await;
    let refused = api.insert_fact(run.id, AttemptNo(2), &result("late")).await;
    assert!(
        matches!(refused, Err(StoreError::Conflict { .. })),
        "stopping"
    );
}

#[tokio::test]
async fn a_stopping_run_hands_in_logs_and_session_for_a_minute() {
    let world = World::bound().await;
    let api = world.database.api().await;
    let run = world.preparing_run(1, 1).await;
    world.step(&run, RunState::Stopping, stop()).await;
    assert!(
        api.append_log_chunk(run.id, FIRST, 0, b"bye")
            .await
            .unwrap()
    );
    api.save_session(run.id, FIRST, b"session").await.unwrap();

    world.database.shift_clock(Duration::from_secs(61)).await;
    assert!(
        api.append_log_chunk(run.id, FIRST, 1, b"late")
            .await
            .is_err()
    );
    assert!(api.save_session(run.id, FIRST, b"late").await.is_err());
    assert_eq!(
        api.latest_session(run.id).await.unwrap().unwrap(),
        b"session"
    );
}

#[tokio::test]
async fn a_run_goes_on_with_the_session_of_its_agents_last_run_on_the_issue() {
    let world = World::bound().await;
    let api = world.database.api().await;
    let talk = async |run: RunId| api.latest_session(run).await.unwrap();
    let first = world.preparing_run(1, 1).await;
    api.save_session(first.id, FIRST, b"first").await.unwrap();
    let stopping = world.step(&first, RunState::Stopping, stop()).await;
    let over = RunChanges::default();
    world.step(&stopping, RunState::Cancelled, over).await;
    let elsewhere = world.preparing_run(2, 1).await;
    assert_eq!(talk(elsewhere.id).await, None, "another issue");
    let url = world.database.url.expose_secret();
    let mut db = sqlx::PgConnection::connect(url).await.unwrap();
    let same = "update runs set work_item = 1 where number = 2";
    sqlx::query(same).execute(&mut db).await.unwrap();
    assert_eq!(talk(elsewhere.id).await.unwrap(), b"first");
    let other = "update runs set frozen = jsonb_set(frozen, '{agent}', '\"qa\"') where number = 2";
    sqlx::query(other).execute(&mut db).await.unwrap();
    assert_eq!(talk(elsewhere.id).await, None, "another agent");
    api.save_session(elsewhere.id, FIRST, b"own").await.unwrap();
    assert_eq!(talk(elsewhere.id).await.unwrap(), b"own");
}

#[tokio::test]
async fn what_is_handed_in_twice_is_kept_once() {
    let world = World::bound().await;
    let api = world.database.api().await;
    let run = world.preparing_run(1, 1).await;
    let first = api
        .insert_fact(run.id, FIRST, &result("first"))
        .await
        .unwrap();
    let second = api
        .insert_fact(run.id, FIRST, &result("second"))
        .await
        .unwrap();
    assert_eq!((first.id, first.new, second.new), (second.id, true, false));
    assert!(
        api.append_log_chunk(run.id, FIRST, 0, b"one")
            .await
            .unwrap()
    );
    assert!(
        !api.append_log_chunk(run.id, FIRST, 0, b"other")
            .await
            .unwrap()
    );

    let facts = world.store.load_pass(None).await.unwrap().facts;
    assert_eq!(facts.len(), 1);
    assert_eq!(facts[0].what, result("first"));
    let log = api.read_logs(run.id, None, 10).await.unwrap();
    assert_eq!(log[0].bytes, b"one");
    let rest = api.read_logs(run.id, Some((FIRST, 0)), 10).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_push_waits_with_its_pack_for_the_holders_outcome() {
    let world = World::bound().await;
    let api = world.database.api().await;
    let run = world.preparing_run(1, 1).await;
    let push = PushFact {
        branch: BranchName::from("codex/issue-1"),
        old: None,
        new: CommitSha::from("c0ffee"),
        pack_bytes: 4,
    };
    let fact = api
        .insert_push(run.id, FIRST, &push, b"PACK")
        .await
        .unwrap();
    assert_eq!(api.push_outcome(fact).await.unwrap(), None);
    assert_eq!(world.store.push_pack(fact).await.unwrap().unwrap(), b"PACK");

    let mut tx = world.begin().await;
    tx.record_push_outcome(fact, &PushOutcome::Accepted)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        api.push_outcome(fact).await.unwrap(),
        Some(PushOutcome::Accepted)
    );
    assert_eq!(
        world.store.push_pack(fact).await.unwrap(),
        None,
        "the pack is deleted"
    );
    let outcomes = world.store.load_pass(None).await.unwrap().push_outcomes;
    assert_eq!((outcomes[0].fact, outcomes[0].run), (fact, run.id));
}

#[tokio::test]
async fn heartbeats_are_folded_into_the_attempt_and_pruned() {
    let world = World::bound().await;
    let api = world.database.api().await;
    let run = world.preparing_run(1, 1).await;
    for _ in 0..3 {
        api.insert_fact(run.id, FIRST, &Fact::Heartbeat)
            .await
            .unwrap();
    }
    let before = world.store.load_pass(None).await.unwrap();
    assert!(before.facts.is_empty());
    assert!(before.attempts[0].heartbeat_at.is_some());
    let mut tx = world.begin().await;
    assert_eq!(tx.prune_heartbeats(run.id).await.unwrap(), 2);
    tx.commit().await.unwrap();
    let after = world.store.load_pass(None).await.unwrap();
    assert_eq!(after.attempts, before.attempts);
}

#[tokio::test]
async fn a_new_fact_wakes_the_reconciler() {
    let world = World::bound().await;
    let api = world.database.api().await;
    let run = world.preparing_run(1, 1).await;
    let mut wakes = world.store.listen().await.unwrap();
    api.insert_fact(run.id, FIRST, &result("done"))
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(10), wakes.next())
        .await
        .expect("a hint arrives")
        .expect("the stream goes on");
}
