//! The one node: starts pods, stops them, says how they ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::log::PodLog;
use super::pod::{PodEnd, PodLaunch, Stop};
use super::state::{Running, Shared};
use super::store::{DeleteBy, Key, Store, is_deleting, now};

/// The name of the node that every pod runs on.
pub(super) const NODE: &str = "sandbox-node";

/// Brings what runs in line with the pods that are there.
pub(super) fn sync(shared: &Arc<Shared>) {
    let knobs = shared.knobs.borrow().clone();
    if knobs.node_unreachable {
        return;
    }
    for (key, pod) in shared.with_store(|store| store.all("pods")) {
        let uid = pod["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let runs = shared.running().contains_key(&uid);
        let ended = matches!(
            pod["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed")
        );
        match (is_deleting(&pod), runs, ended) {
            (true, true, _) => {
                let seconds = pod["metadata"]["deletionGracePeriodSeconds"]
                    .as_u64()
                    .unwrap_or(30);
                ask_to_stop(shared, &uid, Stop::Gracefully(Duration::from_secs(seconds)));
            }
            (true, false, _) => shared.with_store(|store| store.remove(&key)),
            (false, false, false) => try_start(shared, &key, &pod, &uid, &knobs.broken_images),
            _ => {}
        }
    }
    forget_gone(shared);
}

/// Asks a pod to stop; a harder request replaces a softer one only.
pub(super) fn ask_to_stop(shared: &Shared, uid: &str, how: Stop) {
    if let Some(running) = shared.running().get(uid) {
        running.stop.send_if_modified(|asked| {
            let harder = match (*asked, how) {
                (Stop::No, how) => how != Stop::No,
                (Stop::Gracefully(_), how) => how == Stop::Now,
                (Stop::Now, _) => false,
            };
            if harder {
                *asked = how;
            }
            harder
        });
    }
}

fn try_start(shared: &Arc<Shared>, key: &Key, pod: &Value, uid: &str, broken: &[String]) {
    let container = pod["spec"]["containers"][0].clone();
    let image = container["image"].as_str().unwrap_or_default().to_owned();
    if broken.iter().any(|part| image.contains(part.as_str())) {
        let message = format!("Back-off pulling image \"{image}\"");
        shared.with_store(|store| set_waiting(store, key, "ImagePullBackOff", &message));
        return;
    }
    let volumes = match shared.with_store(|store| resolve_volumes(store, key, pod)) {
        Ok(volumes) => volumes,
        Err(missing) => {
            shared.with_store(|store| {
                set_waiting(store, key, "CreateContainerConfigError", &missing);
            });
            return;
        }
    };
    let launch = PodLaunch {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        uid: uid.to_owned(),
        container,
        volumes,
    };
    let (stop, stopped) = watch::channel(Stop::No);
    let log = Arc::new(PodLog::default());
    shared.logs().insert(uid.to_owned(), Arc::clone(&log));
    shared.running().insert(uid.to_owned(), Running { stop });
    shared.with_store(|store| set_running(store, key, &image));
    tokio::spawn(run(Arc::clone(shared), key.clone(), launch, log, stopped));
}

/// Runs one pod to its end and reports it, once the node answers.
async fn run(
    shared: Arc<Shared>,
    key: Key,
    launch: PodLaunch,
    log: Arc<PodLog>,
    stop: watch::Receiver<Stop>,
) {
    let (uid, image) = (launch.uid.clone(), launch.container["image"].clone());
    let started = now();
    let end = shared.runner.run(launch, Arc::clone(&log), stop).await;
    log.close();
    let mut knobs = shared.knobs.subscribe();
    // An error means that the model has gone, and nobody is left to report to.
    if knobs
        .wait_for(|knobs| !knobs.node_unreachable)
        .await
        .is_err()
    {
        return;
    }
    shared.with_store(|store| {
        set_ended(store, &key, &image, &started, &end);
        if store.get(&key).is_some_and(|pod| is_deleting(&pod)) {
            store.remove(&key);
        }
    });
    // Only now: a pod that has not ended and does not run would be started.
    shared.running().remove(&uid);
}

/// Drops the logs of pods that are there no more.
fn forget_gone(shared: &Arc<Shared>) {
    let pods = shared.with_store(|store| store.all("pods"));
    let there: std::collections::BTreeSet<&str> = pods
        .iter()
        .filter_map(|(_, pod)| pod["metadata"]["uid"].as_str())
        .collect();
    let running = shared.running();
    shared
        .logs()
        .retain(|uid, _| there.contains(uid.as_str()) || running.contains_key(uid));
}

/// The files of every volume; a missing Secret or `ConfigMap` by its name.
fn resolve_volumes(
    store: &Store,
    pod_key: &Key,
    pod: &Value,
) -> Result<BTreeMap<String, BTreeMap<String, Vec<u8>>>, String> {
    let mut volumes = BTreeMap::new();
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let name = volume["name"].as_str().unwrap_or_default().to_owned();
        let (plural, source, named) = if volume["secret"].is_object() {
            (
                "secrets",
                &volume["secret"],
                &volume["secret"]["secretName"],
            )
        } else if volume["configMap"].is_object() {
            (
                "configmaps",
                &volume["configMap"],
                &volume["configMap"]["name"],
            )
        } else {
            volumes.insert(name, BTreeMap::new());
            continue;
        };
        let named = named.as_str().unwrap_or_default();
        let object = store
            .get(&Key::new(plural, &pod_key.namespace, named))
            .ok_or_else(|| format!("{} \"{named}\" not found", plural.trim_end_matches('s')))?;
        volumes.insert(name, files(&object, source, plural == "secrets"));
    }
    Ok(volumes)
}

