//! Random moments: replicas killed, frozen, told to stop and cut off, Postgres restarted, answers
//! slow and lost; the end is that of the undisturbed run, and nothing is sent out of turn.

use std::time::Duration;

use codex_k8s::sandbox::{
    github::{Fault, FaultRule},
    postgres::Shutdown,
};
use rustix::process::Signal;

use super::{
    super::stage::note,
    cast::{Cast, ENDS_WITHIN},
    link::Link,
};

const NAMES: [&str; 3] = ["a", "b", "c"];
const ROUTES: [&str; 4] = ["POST *", "PATCH *", "DELETE *", "GIT receive-pack"];

/// `SplitMix64`: small, and the same for the same seed everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % limit
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// What is done to the replicas, or to what they talk to.
#[derive(Debug, Clone, Copy)]
enum Disturbance {
    Kill(&'static str),
    Stop(&'static str),
    Freeze(&'static str, Duration),
    CutOff(&'static str, Duration),
    Restart(Shutdown),
    CutAll,
    Slow(&'static str, Duration),
    LoseAnswer(&'static str),
}

impl Disturbance {
    fn drawn(chance: &mut Chance, holder: Option<&'static str>) -> Self {
        let by_chance = NAMES[usize::try_from(chance.below(3)).unwrap()];
        // Whoever holds the lease is hit most of the time.
        let name = holder.filter(|_| chance.below(4) > 0).unwrap_or(by_chance);
        let route = ROUTES[usize::try_from(chance.below(4)).unwrap()];
        match chance.below(9) {
            0 => Self::Kill(name),
            1 => Self::Stop(name),
            2 | 3 => Self::Freeze(name, chance.millis(200, 14_000)),
            4 => Self::CutOff(name, chance.millis(200, 12_000)),
            5 => Self::Restart(Shutdown::Fast),
            6 => Self::Restart(Shutdown::Immediate),
            7 => Self::CutAll,
            _ if chance.below(2) == 0 => Self::Slow(route, chance.millis(100, 12_000)),
            _ => Self::LoseAnswer(route),
        }
    }
}

/// The replicas with their wires to Postgres.
struct Play {
    cast: Cast,
    links: Vec<(&'static str, Link)>,
}

impl Play {
    async fn begin() -> Self {
        let mut play = Self {
            cast: Cast::of(1.0).await,
            links: Vec::new(),
        };
        let port = play.cast.stage.world.postgres().unwrap().port();
        for name in NAMES {
            play.links.push((name, Link::to(port).await));
            play.start(name);
        }
        play
    }

    fn link(&self, name: &str) -> &Link {
        let found = self.links.iter().find(|(of, _)| *of == name);
        &found.unwrap().1
    }

    fn start(&mut self, name: &'static str) {
        let url = self.cast.url_over(self.link(name));
        self.cast
            .reconciler(name, &[("CODEXK8S_DATABASE_URL", url.as_str())]);
    }

    async fn disturb(&mut self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::Kill(name) => {
                self.cast.take(name).kill().unwrap();
                self.start(name);
            }
            Disturbance::Stop(name) => {
                let status = self.cast.take(name).stop(ENDS_WITHIN).await.unwrap();
                assert!(status.success(), "{name}: {status}");
                self.start(name);
            }
            Disturbance::Freeze(name, time) => {
                self.cast.signal(name, Signal::STOP);
                tokio::time::sleep(time).await;
                self.cast.signal(name, Signal::CONT);
            }
            Disturbance::CutOff(name, time) => {
                self.link(name).freeze(true);
                tokio::time::sleep(time).await;
                self.link(name).freeze(false);
            }
            Disturbance::Restart(how) => {
                let postgres = self.cast.stage.world.postgres().unwrap();
                postgres.restart(how).await.unwrap();
            }
            Disturbance::CutAll => self.cast.cut_all().await,
            Disturbance::Slow(route, by) => self.cast.slow(route, by),
            Disturbance::LoseAnswer(route) => {
                let rule = FaultRule::once(route, Fault::LostAnswer { hold_ms: 50 });
                self.cast.stage.world.github().add_fault(rule);
            }
        }
    }
}

async fn one(seed: u64) {
    let mut chance = Chance(seed);
    let mut play = Play::begin().await;
    play.cast
        .stage
        .until("one of them reconciles", || play.cast.holder())
        .await;
    play.cast.stage.label(1, "run:dev");
    play.cast.stage.label(2, "run:dev");
    for _ in 0..3 + chance.below(5) {
        tokio::time::sleep(chance.millis(50, 2_500)).await;
        let holder = play.cast.holder().await;
        let holder = NAMES
            .into_iter()
            .find(|name| holder.as_deref() == Some(name));
        let disturbance = Disturbance::drawn(&mut chance, holder);
        note(&format!("seed {seed}: {disturbance:?}, {holder:?} holds"));
        play.disturb(disturbance).await;
    }
    play.cast.same_end(1).await;
    play.cast.same_end(2).await;
    play.cast.nothing_left();
    play.cast.check_fences().await;
    play.cast.all_alive();
    play.cast.end().await;
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}"))
    })
}

/// Seed after seed; the seed of a failure is in the line before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults runs it"]
async fn replicas_disturbed_at_random_come_to_the_same_end() {
    let (seeds, start) = (number("FAULTS_SEEDS", 10), number("FAULTS_START", 1));
    for seed in start..start + seeds {
        note(&format!("replicas, seed {seed}"));
        one(seed).await;
    }
}
