//! What polling asks of the forge, counted where it is asked: requests and GraphQL points that
//! the GitHub model saw in an hour of polls every 30 seconds. Time is stepped, nothing is measured
//! by the clock, so the figures are the same on every machine. And how long it takes (`latency`).
//!
//! - *idle*: 200 repositories in which nothing happens.
//! - *busy*: 1,000 repositories, 50 of them with a comment every minute and a trigger in the hour,
//!   whose issue stays hot while a run of twenty minutes works on it.
//!
//! The platform speaks as a GitHub App, whose token the model lets expire within the hour. The
//! platform's own writes are made at the model directly: they are not what is counted.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a benchmark's answer is what it prints, and it ends where something fails; it shares \
              code with the tests"
)]

#[path = "polling/latency.rs"]
mod latency;
#[path = "real/mod.rs"]
mod real;
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/it/support/mod.rs"]
mod support;
#[path = "polling/world.rs"]
mod world;

use std::collections::BTreeMap;

use world::{World, repository};

/// The poll's period.
const PERIOD_SECONDS: i64 = 30;

/// Polls in an hour.
const POLLS: i64 = 3_600 / PERIOD_SECONDS;

/// Polls that a run takes from its label to its end.
const RUN_POLLS: i64 = 40;

/// Polls before counting: binding, and until nothing of it can be hidden any more.
const WARM_UP: i64 = 6;

/// Targets of an hour.
const IDLE_REQUESTS: u64 = 1_000;
const BUSY_POINTS: u64 = 2_500;
const BUSY_REST: u64 = 1_000;

#[tokio::main]
async fn main() {
    // `cargo bench` says `--bench`; a name asks for that part alone.
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let is_asked = |name: &str| {
        let mut names = asked
            .iter()
            .filter(|asked| !asked.starts_with("--"))
            .peekable();
        names.peek().is_none() || names.any(|asked| asked == name)
    };
    if is_asked("idle") {
        idle().await;
    }
    if is_asked("busy") {
        busy().await;
    }
    if is_asked("period") {
        Box::pin(latency::by_period()).await;
    }
    if is_asked("hints") {
        Box::pin(latency::by_hints()).await;
    }
}

async fn idle() {
    let mut world = World::new(200).await;
    world.warm_up(WARM_UP, PERIOD_SECONDS).await;
    let before = world.counted();
    for _ in 0..POLLS {
        world.poll().await;
        world.advance(PERIOD_SECONDS);
    }
    let hour = world.counted().since(&before);
    hour.print("idle");
    let requests = hour.rest() + hour.graphql();
    println!(
        "polling idle: target <= {IDLE_REQUESTS} requests an hour for 200 repositories, \
         figure {requests}, {}",
        verdict(requests <= IDLE_REQUESTS)
    );
}

async fn busy() {
    const BUSY: i64 = 50;
    let mut world = World::new(1_000).await;
    world.warm_up(WARM_UP, PERIOD_SECONDS).await;
    let before = world.counted();
    // The busy repository and the issue of each live run, by the poll at which it ends.
    let mut live: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut missed = Vec::new();
    for poll in 0..POLLS {
        for busy in 0..BUSY {
            if (poll + busy) % 2 == 0 {
                world.comment(&repository(busy), poll + busy);
            }
            if poll == busy * POLLS / BUSY {
                world.trigger(repository(busy));
                live.entry(poll + RUN_POLLS).or_default().push(busy);
            }
        }
        for busy in live.remove(&poll).unwrap_or_default() {
            world.finish(&repository(busy));
        }
        // Somewhere between two polls.
        world.advance(PERIOD_SECONDS / 3);
        world.poll().await;
        world.advance(PERIOD_SECONDS - PERIOD_SECONDS / 3);
        missed.extend(world.unseen_triggers());
    }
    let hour = world.counted().since(&before);
    hour.print("busy");
    assert!(missed.is_empty(), "triggers not read in time: {missed:?}");
    assert!(hour.renewals() > 0, "the token was not renewed in the hour");
    let (points, rest) = (hour.points(), hour.rest());
    println!(
        "polling busy: target <= {BUSY_POINTS} points and <= {BUSY_REST} REST requests an hour for \
         1,000 repositories, 50 of them busy, figure {points} points and {rest} requests, {}",
        verdict(points <= BUSY_POINTS && rest <= BUSY_REST)
    );
}

pub(crate) fn verdict(kept: bool) -> &'static str {
    if kept { "ok" } else { "MISS" }
}
