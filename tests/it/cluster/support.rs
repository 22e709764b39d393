//! The manifests installed into the real cluster, and callers of it under any name.

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use ::kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use ::kube::{Client, Config};
use codex_k8s::cluster::kube::{Connection, KubeCluster, KubeOptions};
use codex_k8s::cluster::manifests::{
    AttemptSpec, CaBundle, ContainerLimits, DnsTarget, Egress, EgressRule, ImagePullPolicy,
    NetworkTarget, PodSecurityLevel, Quota, Resources, RunEnvironment, RunIdentity,
    environment_objects, namespace_name,
};
use codex_k8s::cluster::{Cluster, DeleteTarget, ObjectRef, OpenGate, Propagation};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::support::cluster::RealCluster;

/// Who the platform is.
pub(super) const PLATFORM: &str = "system:serviceaccount:codex-k8s:codex-k8s";
/// Who makes the pods of Jobs.
pub(super) const JOB_CONTROLLER: &str = "system:serviceaccount:kube-system:job-controller";
/// Who may do everything by RBAC and is neither platform nor above authorization: what
/// refuses them is admission.
pub(super) const ALMIGHTY: &str = "system:serviceaccount:codex-k8s-tests:almighty";

/// Nothing here takes longer.
const DEADLINE: Duration = Duration::from_mins(1);

/// What of the manifests the tests install: no workload of the platform itself.
const INSTALLED: [&str; 9] = [
    "Namespace",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "NetworkPolicy",
];

/// The real cluster with the manifests in it; `None` leaves the test out.
pub(super) async fn installed() -> Option<RealCluster> {
    let cluster = RealCluster::for_test()?;
    install_once(&cluster).await;
    Some(cluster)
}

/// Brings the manifests into the cluster and waits until every policy holds.
pub(crate) async fn install_once(cluster: &RealCluster) {
    static INSTALL: OnceCell<()> = OnceCell::const_new();
    INSTALL.get_or_init(|| install(cluster)).await;
}

async fn install(cluster: &RealCluster) {
    let built = kubectl(cluster, &["kustomize", &path("base")], None).expect("the base is built");
    let documents = serde_yaml::Deserializer::from_str(&built);
    let items: Vec<Value> = documents
        .map(|document| serde::Deserialize::deserialize(document).expect("YAML"))
        .filter(|object: &Value| INSTALLED.iter().any(|kind| object["kind"] == *kind))
        .collect();
    apply(cluster, &items);
    apply(cluster, &almighty());
    if !cluster.controllers {
        apply(cluster, &default_accounts());
    }
    apply(cluster, &[namespace(PROBED), probing()]);
    // Policies hold once the API server has noticed them, each by itself.
    for (policy, user, place, object) in refusals() {
        let caller = Caller::new(cluster, user).await;
        until(&format!("the policy {policy} holds"), || async {
            let refused = caller.create(&place, &object).await.err()?;
            refused.contains(policy).then_some(())
        })
        .await;
    }
}

/// A namespace with the platform's mark, of no run.
const PROBED: &str = "codex-k8s-tests-probed";

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": name, "labels": {"codex-k8s.dev/managed-by": "codex-k8s"}}})
}

/// Who has an agent's rights there.
const PROBING: &str = "system:serviceaccount:codex-k8s-tests-probed:default";

fn probing() -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "probing", "namespace": PROBED},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "codex-k8s-agent-edit"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": PROBED}]})
}

/// What each policy refuses alone: its name, who asks, where, and for what.
fn refusals() -> [(&'static str, &'static str, String, Value); 5] {
    let within = |resource: &str| format!("/api/v1/namespaces/{PROBED}/{resource}");
    let marked = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "x", "labels": {"codex-k8s.dev/run": "x"}}});
    let pod = json!({"containers": [{"name": "x", "image": "x"}], "hostNetwork": true});
    let template = json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": pod}});
    let unmarked = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "codex-k8s-tests-unmarked"}});
    let namespaces = "/api/v1/namespaces".to_owned();
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "x", "finalizers": ["example.org/stay"]}});
    [
        (
            "codex-k8s-namespace-marks",
            ALMIGHTY,
            namespaces.clone(),
            namespace("codex-k8s-tests-marked"),
        ),
        ("codex-k8s-platform-writes", PLATFORM, namespaces, unmarked),
        (
            "codex-k8s-run-marks",
            ALMIGHTY,
            within("configmaps"),
            marked,
        ),
        ("codex-k8s-run-objects", PROBING, within("configmaps"), held),
        (
            "codex-k8s-run-pods",
            ALMIGHTY,
            within("podtemplates"),
            template,
        ),
    ]
}

