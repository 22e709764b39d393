//! Requests to the forge and the budget that is left for them.

use std::time::Duration;

use prometheus::{Gauge, GaugeVec, IntCounterVec, Registry};

use super::register::{self, Made};

/// Requests to the forge and their budget.
#[derive(Debug, Clone)]
pub struct ForgeMetrics {
    requests: IntCounterVec,
    points: IntCounterVec,
    budget: GaugeVec,
    predicted: GaugeVec,
    period: Gauge,
}

impl ForgeMetrics {
    pub(super) fn register(registry: &Registry) -> Made<Self> {
        Ok(Self {
            requests: register::counters(
                registry,
                "forge_requests_total",
                "Requests to the forge, by purpose and result.",
                &["purpose", "result"],
            )?,
            points: register::counters(
                registry,
                "forge_points_total",
                "GraphQL points that queries cost, by purpose.",
                &["purpose"],
            )?,
            predicted: register::gauges(
                registry,
                "forge_budget_predicted",
                "Requests or points that will have been used at the budget's reset at the present period, by credential and resource.",
                &["credential", "resource"],
            )?,
            period: register::gauge(
                registry,
                "forge_poll_period_seconds",
                "How long the reconciler waits between two polls of the forge at present.",
            )?,
            budget: register::gauges(
                registry,
                "forge_budget_remaining",
                "Requests or points left until the budget's reset, by credential and resource.",
                &["credential", "resource"],
            )?,
        })
    }

    /// How many requests were made so far. The purpose is one of a fixed set (`detect`,
    /// `comment`), no address.
    pub fn set_requests(&self, purpose: &str, result: &str, total: u64) {
        let counter = self.requests.with_label_values(&[purpose, result]);
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// How many points queries have cost so far.
    pub fn set_points(&self, purpose: &str, total: u64) {
        let counter = self.points.with_label_values(&[purpose]);
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// What will have been used of a budget at its reset.
    pub fn set_predicted(&self, credential: &str, resource: &str, used: f64) {
        self.predicted
            .with_label_values(&[credential, resource])
            .set(used);
    }

    /// How long the pause between two polls is.
    pub fn set_period(&self, period: Duration) {
        self.period.set(period.as_secs_f64());
    }

    /// What is left of a budget. The credential is its name among ours (`writer`, `reader`).
    pub fn set_budget(&self, credential: &str, resource: &str, remaining: f64) {
        self.budget
            .with_label_values(&[credential, resource])
            .set(remaining);
    }
}
