//! What is kept no longer: of finished runs only, in batches, and noted.

use chrono::TimeDelta;
use codex_k8s::{
    domain::{
        Timestamp,
        effect::EffectKey,
        event::EventKind,
        ids::{AttemptNo, CommitSha, RunId},
        mirror::BranchHead,
        run::{LogsAbsent, Run},
    },
    store::{EffectDone, EffectFailed, Expired, Kept},
};
use secrecy::ExposeSecret as _;
use sqlx::Connection as _;

use super::fixtures::{REPOSITORY, World, event};

const FIRST: AttemptNo = AttemptNo(1);

/// A launched run of an issue, with log chunks and sessions.
async fn launched(world: &World, number: i64, chunks: i64, sessions: usize) -> Run {
    let slot = i32::try_from(number).unwrap();
    let run = world.preparing_run(number, slot).await;
    let api = world.database.api().await;
    for seq in 0..chunks {
        let new = api.append_log_chunk(run.id, FIRST, seq, b"line\n").await;
        assert!(new.unwrap());
    }
    for session in 0..sessions {
        let bytes = format!("session {session}");
        api.save_session(run.id, FIRST, bytes.as_bytes())
            .await
            .unwrap();
    }
    run
}

/// Keeps what belongs to runs that finished since then.
fn since(logs: Timestamp, sessions: Timestamp) -> Kept {
    Kept {
        logs_since: logs,
        sessions_since: sessions,
        live_sessions: 3,
        effects_since: sessions,
        gone_branches_since: sessions,
    }
}

/// The earliest and the latest moment around now.
async fn around(world: &World) -> (Timestamp, Timestamp) {
    let now = world.store.now().await.unwrap();
    (now - TimeDelta::days(1), now + TimeDelta::days(1))
}

/// Deletes what has been kept for long enough; says how many chunks and sessions went.
async fn expire(world: &World, kept: &Kept, chunks: i64) -> (u64, u64) {
    let expired = world.store.expired(kept, 100).await.unwrap();
    let mut tx = world.begin().await;
    let logs = tx.expire_logs(&expired.logs_of, chunks).await.unwrap();
    let sessions = tx.delete_sessions(&expired.sessions).await.unwrap();
    tx.commit().await.unwrap();
    (logs, sessions)
}

async fn chunks(world: &World, run: RunId) -> usize {
    let log = world.store.reads().read_logs(run, None, 100).await;
    log.unwrap().len()
}

async fn sessions(world: &World, run: RunId) -> Vec<String> {
    let url = world.database.url.expose_secret();
    let mut db = sqlx::PgConnection::connect(url).await.unwrap();
    let kept = "select convert_from(bytes, 'UTF8') from sessions
        where run_id = $1 order by session_id";
    let kept = sqlx::query_scalar(kept).bind(run.0).fetch_all(&mut db);
    kept.await.unwrap()
}

