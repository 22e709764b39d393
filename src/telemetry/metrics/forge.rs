//! Requests to the forge and the budget that is left for them.

use prometheus::{GaugeVec, IntCounterVec, Registry};

use super::register::{self, Made};

/// Requests to the forge and their budget.
#[derive(Debug, Clone)]
pub struct ForgeMetrics {
    requests: IntCounterVec,
    budget: GaugeVec,
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

    /// What is left of a budget. The credential is its name among ours (`writer`, `reader`).
    pub fn set_budget(&self, credential: &str, resource: &str, remaining: f64) {
        self.budget
            .with_label_values(&[credential, resource])
            .set(remaining);
    }
}
