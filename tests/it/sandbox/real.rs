//! The whole path on a real Kubernetes: `serve` under its own ServiceAccount, the
//! runner in real pods, and the API server's audit log as the witness.

use std::{collections::BTreeSet, fs, path::Path};

use codex_k8s::domain::run::RunState;
use serde_json::Value;

use super::stage::{PASSES, Stage, note};
use crate::support::cluster::RealCluster;

/// Long enough for people to step in while the agent works.
const AGENT_SECONDS: f64 = 12.0;
const PLATFORM: &str = "system:serviceaccount:codex-k8s:codex-k8s";
const FORCED: usize = 100;

/// A right: API group, resource with its subresource, and verb.
type Right = (String, String, String);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_path_with_exactly_the_rights_that_are_granted() {
    let Some((cluster, _turn)) = RealCluster::with_pods_alone().await else {
        return;
    };
    let audit = Audit::from_now(&cluster);
    let mut stage = Stage::on(&cluster, AGENT_SECONDS).await;
    stage.serve().await;

    stage.label(1, "run:dev");
    stage.finished(1, RunState::Succeeded).await;
    let [_pull] = stage.pulls()[..] else {
        panic!("{}", stage.history().await)
    };
    assert_eq!(stage.labels(1), ["state:in-review"]);
    assert_eq!(stage.comments(1).len(), 1, "{}", stage.history().await);

    role_changes_and_the_label_goes(&stage, &cluster).await;
    job_goes_without_its_pod(&stage, &cluster).await;
    assert!(run_namespaces(&stage, &cluster).is_empty());

    a_hundred_passes_write_nothing(&mut stage, &cluster).await;
    stage.end().await;

    let seen = audit.of_platform();
    let refused: Vec<_> = seen.iter().filter(|one| one.code == 403).collect();
    assert!(refused.is_empty(), "refused: {refused:#?}");
    let used: BTreeSet<Right> = seen.iter().flat_map(Request::rights).collect();
    let granted = granted(&cluster);
    let unused: Vec<_> = granted.difference(&used).collect();
    let ungranted: Vec<_> = used.difference(&granted).collect();
    assert!(
        unused.is_empty() && ungranted.is_empty(),
        "granted and not used: {unused:#?}\nused and not granted by manifests/: {ungranted:#?}"
    );
    note(&format!(
        "rights on the real API server: {} granted, all used",
        granted.len()
    ));
}

/// The binding of a role that the config takes away goes at once, the run with its label.
async fn role_changes_and_the_label_goes(stage: &Stage, cluster: &RealCluster) {
    stage.label(2, "run:dev");
    stage.run_in(2, RunState::Running).await;
    let bound = || {
        let of_run = run_namespaces(stage, cluster);
        let namespace = of_run.first().expect("the run has a namespace");
        let bindings = get(cluster, &["rolebindings", "--namespace", namespace]);
        names_of(&bindings, "/roleRef/name")
    };
    assert_eq!(bound(), ["codex-k8s-agent-edit"]);
    let path = "agents/dev.yaml";
    let text = stage.config_file(path).replace("edit", "read");
    let files = [(path, text.as_str())];
    stage
        .world
        .config()
        .commit("Let the agent read", files)
        .unwrap();
    stage
        .until("only the new role is bound", || async {
            (bound() == ["codex-k8s-agent-read"]).then_some(())
        })
        .await;
    stage.unlabel(2, "run:dev");
    stage.finished(2, RunState::Cancelled).await;
}

/// Somebody deletes the Job and leaves its pod: the platform ends the pod itself.
async fn job_goes_without_its_pod(stage: &Stage, cluster: &RealCluster) {
    stage.label(3, "run:dev");
    stage.run_in(3, RunState::Running).await;
    let of_run = run_namespaces(stage, cluster);
    let namespace = of_run.first().expect("the run has a namespace");
    let arguments = ["delete", "jobs", "--all", "--cascade=orphan", "--namespace"];
    kubectl(cluster, &[&arguments[..], &[namespace]].concat());
    stage.unlabel(3, "run:dev");
    stage.finished(3, RunState::Cancelled).await;
}

