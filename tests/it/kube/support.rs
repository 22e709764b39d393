//! What the tests of this folder share: a server, an adapter, fixtures.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use codex_k8s::cluster::kube::{Connection, KubeCluster, KubeOptions};
use codex_k8s::cluster::manifests::{
    AttemptSpec, ContainerLimits, DnsTarget, Egress, ImagePullPolicy, NetworkTarget,
    PodSecurityLevel, Quota, Resources, RunEnvironment, RunIdentity, RunToken, attempt_job,
    attempt_secret, environment_objects, namespace_name,
};
use codex_k8s::cluster::snapshot::ClusterSnapshot;
use codex_k8s::cluster::{
    Cluster, ClusterCache, DeleteTarget, Deleted, LogRequest, NotSent, ObjectKind, ObjectRef,
    OpenGate, Propagation, WriteGate,
};
use codex_k8s::sandbox::kubernetes::{
    KubernetesModel, PodEnd, PodLaunch, PodLog, PodRunner, Stop, stop_requested,
};
use kube::config::KubeConfigOptions;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::support::cluster::RealCluster;

/// No wait in these tests is longer; one that is has failed.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// A server to test against. A real one has no knobs: `model` is `None`.
pub(super) struct Server {
    pub(super) model: Option<KubernetesModel>,
    pub(super) connection: Connection,
    installation: String,
    pub(super) platform_namespace: String,
}

impl Server {
    /// The real server that is up beside the tests, if one is.
    pub(super) fn real() -> Option<Self> {
        RealCluster::for_test().map(|cluster| Self::of(&cluster))
    }

    /// The real server that is up beside the tests, if its controllers run.
    pub(super) fn real_with_controllers() -> Option<Self> {
        RealCluster::with_controllers().map(|cluster| Self::of(&cluster))
    }

    /// A real server.
    pub(super) fn of(cluster: &RealCluster) -> Self {
        Self {
            model: None,
            connection: cluster.connection(),
            installation: new_installation(),
            platform_namespace: "default".to_owned(),
        }
    }

    /// The real server that is up beside the tests, if it runs pods.
    pub(super) fn real_with_pods() -> Option<Self> {
        RealCluster::with_pods().map(|cluster| Self::of(&cluster))
    }

    /// A client without the adapter's rules, for what others do to the cluster.
    pub(super) async fn somebody(&self) -> kube::Client {
        somebody(&self.connection).await
    }

    /// The model, with pods run by `runner`.
    pub(super) async fn model(runner: Arc<dyn PodRunner>) -> Self {
        let model = KubernetesModel::start(runner).await.unwrap();
        let token = SecretString::from(model.token().to_owned());
        Self {
            connection: Connection::Url {
                url: model.url(),
                token,
            },
            model: Some(model),
            installation: new_installation(),
            platform_namespace: "default".to_owned(),
        }
    }

    /// The model's knobs, in tests that need them.
    pub(super) fn knobs(&self) -> &KubernetesModel {
        self.model.as_ref().expect("this test starts a model")
    }

    /// An adapter of this test's own installation.
    pub(super) async fn cluster(&self) -> KubeCluster {
        self.cluster_with(|_| {}, Arc::new(OpenGate)).await
    }

    pub(super) async fn cluster_with(
        &self,
        change: impl FnOnce(&mut KubeOptions),
        gate: Arc<dyn WriteGate>,
    ) -> KubeCluster {
        let mut options = KubeOptions::new(&self.installation, &self.platform_namespace);
        options.watch_timeout = Duration::from_secs(5);
        change(&mut options);
        KubeCluster::connect(&self.connection, options, gate)
            .await
            .unwrap()
    }

    /// An adapter that reaches the server through another, in pages of one object.
    pub(super) async fn through(&self, url: String) -> KubeCluster {
        let mut options = KubeOptions::new(&self.installation, &self.platform_namespace);
        options.page_size = 1;
        // What happens in between may take long: no silence ends a request before.
        options.request_timeout = Duration::from_mins(2);
        options.watch_timeout = Duration::from_mins(2);
        let token = SecretString::from("unused");
        KubeCluster::connect(&Connection::Url { url, token }, options, Arc::new(OpenGate))
            .await
            .unwrap()
    }

    /// A run's identity in this test's installation.
    pub(super) fn identity(&self) -> RunIdentity {
        RunIdentity {
            installation: self.installation.clone(),
            run: Uuid::new_v4(),
            project: "shop".to_owned(),
            repository_id: 4_711,
            repository: "example-org/shop".to_owned(),
            issue: 7,
            trigger: "github/4711/label/99".to_owned(),
            correlation_id: "c-1".to_owned(),
        }
    }
}

/// A client of this connection without the adapter's rules.
pub(super) async fn somebody(connection: &Connection) -> kube::Client {
    let config = match connection {
        Connection::Url { url, token } => {
            let mut config = kube::Config::new(url.parse().unwrap());
            config.auth_info.token = Some(token.clone());
            config
        }
        Connection::Kubeconfig { path, .. } => {
            let file = kube::config::Kubeconfig::read_from(path).unwrap();
            let options = KubeConfigOptions::default();
            kube::Config::from_custom_kubeconfig(file, &options)
                .await
                .unwrap()
        }
        Connection::InCluster => unreachable!("tests run outside of the cluster"),
    };
    kube::Client::try_from(config).unwrap()
}

