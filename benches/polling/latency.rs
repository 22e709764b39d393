//! How long it takes from a label until the mirror holds all that a run's row is made of: the
//! label's event and the rights of who put it on. The rights are asked for by the pass that sees
//! the event, in a poll at once, as the loop does it; the passes themselves are not in the figure
//! (`plan` and `pass` measure those).
//!
//! - *by period*: polls every 30 seconds, time stepped, the forge hiding things for up to two
//!   seconds. The figure is the same on every machine.
//! - *by hints*: a webhook follows each label at once; real time, the forge hiding things for up
//!   to a second, polls and labels beside each other. The figure is this machine's.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use codex_k8s::{domain::ids::RepositoryName, sandbox::github::Lag};

use crate::{
    verdict,
    world::{ISSUES, World, repository},
};

/// Labels: one on each issue of so many repositories.
const REPOSITORIES: i64 = 50;

/// The poll's period.
const PERIOD_MS: i64 = 30_000;

/// Over how long the labels are spread: by period, and by hints.
const SPREAD_MS: i64 = 1_800_000;
const HINTED_SPREAD_MS: i64 = 90_000;

/// Targets for all but the slowest twentieth.
const BY_PERIOD: Duration = Duration::from_secs(35);
const BY_HINTS: Duration = Duration::from_secs(2);

/// A label to be put on.
#[derive(Clone)]
struct Label {
    at_ms: i64,
    repository: String,
    number: u64,
}

/// Labels at random moments, oldest first; the same in every run.
fn labels(spread_ms: i64) -> Vec<Label> {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut random = |below: i64| {
        // Xorshift: the moments only have to look like chance.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        i64::try_from(state >> 1).unwrap_or(0) % below
    };
    let mut labels: Vec<Label> = (0..REPOSITORIES * ISSUES)
        .map(|index| Label {
            at_ms: random(spread_ms),
            repository: repository(index % REPOSITORIES),
            number: u64::try_from(index / REPOSITORIES + 1).unwrap_or(1),
        })
        .collect();
    labels.sort_by_key(|label| label.at_ms);
    labels
}

fn put(world: &codex_k8s::sandbox::github::GitHubModel, label: &Label) {
    let put = world.add_label(&label.repository, label.number, "ada", "run:dev");
    put.unwrap();
}

/// Asks for the rights in the repositories of labels that were seen, as the next pass does.
fn want_rights(world: &mut World, seen: &[(Label, Duration)]) {
    let repositories: BTreeSet<_> = seen
        .iter()
        .map(|(label, _)| world.id_of(&label.repository))
        .collect();
    let account = world.labeller();
    let wanted = repositories.into_iter().map(|id| (id, account.clone()));
    world.request.actors = wanted.collect();
}

pub(crate) async fn by_period() {
    let mut world = World::new(REPOSITORIES).await;
    world.warm_up(6, PERIOD_MS / 1_000).await;
    let mut now = 0;
    let mut waiting: Vec<Label> = Vec::new();
    let mut took: Vec<Duration> = Vec::new();
    let mut coming = labels(SPREAD_MS).into_iter().peekable();
    let mut poll_at = PERIOD_MS;
    while coming.peek().is_some() || !waiting.is_empty() {
        while let Some(label) = coming.next_if(|label| label.at_ms <= poll_at) {
            world.advance_by(TimeDelta::milliseconds(label.at_ms - now));
            now = label.at_ms;
            put(&world.model, &label);
            waiting.push(label);
        }
        world.advance_by(TimeDelta::milliseconds(poll_at - now));
        now = poll_at;
        world.poll().await;
        let seen = take_seen(&mut waiting, &world, |label| {
            Duration::from_millis(u64::try_from(now - label.at_ms).unwrap_or(0))
        });
        if !seen.is_empty() {
            want_rights(&mut world, &seen);
            world.poll_only().await;
            world.request.actors.clear();
        }
        for (label, time) in seen {
            let id = world.id_of(&label.repository);
            assert!(world.mirror.has_rights(id), "{}", label.repository);
            took.push(time);
        }
        poll_at += PERIOD_MS;
    }
    print("label by period", took, BY_PERIOD);
}

fn take_seen(
    waiting: &mut Vec<Label>,
    world: &World,
    time: impl Fn(&Label) -> Duration,
) -> Vec<(Label, Duration)> {
    let is_seen = |label: &Label| {
        let id = world.id_of(&label.repository);
        world.mirror.has_event(id, label.number)
    };
    let (seen, still): (Vec<_>, Vec<_>) = waiting.drain(..).partition(is_seen);
    *waiting = still;
    let timed = seen.into_iter().map(|label| (label.clone(), time(&label)));
    timed.collect()
}

pub(crate) async fn by_hints() {
    let mut world = World::new(REPOSITORIES).await;
    world.warm_up(6, PERIOD_MS / 1_000).await;
    world.model.set_lag(Lag::up_to_ms(1_000));
    let labels = labels(HINTED_SPREAD_MS);
    let total = labels.len();
    let posted: Arc<Mutex<Vec<(Label, Instant)>>> = Arc::default();
    let labeller = {
        let (model, posted) = (Arc::clone(&world.model), Arc::clone(&posted));
        let began = Instant::now();
        tokio::spawn(async move {
            for label in labels {
                let at = Duration::from_millis(u64::try_from(label.at_ms).unwrap_or(0));
                tokio::time::sleep_until((began + at).into()).await;
                put(&model, &label);
                posted.lock().unwrap().push((label, Instant::now()));
            }
        })
    };
    let mut waiting: Vec<(Label, Instant)> = Vec::new();
    let mut took: Vec<Duration> = Vec::new();
    while took.len() < total {
        let new: Vec<(Label, Instant)> = posted.lock().unwrap().drain(..).collect();
        for (label, at) in new {
            let name: RepositoryName = label.repository.parse().unwrap();
            world.observer.hints().hint(&name, at);
            waiting.push((label, at));
        }
        if world
            .observer
            .hints()
            .next_due()
            .is_none_or(|due| due > Instant::now())
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        world
            .observer
            .poll_hinted(&world.request, &world.mirror)
            .await;
        let (seen, still): (Vec<_>, Vec<_>) = waiting.drain(..).partition(|(label, _)| {
            let id = world.id_of(&label.repository);
            world.mirror.has_event(id, label.number)
        });
        waiting = still;
        let fresh: Vec<(Label, Duration)> = seen
            .iter()
            .filter(|(label, _)| !world.mirror.has_rights(world.id_of(&label.repository)))
            .map(|(label, at)| (label.clone(), at.elapsed()))
            .collect();
        if !fresh.is_empty() {
            want_rights(&mut world, &fresh);
            world.poll_only().await;
            world.request.actors.clear();
        }
        took.extend(seen.into_iter().map(|(_, at)| at.elapsed()));
    }
    labeller.await.unwrap();
    print("label by hints", took, BY_HINTS);
}

fn print(name: &str, mut took: Vec<Duration>, target: Duration) {
    took.sort();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    println!(
        "{name}: {} labels: median {:.1} s, 95 of 100 within {:.1} s, slowest {:.1} s",
        took.len(),
        at(50).as_secs_f64(),
        at(95).as_secs_f64(),
        at(100).as_secs_f64()
    );
    println!(
        "{name}: target 95 of 100 within {} s, figure {:.1} s, {}",
        target.as_secs(),
        at(95).as_secs_f64(),
        verdict(at(95) <= target)
    );
}
