//! The real Kubernetes that is up beside the tests, if one is: `make cluster-up`
//! starts it, `tests/cluster/env` says how to reach it.
//!
//! A test that wants it asks by [`RealCluster::for_test`] or
//! [`RealCluster::with_pods`] and returns early where it gets none. Both write down
//! which of the two it was, so that `make test` can say how many tests ran against
//! a real server and how many were left out.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use codex_k8s::cluster::kube::Connection;
use tokio::sync::{Mutex, MutexGuard};

/// Where tests write down what they ran against, as `.ci/test` names it.
const FOLDER: &str = "CODEXK8S_CLUSTER_DIR";

/// A real Kubernetes that tests may write to.
#[derive(Debug, Clone)]
pub(crate) struct RealCluster {
    /// A kubeconfig with all rights.
    pub(crate) kubeconfig: PathBuf,
    /// The program, where there is one.
    pub(crate) kubectl: Option<PathBuf>,
    /// The API server's audit log, if the cluster is our own: a JSON object a line.
    pub(crate) audit_log: Option<PathBuf>,
    /// Where its etcd answers, if the cluster is our own.
    pub(crate) etcd: Option<String>,
    /// Whether its controllers run: without them a Job makes no pod, a quota counts
    /// nothing and a namespace that is deleted stays.
    pub(crate) controllers: bool,
    /// Whether pods really run.
    pub(crate) pods: bool,
    /// The address at which pods reach what listens on this host.
    pub(crate) host_address: String,
    /// Whether `tests/cluster` started it, and may restart it.
    pub(crate) own: bool,
}

impl RealCluster {
    /// The cluster that is up, if one is. Writes nothing down.
    pub(crate) fn find() -> Option<Self> {
        static FOUND: OnceLock<Option<RealCluster>> = OnceLock::new();
        FOUND.get_or_init(Self::look).clone()
    }

    /// The cluster, for the test that asks; else the test is left out.
    pub(crate) fn for_test() -> Option<Self> {
        let found = Self::find();
        note(found.as_ref().map_or(Err("no real API server"), |_| Ok(())));
        found
    }

    /// The cluster, if it is one of our own, whose processes may be touched.
    pub(crate) fn own() -> Option<Self> {
        let found = Self::find().filter(|cluster| cluster.own);
        note(
            found
                .as_ref()
                .map_or(Err("no cluster of our own"), |_| Ok(())),
        );
        found
    }

    /// The cluster, if its controllers run, for the test that asks.
    pub(crate) fn with_controllers() -> Option<Self> {
        let found = Self::find().filter(|cluster| cluster.controllers);
        let missing = "no controllers beside a real API server";
        note(found.as_ref().map_or(Err(missing), |_| Ok(())));
        found
    }

    /// The cluster, if it runs pods, for the test that asks.
    pub(crate) fn with_pods() -> Option<Self> {
        let found = Self::find().filter(|cluster| cluster.pods);
        note(found.as_ref().map_or(Err("no real pods"), |_| Ok(())));
        found
    }

    /// The same, when no other test has the platform's account at work there: what one looks for
    /// in the audit log another would write.
    pub(crate) async fn with_pods_alone() -> Option<(Self, MutexGuard<'static, ()>)> {
        static TURN: Mutex<()> = Mutex::const_new(());
        let cluster = Self::with_pods()?;
        Some((cluster, TURN.lock().await))
    }

    /// How the adapter connects.
    pub(crate) fn connection(&self) -> Connection {
        Connection::Kubeconfig {
            path: self.kubeconfig.clone(),
            context: None,
        }
    }

    /// `kubectl` with the kubeconfig.
    pub(crate) fn kubectl(&self) -> Command {
        let program = self.kubectl.as_deref().unwrap_or(Path::new("kubectl"));
        let mut command = Command::new(program);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    /// How the node knows an image (`NAME:TAG`) by its digest.
    pub(crate) fn pinned(&self, image: &str) -> String {
        let names = "jsonpath={.items[*].status.images[*].names[*]}";
        let mut kubectl = self.kubectl();
        let output = kubectl.args(["get", "nodes", "-o", names]).output();
        let said = String::from_utf8(output.expect("kubectl runs").stdout).unwrap();
        let (name, _) = image.rsplit_once(':').expect("a tag");
        let begins = format!("docker.io/{name}@sha256:");
        let pinned = said.split(' ').find(|name| name.starts_with(&begins));
        let pinned = pinned.unwrap_or_else(|| panic!("no digest of {image}: make image\n{said}"));
        pinned.to_owned()
    }

    /// One of the scripts beside the cluster, such as `image`.
    pub(crate) fn script(name: &str) -> Command {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster");
        Command::new(folder.join(name))
    }

    fn look() -> Option<Self> {
        let output = Self::script("env")
            .output()
            .expect("tests/cluster/env runs");
        assert!(output.status.success(), "tests/cluster/env: {output:?}");
        let text = String::from_utf8(output.stdout).expect("its lines are text");
        let said: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        let path = |name| said.get(name).map(PathBuf::from);
        Some(Self {
            kubeconfig: path("KUBECONFIG")?,
            kubectl: path("KUBECTL"),
            audit_log: path("AUDIT_LOG"),
            etcd: said.get("ETCD").map(ToString::to_string),
            controllers: said.get("CONTROLLERS") != Some(&"no"),
            pods: said.get("PODS") == Some(&"yes"),
            host_address: said.get("HOST_ADDRESS").unwrap_or(&"127.0.0.1").to_string(),
            own: said.get("GIVEN") == Some(&"no"),
        })
    }
}

/// Writes down whether the test on this thread runs, or what is missing for it.
pub(super) fn note(ran: Result<(), &str>) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = match ran {
        Ok(()) => format!("ran\t{test}\n"),
        Err(missing) => {
            eprintln!("left out: {test}: {missing}");
            format!("left out\t{test}\t{missing}\n")
        }
    };
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    // One file for each process: lines of two never mix.
    let path = Path::new(&folder).join(format!("{}.tsv", std::process::id()));
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("what ran can be written down");
}