fn files(object: &Value, source: &Value, encoded: bool) -> BTreeMap<String, Vec<u8>> {
    let decode = |text: &str| {
        if encoded {
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap_or_default()
        } else {
            text.as_bytes().to_vec()
        }
    };
    let all = object["data"].as_object().into_iter().flatten();
    let place = |key: &str| match source["items"].as_array() {
        None => Some(key.to_owned()),
        Some(items) => {
            let item = items.iter().find(|item| item["key"] == key)?;
            item["path"].as_str().map(str::to_owned)
        }
    };
    all.filter_map(|(key, value)| Some((place(key)?, decode(value.as_str()?))))
        .collect()
}

fn set_waiting(store: &mut Store, key: &Key, reason: &str, message: &str) {
    store.set(key, |pod| {
        pod["spec"]["nodeName"] = json!(NODE);
        pod["status"]["phase"] = json!("Pending");
        pod["status"]["containerStatuses"] = json!([{
            "name": pod["spec"]["containers"][0]["name"],
            "image": pod["spec"]["containers"][0]["image"],
            "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}},
        }]);
    });
}

fn set_running(store: &mut Store, key: &Key, image: &str) {
    store.set(key, |pod| {
        pod["spec"]["nodeName"] = json!(NODE);
        pod["status"] = json!({
            "phase": "Running",
            "startTime": now(),
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": "True"},
            ],
            "containerStatuses": [{
                "name": pod["spec"]["containers"][0]["name"],
                "image": image, "imageID": image, "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": now()}},
            }],
        });
    });
}

fn set_ended(store: &mut Store, key: &Key, image: &Value, started: &str, end: &PodEnd) {
    let phase = if end.exit_code == 0 {
        "Succeeded"
    } else {
        "Failed"
    };
    store.set(key, |pod| {
        pod["status"]["phase"] = json!(phase);
        pod["status"]["conditions"] = json!([
            {"type": "PodScheduled", "status": "True"},
            {"type": "Ready", "status": "False", "reason": "PodCompleted"},
        ]);
        pod["status"]["containerStatuses"] = json!([{
            "name": pod["spec"]["containers"][0]["name"],
            "image": image, "imageID": image, "ready": false, "restartCount": 0,
            "state": {"terminated": {
                "exitCode": end.exit_code, "reason": end.reason,
                "startedAt": started, "finishedAt": now(),
            }},
        }]);
    });
}

/// Deletes a pod as any client would.
pub(super) fn delete_pod(store: &mut Store, key: &Key) {
    // Gone already is as good.
    let _ = store.delete(key, &DeleteBy::default());
}
