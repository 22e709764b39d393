//! Seeds: a scenario, an order of steps, crashes and faults, all drawn; the end is
//! that of the undisturbed run.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use chrono::TimeDelta;
use futures::StreamExt;
use strum::IntoEnumIterator;
use tokio::sync::OnceCell;

use super::{
    chance::Chance,
    crash::CrashAt,
    driver::{Setup, note},
    edges::{Undisturbed, alone, play, undisturbed},
    faults::{Class, FAULTS},
    restores,
    scenario::Scenario,
    scenarios, wire,
};
use codex_k8s::sandbox::github::Lag;

/// How many faults were injected, by class.
pub(crate) type Injected = BTreeMap<Class, usize>;

/// How often each class of faults on the wire struck.
type OnTheWire = BTreeMap<String, u64>;

/// Undisturbed ends, made when first asked for.
struct References {
    all: Vec<(Scenario, OnceCell<Result<Undisturbed, String>>)>,
}

impl References {
    fn new() -> Self {
        let all = scenarios::all().into_iter();
        Self {
            all: all.map(|one| (one, OnceCell::new())).collect(),
        }
    }

    async fn of(&self, index: usize) -> Result<(&Scenario, &Undisturbed), String> {
        let (scenario, cell) = &self.all[index];
        let made = cell.get_or_init(|| undisturbed(scenario.clone())).await;
        let reference = made.as_ref();
        reference
            .map(|reference| (scenario, reference))
            .map_err(|failure| format!("undisturbed: {failure}"))
    }
}

/// Every class of faults is drawn in so many seeds.
const LONG_RUN: u64 = 1_000;

/// In every so-manieth seed the database is set back.
pub(crate) const RESTORES: u64 = 8;

/// In every third world the forge's clock and the database's differ by up to a quarter of an hour.
fn clocks_apart(chance: &mut Chance) -> TimeDelta {
    let seconds = i64::try_from(chance.below(1_800)).expect("it is small") - 900;
    let apart = TimeDelta::seconds(seconds);
    chance.one_of(&[(2, TimeDelta::zero()), (1, apart)])
}

/// Plays one seed. What was injected is counted whatever comes of it.
async fn one(seed: u64, references: &References, tally: &Mutex<Tally>) -> Result<(), String> {
    let mut chance = Chance::new(seed);
    let restores = seed.is_multiple_of(RESTORES);
    let index = if restores {
        let can = restores::scenarios();
        can[chance.below(can.len())]
    } else {
        chance.below(references.all.len())
    };
    let (scenario, reference) = references.of(index).await?;
    let crashes = (0..chance.below(3)).map(|_| {
        // Disturbed ways are longer than the undisturbed one.
        CrashAt::Nth(1 + chance.below(reference.edges * 3 / 2))
    });
    let crashes = crashes.collect();
    let setup = Setup {
        seed,
        lag: Lag::up_to_ms(2_000),
        by_chance: 40 + chance.below(160),
        faults: true,
        restores,
        forge_behind: clocks_apart(&mut chance),
        crashes,
        ..Setup::undisturbed(scenario.clone())
    };
    let (end, world) = play(setup).await;
    {
        let mut tally = tally.lock().unwrap();
        for (class, count) in &world.injected {
            *tally.injected.entry(*class).or_default() += count;
        }
        let crashes = world.points.crashes().len();
        *tally.injected.entry(Class::Intermediate).or_default() += crashes;
        for (class, count) in wire::struck(&world.outside) {
            *tally.wire.entry(class).or_default() += count;
        }
    }
    let same = match end {
        Ok(end) if world.backups.restored > 0 => world
            .spared_by_restores()
            .and_then(|()| end.restored_as(&reference.end)),
        Ok(end) => end.same_as(&reference.end),
        Err(failure) => Err(failure),
    };
    let result = match same {
        Ok(()) => Ok(()),
        Err(failure) => Err(world.story(&failure).await),
    };
    world.outside.end().await;
    result
}

