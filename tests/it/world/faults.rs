//! Faults as data: what can be injected between two steps, and what class of
//! fault it stands for. A further fault is a further line of [`FAULTS`].

use codex_k8s::sandbox::{github::Lag, seed::REPOSITORIES};
use futures::future::BoxFuture;

use super::{driver::World, level, replicas, restores, wire};

/// A repository in which nothing is asked for.
const NOTES: &str = REPOSITORIES[1];

/// Classes of faults, as the literature on controllers sorts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::Display, strum::EnumIter)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Class {
    /// Reads show the world as it was.
    #[strum(serialize = "stale state")]
    Stale,
    /// The process ends between two writes.
    #[strum(serialize = "intermediate state")]
    Intermediate,
    /// Something comes and goes between two reads.
    #[strum(serialize = "unobserved state")]
    Unobserved,
    /// People race the platform.
    People,
    /// Config that cannot be used.
    #[strum(serialize = "bad input")]
    BadInput,
    /// More than one process.
    Replica,
    /// A database from earlier.
    Restore,
    /// Servers and connections fail.
    Infrastructure,
}

/// A fault that can be injected between two steps.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    /// How likely it is drawn beside the others.
    pub(crate) weight: usize,
    pub(crate) inject: for<'w> fn(&'w mut World) -> BoxFuture<'w, ()>,
}

/// All faults. What they leave behind is put right by [`World::mend`].
pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "the forge lags",
        class: Class::Stale,
        weight: 3,
        inject: lag,
    },
    Fault {
        name: "the forge's wire is bad",
        class: Class::Infrastructure,
        weight: 8,
        inject: wire::at_the_forge,
    },
    Fault {
        name: "the cluster's wire is bad",
        class: Class::Infrastructure,
        weight: 6,
        inject: wire::at_the_cluster,
    },
    Fault {
        name: "the watches stand still",
        class: Class::Stale,
        weight: 2,
        inject: wire::hold_watches,
    },
    Fault {
        name: "the forge's clock leaps ahead",
        class: Class::Infrastructure,
        weight: 1,
        inject: wire::leap,
    },
    Fault {
        name: "all connections to the database are cut",
        class: Class::Infrastructure,
        weight: 2,
        inject: wire::cut_connections,
    },
    Fault {
        name: "all watches break and begin anew",
        class: Class::Infrastructure,
        weight: 2,
        inject: break_watches,
    },
    Fault {
        name: "the process is killed between two steps",
        class: Class::Intermediate,
        weight: 2,
        inject: kill,
    },
    Fault {
        name: "a broken config is committed",
        class: Class::BadInput,
        weight: 2,
        inject: break_config,
    },
    Fault {
        name: "a label is put on and taken off between two polls",
        class: Class::Unobserved,
        weight: 1,
        inject: flicker,
    },
    Fault {
        name: "hints come, several times and for what is not there",
        class: Class::Unobserved,
        weight: 2,
        inject: level::hints,
    },
    Fault {
        name: "the process freezes, and wakes after another took over",
        class: Class::Replica,
        weight: 3,
        inject: replicas::freeze,
    },
    Fault {
        name: "the process freezes in a pass before an intent, and goes on with it after another took over",
        class: Class::Replica,
        weight: 3,
        inject: replicas::freeze_in_a_pass,
    },
    Fault {
        name: "the process gives its lease back, and another takes it at once",
        class: Class::Replica,
        weight: 2,
        inject: replicas::hand_over,
    },
    Fault {
        name: restores::BACK_UP,
        class: Class::Restore,
        weight: 12,
        inject: restores::back_up,
    },
    Fault {
        name: restores::SET_BACK,
        class: Class::Restore,
        weight: 12,
        inject: restores::set_back,
    },
];

/// What was injected without a wait.
fn at_once() -> BoxFuture<'static, ()> {
    Box::pin(std::future::ready(()))
}

/// From now on what is written shows up to a minute later.
fn lag(world: &mut World) -> BoxFuture<'_, ()> {
    let most = wire::greatest_lag(world);
    let most = u32::try_from(world.chance.below(most as usize)).expect("it is small");
    world.outside.github.set_lag(Lag::up_to_ms(most));
    at_once()
}

fn break_watches(world: &mut World) -> BoxFuture<'_, ()> {
    world.outside.kubernetes.compact();
    world.outside.kubernetes.break_watches();
    at_once()
}

fn kill(world: &mut World) -> BoxFuture<'_, ()> {
    Box::pin(world.replace_process())
}

fn break_config(world: &mut World) -> BoxFuture<'_, ()> {
    world.outside.config.break_it().unwrap();
    world.config_is_broken = true;
    at_once()
}

/// A label that starts nothing comes and goes on an issue that nothing happens to.
fn flicker(world: &mut World) -> BoxFuture<'_, ()> {
    let forge = &world.outside.github;
    forge.add_label(NOTES, 1, "grace", "run:next").unwrap();
    let off = forge.remove_label(NOTES, 1, "grace", "run:next");
    off.unwrap();
    at_once()
}
