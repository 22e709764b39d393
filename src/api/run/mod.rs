//! The run API: the one thing that a pod may speak to.
//!
//! Every call carries the run token and is checked against the run's row. What
//! is taken is stored as a fact; a run that is stopping gets its last words in
//! for a short while, an older attempt none. What is refused stands in the log
//! with the run that asked, as far as its token proves one.

mod auth;
mod facts;
mod output;

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::Response,
    routing::{any, get, post},
};

use crate::domain::{
    run_api::{MAX_PACK_BYTES, MCP_PATH, Pace},
    run_keys::RunKeys,
};

use super::{
    error::{ApiError, ErrorCode},
    git::{self, GitCaches},
    mcp,
    metrics::ApiMetrics,
    models::{self, ModelKeys},
    port::{GitRemotes, RunStore},
};

pub(crate) use auth::{Caller, caller};
pub(crate) use facts::is_commit;
pub(crate) use output::{known_values, redactor};

/// How the run API is set up.
#[derive(Debug, Clone)]
pub struct RunApiSettings {
    /// Seconds between two heartbeats.
    pub heartbeat: Duration,
    /// Without an accepted heartbeat, after which a runner ends itself.
    pub silence: Duration,
    /// What a command is given between the polite signal and the final one.
    pub grace: Duration,
    /// Between two session snapshots.
    pub session: Duration,
    /// How long a stopping run's last logs and session are taken.
    pub last_words: Duration,
    /// The largest pack of one push.
    pub push_bytes: u64,
    /// How long a push waits for its outcome.
    pub push_wait: Duration,
    /// How long a call of a tool is held open that waits for people.
    pub tool_hold: Duration,
    /// The folder for caches and quarantines of Git objects.
    pub git_dir: PathBuf,
    /// Certificates to trust besides the system's, for Git at the forge.
    pub ca_file: Option<PathBuf>,
}

impl RunApiSettings {
    /// What suits production, with Git's folder at `git_dir`.
    pub fn production(git_dir: PathBuf) -> Self {
        Self {
            heartbeat: Duration::from_secs(20),
            silence: Duration::from_mins(5),
            grace: Duration::from_secs(10),
            session: Duration::from_mins(2),
            last_words: Duration::from_mins(1),
            push_bytes: MAX_PACK_BYTES,
            push_wait: Duration::from_mins(2),
            // Agents give a tool a minute.
            tool_hold: Duration::from_secs(45),
            git_dir,
            ca_file: None,
        }
    }

    pub(crate) fn pace(&self, timeout_seconds: i64) -> Pace {
        Pace {
            timeout_seconds,
            heartbeat_seconds: self.heartbeat.as_secs().max(1),
            silence_seconds: self.silence.as_secs().max(1),
            grace_seconds: self.grace.as_secs(),
            session_seconds: self.session.as_secs().max(1),
        }
    }
}

/// What the run API works with.
#[derive(Clone)]
pub struct RunApi {
    pub(crate) store: Arc<dyn RunStore>,
    pub(crate) remotes: Arc<dyn GitRemotes>,
    pub(crate) keys: Arc<RunKeys>,
    pub(crate) settings: Arc<RunApiSettings>,
    pub(crate) caches: Arc<GitCaches>,
    pub(crate) http: reqwest::Client,
    pub(crate) models: ModelKeys,
    pub(crate) metrics: ApiMetrics,
}

/// The parts that a run API is made of.
pub struct RunApiParts {
    /// Rows and facts.
    pub store: Arc<dyn RunStore>,
    /// The forge's Git, read-only.
    pub remotes: Arc<dyn GitRemotes>,
    /// The keys of run tokens.
    pub keys: Arc<RunKeys>,
    /// The keys of models.
    pub models: ModelKeys,
    /// The settings.
    pub settings: RunApiSettings,
    /// What is counted.
    pub metrics: ApiMetrics,
}

impl RunApi {
    /// Puts the parts together; makes the folder for Git.
    pub fn new(parts: RunApiParts) -> anyhow::Result<Self> {
        let settings = parts.settings;
        Ok(Self {
            caches: Arc::new(GitCaches::open(
                &settings.git_dir,
                settings.ca_file.clone(),
            )?),
            http: git::http_client(settings.ca_file.as_deref())?,
            store: parts.store,
            remotes: parts.remotes,
            keys: parts.keys,
            models: parts.models,
            settings: Arc::new(settings),
            metrics: parts.metrics,
        })
    }
}

/// The routes of the run listener.
pub fn run_router(api: RunApi) -> Router {
    Router::new()
        .route("/run/v1/facts", get(facts::show))
        .route("/run/v1/heartbeat", post(facts::heartbeat))
        .route("/run/v1/result", post(facts::result))
        .route("/run/v1/ended", post(facts::ended))
        .route("/run/v1/logs", post(output::logs))
        .route(
            "/run/v1/session",
            get(output::read_session).put(output::save_session),
        )
        .route(MCP_PATH, any(mcp::serve))
        .route("/run/v1/git/info/refs", get(git::refs))
        .route("/run/v1/git/git-upload-pack", post(git::upload_pack))
        .route("/run/v1/git/git-receive-pack", post(git::receive_pack))
        .route("/run/v1/models/{provider}/{*path}", any(models::call))
        .fallback(|| async { ApiError::not_found("no such path") })
        .layer(middleware::from_fn_with_state(api.clone(), count))
        .with_state(api)
}

async fn count(
    State(api): State<RunApi>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let claim = auth::claim(&api, request.headers());
    let response = next.run(request).await;
    let route = path.as_ref().map_or("other", MatchedPath::as_str);
    let class = match response.status().as_u16() / 100 {
        2 => "2xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    };
    api.metrics
        .run_calls
        .with_label_values(&[route, class])
        .inc();
    if response.status().is_client_error() {
        let code = response.extensions().get::<ErrorCode>();
        tracing::info!(
            run.id = claim.map(|claim| tracing::field::display(claim.run)),
            run.attempt = claim.map(|claim| claim.attempt.0),
            http.route = route,
            http.status = response.status().as_u16(),
            code = code.map(|code| code.0.as_str()),
            "refused a call of the run API"
        );
    }
    response
}
