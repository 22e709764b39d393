//! The staff API: what there is to know of runs, for people with the staff
//! token. It reads stored rows; decisions about requests are all that it adds.
//!
//! The prompt and the result's raw texts are not part of a run's view.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{MatchedPath, Path, Query, Request, State},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::domain::{
    Timestamp,
    event::FlowEvent,
    ids::{AttemptNo, RunId},
    run::{LogsAbsent, Outcome, Run, RunState},
};

use super::{
    approvals,
    error::{ApiError, ApiResult},
    metrics::ApiMetrics,
    port::{PortError, RunFilter, StaffStore, StoredChunk, WakeHandle},
    secret, webhook,
};

/// The most rows one answer holds.
pub(super) const MAX_ROWS: u32 = 500;

/// What the staff listener works with.
#[derive(Clone)]
pub struct StaffContext {
    /// The rows.
    pub store: Arc<dyn StaffStore>,
    /// Who is woken by webhooks.
    pub wake: Arc<dyn WakeHandle>,
    /// The staff token; `None` closes the API.
    pub token: Option<SecretString>,
    /// The webhook secret; `None` switches webhooks off.
    pub webhook_secret: Option<SecretString>,
    /// What is counted.
    pub metrics: ApiMetrics,
}

/// The routes of the staff listener: the staff API and the webhook.
pub fn staff_router(context: StaffContext) -> Router {
    let guarded = Router::new()
        .route("/api/v1/runs", get(list))
        .route("/api/v1/runs/{id}", get(show))
        .route("/api/v1/runs/{id}/events", get(events))
        .route("/api/v1/runs/{id}/logs", get(logs))
        .route("/api/v1/approvals", get(approvals::list))
        .route("/api/v1/approvals/{code}/decision", post(approvals::decide))
        .layer(middleware::from_fn_with_state(context.clone(), guard));
    Router::new()
        .route("/api/v1/webhooks/github", post(webhook::github))
        .merge(guarded)
        .fallback(|| async { ApiError::not_found("no such path") })
        .with_state(context)
}

async fn guard(
    State(context): State<StaffContext>,
    request: Request,
    next: Next,
) -> ApiResult<Response> {
    let given = secret::bearer(request.headers()).unwrap_or_default();
    match &context.token {
        Some(expected) if secret::same(expected, given) => Ok(next.run(request).await),
        _ => {
            let route = request.extensions().get::<MatchedPath>();
            tracing::info!(
                http.route = route.map(MatchedPath::as_str),
                "refused a call of the staff API without its token"
            );
            Err(ApiError::unauthorized())
        }
    }
}

/// A run as staff see it.
#[derive(Debug, Serialize)]
pub struct RunView {
    id: RunId,
    project: String,
    repository: Option<String>,
    repository_id: i64,
    number: i64,
    issue: i64,
    kind: String,
    label: Option<String>,
    actor: Option<String>,
    state: RunState,
    outcome: Option<Outcome>,
    reason: Option<String>,
    held: Option<String>,
    branch: Option<String>,
    slot: Option<i32>,
    pull_request: Option<i64>,
    head: Option<String>,
    created_at: Timestamp,
    preparing_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    stopping_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    finalized_at: Option<Timestamp>,
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        Self {
            id: run.id,
            project: run.project.to_string(),
            repository: run.frozen.map(|frozen| frozen.repository_name.to_string()),
            repository_id: run.repository.0,
            number: run.number.0,
            issue: run.work_item.0,
            kind: run.kind.to_string(),
            label: run.label.map(|label| label.to_string()),
            actor: run.actor.map(|actor| actor.login),
            state: run.state,
            outcome: run.outcome,
            reason: run.reason,
            held: run.held,
            branch: run.branch.map(|branch| branch.to_string()),
            slot: run.slot.map(|slot| slot.0),
            pull_request: run.pull_request.map(|number| number.0),
            head: run.accepted_head.map(|head| head.to_string()),
            created_at: run.created_at,
            preparing_at: run.preparing_at,
            started_at: run.started_at,
            stopping_at: run.stopping_at,
            finished_at: run.finished_at,
            finalized_at: run.finalized_at,
        }
    }
}

