//! One process of the platform, put together from the real parts. Dropping it is
//! a crash: nothing is given back, nothing finished.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use codex_k8s::{
    apply::{Applier, ApplySettings, WriterProof},
    cluster::{
        Cluster, ClusterCache, ObjectKind,
        kube::{Connection, KubeCluster, KubeOptions},
        snapshot::ClusterSnapshot,
    },
    desired::source::{ConfigSource, Location, SourceSettings},
    domain::ids::InstallationId,
    forge::github::GithubForge,
    observed::forge::{ForgeObserver, PollSettings},
    plan::PlanSettings,
    reconcile::{
        Reconciler, ReconcilerParts,
        config::{ConfigInForce, ConfigPoller},
        lease::{LeaseKeeper, LeaseState, LeaseTiming, TakerClock},
        pass::{PassParts, Passes},
    },
    settings::{Profile, Timing},
    store::{EdgeWatch, Edges, Store},
    telemetry::metrics::Metrics,
};
use serde_json::Value;

use super::outside::{INSTALLATION, Outside, PLATFORM_NAMESPACE, name};

/// How long watches may take to show what is there.
const WATCH_PATIENCE: Duration = Duration::from_secs(30);
/// Looks at a free lease at most: some of them are lost on a bad wire.
const MOST_LOOKS: usize = 50;
/// Production's times: only the clock is a test's.
pub(crate) const TIMING: Timing = Timing::of(Profile::Production);

/// How a process goes.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    pub(crate) timing: Timing,
    pub(crate) taker: TakerClock,
    pub(crate) nudged: bool,
    /// Projects and actions at once.
    pub(crate) concurrency: usize,
}

impl Ways {
    /// One step at a time.
    pub(crate) const STEPPED: Self = Self {
        timing: TIMING,
        taker: TakerClock::Rows,
        nudged: true,
        concurrency: 1,
    };
    /// By its own loop, early for nothing, with the sandbox's short times.
    pub(crate) const UNNUDGED: Self = Self {
        timing: Timing::of(Profile::Sandbox),
        taker: TakerClock::Both,
        nudged: false,
        concurrency: 1,
    };
}

/// A process of the platform.
pub(crate) struct Platform {
    pub(crate) reconciler: Reconciler,
    pub(crate) lease: LeaseState,
    cluster: Arc<dyn Cluster>,
    pub(crate) store: Store,
    pub(crate) observer: Arc<ForgeObserver>,
}

impl Platform {
    /// Starts a process whose edges are watched.
    pub(crate) async fn start(outside: &Outside, number: usize, watch: Arc<dyn EdgeWatch>) -> Self {
        Self::start_by(&Ways::STEPPED, outside, number, watch).await
    }

    /// The same, going another way.
    pub(crate) async fn start_by(
        ways: &Ways,
        outside: &Outside,
        number: usize,
        watch: Arc<dyn EdgeWatch>,
    ) -> Self {
        let mut settings = outside.database.settings();
        // Some actions need a second connection while they have one.
        settings.max_connections = settings.max_connections.max(connections(ways));
        let store = Store::connect(&settings).await.unwrap();
        let store = store.watched(Edges::watched_by(watch));
        let lease = LeaseState::default();
        let cluster = cluster(outside, &lease).await;
        let forge = Arc::new(outside.forge(true, &lease));
        let observer = observer(ways, forge.clone());
        let parts = Parts {
            ways,
            outside,
            store: &store,
            lease: &lease,
            cluster: &cluster,
        };
        let reconciler = parts.reconciler(number, forge, observer.clone());
        Self {
            reconciler,
            lease,
            cluster,
            store,
            observer,
        }
    }

    /// Asks for the lease, again while the copy of it in the cluster cannot be read.
    pub(crate) async fn takes_the_lease(&self) {
        for _ in 0..MOST_LOOKS {
            self.reconciler.keep_lease_once().await.unwrap();
            if self.lease.grant().is_some() {
                return;
            }
        }
    }

    /// Ends the process, and its connections to the database before anything else goes on.
    pub(crate) async fn end(self) {
        let store = self.store.clone();
        drop(self);
        store.close().await;
    }

    /// Waits until the watches have shown all that is in the cluster.
    pub(crate) async fn sees_the_cluster(&self, outside: &Outside) {
        let began = Instant::now();
        let mut changes = self.cluster.watch();
        loop {
            changes.mark_unchanged();
            let missing = match self.cluster.snapshot() {
                ClusterCache::Known { snapshot, .. } => {
                    let (seen, there) = (seen(&snapshot), there(outside));
                    if seen == there {
                        return;
                    }
                    format!("{:?}", seen.symmetric_difference(&there))
                }
                ClusterCache::Unknown { reason } => reason,
            };
            assert!(
                began.elapsed() < WATCH_PATIENCE,
                "the watches do not show what is there: {missing}"
            );
            let _ = tokio::time::timeout(Duration::from_millis(20), changes.changed()).await;
        }
    }
}

fn connections(ways: &Ways) -> u32 {
    u32::try_from(2 * ways.concurrency + 2).unwrap()
}

type Version = (String, String, String, String);

fn seen(snapshot: &ClusterSnapshot) -> BTreeSet<Version> {
    let namespaces = snapshot.namespaces.iter().map(|row| {
        let (name, version) = (row.name.clone(), row.resource_version.clone());
        ("namespaces".to_owned(), String::new(), name, version)
    });
    let of = |kind: &str, namespace: &String, name: &String, version: &String| {
        (
            kind.to_owned(),
            namespace.clone(),
            name.clone(),
            version.clone(),
        )
    };
    let jobs = snapshot.jobs.iter();
    let jobs = jobs.map(|row| of("jobs", &row.namespace, &row.name, &row.resource_version));
    let pods = snapshot.pods.iter();
    let pods = pods.map(|row| of("pods", &row.namespace, &row.name, &row.resource_version));
    let objects = snapshot.objects.iter();
    let objects = objects.map(|row| {
        let kind = row.kind.plural();
        of(kind, &row.namespace, &row.name, &row.resource_version)
    });
    namespaces.chain(jobs).chain(pods).chain(objects).collect()
}