fn new_installation() -> String {
    format!("test-{}", &Uuid::new_v4().simple().to_string()[..12])
}

/// A run's environment, as small as the kinds allow.
pub(super) fn environment(identity: RunIdentity) -> RunEnvironment {
    RunEnvironment {
        launch: None,
        namespace: namespace_name(
            "codex-issue",
            &identity.project,
            identity.issue,
            identity.run,
        ),
        identity,
        pod_security: PodSecurityLevel::Restricted,
        service_account: "codex-runner".to_owned(),
        agent_role: Some("view".to_owned()),
        quota: Quota::default(),
        limits: ContainerLimits::default(),
        egress: Egress {
            dns: DnsTarget::default(),
            run_api: NetworkTarget::Range {
                cidr: "10.1.2.3/32".parse().unwrap(),
                port: 8082,
            },
            proxy: None,
            allow: Vec::new(),
            except: Vec::new(),
        },
    }
}

/// The first attempt in an environment.
pub(super) fn attempt(environment: &RunEnvironment, command: &[&str]) -> AttemptSpec {
    AttemptSpec {
        identity: environment.identity.clone(),
        namespace: environment.namespace.clone(),
        attempt: 1,
        service_account: environment.service_account.clone(),
        mount_api_token: false,
        image: "registry.example.org/agent:1".to_owned(),
        image_pull_policy: ImagePullPolicy::IfNotPresent,
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        run_url: "http://127.0.0.1:1".to_owned(),
        token_key_version: 1,
        ca_bundle: None,
        active_deadline_seconds: 7_200,
        termination_grace_seconds: 2,
        requests: Resources::new("10m", "16Mi", "16Mi"),
        limits: Resources::new("1", "256Mi", "256Mi"),
        runtime_class: None,
        extra_env: [("RUST_BACKTRACE".to_owned(), "0".to_owned())].into(),
    }
}

/// Everything of a run, in the order it is applied.
pub(super) fn whole_run(environment: &RunEnvironment, spec: &AttemptSpec) -> Vec<Value> {
    let mut objects = environment_objects(environment);
    objects.push(attempt_secret(
        spec,
        &RunToken::new("token-of-the-run".to_owned()),
    ));
    objects.push(attempt_job(spec));
    objects
}

/// The one object of this kind.
pub(super) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects
        .iter()
        .find(|object| object["kind"] == kind)
        .expect("there is one of each kind")
}

/// Applies objects one after the other.
pub(super) async fn apply_all(cluster: &KubeCluster, objects: &[Value]) {
    for object in objects {
        cluster.apply(object).await.unwrap();
    }
}

/// A pod's log once it holds `wanted`.
pub(super) async fn log_with(
    cluster: &KubeCluster,
    environment: &RunEnvironment,
    wanted: &str,
) -> (String, String) {
    until(wanted, || async {
        let listed = cluster.list_owned().await.unwrap();
        let pod = listed.pods.first()?.name.clone();
        let request = LogRequest {
            namespace: environment.namespace.clone(),
            pod: pod.clone(),
            ..LogRequest::default()
        };
        let log = cluster.pod_logs(&request).await.ok()?;
        log.contains(wanted).then_some((pod, log))
    })
    .await
}

/// Deletes a run's namespace and waits until nothing of it is left.
pub(super) async fn clean_up(cluster: &KubeCluster, environment: &RunEnvironment) {
    delete(cluster, ObjectRef::namespace(&environment.namespace)).await;
    until("the namespace is gone", || async {
        let left = cluster.list_owned().await.unwrap();
        if RealCluster::find().is_some_and(|real| !real.controllers) {
            end_namespace(cluster, &left, &environment.namespace).await;
        }
        (left == ClusterSnapshot::default()).then_some(())
    })
    .await;
}

/// What the namespace controller does, where none runs: all in it goes, then it goes.
async fn end_namespace(cluster: &KubeCluster, left: &ClusterSnapshot, namespace: &str) {
    let objects = left.objects.iter().map(|row| (row.kind, &row.name));
    let jobs = left.jobs.iter().map(|row| (ObjectKind::Job, &row.name));
    for (kind, name) in objects.chain(jobs) {
        delete(cluster, ObjectRef::namespaced(kind, namespace, name)).await;
    }
    let real = RealCluster::find().expect("there is one");
    let finalized = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": namespace}, "spec": {"finalizers": []}});
    let place = format!("/api/v1/namespaces/{namespace}/finalize");
    let request = http::Request::put(place).body(finalized.to_string().into_bytes());
    let client = somebody(&real.connection()).await;
    // A namespace of the model's is not there.
    let _ = client.request::<Value>(request.unwrap()).await;
}

