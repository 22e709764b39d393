//! The cluster port: what the platform asks of a cluster.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::error::ClusterError;
use super::kind::ObjectRef;
use super::snapshot::ClusterSnapshot;

/// What a server-side apply left behind. An apply that changes nothing returns
/// the version that was there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedObject {
    /// The object's uid.
    pub uid: String,
    /// The object's version after the apply.
    pub resource_version: String,
}

/// What happens to what a deleted object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Propagation {
    /// The object goes at once, what it owns afterwards.
    Background,
    /// The object goes last: a Job is there until its pods are gone.
    Foreground,
}

/// The one object a deletion means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTarget {
    /// The object by name.
    pub object: ObjectRef,
    /// The uid it must have; another one is left alone.
    pub uid: String,
    /// What happens to what it owns.
    pub propagation: Propagation,
}

/// What a deletion found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deleted {
    /// The server took the deletion; the object may take a while to go.
    Accepted,
    /// The object, under this uid, was not there any more.
    AlreadyGone,
}

/// An object's metadata as the server holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectMeta {
    /// The uid.
    pub uid: String,
    /// The version.
    pub resource_version: String,
    /// Whether it carries our installation label.
    pub ours: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The hash of what it was built from.
    pub input_hash: Option<String>,
}

/// What the watches know.
#[derive(Debug, Clone)]
pub enum ClusterCache {
    /// Every watch is in step.
    Known {
        /// How long ago the watch that is furthest behind last proved itself.
        /// An age and not a time: the platform's clock is the database's.
        age: Duration,
        /// What is there.
        snapshot: ClusterSnapshot,
    },
    /// At least one watch is not in step; nothing may be concluded from absence.
    Unknown {
        /// Which watch, and why.
        reason: String,
    },
}

/// Which log of which pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// Only the last lines.
    pub tail_lines: Option<u32>,
    /// At most so many bytes, from the beginning of what is asked.
    pub limit_bytes: Option<u32>,
}

/// The copy of the database lease that the cluster keeps: a database that is
/// behind it has been restored from a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Who held the lease.
    pub holder: String,
    /// The lease's epoch.
    pub epoch: i64,
    /// The lease's beat.
    pub beat: i64,
}

/// A cluster, as far as the platform needs one.
///
/// *Guarantees*: changing calls touch only objects with our installation label;
/// each asks the write gate right before it is sent; none retries.
///
/// *Caveats*: a call that failed as [`Transient`](super::ErrorClass::Transient)
/// may have taken effect; all calls can be repeated without harm.
#[async_trait]
pub trait Cluster: Send + Sync + fmt::Debug {
    /// Server-side applies a whole object.
    ///
    /// An object of this name that exists without our installation label is
    /// left alone (`NotOurs`). Fields of ours that someone else took are taken
    /// back. An apply that would change nothing writes nothing.
    async fn apply(&self, object: &serde_json::Value) -> Result<AppliedObject, ClusterError>;

    /// Server-side applies objects one after the other, each as [`apply`](Self::apply) does.
    ///
    /// A namespace that did not exist before the call holds nothing of others: what follows
    /// in it is not looked for first, which saves a request for each object.
    /// Returns what was applied in the same order; the first failure ends the call.
    async fn apply_all(
        &self,
        objects: &[serde_json::Value],
    ) -> Result<Vec<AppliedObject>, ClusterError>;

    /// Deletes one object under the uid given.
    async fn delete(&self, target: &DeleteTarget) -> Result<Deleted, ClusterError>;

    /// Reads one object's metadata; `None` where it does not exist.
    async fn get(&self, object: &ObjectRef) -> Result<Option<ObjectMeta>, ClusterError>;

    /// Reads everything of ours with one labelled, paginated list per kind.
    /// It is whole or an error, never a part.
    async fn list_owned(&self) -> Result<ClusterSnapshot, ClusterError>;

    /// Starts the watches if they do not run yet and returns a receiver whose
    /// number grows whenever the cache has changed.
    fn watch(&self) -> watch::Receiver<u64>;

    /// What the watches know now; `Unknown` until they are started and in step.
    fn snapshot(&self) -> ClusterCache;

    /// Reads a pod's log.
    async fn pod_logs(&self, request: &LogRequest) -> Result<String, ClusterError>;

    /// Reads the copied lease; `None` where there is none yet.
    async fn read_lease_record(&self) -> Result<Option<LeaseRecord>, ClusterError>;

    /// Copies the lease. A copy that is ahead of `record` is left alone and is
    /// a `Conflict`.
    async fn write_lease_record(&self, record: &LeaseRecord) -> Result<(), ClusterError>;
}
