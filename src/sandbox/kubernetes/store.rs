//! The objects, their versions and the log of what happened to them.
//!
//! *Invariant*: every change of an object is one entry in the log under one
//! version, and a change that changes nothing is none.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::merge::{self, Managers};
use super::resource::{Resource, by_plural};
use super::status::ApiStatus;

/// How many changes a watch may be behind before it must list again.
const LOG_LENGTH: usize = 20_000;
/// The finalizer by which a Job waits for its pods.
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// An object's place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) resource: &'static Resource,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    pub(super) fn new(plural: &str, namespace: &str, name: &str) -> Self {
        Self {
            resource: by_plural(plural),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

#[derive(Debug, Clone)]
struct Entry {
    object: Arc<Value>,
    managers: Managers,
}

/// One change.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) key: Key,
    /// The object before; `None` for a new one.
    pub(super) before: Option<Arc<Value>>,
    /// The object after; `None` for one that is gone.
    pub(super) after: Option<Arc<Value>>,
    /// The last state under the version of this change: what a watch shows of
    /// an object that is gone.
    pub(super) last: Arc<Value>,
}

/// Who applies, and whether by force.
#[derive(Debug, Clone, Copy)]
pub(super) struct ApplyBy<'a> {
    pub(super) manager: &'a str,
    pub(super) force: bool,
}

/// What a deletion asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct DeleteBy {
    pub(super) uid: Option<String>,
    pub(super) version: Option<String>,
    pub(super) foreground: bool,
    pub(super) grace_seconds: Option<u64>,
}

/// All objects.
#[derive(Debug, Default)]
pub(super) struct Store {
    version: u64,
    objects: BTreeMap<Key, Entry>,
    log: VecDeque<Change>,
    /// Changes up to here are in the log no more.
    compacted: u64,
    /// What lists answer while they are held back.
    frozen: Option<(u64, BTreeMap<Key, Arc<Value>>)>,
}

/// Now, in Kubernetes' form.
pub(super) fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Whether an object is being deleted.
pub(super) fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

impl Store {
    /// The newest version.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The oldest version that a watch can go on from.
    pub(super) fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Forgets the log: watches that are behind must list again.
    pub(super) fn compact(&mut self) {
        self.log.clear();
        self.compacted = self.version;
    }

    /// Answers lists with what is there now until told otherwise.
    pub(super) fn freeze_lists(&mut self, freeze: bool) {
        self.frozen = freeze.then(|| {
            let all = self.objects.iter();
            (
                self.version,
                all.map(|(key, entry)| (key.clone(), entry.object.clone()))
                    .collect(),
            )
        });
    }