/// Deletes an object under the uid it has now.
pub(super) async fn delete(cluster: &KubeCluster, object: ObjectRef) -> Deleted {
    let meta = cluster
        .get(&object)
        .await
        .unwrap()
        .expect("the object is there");
    let target = DeleteTarget {
        object,
        uid: meta.uid,
        propagation: Propagation::Background,
    };
    cluster.delete(&target).await.unwrap()
}

/// Waits for a condition; what it last was is in the panic's place.
#[track_caller]
pub(super) fn until<T, F>(what: &str, mut check: impl FnMut() -> F) -> impl Future<Output = T>
where
    F: Future<Output = Option<T>>,
{
    let place = std::panic::Location::caller();
    async move {
        let started = tokio::time::Instant::now();
        loop {
            if let Some(found) = check().await {
                return found;
            }
            assert!(
                started.elapsed() < DEADLINE,
                "{place}: not within {DEADLINE:?}: {what}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What the cache knows, once it knows and `wanted` holds.
#[track_caller]
pub(super) fn cached<'a>(
    cluster: &'a KubeCluster,
    what: &'a str,
    wanted: impl Fn(&ClusterSnapshot) -> bool + 'a,
) -> impl Future<Output = ClusterSnapshot> + 'a {
    until(what, move || {
        let found = match cluster.snapshot() {
            ClusterCache::Known { snapshot, .. } if wanted(&snapshot) => Some(snapshot),
            _ => None,
        };
        async move { found }
    })
}

/// Pods that run until they are asked to stop.
pub(super) struct Sleeper;

#[async_trait]
impl PodRunner for Sleeper {
    async fn run(
        &self,
        launch: PodLaunch,
        log: Arc<PodLog>,
        mut stop: watch::Receiver<Stop>,
    ) -> PodEnd {
        log.append(format!("pod of {}\n", launch.namespace).as_bytes());
        stop_requested(&mut stop).await;
        PodEnd::exited(143)
    }
}

/// Pods that do what `tests/cluster/test-pod.c` does: print words on lines of their
/// own, then end with a code (`/test-pod exit CODE WORD…`) or stay until they are
/// asked to stop (`/test-pod stay WORD…`).
#[derive(Default)]
pub(super) struct TestPods {
    pub(super) launches: Mutex<Vec<PodLaunch>>,
}

/// The image with that program, on the real node.
pub(super) const TEST_POD: &str = "codex-k8s.dev/test-pod:1";

#[async_trait]
impl PodRunner for TestPods {
    async fn run(
        &self,
        launch: PodLaunch,
        log: Arc<PodLog>,
        mut stop: watch::Receiver<Stop>,
    ) -> PodEnd {
        let command = launch.container["command"].clone();
        self.launches.lock().unwrap().push(launch);
        let words: Vec<&str> = command.as_array().map_or_else(Vec::new, |words| {
            words.iter().filter_map(Value::as_str).collect()
        });
        let (code, lines) = match words[1..] {
            ["exit", code, ref lines @ ..] => (code.parse().ok(), lines),
            ["stay", ref lines @ ..] => (None, lines),
            _ => panic!("not a test pod: {words:?}"),
        };
        for line in lines {
            log.append(format!("{line}\n").as_bytes());
        }
        if let Some(code) = code {
            return PodEnd::exited(code);
        }
        stop_requested(&mut stop).await;
        PodEnd::exited(143)
    }
}

/// The first attempt, as a test pod that every node of ours has the image of.
pub(super) fn test_pod(environment: &RunEnvironment, words: &[&str]) -> AttemptSpec {
    let command: Vec<&str> = std::iter::once("/test-pod")
        .chain(words.iter().copied())
        .collect();
    AttemptSpec {
        image: TEST_POD.to_owned(),
        image_pull_policy: ImagePullPolicy::Never,
        ..attempt(environment, &command)
    }
}

/// A gate that opens, and has something happen between the look at an object and the
/// write that follows.
pub(super) struct Meanwhile(Mutex<Option<Happening>>);

type Happening = Box<dyn FnOnce() -> std::pin::Pin<Box<dyn Future<Output = ()>>> + Send>;

impl Meanwhile {
    /// A gate before whose first write this happens.
    pub(super) fn new<F: Future<Output = ()> + 'static>(
        happening: impl FnOnce() -> F + Send + 'static,
    ) -> Self {
        Self(Mutex::new(Some(Box::new(move || Box::pin(happening())))))
    }
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl WriteGate for Meanwhile {
    fn may_write(&self) -> Result<(), NotSent> {
        let happening = self.0.lock().unwrap().take();
        if let Some(happening) = happening {
            // On a thread and a runtime of its own: the gate does not wait for futures.
            let other = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(happening());
            });
            other.join().unwrap();
        }
        Ok(())
    }
}

/// A gate that tests open and close.
#[derive(Debug, Default)]
pub(super) struct Latch {
    closed: AtomicBool,
}

impl Latch {
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }
}

impl WriteGate for Latch {
    fn may_write(&self) -> Result<(), NotSent> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(NotSent {
                reason: "the lease has ended".to_owned(),
            });
        }
        Ok(())
    }
}
