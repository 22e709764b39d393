//! Runs, queue and slots.

use std::time::Duration;

use prometheus::{Histogram, IntGaugeVec, Registry};
use strum::IntoEnumIterator as _;

use super::register::{self, Made};
use crate::domain::{approval::ApprovalState, run::RunState};

/// Runs, queue and slots.
#[derive(Debug, Clone)]
pub struct RunMetrics {
    runs: IntGaugeVec,
    slots: IntGaugeVec,
    approvals: IntGaugeVec,
    queue_wait: Histogram,
    label_to_job: Histogram,
}

impl RunMetrics {
    pub(super) fn register(registry: &Registry) -> Made<Self> {
        let metrics = Self {
            runs: register::int_gauges(registry, "runs", "Runs, by state.", &["state"])?,
            slots: register::int_gauges(
                registry,
                "slots",
                "Slots of all projects: how many there are and how many are used.",
                &["kind"],
            )?,
            approvals: register::int_gauges(
                registry,
                "approvals",
                "Requests of agents that are open, by state.",
                &["state"],
            )?,
            queue_wait: register::histogram(
                registry,
                "run_queue_wait_seconds",
                "How long a run was in the queue before its launch.",
                register::WAIT_SECONDS,
            )?,
            label_to_job: register::histogram(
                registry,
                "run_label_to_job_seconds",
                "From the label at the forge to the run's first Job.",
                register::WAIT_SECONDS,
            )?,
        };
        for state in RunState::iter() {
            metrics.set_runs(state, 0);
        }
        Ok(metrics)
    }

    /// So many runs are in a state.
    pub fn set_runs(&self, state: RunState, count: i64) {
        self.runs
            .with_label_values::<&str>(&[state.into()])
            .set(count);
    }

    /// So many slots are used, of so many.
    pub fn set_slots(&self, used: i64, total: i64) {
        self.slots.with_label_values(&["used"]).set(used);
        self.slots.with_label_values(&["total"]).set(total);
    }

    /// So many requests of agents are in a state.
    pub fn set_approvals(&self, state: ApprovalState, count: i64) {
        self.approvals
            .with_label_values::<&str>(&[state.into()])
            .set(count);
    }

    /// A run left the queue.
    pub fn launched(&self, waited: Duration) {
        self.queue_wait.observe(waited.as_secs_f64());
    }

    /// A run's first Job was made.
    pub fn job_made(&self, since_label: Duration) {
        self.label_to_job.observe(since_label.as_secs_f64());
    }
}