/// The audit log shows no write of the platform's but the copied lease.
async fn a_hundred_passes_write_nothing(stage: &mut Stage, cluster: &RealCluster) {
    // The lease is copied after each renewal, rest or not: two copies show that time went by.
    let rest = Audit::from_now(cluster);
    let copies = |audit: &Audit| {
        let seen = audit.of_platform();
        seen.iter().filter(|one| one.is_lease_copy()).count()
    };
    stage.force_passes(FORCED).await;
    stage
        .until("the lease was copied twice", || async {
            (copies(&rest) >= 2).then_some(())
        })
        .await;
    let seen = rest.of_platform();
    let writes: Vec<_> = seen
        .iter()
        .filter(|one| one.is_write() && !one.is_lease_copy())
        .collect();
    assert!(writes.is_empty(), "written at rest: {writes:#?}");
    assert!(stage.metric(PASSES).await >= 100.0);
}

/// The audit log from a moment on.
pub(super) struct Audit<'a> {
    path: &'a Path,
    from: u64,
}

impl<'a> Audit<'a> {
    pub(super) fn from_now(cluster: &'a RealCluster) -> Self {
        let path = cluster.audit_log.as_deref();
        let path = path.expect("a cluster of our own keeps an audit log");
        let from = fs::metadata(path).unwrap().len();
        Self { path, from }
    }

    /// What the platform's ServiceAccount asked for.
    fn of_platform(&self) -> Vec<Request> {
        let lines = self.lines().into_iter();
        lines
            .filter(|line| line["user"]["username"] == PLATFORM)
            .filter_map(|line| Request::read(&line))
            .collect()
    }

    /// All of it.
    pub(super) fn lines(&self) -> Vec<Value> {
        let bytes = fs::read(self.path).unwrap();
        let from = usize::try_from(self.from).unwrap();
        let text = String::from_utf8_lossy(&bytes[from..]);
        // The last line may not be whole yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A request about a resource, as the audit log has it.
#[derive(Debug)]
struct Request {
    group: String,
    resource: String,
    verb: String,
    code: u64,
}

impl Request {
    fn read(line: &Value) -> Option<Self> {
        let object = line.get("objectRef")?;
        let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        let resource = match text("subresource").as_str() {
            "" => text("resource"),
            sub => format!("{}/{sub}", text("resource")),
        };
        Some(Self {
            group: text("apiGroup"),
            resource,
            verb: line["verb"].as_str()?.to_owned(),
            code: line["responseStatus"]["code"].as_u64().unwrap_or_default(),
        })
    }

    fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    fn is_lease_copy(&self) -> bool {
        self.is_write() && self.resource == "leases"
    }

    /// The rights that the API server asked for: an apply that makes its object needs `create`
    /// as well, and a new binding needs `bind` on its role.
    fn rights(&self) -> Vec<Right> {
        let right = |verb: &str| (self.group.clone(), self.resource.clone(), verb.to_owned());
        let mut rights = vec![right(&self.verb)];
        if self.verb == "patch" && self.code == 201 {
            rights.push(right("create"));
            if self.resource == "rolebindings" {
                rights.push((self.group.clone(), "clusterroles".into(), "bind".into()));
            }
        }
        rights
    }
}

/// What `manifests/` grants the platform's ServiceAccount.
fn granted(cluster: &RealCluster) -> BTreeSet<Right> {
    let roles = [
        get(cluster, &["clusterrole", "codex-k8s-platform"]),
        get(
            cluster,
            &["role", "codex-k8s-lease", "--namespace", "codex-k8s"],
        ),
    ];
    let mut rights = BTreeSet::new();
    for rule in roles
        .iter()
        .flat_map(|role| role["rules"].as_array().unwrap())
    {
        let words = |name: &str| {
            let all = rule[name].as_array().unwrap().iter();
            all.map(|word| word.as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        for group in words("apiGroups") {
            for resource in words("resources") {
                for verb in words("verbs") {
                    rights.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    rights
}

/// The namespaces of this world's runs.
fn run_namespaces(stage: &Stage, cluster: &RealCluster) -> Vec<String> {
    let installation = &stage.world.settings()["CODEXK8S_INSTALLATION_ID"];
    let selector = format!("codex-k8s.dev/installation={installation}");
    let namespaces = get(cluster, &["namespaces", "--selector", &selector]);
    names_of(&namespaces, "/metadata/name")
}

pub(super) fn names_of(list: &Value, pointer: &str) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| item.pointer(pointer).unwrap().as_str().unwrap().to_owned())
        .collect()
}

pub(super) fn get(cluster: &RealCluster, what: &[&str]) -> Value {
    let text = kubectl(cluster, &[&["get", "--output=json"], what].concat());
    serde_json::from_str(&text).unwrap()
}

fn kubectl(cluster: &RealCluster, arguments: &[&str]) -> String {
    let output = cluster.kubectl().args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
