//! What the listeners count.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, core::Collector};

use crate::domain::model_route::Usage;

/// Counters of the API roles, shared by their handlers.
#[derive(Debug, Clone)]
pub struct ApiMetrics {
    /// Webhook deliveries by result and event.
    pub webhooks: IntCounterVec,
    /// Seconds until a delivery was answered, by result.
    pub webhook_seconds: HistogramVec,
    /// Calls of the run API by route and status class.
    pub run_calls: IntCounterVec,
    /// Pushes by what became of them.
    pub pushes: IntCounterVec,
    /// Calls of models by provider and what became of them.
    model_calls: IntCounterVec,
    /// Calls of tools by tool and what became of them.
    tool_calls: IntCounterVec,
    /// Tokens by provider and kind.
    model_tokens: IntCounterVec,
}

impl ApiMetrics {
    /// Makes the metrics and registers them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registered(registry, counter)
        };
        let seconds = HistogramOpts::new(
            "codexk8s_webhook_duration_seconds",
            "Time until a webhook delivery was answered.",
        );
        Ok(Self {
            webhooks: counter(
                "codexk8s_webhook_requests_total",
                "Webhook deliveries by result and event.",
                &["result", "event"],
            )?,
            webhook_seconds: registered(registry, HistogramVec::new(seconds, &["result"])?)?,
            run_calls: counter(
                "codexk8s_run_api_requests_total",
                "Run API calls by route and status class.",
                &["route", "status"],
            )?,
            pushes: counter(
                "codexk8s_run_pushes_total",
                "Pushes received from agents by outcome.",
                &["outcome"],
            )?,
            model_calls: counter(
                "codexk8s_model_calls_total",
                "Calls of models by provider and outcome.",
                &["provider", "outcome"],
            )?,
            tool_calls: counter(
                "codexk8s_tool_calls_total",
                "Calls of the platform's tools by tool and outcome; `other` is not granted.",
                &["tool", "outcome"],
            )?,
            model_tokens: counter(
                "codexk8s_model_tokens_total",
                "Tokens used, as providers told them: `input` holds `cached`.",
                &["provider", "kind"],
            )?,
        })
    }
}

impl ApiMetrics {
    /// Counts a call of a model.
    pub(crate) fn count_model_call(&self, provider: &str, outcome: &str) {
        let calls = self.model_calls.with_label_values(&[provider, outcome]);
        calls.inc();
    }

    /// Counts a call of a tool.
    pub(crate) fn count_tool_call(&self, tool: &str, outcome: &str) {
        self.tool_calls.with_label_values(&[tool, outcome]).inc();
    }

    /// Counts tokens; unknown ones are not.
    pub(crate) fn count_tokens(&self, provider: &str, usage: Usage) {
        let told = [
            ("input", usage.input),
            ("cached", usage.cached),
            ("output", usage.output),
        ];
        for (kind, tokens) in told {
            if let Some(tokens) = tokens {
                let counter = self.model_tokens.with_label_values(&[provider, kind]);
                counter.inc_by(tokens);
            }
        }
    }
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
