//! The loop: what wakes a pass, the lease, and what a pass is made of.
//!
//! ```text
//!  config repo ─ poll ─► in force ──────┐
//!  forge ─────── poll ─► mirror (rows) ─┼─► wake ─► pass ─► pass ─► … until empty
//!  facts ─────── NOTIFY ────────────────┤
//!  cluster ───── watch ─► caches ───────┘
//! ```
//!
//! Polling and passes are separate. A pass reads rows and caches; a finished
//! action causes the next pass at once, without polling, until one comes out
//! empty (bounded). Every wake-up is only a nudge: it carries no truth, and
//! losing all of them changes latency only.
//!
//! Only the lease holder polls and passes; the others stand by with their
//! watches warm. What polls fails by itself: a config repo that is away stops
//! neither forge nor passes.

pub mod config;
pub mod expiry;
pub mod lease;
mod metrics;
pub mod pass;
pub mod period;
pub mod request;
mod step;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::{
    config::{ConfigInForce, ConfigPoller},
    lease::{LeaseKeeper, LeaseState},
    pass::{IDLE, Passes},
    period::Period,
    request::Wanted,
};
use crate::{
    cluster::Cluster,
    desired::source::LocalWatch,
    observed::forge::{ForgeObserver, PollRequest},
    store::{Notice, Store},
    telemetry::metrics::{Metrics, Source},
};

/// How long the action in hand may take once we are told to stop: with giving the lease back it
/// is less than the ten seconds in which a process that is told to stop has ended.
const HAND_IN: Duration = Duration::from_secs(6);

/// Passes that follow each other without a pause at most: past this something plans in circles.
const MAX_PASSES: usize = 50;

/// What the loop is made of.
pub struct ReconcilerParts {
    /// Rows.
    pub store: Store,
    /// The cluster and its caches.
    pub cluster: Arc<dyn Cluster>,
    /// Reads the forge into the mirror.
    pub observer: Arc<ForgeObserver>,
    /// Reads the config repo.
    pub config: ConfigPoller,
    /// The config in force.
    pub in_force: ConfigInForce,
    /// Takes and keeps the lease.
    pub keeper: LeaseKeeper,
    /// Our lease.
    pub lease: LeaseState,
    /// Makes passes.
    pub passes: Passes,
    /// How often is polled.
    pub poll: Duration,
    /// How long the forge's period may become to spare its budget.
    pub poll_ceiling: Duration,
    /// What is counted.
    pub metrics: Metrics,
    /// Nudges for a pass.
    pub wake: Arc<Notify>,
    /// Whether nudges are listened to. Without, each source is looked at by its period alone: for
    /// drivers that show that nothing but latency hangs on them.
    pub nudged: bool,
    /// The config repo's folder where it is local: watched to be early.
    pub watch_local: Option<std::path::PathBuf>,
}

/// The loop.
pub struct Reconciler {
    parts: ReconcilerParts,
    /// What the last pass wants read.
    wanted: Mutex<Wanted>,
    freshness: Freshness,
    /// Nudges for a poll of the forge: the config changed.
    wake_forge: Notify,
    /// Nudges for a poll of what passes want read and no poll was asked for yet.
    wake_wanted: Notify,
    /// What polls were asked to look at, the last whole one and those of single repositories
    /// since.
    asked: Mutex<PollRequest>,
    /// How often the forge is polled at present.
    period: Mutex<Period>,
}

/// How fresh the sources are, for `/readyz`.
#[derive(Debug, Clone, Default)]
pub struct Freshness(Arc<Mutex<Fresh>>);

#[derive(Debug, Default)]
struct Fresh {
    config: Option<std::time::Instant>,
    forge: Option<std::time::Instant>,
    forge_error: Option<String>,
    config_error: Option<String>,
}

impl Freshness {
    fn with<T>(&self, f: impl FnOnce(&mut Fresh) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long ago the forge was read, by this process.
    pub fn forge_age(&self) -> Option<Duration> {
        self.with(|fresh| fresh.forge.map(|at| at.elapsed()))
    }

    /// What is wrong with the forge, if anything.
    pub fn forge_error(&self) -> Option<String> {
        self.with(|fresh| fresh.forge_error.clone())
    }

    /// Why the config repo could not be polled last, if it could not.
    pub fn config_error(&self) -> Option<String> {
        self.with(|fresh| fresh.config_error.clone())
    }
}

impl Reconciler {
    /// Puts the parts together.
    pub fn new(parts: ReconcilerParts) -> Self {
        Self {
            period: Mutex::new(Period::new(parts.poll, parts.poll_ceiling)),
            parts,
            wanted: Mutex::default(),
            freshness: Freshness::default(),
            wake_forge: Notify::new(),
            wake_wanted: Notify::new(),
            asked: Mutex::default(),
        }
    }

    /// How fresh the sources are.
    pub fn freshness(&self) -> Freshness {
        self.freshness.clone()
    }

    /// Runs until told to stop: finishes the action in hand, gives the lease back, returns.
    ///
    /// *Guarantees*: returns within six seconds and the time that giving back may take. An
    /// action that takes longer is left where it is, and the lease with it: it runs out by itself
    /// and makes its taker wait until our last request has surely ended.
    pub async fn run(&self, stop: CancellationToken) {
        // Made in any case: the cluster's watches, which fill its caches, begin with it.
        let nudges = self.nudges();
        let nudged = self.parts.nudged;
        let nudges = nudged.then(|| AbortOnDropHandle::new(tokio::spawn(nudges)));
        // The keeper outlives the work, so that the lease is kept until the last write.
        let keep = CancellationToken::new();
        let work = async {
            let done = tokio::select! {
                () = self.terms(&stop) => true,
                () = self.too_long(&stop) => false,
            };
            keep.cancel();
            done
        };
        let (done, ()) = tokio::join!(work, self.parts.keeper.run(keep.clone()));
        drop(nudges);
        if done {
            self.parts.keeper.give_back().await;
        } else {
            tracing::warn!("an action takes too long: left to the next holder, as is the lease");
        }
    }

