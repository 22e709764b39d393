//! The weather between the platform and its servers: for a seeded while some requests are
//! lost, refused, answered late, by half, twice or with what was true before; then it clears up.
//!
//! Every line of [`FORGE`] and [`CLUSTER`] is a class of faults that is counted by itself. Of
//! each is expected that the world ends as without it: an answer that is lost, refused or old
//! says nothing for good. What a server says definitely it is believed, though, so definite
//! lies are left out, each of them for what the platform rightly makes of it:
//! - 404 or 410 for an issue under a repository that can be read: the issue left, and its
//!   triggers are withdrawn;
//! - 404 for an account's permission beside a readable repository: the account has none, and
//!   its trigger is refused for good;
//! - 404 or 409 for a branch: it is not there, or the repository is empty;
//! - 404 for a label to take off or a comment to edit: it is off already, or gone;
//! - 404 of the cluster for one object: it is not there; an apply makes it, a deletion is done.

use std::{collections::BTreeMap, time::Duration};

use codex_k8s::sandbox::{github, kubernetes};
use futures::future::BoxFuture;

use super::{chance::Chance, driver::World, outside::Outside};

/// The most requests that a rule strikes: 30 %.
const MOST_PER_MILLION: usize = 300_000;
/// The longest that the weather lasts, in steps.
const LONGEST: usize = 60;
/// Longer than any pause after failures.
const AFTER: Duration = Duration::from_mins(6);
/// What the forge hides at most, in milliseconds, by lag and stale reads together; the
/// platform relies on sixty seconds.
const MOST_HIDDEN: u32 = 58_000;
/// What is left of it for the one of the two that a world has little of.
const LITTLE_HIDDEN: u32 = 3_000;

/// Bad weather in force: the steps that are left of it.
#[derive(Debug, Default)]
pub(crate) struct Weather {
    wire: usize,
    watches: usize,
    /// Whether there ever was any.
    any: bool,
}

impl Weather {
    /// Whether the platform may see an earlier cluster than there is.
    pub(crate) fn hides_the_cluster(&self) -> bool {
        self.watches > 0
    }
}

/// A class of faults at the forge: its name in the model's counters, and the routes that it
/// does not lie on.
struct AtForge {
    name: &'static str,
    routes: &'static [&'static str],
    fault: fn(&mut Chance, u32) -> github::Fault,
}

const EVERYWHERE: &[&str] = &["*", "GET *", "POST *", "PATCH *", "DELETE *", "GIT *"];
const READS: &[&str] = &["GET *"];
/// Where an absence is no definite word on a subject, a branch, an account or a label.
const INDEFINITE: &[&str] = &[
    "POST *",
    "GET /repos/{owner}/{repo}",
    "GET /repos/{owner}/{repo}/issues",
    "GET /repos/{owner}/{repo}/issues/events",
];

const fn status(status: u16) -> github::Fault {
    github::Fault::Status {
        status,
        retry_after: None,
    }
}

/// A refusal that says when to come again.
fn later(status: u16, chance: &mut Chance) -> github::Fault {
    github::Fault::Status {
        status,
        retry_after: Some(chance.one_of(&[(1, 20), (1, 60), (1, 120)])),
    }
}

const fn forge(
    name: &'static str,
    routes: &'static [&'static str],
    fault: fn(&mut Chance, u32) -> github::Fault,
) -> AtForge {
    AtForge {
        name,
        routes,
        fault,
    }
}

