//! Database and lease.

use prometheus::{Gauge, IntCounter, IntGauge, Registry};

use super::register::{self, Made};

/// Database and lease.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    holder: IntGauge,
    epoch: IntGauge,
    lost: IntCounter,
    clock_skew: Gauge,
}

impl StoreMetrics {
    pub(super) fn register(registry: &Registry) -> Made<Self> {
        Ok(Self {
            holder: register::int_gauge(
                registry,
                "lease_holder",
                "1 where this replica holds the lease, else 0.",
            )?,
            epoch: register::int_gauge(
                registry,
                "lease_epoch",
                "The lease's epoch as this replica last saw it.",
            )?,
            lost: register::counter(
                registry,
                "lease_lost_total",
                "How often this replica lost the lease without giving it up.",
            )?,
            clock_skew: register::gauge(
                registry,
                "database_clock_skew_seconds",
                "The database's clock minus this machine's; only a hint, nothing depends on it.",
            )?,
        })
    }

    /// Whether this replica holds the lease, and the epoch it saw.
    pub fn set_lease(&self, holder: bool, epoch: i64) {
        self.holder.set(i64::from(holder));
        self.epoch.set(epoch);
    }

    /// The lease was lost without being given up.
    pub fn lease_lost(&self) {
        self.lost.inc();
    }

    /// The database's clock minus ours, in seconds.
    pub fn set_clock_skew(&self, seconds: f64) {
        self.clock_skew.set(seconds);
    }
}