    /// One object.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.objects.get(key).map(|entry| entry.object.clone())
    }

    /// The objects of one resource in key order, and the version they have.
    pub(super) fn list(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
    ) -> (u64, Vec<(Key, Arc<Value>)>) {
        let wanted = |key: &Key| {
            key.resource == resource && namespace.is_none_or(|name| key.namespace == name)
        };
        if let Some((version, frozen)) = &self.frozen {
            let all = frozen.iter().filter(|(key, _)| wanted(key));
            return (
                *version,
                all.map(|(key, object)| (key.clone(), object.clone()))
                    .collect(),
            );
        }
        (self.version, self.current(wanted))
    }

    /// The objects of one resource as they are, held-back lists or not.
    pub(super) fn all(&self, plural: &str) -> Vec<(Key, Arc<Value>)> {
        let resource = by_plural(plural);
        self.current(|key| key.resource == resource)
    }

    /// Everything inside a namespace.
    pub(super) fn content(&self, namespace: &str) -> Vec<(Key, Arc<Value>)> {
        self.current(|key| key.resource.namespaced && key.namespace == namespace)
    }

    fn current(&self, wanted: impl Fn(&Key) -> bool) -> Vec<(Key, Arc<Value>)> {
        let all = self.objects.iter().filter(|(key, _)| wanted(key));
        all.map(|(key, entry)| (key.clone(), entry.object.clone()))
            .collect()
    }

    /// Changes after `version`, or `None` where the log does not reach back.
    pub(super) fn changes_after(&self, version: u64) -> Option<Vec<Change>> {
        if version < self.compacted {
            return None;
        }
        let first = self.log.partition_point(|change| change.version <= version);
        Some(self.log.range(first..).cloned().collect())
    }

    /// Creates an object that must not exist.
    pub(super) fn create(
        &mut self,
        key: &Key,
        mut object: Value,
        manager: &str,
    ) -> Result<Arc<Value>, ApiStatus> {
        if self.objects.contains_key(key) {
            return Err(ApiStatus::already_exists(key.resource, &key.name));
        }
        self.admit(key)?;
        let managers = Managers::from([(manager.to_owned(), object.clone())]);
        complete(key, &mut object);
        Ok(self.put(key, object, managers))
    }

    /// Server-side applies a configuration.
    pub(super) fn apply(
        &mut self,
        key: &Key,
        config: &Value,
        by: ApplyBy<'_>,
    ) -> Result<Arc<Value>, ApiStatus> {
        let mut config = config.clone();
        let (uid, version) = take_preconditions(&mut config);
        let conflict = |why: &str| ApiStatus::conflict(key.resource, &key.name, why);
        let Some(entry) = self.objects.get(key).cloned() else {
            if uid.is_some() || version.is_some() {
                return Err(conflict("uid mismatch: no existing object was found"));
            }
            self.admit(key)?;
            let mut object = config.clone();
            complete(key, &mut object);
            let managers = Managers::from([(by.manager.to_owned(), config)]);
            return Ok(self.put(key, object, managers));
        };
        check(key, &entry.object, uid.as_deref(), version.as_deref())?;
        refuse_immutable(key, &entry.object, &config)?;
        let (mut object, mut managers) = ((*entry.object).clone(), entry.managers);
        merge::apply(&mut object, &mut managers, by.manager, &config, by.force).map_err(
            |fields| {
                conflict(&format!(
                    "Apply failed with conflicts: {}",
                    fields.join(", ")
                ))
            },
        )?;
        Ok(self.put(key, object, managers))
    }

    /// Merge-patches an object, or its status alone.
    pub(super) fn patch(
        &mut self,
        key: &Key,
        patch: &Value,
        manager: &str,
    ) -> Result<Arc<Value>, ApiStatus> {
        let missing = || ApiStatus::not_found(key.resource, &key.name);
        let entry = self.objects.get(key).cloned().ok_or_else(missing)?;
        let mut patch = patch.clone();
        let (uid, version) = take_preconditions(&mut patch);
        check(key, &entry.object, uid.as_deref(), version.as_deref())?;
        let (mut object, mut managers) = ((*entry.object).clone(), entry.managers);
        merge::merge_patch(&mut object, &patch);
        merge::note(&mut managers, manager, &patch);
        Ok(self.put(key, object, managers))
    }

    /// Replaces a field without asking: what controllers and kubelets do.
    pub(super) fn set(&mut self, key: &Key, change: impl FnOnce(&mut Value)) {
        if let Some(entry) = self.objects.get(key).cloned() {
            let mut object = (*entry.object).clone();
            change(&mut object);
            self.put(key, object, entry.managers);
        }
    }

    /// Begins or completes a deletion. What has to wait (a namespace for its
    /// content, a Job for its pods, a pod for its process) is marked only.
    pub(super) fn delete(&mut self, key: &Key, by: &DeleteBy) -> Result<Arc<Value>, ApiStatus> {
        let missing = || ApiStatus::not_found(key.resource, &key.name);
        let object = self.get(key).ok_or_else(missing)?;
        if let Some(uid) = by
            .uid
            .as_deref()
            .filter(|uid| *uid != text(&object, "/metadata/uid"))
        {
            let found = text(&object, "/metadata/uid");
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
            );
            return Err(ApiStatus::conflict(key.resource, &key.name, &why));
        }
        check(key, &object, None, by.version.as_deref())?;
        let finalizers = object["metadata"]["finalizers"]
            .as_array()
            .map_or(0, Vec::len);
        let waits = match key.resource.kind {
            "Namespace" => true,
            "Job" => by.foreground || finalizers > 0,
            "Pod" => {
                let phase = text(&object, "/status/phase");
                !matches!(phase, "Succeeded" | "Failed")
                    && !text(&object, "/spec/nodeName").is_empty()
            }
            _ => finalizers > 0,
        };
        if !waits {
            self.remove(key);
            return Ok(object);
        }
        if !is_deleting(&object) {
            self.set(key, |object| mark_deleted(key, object, by));
        }
        Ok(self.get(key).unwrap_or(object))
    }

    /// Takes an object away for good.
    pub(super) fn remove(&mut self, key: &Key) {
        let Some(entry) = self.objects.remove(key) else {
            return;
        };
        self.version += 1;
        let mut last = (*entry.object).clone();
        last["metadata"]["resourceVersion"] = Value::from(self.version.to_string());
        self.record(Change {
            version: self.version,
            key: key.clone(),
            before: Some(entry.object),
            after: None,
            last: Arc::new(last),
        });
    }

    /// Whether something can be made at this place.
    fn admit(&self, key: &Key) -> Result<(), ApiStatus> {
        if !key.resource.namespaced {
            return Ok(());
        }
        let namespace = by_plural("namespaces");
        let place = Key {
            resource: namespace,
            namespace: String::new(),
            name: key.namespace.clone(),
        };
        match self.get(&place) {
            None => Err(ApiStatus::not_found(namespace, &key.namespace)),
            Some(object) if is_deleting(&object) => Err(ApiStatus::terminating(
                key.resource,
                &key.name,
                &key.namespace,
            )),
            Some(_) => Ok(()),
        }
    }

    /// Stores an object under a new version unless nothing changed.
    fn put(&mut self, key: &Key, mut object: Value, managers: Managers) -> Arc<Value> {
        let before = self.objects.get(key).map(|entry| entry.object.clone());
        object["metadata"]["managedFields"] = managed_fields(key, &managers);
        if let Some(before) = &before {
            object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            if object == **before {
                self.objects.insert(
                    key.clone(),
                    Entry {
                        object: before.clone(),
                        managers,
                    },
                );
                return before.clone();
            }
            if object["spec"] != before["spec"] {
                let generation = before["metadata"]["generation"].as_u64().unwrap_or(0);
                object["metadata"]["generation"] = Value::from(generation + 1);
            }
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = Value::from(self.version.to_string());
        let object = Arc::new(object);
        self.objects.insert(
            key.clone(),
            Entry {
                object: object.clone(),
                managers,
            },
        );
        self.record(Change {
            version: self.version,
            key: key.clone(),
            before,
            after: Some(object.clone()),
            last: object.clone(),
        });
        object
    }

    fn record(&mut self, change: Change) {
        self.log.push_back(change);
        while self.log.len() > LOG_LENGTH {
            if let Some(dropped) = self.log.pop_front() {
                self.compacted = dropped.version;
            }
        }
    }
}

