//! How long it takes from a label to its run's row: the whole loop, with real Postgres, polls what
//! moved and who labelled, and makes passes until one finds nothing to do.
//!
//! - *by period*: polls every 30 seconds, the waits stepped, the forge hiding things for up to two
//!   seconds. What polls and passes take themselves is this machine's time and is in the figure.
//! - *by hints*: a webhook's hint follows each label at once; the loop as `serve` has it, in real
//!   time, the forge hiding things for up to a second. The figure is this machine's.
//!
//! The database's clock is asked when a label is put on; the row says when it was made.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use codex_k8s::{
    domain::{Timestamp, ids::RepositoryName},
    sandbox::{
        github::{Lag, Permission, RepositorySeed},
        seed::{PERSON, PLATFORM_LOGIN},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    real::{Loop, files, outside::Outside},
    verdict,
    world::{ISSUES, repository},
};

/// Labels: one on each issue of so many repositories.
const REPOSITORIES: i64 = 50;

/// The poll's period.
const PERIOD: Duration = Duration::from_secs(30);

/// Over how long the labels are spread: by period, and by hints.
const SPREAD: Duration = Duration::from_mins(30);
const HINTED_SPREAD: Duration = Duration::from_secs(90);

/// Targets for all but the slowest twentieth.
const BY_PERIOD: Duration = Duration::from_secs(35);
const BY_HINTS: Duration = Duration::from_secs(2);

/// By then the last label has its run, or never.
const PATIENCE: Duration = Duration::from_mins(5);

/// An issue: the repository's forge id and its number.
type Place = (i64, i64);

/// A label to be put on.
#[derive(Clone)]
struct Label {
    at: Duration,
    repository: String,
    number: u64,
}

/// Labels at random moments, oldest first; the same in every run.
fn labels(spread: Duration) -> Vec<Label> {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let spread = u64::try_from(spread.as_millis()).unwrap();
    let mut random = || {
        // Xorshift: the moments only have to look like chance.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Duration::from_millis((state >> 1) % spread)
    };
    let mut labels: Vec<Label> = (0..REPOSITORIES * ISSUES)
        .map(|index| Label {
            at: random(),
            repository: repository(index % REPOSITORIES),
            number: u64::try_from(index / REPOSITORIES + 1).unwrap_or(1),
        })
        .collect();
    labels.sort_by_key(|label| label.at);
    labels
}

/// A loop with its repositories bound and read, and their labels made.
async fn start(lag: Lag) -> Loop {
    let mut files = files(false);
    for index in 0..REPOSITORIES {
        let name = format!("repository-{index}");
        let text = format!(
            "apiVersion: codex-k8s.dev/v1alpha1\nkind: Repository\nmetadata:\n  name: {name}\n\
             spec:\n  owner: example-org\n  name: {name}\n  baseBranch: main\n"
        );
        files.insert(format!("projects/demo/repositories/{name}.yaml"), text);
    }
    let it = Loop::start(lag, &files).await;
    let forge = &it.outside.github;
    for index in 0..REPOSITORIES {
        let seed = RepositorySeed::with_readme("A thing.\n")
            .permission(PERSON, Permission::Admin)
            .permission(PLATFORM_LOGIN, Permission::Write);
        forge.add_repository(&repository(index), &seed).unwrap();
        for number in 1..=ISSUES {
            let title = format!("Issue {number}");
            forge
                .open_issue(&repository(index), PERSON, &title, "Some words.", &[])
                .unwrap();
        }
    }
    for _ in 0..6 {
        period(&it).await;
        it.advance(PERIOD).await;
    }
    it
}

/// A poll, what it leads to, and what a pass then asks to be read at once.
async fn period(it: &Loop) {
    for _ in 0..2 {
        it.poll().await;
        it.passes().await;
    }
}

