//! Models through the run API: a run's calls go to its one provider, with a key that the pod
//! never sees, and what they use is written down.
//!
//! ```text
//!  agent ─ run token ─► path · model · budget ─ key ─► provider
//!    ◄──────────── streamed, metered ◄──────────────────┘
//! ```
//!
//! *Guarantees*: a path that is not listed for the provider's API, another model than the
//! run's and anything beyond the budget never reach the provider. An agent that hangs up early
//! is metered all the same.
//!
//! A budget is looked at before a call; what is under way then may go beyond it.

mod keys;
mod meter;

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use futures::{SinkExt, StreamExt, channel::mpsc};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

pub use keys::ModelKeys;

use crate::domain::{
    Timestamp,
    ids::{AttemptNo, ProjectKey, RunId},
    model_route::{Amount, ModelCall, ModelRoute, ModelWire, Usage},
};

use super::{
    body,
    error::{ApiError, ErrorCode},
    run::{Caller, RunApi, caller},
    staff,
};
use meter::Meter;

/// The longest request of a model: a long conversation with pictures.
const MAX_REQUEST_BYTES: usize = 32 * 1024 * 1024;
/// How long an answer is read on for its tokens after the agent hung up.
const DRAIN: Duration = Duration::from_mins(10);
/// How often the record of a call is tried to be kept, and how long apart.
const RECORD_TRIES: u32 = 5;
const RECORD_PAUSE: Duration = Duration::from_secs(2);

/// Passed on to a provider.
const REQUEST_HEADERS: [HeaderName; 6] = [
    header::ACCEPT,
    header::CONTENT_TYPE,
    header::USER_AGENT,
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("openai-beta"),
];
/// Passed back to an agent.
const RESPONSE_HEADERS: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::RETRY_AFTER,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("request-id"),
];

/// One call of a model, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCallRecord {
    /// The provider.
    pub provider: String,
    /// The model that was asked for.
    pub model: String,
    /// The provider's HTTP status; `None` where it did not answer.
    pub status: Option<u16>,
    /// The tokens, as far as the provider told them.
    pub usage: Usage,
    /// What they cost, where that is known.
    pub cost: Option<Amount>,
    /// When the call began, by the database's clock.
    pub started_at: Timestamp,
}

/// Tokens that were used so far, input and output together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokensUsed {
    /// By the run.
    pub run: u64,
    /// By all runs of its project since the day (UTC) began.
    pub project_today: u64,
}

/// Why a call does not reach its provider. The body is what both wires call an error, so that
/// agents show its words.
struct Refusal(ApiError);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let ApiError { status, body } = self.0;
        let error = json!({ "type": body.code, "code": body.code, "message": body.message });
        let answer = Json(json!({ "type": "error", "error": error }));
        (status, Extension(ErrorCode(body.code)), answer).into_response()
    }
}

/// What of a turn's request is looked at.
#[derive(Deserialize)]
struct Turn {
    model: String,
}

/// A call that may be made.
struct Call {
    run: RunId,
    attempt: AttemptNo,
    project: ProjectKey,
    route: ModelRoute,
    /// Whether it costs tokens.
    kind: ModelCall,
    model: String,
    started_at: Timestamp,
}

/// Passes a call on to the run's provider.
pub(crate) async fn call(
    State(api): State<RunApi>,
    Path((provider, path)): Path<(String, String)>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let passed = async {
        let caller = caller(&api, &headers).await?;
        caller.must_be_live()?;
        let (route, kind) = route(&caller, &provider, &path)?;
        let body = body::read(&headers, body, MAX_REQUEST_BYTES).await?;
        let call = allowed(&api, &caller, route, kind, &body).await?;
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}/{path}{query}", route.url.trim_end_matches('/'));
        pass_on(&api, call, (method, target), &headers, body).await
    };
    let passed: Result<Response, Refusal> = passed.await;
    passed.unwrap_or_else(|refusal| {
        tracing::info!(path, error = %refusal.0.body.message, "refused a model call");
        refusal.into_response()
    })
}

fn route<'a>(
    caller: &'a Caller,
    provider: &str,
    path: &str,
) -> Result<(&'a ModelRoute, ModelCall), Refusal> {
    let route = caller.frozen()?.models.as_ref();
    let route = route
        .filter(|route| route.provider == provider)
        .ok_or_else(|| ApiError::not_found(format!("this run has no provider `{provider}`")))?;
    let kind = route.wire.call(path).ok_or_else(|| {
        ApiError::not_found(format!("`{path}` of {provider} is not open to runs"))
    })?;
    Ok((route, kind))
}