/// What many seeds came to.
#[derive(Default)]
struct Tally {
    failed: BTreeMap<u64, String>,
    injected: Injected,
    wire: OnTheWire,
}

impl Tally {
    /// A line for each class of faults, and the classes that were never injected.
    fn counted(&self) -> (String, Vec<String>) {
        let (mut text, mut never) = (String::new(), Vec::new());
        for class in Class::iter() {
            let count = self.injected.get(&class).copied().unwrap_or(0);
            let _ = writeln!(text, "injected, {class}: {count}");
            if count == 0 && (class == Class::People || FAULTS.iter().any(|one| one.class == class))
            {
                never.push(class.to_string());
            }
        }
        for class in wire::classes() {
            let count = self.wire.get(&class).copied().unwrap_or(0);
            let _ = writeln!(text, "on the wire, {class}: {count}");
            if count == 0 {
                never.push(class);
            }
        }
        (text, never)
    }
}

async fn many(seeds: impl Iterator<Item = u64>, workers: usize) -> Tally {
    let references = Arc::new(References::new());
    let tally = Arc::new(Mutex::new(Tally::default()));
    let worlds = seeds.map(|seed| {
        let (references, tally) = (references.clone(), tally.clone());
        async move {
            let play = move || async move { Box::pin(one(seed, &references, &tally)).await };
            (seed, alone(play).await)
        }
    });
    let mut worlds = futures::stream::iter(worlds).buffer_unordered(workers);
    let mut failed = BTreeMap::new();
    let mut played = 0_u64;
    while let Some((seed, ended)) = worlds.next().await {
        played += 1;
        if played.is_multiple_of(50) {
            note(&format!("{played} seeds played, {} failed", failed.len()));
        }
        if let Err(failure) = ended {
            note(&format!("seed {seed} FAILED: {failure}\n{}", again(seed)));
            failed.insert(seed, failure);
        }
    }
    drop(worlds);
    let tally = std::mem::take(&mut *tally.lock().unwrap());
    Tally { failed, ..tally }
}

/// The command that plays a seed again.
fn again(seed: u64) -> String {
    format!("again: make faults ARGS=\"--seeds 1 --start {seed} --only seeds\"")
}

/// The seeds of `make test`: always the same few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_seeds_end_as_undisturbed() {
    let tally = many(1..=4, 2).await;
    let failures: Vec<String> = tally.failed.keys().map(|seed| again(*seed)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Seeds whose databases are set back, always the same few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_restored_worlds_end_as_promised() {
    let tally = many([16, 80].into_iter(), 2).await;
    let failures: Vec<String> = tally.failed.keys().map(|seed| again(*seed)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

pub(super) fn number(variable: &str, otherwise: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}"))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "long: make faults runs it"]
async fn seeds_at_length() {
    let (seeds, start) = (number("FAULTS_SEEDS", 100), number("FAULTS_START", 1));
    let workers = usize::try_from(number("FAULTS_WORKERS", 3)).unwrap();
    let tally = many(start..start + seeds, workers).await;
    let (mut report, never) = tally.counted();
    // Few seeds may miss some.
    let missed = seeds >= LONG_RUN && !never.is_empty();
    if missed {
        let _ = writeln!(report, "never injected: {}", never.join("; "));
    }
    for seed in tally.failed.keys() {
        let _ = writeln!(report, "failed: seed {seed}; {}", again(*seed));
    }
    let failed = tally.failed.len() as u64;
    let passed = seeds - failed;
    let _ = writeln!(
        report,
        "{seeds} seeds from {start}: {passed} passed, {failed} failed"
    );
    note(&report);
    if let Ok(path) = std::env::var("FAULTS_REPORT") {
        std::fs::write(path, &report).unwrap();
    }
    assert!(failed == 0 && !missed, "{report}");
}