fn there(outside: &Outside) -> BTreeSet<Version> {
    let kinds = ["namespaces", "jobs", "pods"].into_iter();
    let kinds = kinds.chain(ObjectKind::METADATA_ONLY.map(ObjectKind::plural));
    let version = |kind: &str, object: &Value| {
        let of = |field: &str| {
            let value = object["metadata"][field].as_str();
            value.unwrap_or_default().to_owned()
        };
        (
            kind.to_owned(),
            of("namespace"),
            name(object).to_owned(),
            of("resourceVersion"),
        )
    };
    let all = kinds.flat_map(|kind| {
        let objects = outside.kubernetes.objects(kind);
        objects
            .into_iter()
            .filter(ours)
            .map(move |object| version(kind, &object))
    });
    all.collect()
}

/// Whether an object carries our installation's label.
pub(crate) fn ours(object: &Value) -> bool {
    object["metadata"]["labels"]["codex-k8s.dev/installation"] == INSTALLATION
}

async fn cluster(outside: &Outside, lease: &LeaseState) -> Arc<dyn Cluster> {
    let connection = Connection::Url {
        url: outside.kubernetes.url(),
        token: outside.kubernetes.token().to_owned().into(),
    };
    let options = KubeOptions::new(INSTALLATION, PLATFORM_NAMESPACE);
    let cluster = KubeCluster::connect(&connection, options, Arc::new(lease.clone())).await;
    Arc::new(cluster.unwrap())
}

fn installation() -> InstallationId {
    INSTALLATION.parse().unwrap()
}

fn observer(ways: &Ways, forge: Arc<GithubForge>) -> Arc<ForgeObserver> {
    let polling = PollSettings {
        visibility: ways.timing.visibility,
        sweep_every: ways.timing.sweep,
        concurrency: 1,
        ..PollSettings::default()
    };
    Arc::new(ForgeObserver::new(forge, installation(), polling))
}

/// What a process is made of.
struct Parts<'a> {
    ways: &'a Ways,
    outside: &'a Outside,
    store: &'a Store,
    lease: &'a LeaseState,
    cluster: &'a Arc<dyn Cluster>,
}

impl Parts<'_> {
    fn reconciler(
        &self,
        number: usize,
        forge: Arc<GithubForge>,
        observer: Arc<ForgeObserver>,
    ) -> Reconciler {
        let metrics = Metrics::new().unwrap();
        let in_force = ConfigInForce::default();
        Reconciler::new(ReconcilerParts {
            store: self.store.clone(),
            cluster: self.cluster.clone(),
            observer,
            config: config_poller(self.outside, self.store, &in_force, &metrics),
            in_force: in_force.clone(),
            keeper: self.keeper(number, &metrics),
            lease: self.lease.clone(),
            passes: Passes::new(self.passes(forge, &metrics), in_force),
            poll: self.ways.timing.poll,
            poll_ceiling: self.ways.timing.poll_ceiling,
            metrics,
            wake: Arc::default(),
            nudged: self.ways.nudged,
            watch_local: None,
        })
    }

    fn keeper(&self, number: usize, metrics: &Metrics) -> LeaseKeeper {
        LeaseKeeper::new(
            self.store.clone(),
            self.cluster.clone(),
            format!("process-{number}"),
            LeaseTiming {
                lease: self.ways.timing.lease,
                margin: self.ways.timing.margin,
                taker: self.ways.taker,
            },
            self.lease.clone(),
            metrics.clone(),
        )
    }

    fn passes(&self, forge: Arc<GithubForge>, metrics: &Metrics) -> PassParts {
        let applier = Applier::new(
            self.store.clone(),
            forge,
            self.cluster.clone(),
            self.outside.keys.clone(),
            ApplySettings {
                call_timeout: self.ways.timing.request_timeout,
                visibility: self.ways.timing.visibility,
                concurrency: self.ways.concurrency,
            },
        );
        PassParts {
            store: self.store.clone(),
            cluster: self.cluster.clone(),
            applier,
            lease: self.lease.clone(),
            installation: installation(),
            settings: plan_settings(&self.ways.timing, self.outside),
            metrics: metrics.clone(),
            concurrency: self.ways.concurrency,
        }
    }
}

fn config_poller(
    outside: &Outside,
    store: &Store,
    in_force: &ConfigInForce,
    metrics: &Metrics,
) -> ConfigPoller {
    let location = Location::Local(outside.config.path().to_owned());
    let cache = outside.folder.path().join("config-cache");
    let source = SourceSettings::new(location, "main".parse().unwrap(), cache);
    let source = Arc::new(ConfigSource::new(source));
    ConfigPoller::new(source, store.clone(), in_force.clone(), metrics.clone())
}

fn plan_settings(timing: &Timing, outside: &Outside) -> PlanSettings {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap();
    PlanSettings {
        visibility_seconds: seconds(timing.visibility),
        run_url: outside.run_url.clone(),
        token_key_version: 1,
        attempt_backoff_seconds: seconds(timing.poll) / 3,
        orphan_grace_seconds: seconds(timing.orphan_grace),
        // As at the forge of these worlds, which counts no writes.
        upkeep_per_minute: usize::MAX,
        ..PlanSettings::default()
    }
}
