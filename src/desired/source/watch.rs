//! Wakes early when a local config repo gets a commit.
//!
//! An accelerator only: it says that something may have moved, never what. A
//! lost event costs a poll period.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// How long refs must be quiet before anyone is woken: a commit writes several files.
const QUIET: Duration = Duration::from_millis(100);

/// How long a busy repository may hold back a wake-up.
const LONGEST: Duration = Duration::from_secs(1);

/// A watch on a local config repo; it ends when dropped.
pub struct LocalWatch {
    /// Dropping it ends the events, and with them the thread.
    _watcher: RecommendedWatcher,
}

impl LocalWatch {
    /// Wakes `wake` some time after refs of the repository at `path` have moved.
    ///
    /// *Errors*: the folder cannot be watched; polling goes on without it.
    pub fn start(path: &Path, wake: Arc<Notify>) -> Result<Self, notify::Error> {
        let git = path.join(".git");
        let folder = if git.is_dir() {
            git
        } else {
            path.to_path_buf()
        };
        let (events, moved) = mpsc::channel();
        let mut watcher =
            notify::recommended_watcher(move |event: Result<notify::Event, notify::Error>| {
                // Reading a repository is an event too; only writes can move a ref.
                if !matches!(event.map(|event| event.kind), Ok(EventKind::Access(_))) {
                    let _ = events.send(());
                }
            })?;
        // Refs are files below `refs`, or lines of `packed-refs` in the folder itself.
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        watcher.watch(&folder.join("refs"), RecursiveMode::Recursive)?;
        std::thread::Builder::new()
            .name("config-watch".to_owned())
            .spawn(move || debounce(&moved, &wake))
            .map_err(notify::Error::io)?;
        Ok(Self { _watcher: watcher })
    }
}

fn debounce(moved: &mpsc::Receiver<()>, wake: &Notify) {
    while moved.recv().is_ok() {
        let first = Instant::now();
        while first.elapsed() < LONGEST && moved.recv_timeout(QUIET).is_ok() {}
        wake.notify_one();
    }
}