/// Takes uid and version out of a patch: they are preconditions, not fields.
fn take_preconditions(patch: &mut Value) -> (Option<String>, Option<String>) {
    let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut) else {
        return (None, None);
    };
    let mut take = |name: &str| {
        metadata
            .remove(name)
            .and_then(|value| value.as_str().map(str::to_owned))
    };
    (
        take("uid"),
        take("resourceVersion").filter(|version| !version.is_empty()),
    )
}

fn check(
    key: &Key,
    object: &Value,
    uid: Option<&str>,
    version: Option<&str>,
) -> Result<(), ApiStatus> {
    let conflict = |why: &str| Err(ApiStatus::conflict(key.resource, &key.name, why));
    if uid.is_some_and(|uid| uid != text(object, "/metadata/uid")) {
        let uid = "metadata.uid";
        return Err(ApiStatus::immutable(key.resource, &key.name, uid));
    }
    if version.is_some_and(|version| version != text(object, "/metadata/resourceVersion")) {
        return conflict(
            "the object has been modified; please apply your changes to the latest version",
        );
    }
    Ok(())
}

/// What Kubernetes never lets anyone change.
fn refuse_immutable(key: &Key, live: &Value, config: &Value) -> Result<(), ApiStatus> {
    let field = match key.resource.kind {
        "Job" => "/spec/template",
        "RoleBinding" | "ClusterRoleBinding" => "/roleRef",
        _ => return Ok(()),
    };
    match config.pointer(field) {
        Some(wanted) if live.pointer(field) != Some(wanted) => {
            let why = format!("{}: field is immutable", &field[1..].replace('/', "."));
            Err(ApiStatus::invalid(key.resource, &key.name, &why))
        }
        _ => Ok(()),
    }
}

/// Fills in what the server adds to a new object.
fn complete(key: &Key, object: &mut Value) {
    object["apiVersion"] = Value::from(key.resource.api_version());
    object["kind"] = Value::from(key.resource.kind);
    let metadata = &mut object["metadata"];
    metadata["name"] = Value::from(key.name.clone());
    if key.resource.namespaced {
        metadata["namespace"] = Value::from(key.namespace.clone());
    }
    metadata["uid"] = Value::from(Uuid::new_v4().to_string());
    metadata["creationTimestamp"] = Value::from(now());
    metadata["generation"] = Value::from(1);
    match key.resource.kind {
        "Namespace" => {
            metadata["labels"]["kubernetes.io/metadata.name"] = Value::from(key.name.clone());
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
        }
        "Pod" if object["status"].is_null() => object["status"] = json!({"phase": "Pending"}),
        "Job" if object["status"].is_null() => object["status"] = json!({}),
        _ => {}
    }
}

fn mark_deleted(key: &Key, object: &mut Value, by: &DeleteBy) {
    object["metadata"]["deletionTimestamp"] = Value::from(now());
    match key.resource.kind {
        "Namespace" => object["status"]["phase"] = Value::from("Terminating"),
        "Job" if by.foreground => object["metadata"]["finalizers"] = json!([FOREGROUND]),
        "Pod" => {
            let own = object["spec"]["terminationGracePeriodSeconds"]
                .as_u64()
                .unwrap_or(30);
            let grace = by.grace_seconds.unwrap_or(own);
            object["metadata"]["deletionGracePeriodSeconds"] = Value::from(grace);
        }
        _ => {}
    }
}

/// Who manages the object; which fields, only the model knows.
fn managed_fields(key: &Key, managers: &Managers) -> Value {
    let api_version = key.resource.api_version();
    let one = |manager: &String| {
        json!({"manager": manager, "operation": "Apply", "apiVersion": api_version,
            "fieldsType": "FieldsV1", "fieldsV1": {}})
    };
    Value::Array(managers.keys().map(one).collect())
}
