//! Passes of the loop.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use super::register::{self, Made};

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::EnumIter)]
#[strum(serialize_all = "snake_case")]
pub enum PassResult {
    /// The plan was empty.
    Settled,
    /// Actions were applied.
    Applied,
    /// It waits for something and says when it comes back.
    Waiting,
    /// A rule was broken; people must look.
    Stalled,
    /// It failed in a way that the next pass may not.
    Transient,
}

/// Passes of the loop.
#[derive(Debug, Clone)]
pub struct PassMetrics {
    duration: HistogramVec,
    actions_planned: IntCounterVec,
    report_lines: IntGaugeVec,
    alerts: IntCounterVec,
}

impl PassMetrics {
    pub(super) fn register(registry: &Registry) -> Made<Self> {
        Ok(Self {
            duration: register::histograms(
                registry,
                "pass_duration_seconds",
                "How long a pass took, by result.",
                &["result"],
                register::WORK_SECONDS,
            )?,
            actions_planned: register::counters(
                registry,
                "plan_actions_total",
                "Actions planned, by kind.",
                &["kind"],
            )?,
            report_lines: register::int_gauges(
                registry,
                "plan_report_lines",
                "Lines of the last report, by state.",
                &["state"],
            )?,
            alerts: register::counters(
                registry,
                "plan_check_failures_total",
                "Finished plans that broke a consistency rule, by rule.",
                &["rule"],
            )?,
        })
    }

    /// A pass ended.
    pub fn ended(&self, result: PassResult, took: Duration) {
        self.duration
            .with_label_values::<&str>(&[result.into()])
            .observe(took.as_secs_f64());
    }

    /// A plan holds so many actions of a kind.
    pub fn planned(&self, kind: &'static str, count: usize) {
        self.actions_planned
            .with_label_values(&[kind])
            .inc_by(count as u64);
    }

    /// The last report holds so many lines in a state.
    pub fn reported(&self, state: &'static str, count: usize) {
        self.report_lines
            .with_label_values(&[state])
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A consistency rule took actions out of a plan.
    pub fn check_failed(&self, rule: &'static str) {
        self.alerts.with_label_values(&[rule]).inc();
    }
}
