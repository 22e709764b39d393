//! What runs a pod, as the model's kubelet sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;

use super::log::PodLog;

/// What a running pod is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Run on.
    No,
    /// End within the grace period.
    Gracefully(Duration),
    /// End at once.
    Now,
}

/// How a pod's container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodEnd {
    /// The exit code; a signal is 128 and its number.
    pub exit_code: i32,
    /// Kubernetes' reason: `Completed`, `Error`, `OOMKilled`.
    pub reason: String,
}

impl PodEnd {
    /// An end by exit code.
    pub fn exited(exit_code: i32) -> Self {
        let reason = if exit_code == 0 { "Completed" } else { "Error" };
        Self {
            exit_code,
            reason: reason.to_owned(),
        }
    }
}

/// A pod ready to run: its volumes' files are resolved.
#[derive(Clone)]
pub struct PodLaunch {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
    /// The container: command, environment, mounts.
    pub container: Value,
    /// Volumes by name, in the form of the files that stand in them. A scratch
    /// volume has none.
    pub volumes: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

impl std::fmt::Debug for PodLaunch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Volumes hold secrets.
        f.debug_struct("PodLaunch")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl PodLaunch {
    /// The environment that the container is given.
    pub fn env(&self) -> BTreeMap<String, String> {
        let all = self.container["env"].as_array().into_iter().flatten();
        all.filter_map(|entry| {
            let name = entry["name"].as_str()?;
            Some((
                name.to_owned(),
                entry["value"].as_str().unwrap_or_default().to_owned(),
            ))
        })
        .collect()
    }

    /// The content of a file that the container sees at `path`.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        let mounts = self.container["volumeMounts"].as_array()?;
        mounts.iter().find_map(|mount| {
            let inside = path
                .strip_prefix(mount["mountPath"].as_str()?)?
                .strip_prefix('/')?;
            let files = self.volumes.get(mount["name"].as_str()?)?;
            files.get(inside).map(Vec::as_slice)
        })
    }
}

/// Runs pods. Tests script them in process, the sandbox spawns processes.
#[async_trait]
pub trait PodRunner: Send + Sync {
    /// Runs a pod to its end. It must end soon after `stop` says so: the pod
    /// object stands until then.
    async fn run(&self, launch: PodLaunch, log: Arc<PodLog>, stop: watch::Receiver<Stop>)
    -> PodEnd;

    /// Cleans up after a pod whose object is gone.
    async fn forget(&self, _namespace: &str, _name: &str) {}
}

/// Waits until a pod is asked to end.
pub async fn stop_requested(stop: &mut watch::Receiver<Stop>) -> Stop {
    match stop.wait_for(|stop| *stop != Stop::No).await {
        Ok(stop) => *stop,
        // The model is gone: so is everything it runs.
        Err(_) => Stop::Now,
    }
}
