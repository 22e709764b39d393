//! The Kubernetes adapter: the one user of the kube client.
//!
//! ```text
//! apply, delete ─ ownership read ─ gate ─► server-side apply / delete by uid
//! list_owned ──── one labelled list per kind, paginated, whole or an error
//! watch ───────── one task per kind ─► rows ─► snapshot()
//! ```
//!
//! It retries nothing but its own watches, and decides nothing. Secrets are
//! only ever asked for as metadata, in answers to writes as well.

mod cache;
mod connect;
mod failure;
mod lease;
mod read;
mod rows;
mod watch;
mod write;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kube::Client;
use tokio::sync::watch::Receiver;
use tokio_util::task::AbortOnDropHandle;

pub use self::connect::{ConnectError, Connection};

use self::cache::Cache;
use super::error::ClusterError;
use super::gate::WriteGate;
use super::kind::ObjectRef;
use super::port::{
    AppliedObject, Cluster, ClusterCache, DeleteTarget, Deleted, LeaseRecord, LogRequest,
    ObjectMeta,
};
use super::snapshot::ClusterSnapshot;

/// How the adapter behaves.
#[derive(Debug, Clone)]
pub struct KubeOptions {
    /// The installation whose objects are ours.
    pub installation: String,
    /// The namespace of the platform itself: the copied lease stands there.
    pub platform_namespace: String,
    /// Who requests say they are from, in `User-Agent`.
    pub user_agent: String,
    /// The longest a request may take. It must stay below the lease's margin.
    pub request_timeout: Duration,
    /// How long one watch request lasts. A connection that died silently is
    /// noticed five seconds after that.
    pub watch_timeout: Duration,
    /// How many objects one page of a list holds.
    pub page_size: u32,
}

impl KubeOptions {
    /// The options of production.
    pub fn new(installation: impl Into<String>, platform_namespace: impl Into<String>) -> Self {
        Self {
            installation: installation.into(),
            platform_namespace: platform_namespace.into(),
            user_agent: concat!("codex-k8s/", env!("CARGO_PKG_VERSION")).to_owned(),
            request_timeout: Duration::from_secs(10),
            watch_timeout: Duration::from_mins(1),
            page_size: 500,
        }
    }
}

/// A cluster behind a Kubernetes API server.
pub struct KubeCluster {
    client: Client,
    options: KubeOptions,
    gate: Arc<dyn WriteGate>,
    cache: Arc<Cache>,
    /// The watch tasks; they end with the adapter.
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
    /// Changing requests sent, the copied lease aside.
    writes: AtomicU64,
    /// Writes of the copied lease.
    lease_writes: AtomicU64,
}

impl fmt::Debug for KubeCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeCluster")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl KubeCluster {
    /// Makes a client; the server is not called yet.
    pub async fn connect(
        connection: &Connection,
        options: KubeOptions,
        gate: Arc<dyn WriteGate>,
    ) -> Result<Self, ConnectError> {
        let client = connect::client(connection, &options).await?;
        let cache = Arc::new(Cache::new(options.watch_timeout));
        Ok(Self {
            client,
            options,
            gate,
            cache,
            tasks: Mutex::default(),
            writes: AtomicU64::new(0),
            lease_writes: AtomicU64::new(0),
        })
    }

    /// How many changing requests were sent, the copied lease aside.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// How many times the copied lease was written.
    pub fn lease_writes(&self) -> u64 {
        self.lease_writes.load(Ordering::Relaxed)
    }
}

/// Locks a mutex whose holders cannot leave it half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Cluster for KubeCluster {
    async fn apply(&self, object: &serde_json::Value) -> Result<AppliedObject, ClusterError> {
        self.apply_object(object).await
    }

    async fn apply_all(
        &self,
        objects: &[serde_json::Value],
    ) -> Result<Vec<AppliedObject>, ClusterError> {
        self.apply_objects(objects).await
    }

    async fn delete(&self, target: &DeleteTarget) -> Result<Deleted, ClusterError> {
        self.delete_object(target).await
    }

    async fn get(&self, object: &ObjectRef) -> Result<Option<ObjectMeta>, ClusterError> {
        Ok(self
            .read_metadata("get", object)
            .await?
            .map(|meta| self.object_meta(&meta)))
    }

    async fn list_owned(&self) -> Result<ClusterSnapshot, ClusterError> {
        self.list_all().await
    }

    fn watch(&self) -> Receiver<u64> {
        self.start_watches();
        self.cache.changes()
    }

    fn snapshot(&self) -> ClusterCache {
        self.cache.snapshot()
    }

    async fn pod_logs(&self, request: &LogRequest) -> Result<String, ClusterError> {
        self.read_logs(request).await
    }

    async fn read_lease_record(&self) -> Result<Option<LeaseRecord>, ClusterError> {
        self.read_lease().await
    }

    async fn write_lease_record(&self, record: &LeaseRecord) -> Result<(), ClusterError> {
        self.write_lease(record).await
    }
}