    /// Ends when the action in hand has had its time after being told to stop.
    async fn too_long(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        self.parts.lease.leave();
        tokio::time::sleep(HAND_IN).await;
    }

    /// Term after term of the lease.
    async fn terms(&self, stop: &CancellationToken) {
        let mut held = self.parts.lease.held();
        while !stop.is_cancelled() {
            if !*held.borrow_and_update() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = held.changed() => if changed.is_err() { return },
                }
                continue;
            }
            let term = stop.child_token();
            tokio::select! {
                () = self.term(&term) => {}
                () = lost(held.clone()) => {
                    tracing::warn!("standing by: the lease is lost");
                }
            }
            term.cancel();
            self.parts.passes.forget();
        }
    }

    /// One term: polls and passes side by side until the lease is lost or we are told to stop.
    async fn term(&self, stop: &CancellationToken) {
        if let Some(quiet) = self
            .parts
            .lease
            .quiet_for()
            .filter(|quiet| !quiet.is_zero())
        {
            tracing::info!(
                lease.quiet_ms = quiet.as_millis(),
                "waiting for a former holder's last requests"
            );
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(quiet) => {}
            }
        }
        self.begin_term().await;
        // Reading is broken off at once: what was read whole is stored whole, or not at all.
        let polls = async {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = async { tokio::join!(self.poll_config(stop), self.poll_forge(stop)) } => {}
            }
        };
        tokio::join!(polls, self.pass_loop(stop));
    }

    async fn poll_config(&self, stop: &CancellationToken) {
        let wake = Arc::new(Notify::new());
        // An accelerator: where it cannot be had, the poll period is the latency.
        let _watch = self.parts.watch_local.as_ref().and_then(|path| {
            LocalWatch::start(path, Arc::clone(&wake))
                .inspect_err(|error| tracing::warn!(%error, "the config repo cannot be watched"))
                .ok()
        });
        while !stop.is_cancelled() {
            self.poll_config_once().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(self.parts.poll) => {}
                () = wake.notified() => {}
            }
        }
    }

    async fn poll_forge(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let polled = self.poll_forge_once().await;
            // Without a config there is nothing to poll yet: look again soon.
            let pause = if polled {
                self.next_period()
            } else {
                Duration::from_millis(200)
            };
            let due = tokio::time::Instant::now() + pause;
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep_until(due) => break,
                    () = self.wake_forge.notified(), if self.parts.nudged => break,
                    () = self.wake_wanted.notified(), if self.parts.nudged => {
                        self.poll_wanted_once().await;
                    }
                    () = self.hint_due(), if self.parts.nudged => self.poll_hinted_once().await,
                }
            }
        }
    }

    /// Waits until a hinted read is due.
    async fn hint_due(&self) {
        let hints = self.parts.observer.hints();
        loop {
            let next = hints.next_due();
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => return,
                () = hints.arrived() => {}
            }
        }
    }

    async fn pass_loop(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            self.passes_until_empty(stop).await;
            self.gauge_ages();
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.parts.wake.notified(), if self.parts.nudged => {}
                () = tokio::time::sleep(IDLE) => {}
            }
        }
    }

    /// Ages grow between polls, too: also when polling itself has stopped.
    fn gauge_ages(&self) {
        let (config, forge) = self.freshness.with(|fresh| (fresh.config, fresh.forge));
        for (source, read) in [(Source::Config, config), (Source::Forge, forge)] {
            if let Some(read) = read {
                self.parts.metrics.observed.set_age(source, read.elapsed());
            }
        }
    }

    async fn passes_until_empty(&self, stop: &CancellationToken) {
        for _ in 0..MAX_PASSES {
            if !self.pass_once().await || stop.is_cancelled() {
                return;
            }
        }
        tracing::error!("{MAX_PASSES} passes in a row all found something to do");
    }

    /// Turns watches and notices into nudges. Runs with and without the lease.
    fn nudges(&self) -> impl Future<Output = ()> + Send + 'static {
        let store = self.parts.store.clone();
        let wake = Arc::clone(&self.parts.wake);
        let free = self.parts.keeper.free();
        let mut cluster = self.parts.cluster.watch();
        async move {
            let by_cluster = async {
                while cluster.changed().await.is_ok() {
                    wake.notify_one();
                }
            };
            let by_notice = async {
                loop {
                    match store.listen().await {
                        Ok(mut notices) => {
                            while let Some(notice) = notices.next().await {
                                match notice {
                                    Notice::Facts => wake.notify_one(),
                                    Notice::LeaseFree => free.notify_one(),
                                    Notice::Anything => {
                                        wake.notify_one();
                                        free.notify_one();
                                    }
                                }
                            }
                        }
                        Err(error) => tracing::warn!(%error, "nothing is announced to us"),
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            };
            tokio::join!(by_cluster, by_notice);
        }
    }
}

async fn lost(mut held: tokio::sync::watch::Receiver<bool>) {
    while *held.borrow_and_update() {
        if held.changed().await.is_err() {
            return;
        }
    }
}
