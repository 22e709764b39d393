//! The process's metrics: one registry, one struct per subsystem.
//!
//! All names start with `codexk8s_` and use base units. A struct's `register`
//! makes its metrics and adds them; the rest of the code holds the structs and
//! calls their methods, never a metric by name.

mod apply;
mod desired;
mod forge;
mod observed;
mod pass;
mod register;
mod runs;
mod store;

use prometheus::{Encoder as _, Registry, TextEncoder};

pub use apply::{ApplyMetrics, WriteTarget};
pub use desired::{DesiredMetrics, Load};
pub use forge::ForgeMetrics;
pub use observed::{ObservedMetrics, Source};
pub use pass::{PassMetrics, PassResult};
pub use runs::RunMetrics;
pub use store::StoreMetrics;

/// All metrics of a process.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Passes of the loop.
    pub pass: PassMetrics,
    /// Actions, effects and writes.
    pub apply: ApplyMetrics,
    /// Runs, queue and slots.
    pub runs: RunMetrics,
    /// Requests to the forge and their budget.
    pub forge: ForgeMetrics,
    /// Freshness of what was observed.
    pub observed: ObservedMetrics,
    /// The config repo.
    pub desired: DesiredMetrics,
    /// Database and lease.
    pub store: StoreMetrics,
}

impl Metrics {
    /// Makes and registers all metrics.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        Ok(Self {
            pass: PassMetrics::register(&registry)?,
            apply: ApplyMetrics::register(&registry)?,
            runs: RunMetrics::register(&registry)?,
            forge: ForgeMetrics::register(&registry)?,
            observed: ObservedMetrics::register(&registry)?,
            desired: DesiredMetrics::register(&registry)?,
            store: StoreMetrics::register(&registry)?,
            registry,
        })
    }

    /// The registry, for what registers and serves by itself.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The body of `/metrics`.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut body = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut body)?;
        String::from_utf8(body).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    /// The content type of [`Metrics::text`].
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";
}

#[cfg(test)]
mod tests;
