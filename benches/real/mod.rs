//! The whole loop for benchmarks: the world of the stepped tests with its real Postgres, GitHub
//! and Kubernetes models and the run API, and one process of the platform in it.

#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/it/world/outside.rs"]
pub(crate) mod outside;
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/it/world/platform.rs"]
pub(crate) mod platform;
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/it/world/pods.rs"]
pub(crate) mod pods;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use codex_k8s::{
    sandbox::{
        github::{Lag, Limits},
        seed::{SeededAgent, config_files},
    },
    store::{Edge, EdgeWatch},
};
use futures::future::BoxFuture;

use self::{
    outside::Outside,
    platform::{Platform, Ways},
};
use crate::support::example::of_dev;

/// Clocks move in pieces that the lease outlasts.
const PIECE: Duration = Duration::from_secs(15);
/// How often the lease is kept beside work that takes long.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// Room for whatever a benchmark starts.
const ROOM: [(&str, &str, &str); 5] = [
    ("projects/demo/project.yaml", "slots: 2", "slots: 1000"),
    ("projects/demo/project.yaml", "maxRuns: 2", "maxRuns: 1000"),
    ("projects/demo/project.yaml", "dev: 2", "dev: 1000"),
    ("platform.yaml", "maxRuns: 10", "maxRuns: 1000"),
    (
        "policies/standard.yaml",
        "maxParallelRuns: 2",
        "maxParallelRuns: 1000",
    ),
];

/// The example's config repo with its stage `dev` alone, as it is or with room for 1,000 runs.
pub(crate) fn files(room: bool) -> BTreeMap<String, String> {
    let files = config_files(&SeededAgent::Scripted(0.0), None).into_iter();
    let mut files: BTreeMap<String, String> = files
        .filter_map(|(path, text)| Some((of_dev(&path, &text)?, path)))
        .map(|(text, path)| (path, text))
        .collect();
    for (path, from, to) in ROOM.iter().filter(|_| room) {
        let text = files.get_mut(*path).unwrap();
        assert!(text.contains(from), "{path} has no {from:?}");
        *text = text.replace(from, to);
    }
    files
}

/// A world with a process of the platform that holds the lease and does what it is told.
pub(crate) struct Loop {
    pub(crate) outside: Arc<Outside>,
    pub(crate) platform: Platform,
}

impl Loop {
    pub(crate) async fn start(lag: Lag, files: &BTreeMap<String, String>) -> Self {
        // What the forge allows in an hour is not what is measured, and nobody is to wait for it.
        let limits = Limits {
            core: 1_000_000,
            graphql: 1_000_000,
            writes_per_minute: 1_000_000,
        };
        let outside = Outside::within(limits, 1, lag, files).await;
        Self::with(Arc::new(outside)).await
    }

    /// A process in a world whose former one gave the lease back.
    pub(crate) async fn with(outside: Arc<Outside>) -> Self {
        let ways = Ways {
            concurrency: codex_k8s::apply::CONCURRENCY,
            ..Ways::STEPPED
        };
        let platform = Platform::start_by(&ways, &outside, 1, Arc::new(Unwatched)).await;
        platform.sees_the_cluster(&outside).await;
        platform.takes_the_lease().await;
        platform.reconciler.begin_term().await;
        let it = Self { outside, platform };
        it.platform.reconciler.poll_config_once().await;
        it
    }

    /// Ends the process in good order; the world is left.
    pub(crate) async fn end(self) -> Arc<Outside> {
        self.platform.reconciler.give_back_once().await;
        self.platform.end().await;
        self.outside
    }

    /// Moves every clock on.
    pub(crate) async fn advance(&self, by: Duration) {
        let mut left = by;
        while !left.is_zero() {
            let piece = left.min(PIECE);
            left -= piece;
            self.outside.advance(piece).await;
            self.keep_lease().await;
        }
    }

    /// Polls the forge once.
    pub(crate) async fn poll(&self) {
        let poll = self.platform.reconciler.poll_forge_once();
        self.kept(Box::pin(poll)).await;
    }

    /// Passes until one finds nothing to do.
    pub(crate) async fn passes(&self) {
        let passes = async { while self.platform.reconciler.pass_once().await {} };
        self.kept(Box::pin(passes)).await;
    }

    /// Keeps the lease while something is done.
    pub(crate) async fn kept<T>(&self, work: impl Future<Output = T>) -> T {
        let keep = async {
            loop {
                tokio::time::sleep(KEEP_EVERY).await;
                self.keep_lease().await;
            }
        };
        tokio::select! {
            done = work => done,
            () = keep => unreachable!("it is kept for ever"),
        }
    }

    async fn keep_lease(&self) {
        self.platform.reconciler.keep_lease_once().await.unwrap();
    }
}

/// Nobody crashes here.
#[derive(Debug)]
struct Unwatched;

impl EdgeWatch for Unwatched {
    fn at<'a>(&'a self, _: &'a str, _: Edge) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}