fn apply(cluster: &RealCluster, items: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    kubectl(cluster, &arguments, Some(&list)).expect("it is taken");
}

/// What a controller makes in every namespace, in those that tests look at.
fn default_accounts() -> [Value; 3] {
    ["default", "kube-system", "codex-k8s"].map(|namespace| {
        json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": namespace}})
    })
}

fn almighty() -> [Value; 3] {
    let (name, namespace) = ("almighty", "codex-k8s-tests");
    [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]}),
    ]
}

/// A folder of the manifests.
pub(super) fn path(folder: &str) -> String {
    format!("{}/manifests/{folder}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs `kubectl`; what it printed, or what it complained of.
pub(super) fn kubectl(
    cluster: &RealCluster,
    arguments: &[&str],
    input: Option<&str>,
) -> Result<String, String> {
    let mut child = cluster
        .kubectl()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let text = input.unwrap_or_default().to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("kubectl ends");
    // It may end without having read everything.
    let _ = writer.join().expect("the writer ends");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(said(&output.stdout))
    } else {
        Err(said(&output.stderr))
    }
}

/// Calls the API server under a name.
pub(super) struct Caller {
    pub(super) client: Client,
    /// The name, where it is not the administrator's.
    user: Option<String>,
}

impl Caller {
    /// A caller of that name, by impersonation; the server adds its groups.
    pub(super) async fn new(cluster: &RealCluster, user: &str) -> Self {
        Self {
            user: Some(user.to_owned()),
            ..Self::administrator(cluster).await
        }
    }

    /// The cluster's administrator.
    pub(super) async fn administrator(cluster: &RealCluster) -> Self {
        let file = Kubeconfig::read_from(&cluster.kubeconfig).expect("the kubeconfig");
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options).await;
        let client = Client::try_from(config.expect("a config")).expect("a client");
        Self { client, user: None }
    }

    /// Asks to create an object, for the answer alone: nothing is stored.
    pub(super) async fn create(&self, path: &str, object: &Value) -> Result<Value, String> {
        self.send(
            "POST",
            &format!("{path}?dryRun=All"),
            "application/json",
            object,
        )
        .await
    }

    /// Asks to merge something into an object, for the answer alone.
    pub(super) async fn patch(&self, path: &str, change: &Value) -> Result<Value, String> {
        let media = "application/merge-patch+json";
        self.send("PATCH", &format!("{path}?dryRun=All"), media, change)
            .await
    }

    /// Asks to delete an object, for the answer alone.
    pub(super) async fn delete(&self, path: &str) -> Result<Value, String> {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]});
        self.send("DELETE", path, "application/json", &options)
            .await
    }

    /// Creates an object.
    pub(super) async fn make(&self, path: &str, object: &Value) -> Value {
        let made = self.send("POST", path, "application/json", object).await;
        made.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        media: &str,
        body: &Value,
    ) -> Result<Value, String> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, media);
        if let Some(user) = &self.user {
            request = request.header("Impersonate-User", user);
        }
        let request = request
            .body(body.to_string().into_bytes())
            .expect("a request");
        match self.client.request::<Value>(request).await {
            Ok(answer) => Ok(answer),
            Err(::kube::Error::Api(status)) => Err(status.message),
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }
}

/// A run of an installation of its own, applied by the adapter under the platform's account.
pub(super) struct Run {
    adapter: KubeCluster,
    pub(super) environment: RunEnvironment,
    /// The kubeconfig that the adapter was made with.
    _kubeconfig: tempfile::NamedTempFile,
}

impl Run {
    /// Applies a run's environment.
    pub(super) async fn start(
        cluster: &RealCluster,
        pod_security: PodSecurityLevel,
        agent_role: Option<&str>,
    ) -> Self {
        let installation = format!("test-{}", &Uuid::new_v4().simple().to_string()[..12]);
        let environment = environment(&installation, pod_security, agent_role);
        let kubeconfig = kubeconfig_of_the_platform(cluster);
        let connection = Connection::Kubeconfig {
            path: kubeconfig.path().to_owned(),
            context: None,
        };
        let options = KubeOptions::new(installation, "codex-k8s");
        let adapter = KubeCluster::connect(&connection, options, Arc::new(OpenGate)).await;
        let run = Self {
            adapter: adapter.expect("an adapter"),
            environment,
            _kubeconfig: kubeconfig,
        };
        run.apply(&environment_objects(&run.environment)).await;
        run
    }

