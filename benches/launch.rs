//! What starting runs costs on a real API server: 250 runs through the applier, its effects
//! ledger in Postgres, its ownership reads and its watches included, beside bare server-side
//! apply of the same objects by a client that does nothing else. Both have eight runs in
//! flight. Rounds alternate, so that both see the same server. Jobs are suspended: no pod starts.
//!
//! It needs the cluster of `make cluster-up`, and says so where there is none.

#![expect(
    clippy::print_stdout,
    reason = "a benchmark's answer is what it prints"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a benchmark that cannot go on has no figure; it shares code with the tests"
)]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use codex_k8s::{
    apply::{Applier, ApplySettings, Outcome, WriterProof},
    cluster::{
        AppliedObject, Cluster, ClusterCache, ClusterError, DeleteTarget, Deleted, LeaseRecord,
        LogRequest, ObjectMeta, ObjectRef, OpenGate,
        kube::{Connection, KubeCluster, KubeOptions},
        manifests::{AttemptSpec, RunEnvironment, RunIdentity},
        snapshot::ClusterSnapshot,
    },
    domain::{
        effect::EffectKey,
        event::EventKind,
        ids::{AttemptNo, RunId},
        run_keys::RunKeys,
    },
    forge::{
        ForgeMetrics,
        github::{GithubCredential, GithubForge, GithubSettings},
    },
    plan::{Action, ActionKind, Plan, Scope},
    store::LeaseGrant,
};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
};
use serde_json::Value;
use uuid::Uuid;

#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/it/store/fixtures.rs"]
mod fixtures;
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/it/kube/support.rs"]
mod objects;
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use fixtures::{World, event};
use objects::{attempt, environment, whole_run};
use support::cluster::RealCluster;

/// Runs of a round.
const RUNS: i64 = 250;
/// As many actions as the applier has in flight.
const IN_FLIGHT: usize = 8;
/// What the installations of this benchmark begin with.
const INSTALLATION: &str = "bench-";
/// By then the cluster has taken the namespaces away.
const CLEANED: Duration = Duration::from_mins(10);
/// What the applier is to reach of the bare client's rate.
const TARGET: f64 = 0.8;

#[tokio::main]
async fn main() {
    let Some(real) = RealCluster::find() else {
        println!("launch: left out, there is no cluster: make cluster-up");
        return;
    };
    let client = client(&real).await;
    let world = World::bound().await;
    clean(&client).await;
    let installation = format!(
        "{INSTALLATION}{}",
        &Uuid::new_v4().simple().to_string()[..8]
    );
    let platform = Platform::start(&real, &world, &installation).await;
    // Connections, caches and the server's own first times are nobody's cost.
    bare(&client, &runs(&installation, 0..10)).await;
    platform.start_runs(&world, 0..10).await;

    let (mut ours, mut theirs) = (Rate::default(), Rate::default());
    for round in 0..2 {
        let first = 1_000 * (round + 1);
        let mine = runs(&installation, first..first + RUNS);
        if round == 0 {
            theirs.add(bare(&client, &mine).await);
            ours.add(platform.start_runs(&world, first..first + RUNS).await);
        } else {
            ours.add(platform.start_runs(&world, first..first + RUNS).await);
            theirs.add(bare(&client, &mine).await);
        }
    }
    let ratio = ours.per_second() / theirs.per_second();
    println!(
        "starting {RUNS} runs twice, objects a second: applier {:.0}, bare server-side apply {:.0}",
        ours.per_second(),
        theirs.per_second(),
    );
    println!(
        "launch: target >= {TARGET} of bare apply, figure {ratio:.2}, {}",
        if ratio >= TARGET { "ok" } else { "MISS" }
    );
    delete_all(&client).await;
}

/// Objects applied, and how long that took.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    objects: usize,
    time: Duration,
}

impl Rate {
    fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.time += other.time;
    }

    fn per_second(self) -> f64 {
        let objects = u32::try_from(self.objects).unwrap();
        f64::from(objects) / self.time.as_secs_f64()
    }
}

/// What a run is built from. Nobody's twice: each caller's runs have names of their own.
fn run(installation: &str, id: Uuid, number: i64) -> (RunEnvironment, AttemptSpec) {
    let environment = environment(RunIdentity {
        installation: installation.to_owned(),
        run: id,
        project: "shop".to_owned(),
        repository_id: 7,
        repository: "example-org/shop".to_owned(),
        issue: number.unsigned_abs(),
        trigger: format!("github/7/label/{number}"),
        correlation_id: number.to_string(),
    });
    let spec = attempt(&environment, &["codex-k8s", "agent"]);
    (environment, spec)
}