const FORGE: &[AtForge] = &[
    forge("lost-request", EVERYWHERE, |_, _| {
        github::Fault::LostRequest { hold_ms: 0 }
    }),
    forge("lost-answer", EVERYWHERE, |_, _| {
        github::Fault::LostAnswer { hold_ms: 0 }
    }),
    forge("truncated-body", EVERYWHERE, |_, _| {
        github::Fault::TruncatedBody
    }),
    forge("slow", EVERYWHERE, |_, _| github::Fault::Slow { by_ms: 5 }),
    forge("401", EVERYWHERE, |_, _| status(401)),
    forge("403", EVERYWHERE, |_, _| status(403)),
    forge("403 with retry-after", EVERYWHERE, |chance, _| {
        later(403, chance)
    }),
    forge("404", INDEFINITE, |_, _| status(404)),
    forge("409", INDEFINITE, |_, _| status(409)),
    forge("410", INDEFINITE, |_, _| status(410)),
    forge("422", &["POST *", "PATCH *"], |_, _| status(422)),
    forge("429", EVERYWHERE, |_, _| status(429)),
    forge("429 with retry-after", EVERYWHERE, |chance, _| {
        later(429, chance)
    }),
    forge("500", EVERYWHERE, |_, _| status(500)),
    forge("502", EVERYWHERE, |_, _| status(502)),
    forge("503", EVERYWHERE, |_, _| status(503)),
    forge("repeated-page", READS, |_, _| github::Fault::RepeatedPage),
    forge("not-modified", READS, |_, _| github::Fault::NotModified),
    forge("stale-read", &["GET *", "POST /graphql"], |chance, most| {
        let by_ms = u32::try_from(chance.below(most as usize)).expect("it is small");
        github::Fault::StaleRead { by_ms }
    }),
];

/// A class of faults at the cluster: its name in the model's counters, and the verbs that it
/// does not lie on.
struct AtCluster {
    name: &'static str,
    verbs: &'static [kubernetes::Verb],
    fault: fn() -> kubernetes::Fault,
}

const ALL: &[kubernetes::Verb] = &[
    kubernetes::Verb::Get,
    kubernetes::Verb::Create,
    kubernetes::Verb::Apply,
    kubernetes::Verb::Delete,
];
const CHANGES: &[kubernetes::Verb] = &[
    kubernetes::Verb::Create,
    kubernetes::Verb::Apply,
    kubernetes::Verb::Delete,
];
const APPLY: &[kubernetes::Verb] = &[kubernetes::Verb::Apply];

const fn cluster(
    name: &'static str,
    verbs: &'static [kubernetes::Verb],
    fault: fn() -> kubernetes::Fault,
) -> AtCluster {
    AtCluster { name, verbs, fault }
}

fn refusal(code: u16, reason: &str) -> kubernetes::Fault {
    kubernetes::Fault::Status {
        code,
        reason: reason.to_owned(),
        message: format!("{reason}, as a test wants it"),
    }
}

const CLUSTER: &[AtCluster] = &[
    cluster("lost-request", ALL, || kubernetes::Fault::CutBefore),
    cluster("lost-answer", ALL, || kubernetes::Fault::CutAfter),
    cluster("truncated-body", ALL, || kubernetes::Fault::Truncated),
    cluster("slow", ALL, || {
        kubernetes::Fault::Slow(Duration::from_millis(5))
    }),
    cluster("401", ALL, || refusal(401, "Unauthorized")),
    cluster("403", ALL, || refusal(403, "Forbidden")),
    cluster("404", APPLY, || refusal(404, "NotFound")),
    cluster("409", CHANGES, || refusal(409, "Conflict")),
    cluster("410", APPLY, || refusal(410, "Gone")),
    cluster("422", APPLY, || refusal(422, "Invalid")),
    cluster("429", ALL, || refusal(429, "TooManyRequests")),
    cluster("500", ALL, || refusal(500, "InternalError")),
    cluster("503", ALL, || refusal(503, "ServiceUnavailable")),
    cluster("504", ALL, || refusal(504, "Timeout")),
];

/// The name of every class on the wire.
pub(crate) fn classes() -> Vec<String> {
    let forge = FORGE.iter().map(|one| format!("forge, {}", one.name));
    let cluster = CLUSTER.iter().map(|one| format!("cluster, {}", one.name));
    forge.chain(cluster).collect()
}

/// How often each class struck in a world.
pub(crate) fn struck(outside: &Outside) -> BTreeMap<String, u64> {
    let forge = outside.github.counters().faults.into_iter();
    let forge = forge.map(|(name, count)| (format!("forge, {name}"), count));
    let cluster = outside.kubernetes.faults_struck().into_iter();
    let cluster = cluster.map(|(name, count)| (format!("cluster, {name}"), count));
    forge.chain(cluster).collect()
}

/// How much the forge lags in this world at most, and how old its stale reads are.
fn hidden(world: &World) -> (u32, u32) {
    let most = MOST_HIDDEN - LITTLE_HIDDEN;
    match world.setup.seed % 2 {
        0 => (most, LITTLE_HIDDEN),
        _ => (LITTLE_HIDDEN, most),
    }
}

