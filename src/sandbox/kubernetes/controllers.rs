//! What happens by itself: a Job makes its pod and takes over its outcome,
//! deleted namespaces and owners take their content along.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::kubelet::{self, delete_pod};
use super::state::Shared;
use super::store::{DeleteBy, Key, Store, is_deleting, now};

/// Deadlines are looked at this often while nothing else happens.
const TICK: Duration = Duration::from_millis(200);

/// Works until the model has gone.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut versions = shared.versions();
    let mut knobs = shared.knobs.subscribe();
    let mut known = BTreeSet::new();
    loop {
        versions.mark_unchanged();
        knobs.mark_unchanged();
        let hold = shared.knobs.borrow().hold_namespaces;
        shared.with_store(|store| {
            let pods = store.all("pods");
            sync_jobs(store, &pods);
            collect_garbage(store);
            finish_namespaces(store, hold);
        });
        kubelet::sync(&shared);
        let pods = shared.with_store(|store| store.all("pods"));
        let pods: BTreeSet<Key> = pods.into_iter().map(|(key, _)| key).collect();
        for gone in known.difference(&pods) {
            shared.runner.forget(&gone.namespace, &gone.name).await;
        }
        known = pods;
        tokio::select! {
            _ = versions.changed() => {}
            _ = knobs.changed() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// The uid of the Job that made a pod.
fn owner(pod: &Value) -> Option<&str> {
    pod["metadata"]["ownerReferences"][0]["uid"].as_str()
}

fn sync_jobs(store: &mut Store, pods: &[(Key, Arc<Value>)]) {
    let by_owner: BTreeMap<&str, &(Key, Arc<Value>)> = pods
        .iter()
        .filter_map(|pod| Some((owner(&pod.1)?, pod)))
        .collect();
    for (key, job) in store.all("jobs") {
        let finished = job["status"]["conditions"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        if is_deleting(&job) || finished {
            continue;
        }
        let pod = by_owner.get(uid(&job));
        let started = job["status"]["startTime"].is_string();
        match pod {
            None if started => fail_job(store, &key, "BackoffLimitExceeded"),
            None => start_job(store, &key, &job),
            Some((pod_key, pod)) => match pod["status"]["phase"].as_str() {
                Some("Succeeded") => complete_job(store, &key),
                Some("Failed") => fail_job(store, &key, "BackoffLimitExceeded"),
                _ if past_deadline(&job) => {
                    delete_pod(store, pod_key);
                    fail_job(store, &key, "DeadlineExceeded");
                }
                _ => {}
            },
        }
    }
}

fn start_job(store: &mut Store, key: &Key, job: &Value) {
    let name = format!("{}-{}", key.name, &Uuid::new_v4().simple().to_string()[..5]);
    let mut pod = job["spec"]["template"].clone();
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "batch/v1", "kind": "Job", "name": key.name,
        "uid": job["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }]);
    pod["metadata"]["labels"]["job-name"] = json!(key.name);
    pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] = json!(key.name);
    let pod_key = Key::new("pods", &key.namespace, &name);
    // The namespace may be on its way out; then there is no pod.
    if store
        .create(&pod_key, pod, "kube-controller-manager")
        .is_ok()
    {
        store.set(key, |job| {
            job["status"] = json!({"startTime": now(), "active": 1, "ready": 0});
        });
    }
}

fn complete_job(store: &mut Store, key: &Key) {
    store.set(key, |job| {
        job["status"] = json!({
            "startTime": job["status"]["startTime"], "completionTime": now(), "succeeded": 1,
            "conditions": [{"type": "Complete", "status": "True", "reason": "CompletionsReached"}],
        });
    });
}

fn fail_job(store: &mut Store, key: &Key, reason: &str) {
    store.set(key, |job| {
        job["status"] = json!({
            "startTime": job["status"]["startTime"], "failed": 1,
            "conditions": [{"type": "Failed", "status": "True", "reason": reason}],
        });
    });
}

fn past_deadline(job: &Value) -> bool {
    let started = job["status"]["startTime"].as_str();
    let started = started.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let Some((seconds, started)) = job["spec"]["activeDeadlineSeconds"].as_i64().zip(started)
    else {
        return false;
    };
    Utc::now().signed_duration_since(started).num_seconds() >= seconds
}

/// Pods without their Job go; Jobs that waited for their pods go after them.
fn collect_garbage(store: &mut Store) {
    let jobs = store.all("jobs");
    let staying: BTreeSet<&str> = jobs
        .iter()
        .filter(|(_, job)| !is_deleting(job))
        .map(|(_, job)| uid(job))
        .collect();
    for (key, pod) in store.all("pods") {
        if owner(&pod).is_some_and(|job| !staying.contains(job)) && !is_deleting(&pod) {
            delete_pod(store, &key);
        }
    }
    let pods = store.all("pods");
    let owners: BTreeSet<&str> = pods.iter().filter_map(|(_, pod)| owner(pod)).collect();
    for (key, job) in &jobs {
        if is_deleting(job) && !owners.contains(uid(job)) {
            store.remove(key);
        }
    }
}

/// Empties namespaces that are being deleted, then lets them go.
fn finish_namespaces(store: &mut Store, hold: bool) {
    for (key, namespace) in store.all("namespaces") {
        if !is_deleting(&namespace) {
            continue;
        }
        for (inner, object) in store.content(&key.name) {
            if !is_deleting(&object) {
                let _ = store.delete(&inner, &DeleteBy::default());
            }
        }
        if !hold && store.content(&key.name).is_empty() {
            store.remove(&key);
        }
    }
}