/// The objects of fresh runs, Jobs suspended.
fn runs(installation: &str, numbers: std::ops::Range<i64>) -> Vec<Vec<Value>> {
    let of = |number| {
        let (environment, spec) = run(installation, Uuid::new_v4(), number);
        let mut objects = whole_run(&environment, &spec);
        objects.iter_mut().for_each(suspend);
        objects
    };
    numbers.map(of).collect()
}

fn suspend(object: &mut Value) {
    if object["kind"] == "Job" {
        object["spec"]["suspend"] = Value::Bool(true);
    }
}

/// Applies each run's objects one after the other, so many runs at a time.
async fn bare(client: &Client, runs: &[Vec<Value>]) -> Rate {
    let began = Instant::now();
    let one = |objects: &Vec<Value>| {
        let objects = objects.clone();
        async move {
            for object in &objects {
                apply(client, object).await;
            }
        }
    };
    stream::iter(runs.iter().map(one))
        .buffer_unordered(IN_FLIGHT)
        .collect::<Vec<()>>()
        .await;
    Rate {
        objects: runs.iter().map(Vec::len).sum(),
        time: began.elapsed(),
    }
}

async fn apply(client: &Client, object: &Value) {
    let reference = ObjectRef::of(object).unwrap();
    let kind: &'static str = reference.kind.into();
    let gvk = GroupVersionKind::gvk(reference.kind.group(), reference.kind.version(), kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, reference.kind.plural());
    let api: Api<DynamicObject> = if reference.namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), &reference.namespace, &resource)
    };
    let params = PatchParams::apply("codex-k8s-bench");
    api.patch_metadata(&reference.name, &params, &Patch::Apply(object))
        .await
        .unwrap();
}

/// The applier as `serve` has it, on the cluster under test.
struct Platform {
    applier: Applier,
    proof: Proof,
    installation: String,
}

#[derive(Debug)]
struct Proof(LeaseGrant);

impl WriterProof for Proof {
    fn grant(&self) -> Option<LeaseGrant> {
        Some(self.0.clone())
    }
}

impl Platform {
    async fn start(real: &RealCluster, world: &World, installation: &str) -> Self {
        let connection: Connection = real.connection();
        let options = KubeOptions::new(installation, "default");
        let cluster = KubeCluster::connect(&connection, options, Arc::new(OpenGate))
            .await
            .unwrap();
        let mut changes = cluster.watch();
        while !matches!(cluster.snapshot(), ClusterCache::Known { .. }) {
            changes.changed().await.unwrap();
        }
        let keys = BTreeMap::from([(1, b"sixteen bytes or more".to_vec().into())]);
        let applier = Applier::new(
            world.store.clone(),
            Arc::new(nobodys_forge()),
            Arc::new(Suspended(cluster)),
            Arc::new(RunKeys::new(keys).unwrap()),
            ApplySettings {
                call_timeout: Duration::from_secs(10),
                visibility: Duration::from_mins(1),
                concurrency: codex_k8s::apply::CONCURRENCY,
            },
        );
        Self {
            applier,
            proof: Proof(world.grant.clone()),
            installation: installation.to_owned(),
        }
    }

    /// Two plans, as two passes have it: environments first, attempts then.
    async fn start_runs(&self, world: &World, numbers: std::ops::Range<i64>) -> Rate {
        let mut built = Vec::new();
        for number in numbers {
            let slot = i32::try_from(number).unwrap() + 1;
            let id = world.preparing_run(number, slot).await.id;
            let (environment, spec) = run(&self.installation, id.0, number);
            built.push((id, environment, spec));
        }
        let objects = built
            .iter()
            .map(|(_, environment, spec)| whole_run(environment, spec).len())
            .sum();
        let environments = built.iter().map(|(id, environment, _)| Action {
            key: EffectKey(format!("run/{id}/environment")),
            run: Some(*id),
            kind: ActionKind::ApplyEnvironment {
                environment: Box::new(environment.clone()),
                input_hash: "bench".to_owned(),
                event: event(EventKind::NamespacePrepared),
            },
        });
        let environments = plan(environments.collect());
        let attempts = built.iter().map(|(id, _, spec)| launch(*id, spec));
        let attempts = plan(attempts.collect());
        let now = world.store.now().await.unwrap();
        let mut time = Duration::ZERO;
        for plan in [environments, attempts] {
            let began = Instant::now();
            let report = self.applier.apply(&plan, &self.proof, now, &[]).await;
            time += began.elapsed();
            let done = report.outcomes.iter().all(|(_, how)| *how == Outcome::Done);
            let errors = failures(world, &plan).await;
            assert!(done, "not all is done: {errors:?}");
        }
        Rate { objects, time }
    }
}