    /// Applies objects as the platform does.
    pub(super) async fn apply(&self, objects: &[Value]) {
        for object in objects {
            let applied = self.adapter.apply(object).await;
            applied.unwrap_or_else(|error| panic!("{}: {error}", object["kind"]));
        }
    }

    /// The run's namespace.
    pub(super) fn namespace(&self) -> &str {
        &self.environment.namespace
    }

    /// The run's own account.
    pub(super) fn account(&self) -> String {
        format!("system:serviceaccount:{}:codex-runner", self.namespace())
    }

    /// Deletes its namespace; nobody waits until it is gone.
    pub(super) async fn end(self) {
        let object = ObjectRef::namespace(self.namespace());
        let meta = self.adapter.get(&object).await.expect("an answer");
        let target = DeleteTarget {
            object,
            uid: meta.expect("it is there").uid,
            propagation: Propagation::Background,
        };
        self.adapter.delete(&target).await.expect("it is deleted");
    }
}

/// A kubeconfig with a token of the platform's account instead of the administrator's rights.
fn kubeconfig_of_the_platform(cluster: &RealCluster) -> tempfile::NamedTempFile {
    let arguments = ["create", "token", "codex-k8s", "--namespace", "codex-k8s"];
    let token = kubectl(cluster, &arguments, None).expect("a token");
    let mut file = Kubeconfig::read_from(&cluster.kubeconfig).expect("the kubeconfig");
    for named in &mut file.auth_infos {
        named.auth_info = Some(AuthInfo {
            token: Some(token.trim().to_owned().into()),
            ..AuthInfo::default()
        });
    }
    let kept = tempfile::NamedTempFile::new().expect("a file");
    serde_yaml::to_writer(&kept, &file).expect("it is written");
    kept
}

/// A run's environment with every opening that there is.
pub(super) fn environment(
    installation: &str,
    pod_security: PodSecurityLevel,
    agent_role: Option<&str>,
) -> RunEnvironment {
    let identity = RunIdentity {
        installation: installation.to_owned(),
        run: Uuid::new_v4(),
        project: "shop".to_owned(),
        repository_id: 4_711,
        repository: "example-org/shop".to_owned(),
        issue: 7,
        trigger: "github/4711/label/99".to_owned(),
        correlation_id: "c-1".to_owned(),
    };
    let (project, issue, run) = (&identity.project, identity.issue, identity.run);
    RunEnvironment {
        launch: None,
        namespace: namespace_name("codex-issue", project, issue, run),
        identity,
        pod_security,
        service_account: "codex-runner".to_owned(),
        agent_role: agent_role.map(str::to_owned),
        quota: Quota::default(),
        limits: ContainerLimits::default(),
        egress: Egress {
            dns: DnsTarget::default(),
            run_api: NetworkTarget::Range {
                cidr: "10.1.2.3/32".parse().unwrap(),
                port: 8082,
            },
            proxy: Some(NetworkTarget::Range {
                cidr: "10.1.2.4/32".parse().unwrap(),
                port: 3128,
            }),
            allow: vec![EgressRule {
                cidr: "203.0.113.0/24".parse().unwrap(),
                except: Vec::new(),
                ports: Vec::new(),
            }],
            except: vec!["203.0.113.7/32".parse().unwrap()],
        },
    }
}

/// The first attempt in an environment, with everything that an attempt may have.
pub(super) fn attempt(environment: &RunEnvironment) -> AttemptSpec {
    AttemptSpec {
        identity: environment.identity.clone(),
        namespace: environment.namespace.clone(),
        attempt: 1,
        service_account: environment.service_account.clone(),
        mount_api_token: environment.agent_role.is_some(),
        image: "codex-k8s/runner:latest".to_owned(),
        image_pull_policy: ImagePullPolicy::Never,
        command: vec!["codex-k8s".to_owned(), "--version".to_owned()],
        run_url: "http://10.1.2.3:8082".to_owned(),
        token_key_version: 1,
        ca_bundle: Some(CaBundle {
            config_map: "ca".to_owned(),
            key: "ca.pem".to_owned(),
        }),
        active_deadline_seconds: 7_200,
        termination_grace_seconds: 2,
        requests: Resources::new("10m", "16Mi", "16Mi"),
        limits: Resources::new("1", "256Mi", "256Mi"),
        runtime_class: None,
        extra_env: [("HTTPS_PROXY".to_owned(), "http://10.1.2.4:3128".to_owned())].into(),
    }
}

/// Waits for something to be there.
pub(super) async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = tokio::time::Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
