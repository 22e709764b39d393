//! The config repo: which revision is in force and whether the newest commit was taken.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::register::{self, Made};

/// What became of a commit of the config repo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::EnumIter)]
#[strum(serialize_all = "snake_case")]
pub enum Load {
    /// It is in force.
    Accepted,
    /// It has errors; the last good one stays in force.
    Rejected,
    /// The repository could not be read.
    Failed,
}

/// The config repo.
#[derive(Debug, Clone)]
pub struct DesiredMetrics {
    revision: IntGauge,
    errors: IntGauge,
    loads: IntCounterVec,
}

impl DesiredMetrics {
    pub(super) fn register(registry: &Registry) -> Made<Self> {
        Ok(Self {
            revision: register::int_gauge(
                registry,
                "config_revision",
                "The number of the accepted revision that is in force.",
            )?,
            errors: register::int_gauge(
                registry,
                "config_errors",
                "Errors of the newest commit; 0 where it is in force.",
            )?,
            loads: register::counters(
                registry,
                "config_loads_total",
                "Commits of the config repo that were looked at, by result.",
                &["result"],
            )?,
        })
    }

    /// A commit was looked at.
    pub fn loaded(&self, result: Load, errors: usize) {
        self.loads.with_label_values::<&str>(&[result.into()]).inc();
        if result != Load::Failed {
            self.errors.set(i64::try_from(errors).unwrap_or(i64::MAX));
        }
    }

    /// The revision in force.
    pub fn set_revision(&self, revision: i64) {
        self.revision.set(revision);
    }
}
