//! The lease: one replica reconciles, the others stand by warm.
//!
//! The grant is renewed well before its end. Outside Postgres nothing is sent
//! after `until − margin`, measured on the boot-time clock that goes on while
//! a process is stopped; and a new holder sends nothing before the former
//! holder's `until + margin`, unless that one gave the lease back.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    apply::WriterProof,
    cluster::{Cluster, LeaseRecord, NotSent, WriteGate},
    domain::ids::Epoch,
    store::{Edge, LeaseGrant, Store, StoreError},
    telemetry::metrics::Metrics,
};

/// The lease's constants.
#[derive(Debug, Clone, Copy)]
pub struct LeaseTiming {
    /// How long a grant lasts.
    pub lease: Duration,
    /// How long before its end the last write leaves.
    pub margin: Duration,
}

impl LeaseTiming {
    /// The last moment of sending under a grant that was asked for at this time since boot.
    fn send_until(&self, asked_at: Duration) -> Duration {
        asked_at + self.lease.saturating_sub(self.margin)
    }
}

/// Seconds since boot as a duration; unlike the monotonic clock it counts time asleep.
fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[derive(Debug)]
struct Held {
    grant: LeaseGrant,
    /// Last moment of sending, since boot.
    send_until: Duration,
    /// First moment of sending, since boot.
    send_from: Duration,
}

/// What this process knows of its lease; also the gate that every changing call asks.
#[derive(Debug, Clone)]
pub struct LeaseState {
    held: Arc<Mutex<Option<Held>>>,
    changed: Arc<watch::Sender<bool>>,
}

