//! How long planning a whole pass takes: every project and the orphans, one after the other, on
//! one core. Sizes grow to 1,000 repositories with 10,000 open issues and 5,000 runs, 200
//! of them at work with their objects, 200 queued, the rest over with an open pull request.
//! What grows is each project. Prints the median of several passes for each size and what a
//! doubling costs; the target is for the largest.

#![expect(
    clippy::print_stdout,
    reason = "a benchmark's answer is what it prints"
)]

#[path = "plan/world.rs"]
mod world;

use std::{hint::black_box, time::Duration};

use codex_k8s::plan::{PlanInput, plan};
use rustix::time::{ClockId, clock_gettime};

/// Passes of each size; the median counts.
const ROUNDS: usize = 15;

/// What planning a pass of the largest size may take.
const TARGET: Duration = Duration::from_millis(50);

/// Repositories of the smallest size.
const REPOSITORIES: i64 = 125;

fn main() {
    let mut last: Option<f64> = None;
    let mut figure = Duration::ZERO;
    for factor in [1, 2, 4, 8] {
        let inputs = world::settled(REPOSITORIES * factor);
        let actions: usize = inputs.iter().map(|input| plan(input).actions.len()).sum();
        let mut times: Vec<Duration> = (0..ROUNDS).map(|_| pass(&inputs)).collect();
        times.sort();
        figure = times[ROUNDS / 2];
        let ratio = last.map_or_else(String::new, |last| {
            format!(", {:.2} times the half", figure.as_secs_f64() / last)
        });
        last = Some(figure.as_secs_f64());
        println!(
            "plan, {factor}x: {} repositories, {} issues, {} runs ({actions} actions): \
             min {:.1?}, median {figure:.1?}, max {:.1?}{ratio}",
            REPOSITORIES * factor,
            total(&inputs, |rows| rows.issues.len()),
            total(&inputs, |rows| rows.runs.len()),
            times[0],
            times[ROUNDS - 1],
        );
    }
    let verdict = if figure <= TARGET { "ok" } else { "MISS" };
    println!(
        "plan: target <= {} ms for 1,000 repositories, 10,000 issues and 5,000 runs, \
         figure {:.1} ms, {verdict}",
        TARGET.as_millis(),
        figure.as_secs_f64() * 1_000.0
    );
}

/// Plans every scope once; answers what of the core's time that took, so that other work on the
/// machine does not count.
fn pass(inputs: &[PlanInput]) -> Duration {
    let began = core_time();
    for input in inputs {
        black_box(plan(black_box(input)));
    }
    core_time().saturating_sub(began)
}

fn core_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Counts rows over the projects; the orphans' scope, the last one, sees them all again.
fn total(
    inputs: &[PlanInput],
    count: impl Fn(&codex_k8s::domain::snapshot::StoreSnapshot) -> usize,
) -> usize {
    inputs[..inputs.len() - 1]
        .iter()
        .map(|input| count(&input.rows))
        .sum()
}
