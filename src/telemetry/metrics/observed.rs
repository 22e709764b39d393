//! Freshness of what was observed.

use std::time::Duration;

use prometheus::{GaugeVec, IntGaugeVec, Registry};

use super::register::{self, Made};

/// Where facts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::EnumIter)]
#[strum(serialize_all = "snake_case")]
pub enum Source {
    /// The config repo.
    Config,
    /// The forge.
    Forge,
    /// The cluster.
    Cluster,
}

/// Freshness of what was observed.
#[derive(Debug, Clone)]
pub struct ObservedMetrics {
    age: GaugeVec,
    unknown: IntGaugeVec,
}

impl ObservedMetrics {
    pub(super) fn register(registry: &Registry) -> Made<Self> {
        Ok(Self {
            age: register::gauges(
                registry,
                "source_age_seconds",
                "Age of the oldest complete read of a source that is still in use.",
                &["source"],
            )?,
            unknown: register::int_gauges(
                registry,
                "source_unknown",
                "Parts of a source (repositories, kinds) that are unknown at present.",
                &["source"],
            )?,
        })
    }

    /// How old the oldest complete read of a source is.
    pub fn set_age(&self, source: Source, age: Duration) {
        self.age
            .with_label_values::<&str>(&[source.into()])
            .set(age.as_secs_f64());
    }

    /// So many parts of a source are unknown.
    pub fn set_unknown(&self, source: Source, parts: i64) {
        self.unknown
            .with_label_values::<&str>(&[source.into()])
            .set(parts);
    }
}
