//! What the HTTP side and the controllers share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::fault::{Faults, WriteRecord};
use super::log::PodLog;
use super::pod::{PodRunner, Stop};
use super::store::Store;

/// Switches for tests.
#[derive(Debug, Clone, Default)]
pub(super) struct Knobs {
    /// Namespaces stay in Terminating.
    pub(super) hold_namespaces: bool,
    /// The node does not answer: no pod starts, stops or reports.
    pub(super) node_unreachable: bool,
    /// Images whose name holds one of these cannot be pulled.
    pub(super) broken_images: Vec<String>,
    /// Raised to end every open watch.
    pub(super) watch_generation: u64,
    /// Watches deliver nothing.
    pub(super) hold_watches: bool,
}

/// A pod whose container runs.
pub(super) struct Running {
    pub(super) stop: watch::Sender<Stop>,
}

/// The model's insides.
pub(super) struct Shared {
    pub(super) token: String,
    pub(super) runner: Arc<dyn PodRunner>,
    store: Mutex<Store>,
    /// The store's version: wakes watches and controllers.
    version: watch::Sender<u64>,
    pub(super) knobs: watch::Sender<Knobs>,
    faults: Mutex<Faults>,
    writes: Mutex<Vec<WriteRecord>>,
    logs: Mutex<BTreeMap<String, Arc<PodLog>>>,
    running: Mutex<BTreeMap<String, Running>>,
}

/// Locks a mutex whose holders cannot leave it half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(token: String, runner: Arc<dyn PodRunner>) -> Self {
        Self {
            token,
            runner,
            store: Mutex::default(),
            version: watch::Sender::new(0),
            knobs: watch::Sender::new(Knobs::default()),
            faults: Mutex::default(),
            writes: Mutex::default(),
            logs: Mutex::default(),
            running: Mutex::default(),
        }
    }

    /// Works on the store and wakes whoever waits for a change.
    pub(super) fn with_store<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = lock(&self.store);
        let answer = work(&mut store);
        let version = store.version();
        drop(store);
        self.version
            .send_if_modified(|seen| std::mem::replace(seen, version) != version);
        answer
    }

    /// A receiver of the store's version.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(super) fn writes(&self) -> MutexGuard<'_, Vec<WriteRecord>> {
        lock(&self.writes)
    }

    /// Logs of pods by uid.
    pub(super) fn logs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<PodLog>>> {
        lock(&self.logs)
    }

    /// Running pods by uid.
    pub(super) fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        lock(&self.running)
    }
}