/// The greatest lag of this world, in milliseconds.
pub(crate) fn greatest_lag(world: &World) -> u32 {
    hidden(world).0
}

/// Some requests to the forge go wrong for a while.
pub(crate) fn at_the_forge(world: &mut World) -> BoxFuture<'_, ()> {
    let oldest = hidden(world).1;
    for _ in 0..2 + world.chance.below(4) {
        let class = &FORGE[world.chance.below(FORGE.len())];
        let route = class.routes[world.chance.below(class.routes.len())];
        let fault = (class.fault)(&mut world.chance, oldest);
        let rate = rate(&mut world.chance);
        world.note(format!(
            "WIRE: forge, {fault:?} on {route}, {rate} of a million"
        ));
        let rule = github::FaultRule::sometimes(route, fault, rate);
        world.outside.github.add_fault(rule);
    }
    lasts(world);
    Box::pin(std::future::ready(()))
}

/// Some requests to the cluster go wrong for a while.
pub(crate) fn at_the_cluster(world: &mut World) -> BoxFuture<'_, ()> {
    let seed = world.chance.below(usize::MAX) as u64;
    world.outside.kubernetes.seed_faults(seed);
    for _ in 0..2 + world.chance.below(4) {
        let class = &CLUSTER[world.chance.below(CLUSTER.len())];
        let verb = class.verbs[world.chance.below(class.verbs.len())];
        let rate = rate(&mut world.chance);
        let name = class.name;
        world.note(format!(
            "WIRE: cluster, {name} on {verb}, {rate} of a million"
        ));
        let rule = kubernetes::FaultRule::sometimes(verb, (class.fault)(), rate);
        world.outside.kubernetes.fault(rule);
    }
    lasts(world);
    Box::pin(std::future::ready(()))
}

fn rate(chance: &mut Chance) -> u32 {
    u32::try_from(50_000 + chance.below(MOST_PER_MILLION - 50_000)).expect("it is small")
}

fn lasts(world: &mut World) {
    let steps = 10 + world.chance.below(LONGEST - 10);
    world.weather.wire = world.weather.wire.max(steps);
    world.weather.any = true;
}

/// The platform goes on with the cluster as it is now for a while.
pub(crate) fn hold_watches(world: &mut World) -> BoxFuture<'_, ()> {
    world.outside.kubernetes.hold_watches(true);
    world.weather.watches = 2 + world.chance.below(15);
    world.weather.any = true;
    Box::pin(std::future::ready(()))
}

/// The forge's clock leaps ahead of the others.
pub(crate) fn leap(world: &mut World) -> BoxFuture<'_, ()> {
    let seconds = i64::try_from(1 + world.chance.below(300)).expect("it is small");
    let ahead = chrono::TimeDelta::seconds(seconds);
    world.outside.github.advance(ahead);
    Box::pin(std::future::ready(()))
}

/// Every connection to the database breaks but the driver's own.
pub(crate) fn cut_connections(world: &mut World) -> BoxFuture<'_, ()> {
    Box::pin(async {
        let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()";
        world.count(cut).await;
    })
}

impl World {
    /// A step's time goes by; what has lasted its while is over.
    pub(crate) async fn weather_passes(&mut self) {
        let weather = &mut self.weather;
        let clears = weather.wire == 1;
        let shows = weather.watches == 1;
        weather.wire = weather.wire.saturating_sub(1);
        weather.watches = weather.watches.saturating_sub(1);
        if clears {
            self.wire_is_well();
        }
        if shows {
            self.outside.kubernetes.hold_watches(false);
            self.settle_cluster().await;
        }
    }

    pub(crate) fn wire_is_well(&mut self) {
        self.weather.wire = 0;
        self.outside.github.clear_faults();
        self.outside.kubernetes.clear_faults();
        self.note("the wire is well again");
    }

    /// The weather ends, and the pauses that came of it pass.
    pub(crate) async fn clear_up(&mut self) {
        self.wire_is_well();
        self.weather.watches = 0;
        self.outside.kubernetes.hold_watches(false);
        self.settle_cluster().await;
        if std::mem::take(&mut self.weather.any) {
            self.advance(AFTER).await;
        }
    }
}
