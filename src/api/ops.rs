//! The ops listener: liveness, readiness, metrics. It takes no credential and
//! says nothing secret.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{Registry, TextEncoder};
use serde::Serialize;

use super::{
    error::ApiError,
    port::{Readiness, ReadyCheck},
};

/// What the ops listener shows.
#[derive(Clone)]
pub struct OpsContext {
    /// Who knows whether the platform is ready.
    pub readiness: Arc<dyn Readiness>,
    /// The metrics.
    pub registry: Registry,
}

#[derive(Serialize)]
struct ReadyAnswer {
    status: &'static str,
    checks: Vec<ReadyCheck>,
}

/// The routes of the ops listener.
pub fn ops_router(context: OpsContext) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(context)
}

async fn ready(State(context): State<OpsContext>) -> Response {
    let checks = context.readiness.checks().await;
    let (code, status) = if checks.iter().all(|check| check.ready) {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    (code, Json(ReadyAnswer { status, checks })).into_response()
}

async fn metrics(State(context): State<OpsContext>) -> Response {
    match TextEncoder::new().encode_to_string(&context.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "metrics could not be encoded");
            ApiError::internal().into_response()
        }
    }
}