#[tokio::test]
async fn logs_of_runs_that_finished_long_ago_go_and_those_of_others_stay() {
    let world = World::bound().await;
    let (past, future) = around(&world).await;
    let (live, old) = (
        launched(&world, 1, 3, 0).await,
        launched(&world, 2, 3, 0).await,
    );
    world.cancelled(&old).await;
    let kept = since(past, past);
    let none = world.store.expired(&kept, 100).await.unwrap();
    assert!(none.is_empty(), "it has just finished: {none:?}");

    let kept = since(future, past);
    assert_eq!(expire(&world, &kept, 100).await, (3, 0));
    assert_eq!(chunks(&world, live.id).await, 3);
    assert_eq!(chunks(&world, old.id).await, 0);
    let rows = world.store.reads();
    let expired = Some(LogsAbsent::Expired);
    assert_eq!(rows.logs_absent(old.id).await.unwrap(), expired);
    assert_eq!(rows.logs_absent(live.id).await.unwrap(), None);
    assert!(
        world.store.expired(&kept, 100).await.unwrap().is_empty(),
        "what is done is not looked at again"
    );
    // Who names a run that is not finished deletes nothing.
    let mut tx = world.begin().await;
    assert_eq!(tx.expire_logs(&[live.id], 100).await.unwrap(), 0);
    tx.commit().await.unwrap();
    assert_eq!(chunks(&world, live.id).await, 3);
    assert_eq!(rows.logs_absent(live.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_batch_of_logs_is_bounded_and_the_rest_follows() {
    let world = World::bound().await;
    let (past, future) = around(&world).await;
    let run = launched(&world, 1, 5, 0).await;
    world.cancelled(&run).await;
    let kept = since(future, past);
    let rows = world.store.reads();
    for (gone, left) in [(2, 3), (2, 1)] {
        assert_eq!(expire(&world, &kept, 2).await, (gone, 0));
        assert_eq!(chunks(&world, run.id).await, left);
        assert_eq!(rows.logs_absent(run.id).await.unwrap(), None, "not yet");
    }
    assert_eq!(rows.read_logs(run.id, None, 9).await.unwrap()[0].seq, 4);
    assert_eq!(expire(&world, &kept, 2).await, (1, 0));
    let expired = Some(LogsAbsent::Expired);
    assert_eq!(rows.logs_absent(run.id).await.unwrap(), expired);
}

#[tokio::test]
async fn of_sessions_the_newest_stay_and_of_a_finished_run_one_for_its_time() {
    let world = World::bound().await;
    let (past, future) = around(&world).await;
    let (live, run) = (
        launched(&world, 1, 0, 5).await,
        launched(&world, 2, 0, 5).await,
    );
    let kept = since(past, past);
    assert_eq!(expire(&world, &kept, 1).await, (0, 4));
    let newest = ["session 2", "session 3", "session 4"];
    assert_eq!(sessions(&world, live.id).await, newest);
    assert_eq!(sessions(&world, run.id).await, newest);

    world.cancelled(&run).await;
    assert_eq!(expire(&world, &kept, 1).await, (0, 2));
    assert_eq!(sessions(&world, run.id).await, newest[2..]);
    assert_eq!(
        world.store.expired(&kept, 100).await.unwrap(),
        Expired::default()
    );

    let kept = since(past, future);
    assert_eq!(expire(&world, &kept, 1).await, (0, 1));
    assert!(sessions(&world, run.id).await.is_empty());
    assert_eq!(sessions(&world, live.id).await, newest);
    let one = launched(&world, 3, 0, 9).await;
    let few = world.store.expired(&kept, 2).await.unwrap();
    assert_eq!(few.sessions.len(), 2, "a look is bounded");
    assert_eq!(sessions(&world, one.id).await.len(), 9);
}

#[tokio::test]
async fn the_ledger_forgets_what_was_done_long_ago_and_of_no_run() {
    let world = World::bound().await;
    let (past, future) = around(&world).await;
    let run = world.preparing_run(1, 1).await;
    let key = |name: &str| EffectKey(format!("comment/{name}"));
    let (old, of_run, open) = (key("old"), key("of-run"), key("open"));
    let in_the_way = EffectKey("conflict/1/2/[]".to_owned());
    let upserted = event(EventKind::CommentUpserted);
    let mut tx = world.begin().await;
    for (key, run) in [
        (&old, None),
        (&of_run, Some(run.id)),
        (&open, None),
        (&in_the_way, None),
    ] {
        let done = EffectDone {
            key,
            run,
            kind: "upsert_comment",
            content_hash: "a",
            external_id: Some("31"),
            recovered: false,
            event: &upserted,
        };
        tx.done(&done).await.unwrap();
    }
    let failed = EffectFailed {
        key: &open,
        run: None,
        kind: "upsert_comment",
        next_at: future,
        error: "it was edited, and the edit failed",
        changed_nothing: true,
    };
    tx.failed(&failed).await.unwrap();
    tx.commit().await.unwrap();

    let none = world.store.expired(&since(past, past), 100).await.unwrap();
    assert!(none.is_empty(), "all of it is new: {none:?}");
    let expired = world.store.expired(&since(past, future), 100).await;
    let expired = expired.unwrap().effects;
    assert_eq!(expired, std::slice::from_ref(&old));
    let mut tx = world.begin().await;
    let named = [old.clone(), of_run.clone(), open.clone()];
    assert_eq!(tx.delete_effects(&named).await.unwrap(), 1);
    tx.commit().await.unwrap();
    assert_eq!(world.store.effect(&old).await.unwrap(), None);
    for kept in [of_run, open, in_the_way] {
        assert!(world.store.effect(&kept).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn branches_that_are_gone_are_forgotten_and_no_other() {
    let world = World::bound().await;
    let (past, future) = around(&world).await;
    let branch = |name: &str, head: Option<&str>| BranchHead {
        repository: REPOSITORY,
        branch: name.into(),
        head: head.map(CommitSha::from),
        ours: head.is_some(),
    };
    let (gone, there) = ("codex/issue-1", "codex/issue-2");
    let mut tx = world.begin().await;
    tx.put_branch(&branch(gone, None)).await.unwrap();
    tx.put_branch(&branch(there, Some("a1"))).await.unwrap();
    tx.commit().await.unwrap();

    let none = world.store.expired(&since(past, past), 100).await.unwrap();
    assert!(none.is_empty(), "they were read just now: {none:?}");
    let expired = world.store.expired(&since(past, future), 100).await;
    let expired = expired.unwrap().branches;
    assert_eq!(expired, [(REPOSITORY, gone.into())]);
    let both = [(REPOSITORY, gone.into()), (REPOSITORY, there.into())];
    let mut tx = world.begin().await;
    assert_eq!(tx.forget_branches(&both).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let left = world.store.expired(&since(past, future), 100).await;
    assert!(left.unwrap().is_empty());
}
