//! `logs`: all of it in order, a part, what is still written, and why there is none.

use std::time::Duration;

use codex_k8s::domain::{
    event::EventKind,
    ids::{AttemptNo, RunId},
    run::Run,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::{command, printed, refused, well};
use crate::store::fixtures::{World, attempt, event};

/// Nothing here takes longer.
const DEADLINE: Duration = Duration::from_mins(1);

async fn write(world: &World, run: RunId, attempt: i32, seq: i64, text: &str) {
    let api = world.store.reads();
    let attempt = AttemptNo(attempt);
    let new = api.append_log_chunk(run, attempt, seq, text.as_bytes());
    assert!(new.await.unwrap());
}

/// A run that wrote in two attempts.
async fn written(world: &World) -> Run {
    let run = world.preparing_run(1, 1).await;
    write(world, run.id, 1, 0, "one\ntwo\n").await;
    write(world, run.id, 1, 5, "three").await;
    let mut tx = world.begin().await;
    let started = event(EventKind::AttemptStarted);
    tx.insert_attempt(&attempt(run.id, 2), &started)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    write(world, run.id, 2, 0, "\nfour\n").await;
    write(world, run.id, 2, 1, "five\n").await;
    run
}

#[tokio::test]
async fn a_log_is_printed_in_order_whole_or_in_part() {
    let world = World::bound().await;
    let id = written(&world).await.id.to_string();
    for (options, wanted) in [
        (&[][..], "one\ntwo\nthree\nfour\nfive\n"),
        (&["--attempt", "1"], "one\ntwo\nthree"),
        (&["--attempt", "2"], "\nfour\nfive\n"),
        (&["--tail", "2"], "four\nfive\n"),
        (&["--tail", "9"], "one\ntwo\nthree\nfour\nfive\n"),
        (&["--tail", "2", "--attempt", "1"], "two\nthree"),
        (&["--tail", "0"], ""),
    ] {
        let words = [&["logs", &id[..13]], options].concat();
        assert_eq!(printed(&world, &words).await, wanted, "{options:?}");
    }
    let absent = refused(&world, &["logs", &id, "--attempt", "3"]).await;
    assert!(absent.contains("no attempt 3: its last is 2"), "{absent}");
}

#[tokio::test]
async fn following_prints_what_comes_and_ends_with_the_run() {
    let world = World::bound().await;
    let run = world.preparing_run(1, 1).await;
    write(&world, run.id, 1, 0, "one\n").await;
    write(&world, run.id, 1, 1, "two\n").await;
    let id = run.id.to_string();
    let words = ["logs", "--follow", "--tail", "1", &id];
    let mut child = command(&world, &words).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let follow = async {
        let mut said = String::new();
        out.read_line(&mut said).await.unwrap();
        assert_eq!(said, "two\n");
        write(&world, run.id, 1, 2, "three\n").await;
        out.read_line(&mut said).await.unwrap();
        assert_eq!(said, "two\nthree\n");
        assert!(child.try_wait().unwrap().is_none(), "it goes on");
        write(&world, run.id, 1, 3, "four\n").await;
        world.cancelled(&run).await;
        out.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "two\nthree\nfour\n");
        assert!(child.wait().await.unwrap().success());
    };
    tokio::time::timeout(DEADLINE, follow)
        .await
        .expect("it ends with its run");
}

#[tokio::test]
async fn why_there_is_no_log_is_said() {
    let world = World::bound().await;
    let noted = async |run: &Run, options: &[&str]| {
        let id = run.id.to_string();
        let words = [&["logs", &id], options].concat();
        let (said, noted) = well(command(&world, &words).output().await.unwrap());
        assert_eq!(said, "");
        noted
    };
    let waiting = world.pending_run(1).await;
    assert!(noted(&waiting, &[]).await.contains("has not started"));
    let silent = world.preparing_run(2, 1).await;
    assert!(noted(&silent, &[]).await.contains("has written nothing"));
    write(&world, silent.id, 1, 0, "bye\n").await;
    let ended = world.cancelled(&silent).await;
    let mut tx = world.begin().await;
    assert_eq!(tx.expire_logs(&[ended.id], 10).await.unwrap(), 1);
    tx.commit().await.unwrap();
    assert!(noted(&ended, &["-f"]).await.contains("are expired"));
}
