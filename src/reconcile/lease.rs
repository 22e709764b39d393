//! The lease: one replica reconciles, the others stand by warm.
//!
//! The grant is renewed well before its end. Outside Postgres nothing is sent
//! after `until − margin`, measured on the boot-time clock that goes on while
//! a process is stopped; and a new holder sends nothing before the former
//! holder's `until + margin`, unless that one gave the lease back. The rows'
//! clock alone is not believed in that: it may have jumped. The former holder's
//! last beat was made before we saw it, so it sends nothing once a lease's time
//! has passed since on our own clock.
//!
//! A database that does not answer holds nobody up: each step is broken off by
//! us, because a server that is frozen or cut off breaks nothing off itself.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    apply::WriterProof,
    cluster::{Cluster, LeaseRecord, NotSent, WriteGate},
    domain::{Timestamp, ids::Epoch},
    store::{Edge, LeaseGrant, LeaseMark, LeaseRow, Store, StoreError},
    telemetry::metrics::Metrics,
};

/// How long giving the lease back may take: whoever stops with the database away must end.
const GIVE_BACK: Duration = Duration::from_secs(2);
/// A look this much after the lease's end finds it ended.
const JUST_AFTER: Duration = Duration::from_millis(5);

/// The lease's constants.
#[derive(Debug, Clone, Copy)]
pub struct LeaseTiming {
    /// How long a grant lasts.
    pub lease: Duration,
    /// How long before its end the last write leaves.
    pub margin: Duration,
    /// What a taker goes by.
    pub taker: TakerClock,
}

/// By what a taker knows that the former holder's last request has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakerClock {
    /// By the rows' clock and by its own: the rows' may have jumped.
    Both,
    /// By the rows' alone: for drivers that move that clock on purpose.
    Rows,
}

impl LeaseTiming {
    /// The last moment of sending under a grant that was asked for at this time since boot.
    fn send_until(&self, asked_at: Duration) -> Duration {
        asked_at + self.lease.saturating_sub(self.margin)
    }

    /// The first moment of sending under a grant that was answered at this time since boot: when
    /// nothing of the former holder can be on its way any more, by the rows' clock and, since its
    /// last beat was seen, by ours.
    fn send_from(
        &self,
        grant: &LeaseGrant,
        answered_at: Duration,
        seen: Option<Duration>,
    ) -> Duration {
        let left = |end: Timestamp| (end - grant.now).to_std().unwrap_or_default();
        // A restored row is not the former holder's last: that one may hold its lease for as
        // long as one lasts.
        let restored = grant.restored_at.map_or(Duration::ZERO, |at| {
            let left = left(at + span(self.lease + self.margin));
            if left.is_zero() {
                left
            } else {
                answered_at + left
            }
        });
        let Some(until) = grant.former_until else {
            return restored;
        };
        let by_rows = answered_at + left(until + span(self.margin));
        let former = match self.taker {
            TakerClock::Both => by_rows.max(seen.unwrap_or(answered_at) + self.lease),
            TakerClock::Rows => by_rows,
        };
        former.max(restored)
    }

    /// How often it is renewed.
    fn renew_every(&self) -> Duration {
        self.lease / 4
    }

    /// How often a standby looks at it: often enough that its own measure of a dead holder's
    /// time ends no later than that one's `until + margin`.
    fn look_every(&self) -> Duration {
        (self.lease / 6).min(self.margin / 2)
    }

    /// How long one step may take. The server's own limit for a statement is shorter.
    fn step_limit(&self) -> Duration {
        self.lease / 3
    }
}

fn span(duration: Duration) -> chrono::Duration {
    chrono::Duration::from_std(duration).unwrap_or_default()
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
    leaving: Arc<AtomicBool>,
}

