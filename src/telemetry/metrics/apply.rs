//! Actions, effects and writes.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::register::{self, Made};

/// Where a write goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::EnumIter)]
#[strum(serialize_all = "snake_case")]
pub enum WriteTarget {
    /// The forge.
    Forge,
    /// The cluster.
    Cluster,
    /// Our own rows.
    Store,
}

/// Actions, effects and writes.
#[derive(Debug, Clone)]
pub struct ApplyMetrics {
    actions: IntCounterVec,
    writes: IntCounterVec,
    retrying: IntGauge,
}

impl ApplyMetrics {
    pub(super) fn register(registry: &Registry) -> Made<Self> {
        Ok(Self {
            actions: register::counters(
                registry,
                "actions_total",
                "Actions applied, by kind and outcome.",
                &["kind", "outcome"],
            )?,
            writes: register::counters(
                registry,
                "writes_total",
                "Writes that left us, by target.",
                &["target"],
            )?,
            retrying: register::int_gauge(
                registry,
                "effects_retrying",
                "Effects that failed and wait for their next try.",
            )?,
        })
    }

    /// An action was applied; its outcome is a word of the applier's own.
    pub fn applied(&self, kind: &'static str, outcome: &'static str) {
        self.actions.with_label_values(&[kind, outcome]).inc();
    }

    /// A write left us.
    pub fn wrote(&self, target: WriteTarget) {
        self.writes
            .with_label_values::<&str>(&[target.into()])
            .inc();
    }

    /// So many effects wait for their next try.
    pub fn set_retrying(&self, count: i64) {
        self.retrying.set(count);
    }
}
