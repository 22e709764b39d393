//! A GitHub of one's own: GitHub's REST and Git over HTTP as far as the platform uses them.
//!
//! The model is a real HTTP server with GitHub Enterprise Server's addresses. Its state is in memory,
//! its repositories are real bare Git repositories in a folder. It lags as GitHub does, charges as
//! GitHub does and refuses as GitHub does. People act on it through methods of [`GitHubModel`].
//!
//! ```text
//!  adapter ─ /api/v3 ─► api ─► rest::* ─┐
//!  git ───── /o/r.git ► smart ──────────┼─► World (one lock) ─► bare repositories
//!  tests ─── methods ── people ─────────┘
//! ```
//!
//! It keeps nothing over a restart and checks no signatures.

mod api;
mod auth;
mod budget;
mod call;
mod change;
mod contract;
mod control;
mod exchanges;
mod faults;
mod graphql;
mod journal;
mod lag;
mod people;
mod pulls;
mod reply;
mod rest;
mod seed;
mod server;
mod smart;
mod store;
mod views;
mod wire;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use budget::Limits;
pub use change::ModelError;
pub use control::Action;
pub use exchanges::{ContractCheck, ExchangeTotals};
pub use faults::{Fault, FaultRule, Often};
pub use journal::{Arrival, Counters, Write};
pub use lag::Lag;
pub(in crate::sandbox) use lag::Seeded;
pub use seed::{AppSeed, RepositorySeed, TokenSeed};
pub use world::{Permission, ReviewState};

use server::{Shared, State};

/// How a model is set up.
#[derive(Debug, Clone)]
pub struct GitHubModelConfig {
    /// The folder for the bare repositories; made where absent.
    pub dir: PathBuf,
    /// Draws delays and faults: the same seed, the same draws.
    pub seed: u64,
    /// Read-after-write delays.
    pub lag: Lag,
    /// Rate limits.
    pub limits: Limits,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// The secret of the control endpoint.
    pub control_secret: String,
    /// What is done about exchanges that break GitHub's contract.
    pub contract: ContractCheck,
}

impl GitHubModelConfig {
    /// What tests use: a free port, lag up to two seconds, GitHub's limits, the contract enforced.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            seed: 1,
            lag: Lag::default(),
            limits: Limits::default(),
            port: 0,
            control_secret: "control".to_owned(),
            contract: ContractCheck::enforcing(),
        }
    }

    /// The same with another lag.
    #[must_use]
    pub const fn with_lag(mut self, lag: Lag) -> Self {
        self.lag = lag;
        self
    }

    /// The same with another seed.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// A running model; it stops when this is dropped.
#[derive(Debug)]
pub struct GitHubModel {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl GitHubModel {
    /// Starts a model on 127.0.0.1 inside the running tokio runtime.
    pub async fn start(config: GitHubModelConfig) -> std::io::Result<Self> {
        std::fs::create_dir_all(&config.dir)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).await?;
        let address = listener.local_addr()?;
        let base = format!("http://{address}");
        let state = State {
            world: world::World::new(base, config.dir, config.seed, config.lag),
            budgets: budget::Budgets::new(config.limits),
            journal: journal::Journal::default(),
            exchanges: exchanges::Exchanges::new(config.contract)?,
            faults: faults::Faults::new(config.seed),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            control_secret: config.control_secret,
        });
        let router = axum::Router::new()
            .fallback(server::answer)
            .with_state(Arc::clone(&shared));
        let service = router.into_make_service_with_connect_info::<wire::Fuse>();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(wire::Fused(listener), service).await {
                tracing::error!(error = %error, "the GitHub model stopped serving");
            }
        });
        Ok(Self {
            shared,
            address,
            task,
        })
    }

    /// The server's address without a path.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The root of the REST interface.
    pub fn rest_url(&self) -> String {
        format!("{}/api/v3", self.base_url())
    }

    /// The GraphQL endpoint.
    pub fn graphql_url(&self) -> String {
        format!("{}/api/graphql", self.base_url())
    }

    /// Where a repository is cloned from.
    pub fn git_url(&self, full_name: &str) -> String {
        format!("{}/{full_name}.git", self.base_url())
    }

    /// The page of an issue.
    pub fn issue_url(&self, full_name: &str, number: u64) -> String {
        format!("{}/{full_name}/issues/{number}", self.base_url())
    }

    /// The secret that `/_model` endpoints ask for.
    pub fn control_secret(&self) -> &str {
        &self.shared.control_secret
    }

    /// The model's time.
    pub fn now(&self) -> DateTime<Utc> {
        self.shared.lock().world.now()
    }

    /// Moves the model's clock on.
    pub fn advance(&self, by: TimeDelta) {
        self.shared.lock().world.offset += by;
    }

    /// Sets how far the model's clock is from the system's.
    pub fn set_clock_offset(&self, offset: TimeDelta) {
        self.shared.lock().world.offset = offset;
    }

    /// Changes the lag of what is written from now on.
    pub fn set_lag(&self, lag: Lag) {
        self.shared.lock().world.lag = lag;
    }

    /// Changes the rate limits.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.lock().budgets.limits = limits;
    }

    /// Switches a fault on.
    pub fn add_fault(&self, rule: FaultRule) {
        self.shared.lock().faults.rules.push(rule);
    }

    /// Switches all faults off.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.rules.clear();
    }

    /// The counters so far.
    pub fn counters(&self) -> Counters {
        self.shared.lock().journal.counters.clone()
    }

    /// Every write made through HTTP so far, oldest first.
    pub fn writes(&self) -> Vec<Write> {
        self.shared.lock().journal.writes.clone()
    }

    /// Every request to change something so far, in the order they came in.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.lock().journal.arrivals.clone()
    }

    /// Exchanges seen and what of them broke GitHub's contract.
    pub fn exchanges(&self) -> ExchangeTotals {
        self.shared.lock().exchanges.totals.clone()
    }
}

impl Drop for GitHubModel {
    fn drop(&mut self) {
        self.task.abort();
        let state = self.shared.lock();
        let violations = &state.exchanges.totals.violations;
        let unseen = state.exchanges.check.enforce && !std::thread::panicking();
        assert!(
            !unseen || violations.is_empty(),
            "exchanges broke GitHub's contract: {violations:#?}"
        );
    }
}