impl Default for LeaseState {
    fn default() -> Self {
        Self {
            held: Arc::default(),
            changed: Arc::new(watch::Sender::new(false)),
            leaving: Arc::default(),
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

    /// From now on nothing new is begun; what is in hand goes on.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
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

    fn may_begin(&self) -> bool {
        !self.leaving.load(Ordering::Relaxed)
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
    /// Nudged when the lease was given back, perhaps.
    free: Arc<Notify>,
    /// The last beat of somebody else's that was seen, and when first, since boot.
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    epoch: Epoch,
    beat: i64,
    at: Duration,
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
            free: Arc::default(),
            seen: Mutex::default(),
        }
    }

    /// Who this process is to the others.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Nudged, a standby looks at the lease at once.
    pub fn free(&self) -> Arc<Notify> {
        Arc::clone(&self.free)
    }

    /// Keeps the lease until told to stop; it is not given back by that.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            let began = tokio::time::Instant::now();
            let pause = tokio::select! {
                () = stop.cancelled() => return,
                pause = self.timed_step() => pause,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(began + pause) => {}
                () = self.free.notified() => {}
            }
        }
    }

    /// Gives the lease back: nothing of ours may be on its way any more.
    pub async fn give_back(&self) {
        let held = self.state.with(Option::take);
        self.state.set(None);
        self.metrics.store.set_lease(false, 0);
        let Some(Held { grant, .. }) = held else {
            return;
        };
        match tokio::time::timeout(GIVE_BACK, self.store.release(&grant)).await {
            Ok(Ok(())) => tracing::info!(lease.epoch = grant.epoch.0, "lease given back"),
            Ok(Err(error)) => tracing::warn!(%error, "lease could not be given back"),
            Err(_) => tracing::warn!("lease could not be given back: no answer"),
        }
    }

    /// One step, and how long after its beginning the next is due.
    async fn timed_step(&self) -> Duration {
        let limit = self.timing.step_limit();
        match tokio::time::timeout(limit, self.step()).await {
            Ok(Ok(pause)) => return pause,
            Ok(Err(error)) => tracing::warn!(%error, "lease could not be kept"),
            Err(_) => tracing::warn!("lease could not be kept: no answer"),
        }
        self.drop_if_over();
        self.timing.look_every()
    }

    /// Takes the lease where it is free, or prolongs it; answers how long after its beginning the
    /// next step is due.
    pub async fn step(&self) -> Result<Duration, StoreError> {
        let held = self
            .state
            .with(|held| held.as_ref().map(|held| held.grant.clone()));
        match held {
            Some(grant) => self.renew(&grant).await,
            None => self.acquire().await,
        }
    }

    async fn renew(&self, grant: &LeaseGrant) -> Result<Duration, StoreError> {
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
                Ok(self.timing.renew_every())
            }
            Err(StoreError::LeaseLost) => {
                tracing::warn!("lease lost");
                self.lose();
                Err(StoreError::LeaseLost)
            }
            Err(error) => Err(error),
        }
    }

    fn lose(&self) {
        self.metrics.store.lease_lost();
        self.metrics.store.set_lease(false, 0);
        self.state.set(None);
    }

    /// Stands by once nothing may be sent any more, although nobody could be asked.
    fn drop_if_over(&self) {
        let over = self.state.with(|held| {
            held.as_ref()
                .is_some_and(|held| since_boot() >= held.send_until)
        });
        if over {
            self.lose();
        }
    }

    /// Takes the lease where it is free.
    ///
    /// The cluster's copy is read first: a database behind it was restored, and who does not
    /// know that must not act on its rows. So nobody takes the lease while it cannot be read.
    async fn acquire(&self) -> Result<Duration, StoreError> {
        let before = self.store.read_lease().await?;
        self.see(&before);
        if let Ok(left) = (before.until - before.now).to_std()
            && !left.is_zero()
        {
            return Ok(self.timing.look_every().min(left + JUST_AFTER));
        }
        let copy = match self.cluster.read_lease_record().await {
            Ok(copy) => copy.map(|record| LeaseMark {
                epoch: Epoch(record.epoch),
                beat: record.beat,
            }),
            Err(error) => {
                tracing::warn!(%error, "not taken: the cluster's copy of the lease cannot be read");
                return Ok(self.timing.look_every());
            }
        };
        let asked_at = since_boot();
        let taken = self
            .store
            .acquire_after(&self.holder, self.timing.lease, copy);
        let Some(grant) = taken.await? else {
            return Ok(self.timing.look_every());
        };
        let seen = self.seen_before(&grant);
        let send_from = self.timing.send_from(&grant, since_boot(), seen);
        if grant.restored_at >= Some(before.now) {
            tracing::warn!(
                lease.epoch = before.epoch.0,
                "the database is behind the cluster's copy of the lease: it was restored"
            );
        }
        let quiet = send_from.saturating_sub(since_boot());
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
            send_from,
        }));
        self.copy(&record).await;
        Ok(self.timing.renew_every())
    }

    /// Notes the beat of whoever holds the lease.
    fn see(&self, row: &LeaseRow) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none_or(|seen| (seen.epoch, seen.beat) != (row.epoch, row.beat)) {
            *seen = Some(Seen {
                epoch: row.epoch,
                beat: row.beat,
                at: since_boot(),
            });
        }
    }

    /// When the beat that a grant follows was seen first; any other that we saw means that its
    /// holder came and went unseen.
    fn seen_before(&self, grant: &LeaseGrant) -> Option<Duration> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.filter(|seen| seen.beat + 1 == grant.beat)
            .map(|seen| seen.at)
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
mod tests;