/// Puts a label on; where, and when by the database's clock.
async fn put(outside: &Outside, label: &Label) -> (Place, Timestamp) {
    let forge = &outside.github;
    let repository = forge.repository_id(&label.repository).unwrap();
    let at: Timestamp = sqlx::query_scalar("select platform_now()")
        .fetch_one(&outside.db)
        .await
        .unwrap();
    forge
        .add_label(&label.repository, label.number, PERSON, "run:dev")
        .unwrap();
    let repository = i64::try_from(repository).unwrap();
    ((repository, i64::try_from(label.number).unwrap()), at)
}

/// How long each took; `None` while some have no run.
async fn took(outside: &Outside, put: &BTreeMap<Place, Timestamp>) -> Option<Vec<Duration>> {
    let rows: Vec<(i64, i64, Timestamp)> =
        sqlx::query_as("select repository_id, number, created_at from runs")
            .fetch_all(&outside.db)
            .await
            .unwrap();
    let took = rows.iter().filter_map(|(repository, number, made)| {
        let put = put.get(&(*repository, *number))?;
        (*made - *put).to_std().ok()
    });
    let took: Vec<Duration> = took.collect();
    (took.len() == put.len()).then_some(took)
}

pub(crate) async fn by_period() {
    let it = Box::pin(start(Lag::default())).await;
    let mut now = Duration::ZERO;
    let mut poll_at = PERIOD;
    let mut placed = BTreeMap::new();
    let mut coming = labels(SPREAD).into_iter().peekable();
    let took = loop {
        while let Some(label) = coming.next_if(|label| label.at <= poll_at) {
            it.advance(label.at.saturating_sub(now)).await;
            now = label.at;
            let (place, at) = put(&it.outside, &label).await;
            placed.insert(place, at);
        }
        it.advance(poll_at.saturating_sub(now)).await;
        now = poll_at;
        period(&it).await;
        if coming.peek().is_none()
            && let Some(took) = took(&it.outside, &placed).await
        {
            break took;
        }
        assert!(now < SPREAD + PATIENCE, "labels without a run");
        poll_at += PERIOD;
    };
    print("label by period", took, BY_PERIOD);
    end(it).await;
}

pub(crate) async fn by_hints() {
    let it = Box::pin(start(Lag::up_to_ms(1_000))).await;
    let stop = CancellationToken::new();
    let labelling = async {
        let took = put_with_hints(&it).await;
        stop.cancel();
        took
    };
    let going = it.platform.reconciler.run(stop.clone());
    let (took, ()) = Box::pin(async { tokio::join!(labelling, going) }).await;
    print("label by hints", took, BY_HINTS);
    end(it).await;
}

/// Puts the labels on in their moments, each with its hint, and waits for their runs.
async fn put_with_hints(it: &Loop) -> Vec<Duration> {
    let began = Instant::now();
    let mut placed = BTreeMap::new();
    for label in labels(HINTED_SPREAD) {
        tokio::time::sleep_until((began + label.at).into()).await;
        let (place, at) = put(&it.outside, &label).await;
        let name: RepositoryName = label.repository.parse().unwrap();
        it.platform.observer.hints().hint(&name, Instant::now());
        placed.insert(place, at);
    }
    loop {
        if let Some(took) = took(&it.outside, &placed).await {
            return took;
        }
        assert!(
            began.elapsed() < HINTED_SPREAD + PATIENCE,
            "labels without a run: {:?}",
            without_run(&it.outside, &placed).await
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn without_run(outside: &Outside, put: &BTreeMap<Place, Timestamp>) -> Vec<Place> {
    let rows: Vec<Place> = sqlx::query_as("select repository_id, number from runs")
        .fetch_all(&outside.db)
        .await
        .unwrap();
    let rows: BTreeSet<Place> = rows.into_iter().collect();
    let places = put.keys().filter(|place| !rows.contains(place));
    places.copied().collect()
}

async fn end(it: Loop) {
    let outside = it.end().await;
    Arc::into_inner(outside).unwrap().end().await;
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
