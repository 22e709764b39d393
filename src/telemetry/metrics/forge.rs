//! Requests to the forge and the budget that is left for them.

use std::time::Duration;

use prometheus::{GaugeVec, HistogramVec, IntCounterVec, Registry};

use super::register::{self, Made};

/// How a request to the forge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::EnumIter)]
#[strum(serialize_all = "snake_case")]
pub enum RequestResult {
    /// It was answered.
    Ok,
    /// Nothing had changed.
    NotModified,
    /// The forge said no.
    Refused,
    /// The budget is used up, or requests came too fast.
    RateLimited,
    /// The forge failed.
    ServerError,
    /// No answer came, or none that could be read.
    Lost,
}

/// Requests to the forge and their budget.
#[derive(Debug, Clone)]
pub struct ForgeMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
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
            duration: register::histograms(
                registry,
                "forge_request_duration_seconds",
                "How long a request to the forge took, by purpose.",
                &["purpose"],
                register::WORK_SECONDS,
            )?,
            budget: register::gauges(
                registry,
                "forge_budget_remaining",
                "Requests or points left until the budget's reset, by credential and resource.",
                &["credential", "resource"],
            )?,
        })
    }

    /// A request ended. The purpose is one of a fixed set (`detect`, `comment`), no address.
    pub fn requested(&self, purpose: &'static str, result: RequestResult, took: Duration) {
        self.requests
            .with_label_values(&[purpose, result.into()])
            .inc();
        self.duration
            .with_label_values(&[purpose])
            .observe(took.as_secs_f64());
    }

    /// What is left of a budget. The credential is its name among ours (`writer`, `reader`).
    pub fn set_budget(&self, credential: &'static str, resource: &str, remaining: f64) {
        self.budget
            .with_label_values(&[credential, resource])
            .set(remaining);
    }
}