impl Default for LeaseState {
    fn default() -> Self {
        Self {
            held: Arc::default(),
            changed: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl LeaseState {
    fn with<T>(&self, f: impl FnOnce(&mut Option<Held>) -> T) -> T {
        f(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows whether the lease is held.
    pub fn held(&self) -> watch::Receiver<bool> {
        self.changed.subscribe()
    }

    fn set(&self, held: Option<Held>) {
        let is_held = held.is_some();
        self.with(|slot| *slot = held);
        self.changed
            .send_if_modified(|before| std::mem::replace(before, is_held) != is_held);
    }

    fn check(&self) -> Result<(), String> {
        self.with(|held| match held {
            None => Err("the lease is not held".to_owned()),
            Some(held) => {
                let now = since_boot();
                if now >= held.send_until {
                    Err("the lease is about to end".to_owned())
                } else if now < held.send_from {
                    Err("a former holder's requests may still be on their way".to_owned())
                } else {
                    Ok(())
                }
            }
        })
    }

    /// How long until the first write may leave; `None` where the lease is not held.
    pub fn quiet_for(&self) -> Option<Duration> {
        self.with(|held| {
            held.as_ref()
                .map(|held| held.send_from.saturating_sub(since_boot()))
        })
    }
}

impl WriterProof for LeaseState {
    fn grant(&self) -> Option<LeaseGrant> {
        self.with(|held| {
            held.as_ref()
                .filter(|held| since_boot() < held.send_until)
                .map(|held| held.grant.clone())
        })
    }
}

impl WriteGate for LeaseState {
    fn may_write(&self) -> Result<(), NotSent> {
        self.check().map_err(|reason| NotSent { reason })
    }
}

impl crate::forge::WriteGate for LeaseState {
    fn may_write(&self) -> Result<(), String> {
        self.check()
    }
}

/// Takes, renews and gives back the lease.
#[derive(Debug)]
pub struct LeaseKeeper {
    store: Store,
    cluster: Arc<dyn Cluster>,
    holder: String,
    timing: LeaseTiming,
    state: LeaseState,
    metrics: Metrics,
}

impl LeaseKeeper {
    /// A keeper that holds nothing yet; `holder` is unique for this process.
    pub fn new(
        store: Store,
        cluster: Arc<dyn Cluster>,
        holder: String,
        timing: LeaseTiming,
        state: LeaseState,
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            cluster,
            holder,
            timing,
            state,
            metrics,
        }
    }

    /// Keeps the lease until told to stop; gives it back then.
    pub async fn run(&self, stop: CancellationToken) {
        let period = self.timing.lease / 4;
        loop {
            if let Err(error) = self.step().await {
                tracing::warn!(%error, "lease could not be kept");
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(period) => {}
            }
        }
        if let Some(grant) = self.state.with(|held| held.take().map(|held| held.grant)) {
            self.state.set(None);
            if let Err(error) = self.store.release(&grant).await {
                tracing::warn!(%error, "lease could not be given back");
            }
        }
        self.metrics.store.set_lease(false, 0);
    }

    /// Takes the lease where it is not held, else prolongs it.
    pub async fn step(&self) -> Result<(), StoreError> {
        let held = self
            .state
            .with(|held| held.as_ref().map(|held| held.grant.clone()));
        match held {
            Some(grant) => self.renew(&grant).await,
            None => self.acquire().await,
        }
    }

    async fn renew(&self, grant: &LeaseGrant) -> Result<(), StoreError> {
        let asked_at = since_boot();
        match self.store.renew(grant, self.timing.lease).await {
            Ok(grant) => {
                let send_until = self.timing.send_until(asked_at);
                let record = grant.clone();
                self.state.with(|held| {
                    if let Some(held) = held {
                        held.send_until = send_until;
                        held.grant = grant;
                    }
                });
                let edges = self.store.edges();
                edges.at("lease prolonged", Edge::AfterCommit).await;
                self.copy(&record).await;
                Ok(())
            }
            Err(StoreError::LeaseLost) => {
                tracing::warn!("lease lost");
                self.metrics.store.lease_lost();
                self.metrics.store.set_lease(false, 0);
                self.state.set(None);
                Err(StoreError::LeaseLost)
            }
            Err(error) => {
                let over = self.state.with(|held| {
                    held.as_ref()
                        .is_some_and(|held| since_boot() >= held.send_until)
                });
                if over {
                    self.state.set(None);
                }
                Err(error)
            }
        }
    }

    async fn acquire(&self) -> Result<(), StoreError> {
        let before = self.store.read_lease().await?;
        let asked_at = since_boot();
        let Some(mut grant) = self
            .store
            .try_acquire(&self.holder, self.timing.lease)
            .await?
        else {
            return Ok(());
        };
        let clean = before.holder.is_none();
        let quiet = if clean {
            Duration::ZERO
        } else {
            let margin = chrono::Duration::from_std(self.timing.margin).unwrap_or_default();
            (before.until + margin - grant.now)
                .to_std()
                .unwrap_or_default()
        };
        self.jump_if_restored(&mut grant).await?;
        tracing::info!(
            lease.epoch = grant.epoch.0,
            lease.quiet_ms = quiet.as_millis(),
            "lease taken"
        );
        self.metrics.store.set_lease(true, grant.epoch.0);
        let record = grant.clone();
        self.store
            .edges()
            .at("lease taken", Edge::AfterCommit)
            .await;
        self.state.set(Some(Held {
            grant,
            send_until: self.timing.send_until(asked_at),
            send_from: asked_at + quiet,
        }));
        self.copy(&record).await;
        Ok(())
    }

    /// A database whose epoch is behind the cluster's copy was restored from a backup: its
    /// epochs jump ahead, so that none is ever given twice.
    async fn jump_if_restored(&self, grant: &mut LeaseGrant) -> Result<(), StoreError> {
        match self.cluster.read_lease_record().await {
            Ok(Some(record)) if record.epoch >= grant.epoch.0 => {
                tracing::warn!(
                    lease.epoch = grant.epoch.0,
                    cluster.epoch = record.epoch,
                    "the database is behind the cluster's copy of the lease: restored"
                );
                grant.epoch = self.store.jump_epoch(Epoch(record.epoch + 1)).await?;
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "the cluster's copy of the lease cannot be read");
                Ok(())
            }
        }
    }

    /// Copies epoch and beat to the cluster. Losing a copy costs nothing but the proof.
    async fn copy(&self, grant: &LeaseGrant) {
        if self.state.check().is_err() {
            return;
        }
        let record = LeaseRecord {
            holder: grant.holder.clone(),
            epoch: grant.epoch.0,
            beat: grant.beat,
        };
        if let Err(error) = self.cluster.write_lease_record(&record).await {
            tracing::debug!(%error, "the lease could not be copied to the cluster");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    const FAR: Duration = Duration::from_hours(1);

    fn state(send_from: Duration, send_until: Duration) -> LeaseState {
        let state = LeaseState::default();
        state.set(Some(Held {
            grant: LeaseGrant {
                holder: "replica-a".to_owned(),
                epoch: Epoch(1),
                until: Timestamp::UNIX_EPOCH,
                beat: 1,
                now: Timestamp::UNIX_EPOCH,
            },
            send_until,
            send_from,
        }));
        state
    }

    #[test]
    fn nothing_is_sent_without_a_lease_in_its_quiet_time_or_near_its_end() {
        let now = since_boot();
        assert!(LeaseState::default().check().is_err());
        let open = state(now, now + FAR);
        assert!(open.check().is_ok() && open.grant().is_some());
        let quiet = state(now + FAR, now + FAR * 2);
        assert!(quiet.check().is_err() && quiet.grant().is_some());
        // The clock stands at or after the end: rows are not written either.
        let ending = state(Duration::ZERO, now);
        assert!(ending.check().is_err() && ending.grant().is_none());
        open.set(None);
        assert!(open.check().is_err() && open.grant().is_none());
    }

    #[test]
    fn the_last_write_leaves_a_margin_before_the_end() {
        let margin = Duration::from_secs(12);
        let timing = LeaseTiming {
            lease: Duration::from_mins(1),
            margin,
        };
        assert_eq!(
            timing.send_until(Duration::from_secs(100)),
            Duration::from_secs(148)
        );
    }
}