/// What the ledger says of the actions that failed.
async fn failures(world: &World, plan: &Plan) -> Vec<String> {
    let mut errors = Vec::new();
    for action in &plan.actions {
        let effect = world.store.effect(&action.key).await.unwrap();
        errors.extend(effect.and_then(|effect| effect.last_error));
    }
    errors
}

fn launch(id: RunId, spec: &AttemptSpec) -> Action {
    Action {
        key: EffectKey(format!("run/{id}/attempt/1")),
        run: Some(id),
        kind: ActionKind::ApplyAttempt {
            number: AttemptNo(1),
            spec: Box::new(spec.clone()),
            event: event(EventKind::ObjectApplied),
        },
    }
}

fn plan(actions: Vec<Action>) -> Plan {
    Plan {
        scope: Scope::Project {
            project: "shop".into(),
        },
        revision: None,
        actions,
        report: Vec::new(),
    }
}

/// A forge that nothing is asked of.
fn nobodys_forge() -> GithubForge {
    let url = "http://127.0.0.1:9".parse().unwrap();
    let credential = GithubCredential::Token("unused".to_owned().into());
    let settings = GithubSettings::new(url, "bench", credential);
    GithubForge::new(
        settings,
        Arc::new(codex_k8s::forge::OpenGate),
        Arc::new(ForgeMetrics::default()),
    )
    .unwrap()
}

/// The adapter, but for Jobs, which it suspends.
#[derive(Debug)]
struct Suspended(KubeCluster);

#[async_trait]
impl Cluster for Suspended {
    async fn apply(&self, object: &Value) -> Result<AppliedObject, ClusterError> {
        let mut object = object.clone();
        suspend(&mut object);
        self.0.apply(&object).await
    }

    async fn apply_all(&self, objects: &[Value]) -> Result<Vec<AppliedObject>, ClusterError> {
        let mut objects = objects.to_vec();
        objects.iter_mut().for_each(suspend);
        self.0.apply_all(&objects).await
    }

    async fn delete(&self, target: &DeleteTarget) -> Result<Deleted, ClusterError> {
        self.0.delete(target).await
    }

    async fn get(&self, object: &ObjectRef) -> Result<Option<ObjectMeta>, ClusterError> {
        self.0.get(object).await
    }

    async fn list_owned(&self) -> Result<ClusterSnapshot, ClusterError> {
        self.0.list_owned().await
    }

    fn watch(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.watch()
    }

    fn snapshot(&self) -> ClusterCache {
        self.0.snapshot()
    }

    async fn pod_logs(&self, request: &LogRequest) -> Result<String, ClusterError> {
        self.0.pod_logs(request).await
    }

    async fn read_lease_record(&self) -> Result<Option<LeaseRecord>, ClusterError> {
        self.0.read_lease_record().await
    }

    async fn write_lease_record(&self, record: &LeaseRecord) -> Result<(), ClusterError> {
        self.0.write_lease_record(record).await
    }
}

async fn client(real: &RealCluster) -> Client {
    let file = Kubeconfig::read_from(&real.kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

/// Waits until no namespace of this benchmark is left of an earlier run: runs have the same
/// names each time, and nobody is to be measured while the cluster is busy with leftovers.
async fn clean(client: &Client) {
    let began = Instant::now();
    while delete_all(client).await > 0 {
        assert!(
            began.elapsed() < CLEANED,
            "namespaces of an earlier run stay"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Asks the cluster to take all namespaces of this benchmark away; how many there still are.
async fn delete_all(client: &Client) -> usize {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let installed = ListParams::default().labels("codex-k8s.dev/installation");
    let mut left = namespaces.list(&installed).await.unwrap().items;
    left.retain(|namespace| {
        let label = namespace.labels().get("codex-k8s.dev/installation");
        label.is_some_and(|label| label.starts_with(INSTALLATION))
    });
    let stands = |one: &&Namespace| one.metadata.deletion_timestamp.is_none();
    for namespace in left.iter().filter(stands) {
        let params = DeleteParams::background();
        let name = namespace.name_any();
        namespaces.delete(&name, &params).await.unwrap();
    }
    left.len()
}