/// A list in an answer.
#[derive(Debug, Serialize)]
pub struct Items<T> {
    pub(super) items: Vec<T>,
}

/// A run's logs in an answer.
#[derive(Debug, Serialize)]
pub struct Logs {
    items: Vec<StoredChunk>,
    /// Why there are none, where there is more to say than that there are none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<LogsAbsent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    project: Option<String>,
    state: Option<String>,
    repository: Option<i64>,
    issue: Option<i64>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    attempt: Option<i32>,
    after: Option<i64>,
    limit: Option<u32>,
}

pub(super) type QueryOf<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

pub(super) fn query<T>(query: QueryOf<T>) -> ApiResult<T> {
    let Query(query) = query.map_err(|error| ApiError::bad_request(error.body_text()))?;
    Ok(query)
}

async fn list(
    State(context): State<StaffContext>,
    given: QueryOf<ListQuery>,
) -> ApiResult<Json<Items<RunView>>> {
    let given = query(given)?;
    let unknown = |state: &String| ApiError::bad_field("state", format!("no state `{state}`"));
    let state = given
        .state
        .map(|state| state.parse().map_err(|_| unknown(&state)))
        .transpose()?;
    if given.issue.is_some() && given.repository.is_none() {
        return Err(ApiError::bad_field(
            "repository",
            "an issue is named with its repository's id",
        ));
    }
    let filter = RunFilter {
        project: given.project,
        state,
        repository: given.repository,
        issue: given.issue,
        limit: given.limit.unwrap_or(100).min(MAX_ROWS),
    };
    let runs = context.store.list_runs(&filter).await.map_err(refused)?;
    let items = runs.into_iter().map(RunView::from).collect();
    Ok(Json(Items { items }))
}

async fn show(
    State(context): State<StaffContext>,
    Path(id): Path<String>,
) -> ApiResult<Json<RunView>> {
    Ok(Json(known(&context, &id).await?.into()))
}

async fn events(
    State(context): State<StaffContext>,
    Path(id): Path<String>,
    page: QueryOf<PageQuery>,
) -> ApiResult<Json<Items<FlowEvent>>> {
    let page = query(page)?;
    let run = known(&context, &id).await?.id;
    let limit = page.limit.unwrap_or(MAX_ROWS).min(MAX_ROWS);
    let events = context
        .store
        .events(run, page.after.unwrap_or(0), limit)
        .await;
    Ok(Json(Items {
        items: events.map_err(refused)?,
    }))
}

async fn logs(
    State(context): State<StaffContext>,
    Path(id): Path<String>,
    page: QueryOf<PageQuery>,
) -> ApiResult<Json<Logs>> {
    let page = query(page)?;
    let run = known(&context, &id).await?.id;
    let limit = page.limit.unwrap_or(MAX_ROWS).min(MAX_ROWS);
    // An attempt's first chunk may have the number 0.
    let after = page.after.unwrap_or(-1);
    let after = page.attempt.map(|attempt| (AttemptNo(attempt), after));
    let chunks = context.store.logs(run, after, limit).await;
    let items = chunks.map_err(refused)?;
    let reason = if items.is_empty() {
        context.store.logs_absent(run).await.map_err(refused)?
    } else {
        None
    };
    Ok(Json(Logs { items, reason }))
}

async fn known(context: &StaffContext, id: &str) -> ApiResult<Run> {
    let id: RunId = id
        .parse()
        .map_err(|_| ApiError::bad_field("id", "a run's id is a UUID"))?;
    let run = context.store.get_run(id).await.map_err(refused)?;
    run.ok_or_else(|| ApiError::not_found(format!("no run {id}")))
}

/// What the caller is told of a failing store; the log gets the rest.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` is given"
)]
pub(crate) fn refused(error: PortError) -> ApiError {
    match &error {
        PortError::Over => ApiError::gone("run_over", "the run takes no more of this"),
        PortError::Unavailable(cause) => {
            tracing::warn!(error = format!("{cause:#}"), "the store is not available");
            ApiError::unavailable()
        }
        PortError::Failed(cause) => {
            tracing::error!(error = format!("{cause:#}"), "the store failed");
            ApiError::internal()
        }
    }
}
