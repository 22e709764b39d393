//! A model of a Kubernetes API server with one node, over HTTP.
//!
//! ```text
//! client ─ HTTP ─► http ─► store (objects, versions, log) ─► watch ─► client
//!                            ▲      │
//!                            │      ▼
//!                       controllers, kubelet ─► PodRunner (a process, a script)
//! ```
//!
//! It keeps objects and serves the calls the platform makes of them: get, list
//! in pages, watch, server-side apply, merge patch, create, delete, logs. A Job
//! becomes one pod, and a pod is whatever the [`PodRunner`] makes of it. It
//! does *not* enforce network policies, roles, quotas or admission; those are
//! stored and nothing more.
//!
//! Invariant: a pod's object stands until what it ran has ended.

mod controllers;
mod discovery;
mod fault;
mod http;
mod kubelet;
mod list;
mod log;
mod merge;
mod pod;
mod process;
mod resource;
mod selector;
mod state;
mod status;
mod store;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use self::state::{Knobs, Shared};
use self::store::{ApplyBy, DeleteBy, Key};

pub use self::fault::{Fault, FaultRule, Verb, WriteRecord};
pub use self::log::PodLog;
pub use self::pod::{PodEnd, PodLaunch, PodRunner, Stop, stop_requested};
pub use self::process::ProcessRunner;

/// A running model. It ends when this is dropped, and its pods are asked to.
pub struct KubernetesModel {
    shared: Arc<Shared>,
    address: SocketAddr,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl std::fmt::Debug for KubernetesModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubernetesModel")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Drop for KubernetesModel {
    fn drop(&mut self) {
        for running in self.shared.running().values() {
            running.stop.send_replace(Stop::Now);
        }
    }
}

