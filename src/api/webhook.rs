//! The GitHub webhook: an accelerator. A delivery that is really GitHub's wakes
//! the reader of one repository; nothing else is taken from it, so a replayed
//! one does no harm.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::Sha256;

use crate::domain::ids::{RepositoryId, RepositoryName};

use super::{
    body,
    error::{ApiError, ApiResult},
    port::Hint,
    staff::StaffContext,
};

/// GitHub sends at most 25 MB; what we look at stands in far less.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Events that get their own metric label; the others share one.
const KNOWN_EVENTS: [&str; 9] = [
    "issues",
    "issue_comment",
    "label",
    "ping",
    "pull_request",
    "pull_request_review",
    "push",
    "repository",
    "check_suite",
];

#[derive(Deserialize)]
struct Delivery {
    repository: Option<DeliveredRepository>,
}

#[derive(Deserialize)]
struct DeliveredRepository {
    id: i64,
    full_name: RepositoryName,
}

/// Takes one delivery.
pub(crate) async fn github(
    State(context): State<StaffContext>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let started = std::time::Instant::now();
    let event = event_label(&headers);
    let result = take(&context, &headers, body).await;
    let label = match &result {
        Ok(()) => "accepted",
        Err(error) if error.status == StatusCode::UNAUTHORIZED => "bad_signature",
        Err(_) => "refused",
    };
    context
        .metrics
        .webhooks
        .with_label_values(&[label, event])
        .inc();
    let seconds = started.elapsed().as_secs_f64();
    context
        .metrics
        .webhook_seconds
        .with_label_values(&[label])
        .observe(seconds);
    match result {
        Ok(()) => {
            let accepted = serde_json::json!({ "status": "accepted" });
            (StatusCode::ACCEPTED, Json(accepted)).into_response()
        }
        Err(error) => error.into_response(),
    }
}

async fn take(context: &StaffContext, headers: &HeaderMap, body: Body) -> ApiResult<()> {
    let Some(secret) = &context.webhook_secret else {
        return Err(ApiError::not_found("webhooks are switched off"));
    };
    let bytes = body::read(headers, body, MAX_BODY_BYTES).await?;
    if !signed(secret, headers, &bytes) {
        return Err(ApiError::unauthorized());
    }
    let delivery: Delivery =
        serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_request(error.to_string()))?;
    if let Some(repository) = delivery.repository {
        context.wake.hint(Hint {
            repository: RepositoryId(repository.id),
            name: repository.full_name,
        });
    }
    Ok(())
}

fn signed(secret: &SecretString, headers: &HeaderMap, body: &[u8]) -> bool {
    let given = headers
        .get("x-hub-signature-256")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("sha256="))
        .and_then(|value| hex::decode(value).ok());
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(body);
    given.is_some_and(|given| mac.verify_slice(&given).is_ok())
}

fn event_label(headers: &HeaderMap) -> &'static str {
    let event = headers
        .get("x-github-event")
        .and_then(|value| value.to_str().ok());
    KNOWN_EVENTS
        .into_iter()
        .find(|known| Some(*known) == event)
        .unwrap_or("other")
}
