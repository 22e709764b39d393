//! A cluster that is not there: what a test without one hands to who asks for one.

use async_trait::async_trait;
use codex_k8s::cluster::{
    AppliedObject, Cluster, ClusterCache, ClusterError, DeleteTarget, Deleted, ErrorClass,
    LeaseRecord, LogRequest, ObjectMeta, ObjectRef, snapshot::ClusterSnapshot,
};
use tokio::sync::watch;

/// Answers every call with an error that says so, and the copied lease with none.
#[derive(Debug)]
pub(crate) struct NoCluster;

fn absent(verb: &'static str) -> ClusterError {
    ClusterError::new(
        ErrorClass::Transient,
        verb,
        "an object",
        "there is no cluster",
    )
}

#[async_trait]
impl Cluster for NoCluster {
    async fn apply(&self, _: &serde_json::Value) -> Result<AppliedObject, ClusterError> {
        Err(absent("apply"))
    }

    async fn apply_all(&self, _: &[serde_json::Value]) -> Result<Vec<AppliedObject>, ClusterError> {
        Err(absent("apply"))
    }

    async fn delete(&self, _: &DeleteTarget) -> Result<Deleted, ClusterError> {
        Err(absent("delete"))
    }

    async fn get(&self, _: &ObjectRef) -> Result<Option<ObjectMeta>, ClusterError> {
        Err(absent("get"))
    }

    async fn list_owned(&self) -> Result<ClusterSnapshot, ClusterError> {
        Err(absent("list"))
    }

    fn watch(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    fn snapshot(&self) -> ClusterCache {
        ClusterCache::Unknown {
            reason: "there is no cluster".to_owned(),
        }
    }

    async fn pod_logs(&self, _: &LogRequest) -> Result<String, ClusterError> {
        Err(absent("read the log of"))
    }

    async fn read_lease_record(&self) -> Result<Option<LeaseRecord>, ClusterError> {
        Ok(None)
    }

    async fn write_lease_record(&self, _: &LeaseRecord) -> Result<(), ClusterError> {
        Ok(())
    }
}
