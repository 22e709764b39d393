//! What a crash of the platform leaves alone: database, forge, cluster with its
//! pods, config repo, and the run API, which is a role of its own here.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use codex_k8s::{
    api::{
        ApiMetrics, ForgeGit, ModelKeys, RunApi, RunApiParts, RunApiSettings, run_router, serve,
    },
    domain::run_keys::RunKeys,
    forge::{
        ForgeMetrics,
        github::{GithubCredential, GithubForge, GithubSettings, PauseClock},
    },
    reconcile::lease::LeaseState,
    sandbox::{
        github::{ContractCheck, GitHubModel, GitHubModelConfig, Lag, Limits},
        kubernetes::KubernetesModel,
        seed,
        world::ConfigRepo,
    },
    store::ApiStore,
};
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio_util::sync::CancellationToken;

use super::pods::Pods;
use crate::support::postgres::TestDatabase;

pub(crate) const INSTALLATION: &str = "world";
pub(crate) const PLATFORM_NAMESPACE: &str = "codex-k8s";
/// How long what the cluster does by itself may take.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(30);

/// How far the clock of pauses moves at once, in seconds.
const PAUSE_STRIDE: u64 = 10;

/// The world outside the platform's process.
pub(crate) struct Outside {
    pub(crate) database: TestDatabase,
    pub(crate) db: PgPool,
    pub(crate) github: GitHubModel,
    pub(crate) kubernetes: KubernetesModel,
    pub(crate) pods: Arc<Pods>,
    pub(crate) config: ConfigRepo,
    pub(crate) api: ApiStore,
    pub(crate) keys: Arc<RunKeys>,
    pub(crate) run_url: String,
    pub(crate) folder: tempfile::TempDir,
    tokens: (String, String),
    clock: Arc<std::sync::Mutex<Duration>>,
    database_ahead: std::sync::Mutex<Duration>,
    stop: CancellationToken,
}

impl Outside {
    /// The example organisation with these files in its config repo.
    pub(crate) async fn start(seed: u64, lag: Lag, files: &BTreeMap<String, String>) -> Self {
        Self::within(Limits::default(), seed, lag, files).await
    }

    /// The same, with a forge of these limits.
    pub(crate) async fn within(
        limits: Limits,
        seed: u64,
        lag: Lag,
        files: &BTreeMap<String, String>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = TestDatabase::new().await;
        let db = PgPoolOptions::new().max_connections(1);
        let db = db.connect(database.url.expose_secret()).await.unwrap();
        let mut model = GitHubModelConfig::new(folder.path().join("github"))
            .with_seed(seed)
            .with_lag(lag);
        // What is sent and answered is held to the contract elsewhere; here time is dear.
        model.contract = ContractCheck::OFF;
        model.limits = limits;
        let github = GitHubModel::start(model).await.unwrap();
        let tokens = ("writes".to_owned(), "reads".to_owned());
        let told = seed::Tokens {
            writing: tokens.0.clone(),
            reading: tokens.1.clone(),
        };
        seed::fill(&github, &told).unwrap();
        let pods = Arc::new(Pods::default());
        let kubernetes = KubernetesModel::start(pods.clone()).await.unwrap();
        kubernetes.ensure_namespace(PLATFORM_NAMESPACE);
        let config = ConfigRepo::create(&folder.path().join("config.git"), files).unwrap();
        let key = b"a key for the tests of the stepped world".to_vec().into();
        let keys = Arc::new(RunKeys::new(BTreeMap::from([(1, key)])).unwrap());
        let api = database.api().await;
        let stop = CancellationToken::new();
        let mut outside = Self {
            database,
            db,
            github,
            kubernetes,
            pods,
            config,
            api,
            keys,
            run_url: String::new(),
            folder,
            tokens,
            clock: Arc::default(),
            database_ahead: std::sync::Mutex::default(),
            stop,
        };
        outside.run_url = outside.serve_run_api().await;
        outside
    }

