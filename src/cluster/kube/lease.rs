//! The copy of the database lease: a Lease object with epoch and beat.
//!
//! The copy only ever moves forward, so that a database restored from a backup
//! finds itself behind it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta as KubeMeta;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::super::error::{ClusterError, ErrorClass};
use super::super::kind::{ObjectKind, ObjectRef};
use super::super::labels;
use super::super::port::LeaseRecord;
use super::KubeCluster;

/// Annotation: who held the lease, in full.
const HOLDER: &str = "codex-k8s.dev/lease-holder";

impl KubeCluster {
    fn lease_ref(&self) -> ObjectRef {
        let name = format!(
            "codex-k8s-{}",
            self.options.installation.to_ascii_lowercase()
        );
        ObjectRef::namespaced(ObjectKind::Lease, &self.options.platform_namespace, name)
    }

    /// Reads the copy.
    pub(super) async fn read_lease(&self) -> Result<Option<LeaseRecord>, ClusterError> {
        let reference = self.lease_ref();
        let found = self.read_metadata("read", &reference).await?;
        found.map(|meta| record(&reference, &meta)).transpose()
    }

    /// Writes the copy unless what is there is ahead.
    pub(super) async fn write_lease(&self, lease: &LeaseRecord) -> Result<(), ClusterError> {
        let reference = self.lease_ref();
        let present = self.read_metadata("write", &reference).await?;
        let mut version = None;
        if let Some(meta) = &present {
            let stored = record(&reference, meta)?;
            let (there, ours) = ((stored.epoch, stored.beat), (lease.epoch, lease.beat));
            if there > ours {
                let message = format!("holds {there:?}, ahead of {ours:?}");
                return Err(ClusterError::new(
                    ErrorClass::Conflict,
                    "write",
                    reference,
                    message,
                ));
            }
            if stored == *lease {
                return Ok(());
            }
            version.clone_from(&meta.resource_version);
        }
        let object = self.lease_object(&reference, lease, version);
        let api = self.api_of(&reference);
        let mut params = PatchParams::apply(labels::FIELD_MANAGER);
        params.force = present.is_some();
        self.open_gate("write", &reference, &self.lease_writes)?;
        let patch = Patch::Apply(&object);
        self.call(
            "write",
            &reference,
            api.patch_metadata(&reference.name, &params, &patch),
        )
        .await?;
        Ok(())
    }

    /// The whole object; with the version that was read, so that two writers
    /// cannot both step over the same copy.
    fn lease_object(
        &self,
        reference: &ObjectRef,
        lease: &LeaseRecord,
        version: Option<String>,
    ) -> Value {
        let mut object = json!({
            "apiVersion": ObjectKind::Lease.api_version(),
            "kind": "Lease",
            "metadata": {
                "name": reference.name,
                "namespace": reference.namespace,
                "labels": {
                    labels::MANAGED_BY: labels::MANAGED_BY_VALUE,
                    labels::INSTALLATION: self.options.installation,
                },
                "annotations": {
                    labels::LEASE_EPOCH: lease.epoch.to_string(),
                    labels::LEASE_BEAT: lease.beat.to_string(),
                    HOLDER: lease.holder,
                },
            },
            "spec": { "holderIdentity": lease.holder },
        });
        if let Some(version) = version {
            object["metadata"]["resourceVersion"] = Value::from(version);
        }
        object
    }
}

fn record(reference: &ObjectRef, meta: &KubeMeta) -> Result<LeaseRecord, ClusterError> {
    let text = |name: &str| meta.annotations.as_ref().and_then(|all| all.get(name));
    let number = |name: &str| text(name).and_then(|value| value.parse::<i64>().ok());
    match (number(labels::LEASE_EPOCH), number(labels::LEASE_BEAT)) {
        (Some(epoch), Some(beat)) => Ok(LeaseRecord {
            holder: text(HOLDER).cloned().unwrap_or_default(),
            epoch,
            beat,
        }),
        _ => Err(ClusterError::new(
            ErrorClass::Invalid,
            "read",
            reference,
            "holds no epoch and beat that can be read",
        )),
    }
}
