//! Writes: ownership first, then the gate, then one request.

use std::sync::atomic::{AtomicU64, Ordering};

use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::ObjectMeta as KubeMeta;
use serde_json::Value;

use super::super::error::{ClusterError, ErrorClass};
use super::super::kind::{ObjectKind, ObjectRef};
use super::super::labels::FIELD_MANAGER;
use super::super::port::{AppliedObject, DeleteTarget, Deleted, Propagation};
use super::KubeCluster;

impl KubeCluster {
    /// Server-side applies a whole object.
    ///
    /// *Guarantees*: an object that exists without our label is left alone; one
    /// that is replaced between the ownership read and the apply is a conflict,
    /// because the apply carries the uid that was read. Of a Secret see [`Self::present`].
    pub(super) async fn apply_object(&self, object: &Value) -> Result<AppliedObject, ClusterError> {
        let reference = reference_of(object)?;
        let present = self.present(&reference).await?;
        self.send_apply(&reference, object, present.as_ref()).await
    }

    /// Server-side applies objects in their order.
    ///
    /// *Guarantees*: as for one object. What stands in a namespace that this very
    /// call made is applied without force and without a look for it.
    pub(super) async fn apply_objects(
        &self,
        objects: &[Value],
    ) -> Result<Vec<AppliedObject>, ClusterError> {
        let mut applied = Vec::with_capacity(objects.len());
        let mut made: Vec<String> = Vec::new();
        for object in objects {
            let reference = reference_of(object)?;
            let present = if made.contains(&reference.namespace) {
                None
            } else {
                self.present(&reference).await?
            };
            applied.push(
                self.send_apply(&reference, object, present.as_ref())
                    .await?,
            );
            if present.is_none() && reference.kind == ObjectKind::Namespace {
                made.push(reference.name);
            }
        }
        Ok(applied)
    }

    /// What stands in an object's place.
    ///
    /// A Secret is never read: whose it is, its namespace says. One that somebody else put
    /// there is left alone for being applied without force.
    async fn present(&self, reference: &ObjectRef) -> Result<Option<KubeMeta>, ClusterError> {
        if reference.kind != ObjectKind::Secret {
            return self.read_metadata("apply", reference).await;
        }
        let namespace = ObjectRef::namespace(&reference.namespace);
        match self.read_metadata("apply", &namespace).await? {
            Some(meta) if !self.is_ours(&meta) => Err(self.not_ours("apply", &namespace)),
            _ => Ok(None),
        }
    }

    /// Sends the apply of an object that was looked for, or that cannot be there yet.
    async fn send_apply(
        &self,
        reference: &ObjectRef,
        object: &Value,
        present: Option<&KubeMeta>,
    ) -> Result<AppliedObject, ClusterError> {
        let mut object = object.clone();
        if let Some(meta) = present {
            if !self.is_ours(meta) {
                return Err(self.not_ours("apply", reference));
            }
            object["metadata"]["uid"] = Value::from(meta.uid.clone());
        }
        // Only what is known to be ours may be taken back from other managers.
        let mut params = PatchParams::apply(FIELD_MANAGER);
        params.force = present.is_some();
        let api = self.api_of(reference);
        self.open_gate("apply", reference, &self.writes)?;
        // The answer as metadata: a Secret's content does not come back.
        let patch = Patch::Apply(&object);
        let answer = self.call(
            "apply",
            reference,
            api.patch_metadata(&reference.name, &params, &patch),
        );
        let meta = answer.await?.metadata;
        self.cache.overlay(reference, &meta);
        applied(reference, &meta)
    }

    /// Deletes one object under its uid.
    pub(super) async fn delete_object(
        &self,
        target: &DeleteTarget,
    ) -> Result<Deleted, ClusterError> {
        let reference = &target.object;
        let Some(meta) = self.read_metadata("delete", reference).await? else {
            return Ok(Deleted::AlreadyGone);
        };
        if meta.uid.as_ref() != Some(&target.uid) {
            return Ok(Deleted::AlreadyGone);
        }
        if !self.is_ours(&meta) {
            return Err(self.not_ours("delete", reference));
        }
        if meta.deletion_timestamp.is_some() {
            // It is on its way; another request would add nothing.
            return Ok(Deleted::Accepted);
        }
        let params = DeleteParams {
            propagation_policy: Some(match target.propagation {
                Propagation::Background => PropagationPolicy::Background,
                Propagation::Foreground => PropagationPolicy::Foreground,
            }),
            preconditions: Some(Preconditions {
                uid: Some(target.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let api = self.api_of(reference);
        self.open_gate("delete", reference, &self.writes)?;
        let answer = self
            .call("delete", reference, api.delete(&reference.name, &params))
            .await;
        match answer {
            Ok(_) => Ok(Deleted::Accepted),
            Err(error) if error.class == ErrorClass::NotFound => Ok(Deleted::AlreadyGone),
            Err(error) => Err(error),
        }
    }

    /// Asks the gate, and counts the request that follows.
    pub(super) fn open_gate(
        &self,
        verb: &'static str,
        object: &ObjectRef,
        counter: &AtomicU64,
    ) -> Result<(), ClusterError> {
        self.gate
            .may_write()
            .map_err(|why| ClusterError::not_sent(verb, object, &why))?;
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn not_ours(&self, verb: &'static str, object: &ObjectRef) -> ClusterError {
        let message = format!("exists without the label of {}", self.options.installation);
        ClusterError::new(ErrorClass::NotOurs, verb, object, message)
    }
}

fn reference_of(object: &Value) -> Result<ObjectRef, ClusterError> {
    ObjectRef::of(object).map_err(|error| {
        ClusterError::new(ErrorClass::Invalid, "apply", "an object", error.to_string())
    })
}

fn applied(reference: &ObjectRef, meta: &KubeMeta) -> Result<AppliedObject, ClusterError> {
    match (&meta.uid, &meta.resource_version) {
        (Some(uid), Some(version)) => Ok(AppliedObject {
            uid: uid.clone(),
            resource_version: version.clone(),
        }),
        _ => Err(ClusterError::new(
            ErrorClass::Transient,
            "apply",
            reference,
            "the answer names no uid or version",
        )),
    }
}
