//! What a pass of `serve` costs: 1,000 live runs with their objects, and then the same runs
//! finished, their pull requests open.
//!
//! The world is that of the stepped tests: real Postgres, the GitHub and Kubernetes models, the
//! run API, and agents that do what they are told. It is made by the platform itself, in this
//! process. What is measured is `serve --roles reconciler` in a process of its own, with
//! production's times, once it has come to rest: its passes as its metrics have them, its
//! resident memory, and what it wrote meanwhile, the lease apart.

#![expect(
    clippy::print_stdout,
    reason = "a benchmark's answer is what it prints"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a benchmark that cannot go on has no figure; it shares code with the tests"
)]

#[path = "real/mod.rs"]
mod real;
#[path = "pass/serve.rs"]
mod serve;
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use codex_k8s::sandbox::{
    github::Lag,
    seed::{PERSON, REPOSITORY},
};

use real::{Loop, files, outside::Outside, pods::Work};
use serve::{Figures, measure};

/// Runs of each world.
const RUNS: i64 = 1_000;
/// What a pass may take.
const PASS: Duration = Duration::from_secs(2);
/// What the process may keep resident.
const MEBIBYTES: u64 = 128;
/// By then each world stands.
const PATIENCE: Duration = Duration::from_mins(40);
/// How far the clocks are moved between two polls.
const STEP: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    let runs = std::env::var("CODEXK8S_BENCH_RUNS");
    let runs = runs.map_or(RUNS, |runs| runs.parse().unwrap());
    let platform = Loop::start(Lag::default(), &files(true)).await;
    live(&platform, runs).await;
    let outside = platform.end().await;
    let live = measure(&outside).await;
    live.print(&format!("{runs} live runs"));
    let platform = Loop::with(outside).await;
    finish(&platform, runs).await;
    let outside = platform.end().await;
    let finished = measure(&outside).await;
    finished.print(&format!("{runs} finished runs"));
    verdict(&live, &finished, runs);
    Arc::into_inner(outside).unwrap().end().await;
}

fn verdict(live: &Figures, finished: &Figures, runs: i64) {
    let kept = |it: &Figures| it.pass <= PASS && it.resident <= MEBIBYTES << 20;
    let kept = kept(live) && kept(finished) && finished.writes.is_empty();
    let mebibytes = |it: &Figures| it.resident >> 20;
    println!(
        "pass: target <= {} s a pass and <= {MEBIBYTES} MiB with {runs} runs, no writes with \
         finished ones, figure {:.2} s and {} MiB live, {:.2} s, {} MiB and {} writes finished, {}",
        PASS.as_secs(),
        live.pass.as_secs_f64(),
        mebibytes(live),
        finished.pass.as_secs_f64(),
        mebibytes(finished),
        finished.writes.values().sum::<i64>(),
        if kept { "ok" } else { "MISS" },
    );
}

/// Asks for the runs by labels and goes on until all are at work.
async fn live(platform: &Loop, runs: i64) {
    let outside = &platform.outside;
    // The labels are made with the first polls.
    round(platform).await;
    round(platform).await;
    for number in 0..runs {
        let (title, text) = (format!("Issue {number}"), "Some words. ".repeat(30));
        let issue = outside
            .github
            .open_issue(REPOSITORY, PERSON, &title, &text, &[])
            .unwrap();
        outside
            .github
            .add_label(REPOSITORY, issue, PERSON, "run:dev")
            .unwrap();
    }
    until(
        platform,
        "runs where state = 'running'",
        runs,
        Work::Forever,
    )
    .await;
    // Whoever is at work says so, and what was just done is seen.
    for _ in 0..10 {
        round(platform).await;
    }
    pods_move(outside, Work::Forever).await;
}

/// Lets the agents deliver and goes on until the runs are over and their environments gone.
async fn finish(platform: &Loop, runs: i64) {
    let gone = "runs join environments using (run_id)
        where finalized_at is not null and environments.state = 'gone'";
    until(platform, gone, runs, Work::Deliver).await;
    for _ in 0..10 {
        round(platform).await;
    }
}

async fn until(platform: &Loop, what: &str, runs: i64, work: Work) {
    let began = Instant::now();
    loop {
        round(platform).await;
        platform.kept(pods_move(&platform.outside, work)).await;
        let there: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {what}")))
                .fetch_one(&platform.outside.db)
                .await
                .unwrap();
        eprintln!("{there} of {runs} after {:.0?}", began.elapsed());
        if there >= runs {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{there} of {runs}: {what}");
    }
}

async fn round(platform: &Loop) {
    platform.poll().await;
    platform.passes().await;
    platform.advance(STEP).await;
}

async fn pods_move(outside: &Outside, work: Work) {
    for uid in outside.pods.uids() {
        outside.pods.act(outside, &uid, |_, _| work).await;
    }
}