impl KubernetesModel {
    /// Starts a model on a free port of this machine, with its node and the
    /// namespaces that a cluster has from the beginning.
    pub async fn start(runner: Arc<dyn PodRunner>) -> io::Result<Self> {
        let token = Uuid::new_v4().simple().to_string();
        let shared = Arc::new(Shared::new(token, runner));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let router = http::router(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(error.message = %error, "Kubernetes model stopped");
            }
        });
        let controllers = tokio::spawn(controllers::run(Arc::clone(&shared)));
        let tasks = [server, controllers].map(AbortOnDropHandle::new);
        let model = Self {
            shared,
            address,
            _tasks: tasks,
        };
        for name in ["default", "kube-system"] {
            model.ensure_namespace(name);
        }
        let node =
            json!({"metadata": {"labels": {"kubernetes.io/hostname": kubelet::NODE}}, "spec": {}});
        model.seed("nodes", "", kubelet::NODE, node);
        Ok(model)
    }

    /// The address that clients use.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bearer token that clients must show.
    pub fn token(&self) -> &str {
        &self.shared.token
    }

    /// A kubeconfig file for this model.
    pub fn kubeconfig(&self) -> String {
        let name = "codex-k8s-sandbox";
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {name}\n\
             clusters:\n- name: {name}\n  cluster:\n    server: {url}\n\
             users:\n- name: {name}\n  user:\n    token: {token}\n\
             contexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: {name}\n",
            url = self.url(),
            token = self.token(),
        )
    }

    /// Makes a namespace that is nobody's run, unless it is there.
    pub fn ensure_namespace(&self, name: &str) {
        self.seed("namespaces", "", name, json!({"metadata": {}}));
    }

    /// Puts an object in as someone other than the platform would.
    pub fn seed(&self, resource: &str, namespace: &str, name: &str, object: Value) {
        let key = Key::new(resource, namespace, name);
        // Present already is as good.
        let _ = self
            .shared
            .with_store(|store| store.create(&key, object, "seed"));
    }

    /// Changes fields of an object as another field manager would.
    pub fn meddle(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        manager: &str,
        fields: &Value,
    ) {
        let key = Key::new(resource, namespace, name);
        let by = ApplyBy {
            manager,
            force: true,
        };
        let _ = self
            .shared
            .with_store(|store| store.apply(&key, fields, by));
    }

    /// An object as it is now.
    pub fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = Key::new(resource, namespace, name);
        self.shared
            .with_store(|store| store.get(&key))
            .map(|object| (*object).clone())
    }

    /// All objects of a resource, in order.
    pub fn objects(&self, resource: &str) -> Vec<Value> {
        let all = self.shared.with_store(|store| store.all(resource));
        all.into_iter()
            .map(|(_, object)| (*object).clone())
            .collect()
    }

    /// Deletes an object as someone other than the platform would.
    pub fn remove(&self, resource: &str, namespace: &str, name: &str) {
        let key = Key::new(resource, namespace, name);
        let _ = self
            .shared
            .with_store(|store| store.delete(&key, &DeleteBy::default()));
    }

    /// The version of the newest change: equal versions, equal worlds.
    pub fn version(&self) -> u64 {
        self.shared.with_store(|store| store.version())
    }

    /// Waits for the next change of anything.
    pub async fn changed_since(&self, version: u64) {
        let mut versions = self.shared.versions();
        // An error cannot be: the sender lives as long as the model.
        let _ = versions.wait_for(|newest| *newest > version).await;
    }

    /// Every changing call so far, refused ones included.
    pub fn writes(&self) -> Vec<WriteRecord> {
        self.shared.writes().clone()
    }

    /// How many changing calls there were, copies of the lease aside.
    pub fn write_count(&self) -> usize {
        self.shared
            .writes()
            .iter()
            .filter(|write| write.resource != "leases")
            .count()
    }

    /// What a pod has printed so far.
    pub fn log(&self, namespace: &str, pod: &str) -> Option<String> {
        let uid = self.uid_of(namespace, pod)?;
        let log = self.shared.logs().get(&uid).cloned()?;
        Some(String::from_utf8_lossy(&log.read_from(0)).into_owned())
    }

    /// Adds a fault.
    pub fn fault(&self, rule: FaultRule) {
        self.shared.faults().add(rule);
    }

    /// Draws from this seed which requests a fault with a rate strikes.
    pub fn seed_faults(&self, seed: u64) {
        self.shared.faults().seed(seed);
    }

    /// How often each kind of fault struck so far.
    pub fn faults_struck(&self) -> BTreeMap<String, u64> {
        self.shared.faults().struck()
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// Kills a pod's process as a crash of the node's would: the pod fails.
    pub fn kill_pod(&self, namespace: &str, pod: &str) {
        if let Some(uid) = self.uid_of(namespace, pod) {
            kubelet::ask_to_stop(&self.shared, &uid, Stop::Now);
        }
    }

    /// Images whose name holds `part` can, or can again, be pulled or not.
    pub fn break_image(&self, part: &str, broken: bool) {
        self.turn(|knobs| {
            knobs.broken_images.retain(|known| known != part);
            if broken {
                knobs.broken_images.push(part.to_owned());
            }
        });
    }

    /// Makes the node silent: no pod starts, stops or reports. Or ends that.
    pub fn set_node_unreachable(&self, unreachable: bool) {
        let taint = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute",
            "timeAdded": store::now()}]);
        let key = Key::new("nodes", "", kubelet::NODE);
        self.shared.with_store(|store| {
            store.set(&key, |node| {
                node["spec"] = if unreachable {
                    json!({"taints": taint})
                } else {
                    json!({})
                };
            });
        });
        self.turn(|knobs| knobs.node_unreachable = unreachable);
    }

    /// Keeps deleted namespaces in Terminating, or lets them go.
    pub fn hold_namespaces(&self, hold: bool) {
        self.turn(|knobs| knobs.hold_namespaces = hold);
    }

    /// Answers lists with what is there now, whatever happens later.
    pub fn freeze_lists(&self, freeze: bool) {
        self.shared.with_store(|store| store.freeze_lists(freeze));
    }

    /// Holds events of watches back, or lets them through.
    pub fn hold_watches(&self, hold: bool) {
        self.turn(|knobs| knobs.hold_watches = hold);
    }

    /// Ends every open watch.
    pub fn break_watches(&self) {
        self.turn(|knobs| knobs.watch_generation += 1);
    }

    /// Forgets the log of changes: watches that are behind get 410.
    pub fn compact(&self) {
        self.shared.with_store(store::Store::compact);
    }

    /// Ends every pod at once and waits until all have ended.
    pub async fn stop_pods(&self) {
        // A silent node would never report.
        self.turn(|knobs| knobs.node_unreachable = false);
        let mut versions = self.shared.versions();
        loop {
            versions.mark_unchanged();
            let running: Vec<String> = self.shared.running().keys().cloned().collect();
            if running.is_empty() {
                return;
            }
            for uid in running {
                kubelet::ask_to_stop(&self.shared, &uid, Stop::Now);
            }
            // A pod's end is a change; the pause covers the one between a
            // pod's last report and its leaving the list.
            let _ = tokio::time::timeout(Duration::from_millis(100), versions.changed()).await;
        }
    }

    fn turn(&self, change: impl FnOnce(&mut Knobs)) {
        self.shared.knobs.send_modify(change);
    }

    fn uid_of(&self, namespace: &str, pod: &str) -> Option<String> {
        let pod = self.object("pods", namespace, pod)?;
        pod["metadata"]["uid"].as_str().map(str::to_owned)
    }
}