    async fn serve_run_api(&self) -> String {
        let closed = LeaseState::default();
        let forge = self.forge(false, &closed);
        let api = RunApi::new(RunApiParts {
            store: Arc::new(self.api.clone()),
            remotes: Arc::new(ForgeGit::new(Arc::new(forge))),
            keys: self.keys.clone(),
            models: ModelKeys::new(None, None, None).unwrap(),
            settings: RunApiSettings {
                // Nobody decides while a call is held: here one thing happens at a time.
                tool_hold: Duration::ZERO,
                ..RunApiSettings::production(self.folder.path().join("run-api-git"))
            },
            metrics: ApiMetrics::register(&prometheus::Registry::new()).unwrap(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, run_router(api.unwrap()), self.stop.clone()));
        url
    }

    /// A client of the forge with the platform's writing or reading credential.
    pub(crate) fn forge(&self, writes: bool, lease: &LeaseState) -> GithubForge {
        let token = if writes {
            &self.tokens.0
        } else {
            &self.tokens.1
        };
        let credential = GithubCredential::Token(token.clone().into());
        let settings = GithubSettings {
            graphql_url: Some(self.github.graphql_url().parse().unwrap()),
            web_url: Some(self.github.base_url().parse().unwrap()),
            // Pacing goes by the machine's clock, which stands nearly still here.
            writes_per_minute: 1_000_000,
            clock: self.pause_clock(),
            ..GithubSettings::new(self.github.rest_url().parse().unwrap(), "main", credential)
        };
        GithubForge::new(
            settings,
            Arc::new(lease.clone()),
            Arc::new(ForgeMetrics::default()),
        )
        .unwrap()
    }

    /// The clock of the pauses that the forge asks for moves with the others, in strides, so
    /// that it is far from a pause's end or beyond it.
    fn pause_clock(&self) -> PauseClock {
        let clock = self.clock.clone();
        PauseClock::new(move || {
            let ahead = clock.lock().unwrap().as_secs();
            Instant::now() + Duration::from_secs(ahead - ahead % PAUSE_STRIDE)
        })
    }

    /// Sets the database's clock ahead of the others by this much.
    pub(crate) async fn set_database_ahead(&self, by: Duration) {
        *self.database_ahead.lock().unwrap() = by;
        self.advance(Duration::ZERO).await;
    }

    /// Moves every clock on.
    pub(crate) async fn advance(&self, by: Duration) {
        let apart = *self.database_ahead.lock().unwrap();
        let total = {
            let mut clock = self.clock.lock().unwrap();
            *clock += by;
            *clock
        };
        self.github.advance(TimeDelta::from_std(by).unwrap());
        sqlx::query("update clock_offset set shift = $1 * interval '1 second'")
            .bind((total + apart).as_secs_f64())
            .execute(&self.db)
            .await
            .unwrap();
    }

    /// How far the clocks are ahead.
    pub(crate) fn ahead(&self) -> Duration {
        *self.clock.lock().unwrap()
    }

    /// Waits until nothing happens in the cluster by itself any more.
    pub(crate) async fn cluster_at_rest(&self) {
        let began = Instant::now();
        loop {
            let version = self.kubernetes.version();
            let Some(restless) = self.restless() else {
                return;
            };
            assert!(
                began.elapsed() < CLUSTER_PATIENCE,
                "the cluster does not come to rest: {restless}"
            );
            // A pod's end shows as a change; its script's begin does not.
            let changed = self.kubernetes.changed_since(version);
            let _ = tokio::time::timeout(Duration::from_millis(2), changed).await;
        }
    }

    /// What is still under way in the cluster, if anything.
    fn restless(&self) -> Option<String> {
        let jobs = self.kubernetes.objects("jobs");
        let pods = self.kubernetes.objects("pods");
        for namespace in self.kubernetes.objects("namespaces") {
            if deleting(&namespace) {
                return Some(format!("{} is being deleted", name(&namespace)));
            }
        }
        for pod in &pods {
            let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
            let ended = matches!(
                pod["status"]["phase"].as_str(),
                Some("Succeeded" | "Failed")
            );
            if deleting(pod) || (!ended && !self.pods.at_work(uid)) {
                return Some(format!("pod {} is starting or ending", name(pod)));
            }
            let owner = &pod["metadata"]["ownerReferences"][0]["uid"];
            let job = jobs.iter().find(|job| job["metadata"]["uid"] == *owner);
            let noted = |job: &Value| !job["status"]["conditions"].is_null();
            if job.is_none_or(|job| ended != noted(job)) {
                return Some(format!("pod {} is ahead of its Job", name(pod)));
            }
        }
        let has_pod = |job: &Value| {
            let uid = &job["metadata"]["uid"];
            let mut pods = pods.iter();
            pods.any(|pod| pod["metadata"]["ownerReferences"][0]["uid"] == *uid)
        };
        let noted = |job: &Value| !job["status"]["conditions"].is_null();
        let waiting = |job: &&Value| deleting(job) || !(noted(job) || has_pod(job));
        let job = jobs.iter().find(waiting)?;
        Some(format!("Job {} is starting or ending", name(job)))
    }

    /// Ends the world and removes its database.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.kubernetes.stop_pods().await;
        self.api.close().await;
        self.db.close().await;
        self.database.remove().await;
    }
}

fn deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// An object's name.
pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}