/// Whether a call keeps to the run's model and budget.
async fn allowed(
    api: &RunApi,
    caller: &Caller,
    route: &ModelRoute,
    kind: ModelCall,
    body: &[u8],
) -> Result<Call, Refusal> {
    let frozen = caller.frozen()?;
    let mut model = frozen.model.clone().unwrap_or_default();
    if kind == ModelCall::Turn {
        let turn: Turn = serde_json::from_slice(body)
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        if frozen.model.as_ref().is_some_and(|own| *own != turn.model) {
            let message = format!("this run uses model {model}, not {}", turn.model);
            return Err(ApiError::bad_field("model", message).into());
        }
        model = turn.model;
        within_budget(api, caller, route).await?;
    }
    Ok(Call {
        run: caller.run(),
        attempt: caller.attempt(),
        project: caller.access.project.clone(),
        route: route.clone(),
        kind,
        model,
        started_at: caller.access.now,
    })
}

async fn within_budget(api: &RunApi, caller: &Caller, route: &ModelRoute) -> Result<(), Refusal> {
    if route.tokens_per_run.is_none() && route.tokens_per_day.is_none() {
        return Ok(());
    }
    let project = &caller.access.project;
    let used = api.store.tokens_used(caller.run(), project).await;
    let used = used.map_err(staff::refused)?;
    let spent = |used: u64, limit: Option<u64>| limit.filter(|limit| used >= *limit);
    let message = if let Some(limit) = spent(used.run, route.tokens_per_run) {
        format!("this run has used its budget of {limit} tokens")
    } else if let Some(limit) = spent(used.project_today, route.tokens_per_day) {
        format!("project {project} has used today's budget of {limit} tokens")
    } else {
        return Ok(());
    };
    api.metrics.count_model_call(&route.provider, "over_budget");
    // Agents try 429 and 5xx again, and some 403 too; this one they show and end.
    Err(ApiError::new(StatusCode::BAD_REQUEST, "budget_exceeded", message).into())
}

async fn pass_on(
    api: &RunApi,
    call: Call,
    (method, target): (Method, String),
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let provider = &call.route.provider;
    let key = api.models.key(provider).await.map_err(|error| {
        tracing::error!(
            provider,
            error = format!("{error:#}"),
            "no key for a provider"
        );
        let message = format!("the platform has no key for provider {provider}");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_key", message)
    })?;
    let mut request = api.models.client().request(method, &target).body(body);
    for name in REQUEST_HEADERS {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let request = match call.route.wire {
        ModelWire::Responses => request.bearer_auth(key.expose_secret()),
        ModelWire::Messages => request.header("x-api-key", key.expose_secret()),
    };
    match request.send().await {
        Ok(answer) => Ok(streamed(api, call, answer)),
        Err(error) => {
            let error = error.without_url();
            tracing::warn!(provider, error = %error, "a provider did not answer");
            let provider = provider.clone();
            record(api, call, None, Usage::default()).await;
            let message = format!("provider {provider} did not answer, try again");
            Err(ApiError::bad_gateway(message).into())
        }
    }
}

/// Hands an answer through as it comes and writes down what it used.
fn streamed(api: &RunApi, call: Call, answer: reqwest::Response) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    for name in RESPONSE_HEADERS {
        if let Some(value) = answer.headers().get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    let (mut sender, receiver) = mpsc::channel::<Result<Bytes, Infallible>>(16);
    let api = api.clone();
    tokio::spawn(async move {
        let status = answer.status().as_u16();
        let mut meter = Meter::new(call.route.wire, answer.headers());
        let mut pieces = answer.bytes_stream();
        let mut deadline = None;
        loop {
            let piece = match deadline {
                None => pieces.next().await,
                Some(deadline) => match tokio::time::timeout_at(deadline, pieces.next()).await {
                    Ok(piece) => piece,
                    Err(_) => break,
                },
            };
            let Some(Ok(piece)) = piece else { break };
            meter.take(&piece);
            // The tokens are used whether or not the agent stays to read them.
            if deadline.is_none() && sender.send(Ok(piece)).await.is_err() {
                deadline = Some(tokio::time::Instant::now() + DRAIN);
            }
        }
        drop(sender);
        record(&api, call, Some(status), meter.usage()).await;
    });
    *response.body_mut() = Body::from_stream(receiver);
    response
}

/// Writes a call down.
async fn record(api: &RunApi, call: Call, status: Option<u16>, usage: Usage) {
    let outcome = match status {
        Some(200..=299) => "answered",
        Some(_) => "refused",
        None => "no_answer",
    };
    api.metrics.count_model_call(&call.route.provider, outcome);
    if call.kind == ModelCall::Free {
        return;
    }
    api.metrics.count_tokens(&call.route.provider, usage);
    let price = call.route.price.as_ref();
    let record = ModelCallRecord {
        provider: call.route.provider.clone(),
        model: call.model,
        status,
        usage,
        cost: price.and_then(|price| usage.cost(price)),
        started_at: call.started_at,
    };
    for tries in 1..=RECORD_TRIES {
        let kept = api
            .store
            .insert_model_call(call.run, call.attempt, &call.project, &record);
        match kept.await {
            Ok(()) => return,
            Err(error) if tries == RECORD_TRIES => {
                tracing::error!(run.id = %call.run, error = %error, "a model call is not recorded");
            }
            Err(_) => tokio::time::sleep(RECORD_PAUSE).await,
        }
    }
}
