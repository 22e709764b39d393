//! Git through the run API: smart HTTP for the run's repository and no other.
//!
//! ```text
//!  fetch ── streamed through ─────────────────────────────► forge
//!  push ─► quarantine ─► rules ─► pack stored as a fact ─► (lease holder) ─► forge
//!             answer waits ◄─────── outcome of the fact ◄──────┘
//! ```

mod cache;
mod check;
mod command;
mod fetch;
mod pkt;
mod push;
mod secrets;

use axum::{
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

pub use cache::GitCaches;
pub use command::GitError;
pub(crate) use fetch::http_client;
pub(crate) use push::receive_pack;

use super::{
    error::{ApiError, ApiResult},
    port::GitRemote,
    run::{Caller, RunApi, caller},
};

#[derive(Deserialize)]
pub(crate) struct ServiceQuery {
    service: Option<String>,
}

/// The refs, for a fetch or a push.
pub(crate) async fn refs(
    State(api): State<RunApi>,
    Query(query): Query<ServiceQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let caller = live_caller(&api, &headers).await?;
    let remote = remote(&api, &caller).await?;
    match query.service.as_deref() {
        Some("git-upload-pack") => {
            let tail = "info/refs?service=git-upload-pack";
            fetch::through(&api.http, &remote, tail, &headers, None).await
        }
        Some("git-receive-pack") => push::advertise(&api, &caller, &remote).await,
        _ => Err(ApiError::bad_field(
            "service",
            "only smart HTTP is spoken here",
        )),
    }
}

/// A fetch's negotiation and pack.
pub(crate) async fn upload_pack(
    State(api): State<RunApi>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let caller = live_caller(&api, &headers).await?;
    let remote = remote(&api, &caller).await?;
    fetch::through(&api.http, &remote, "git-upload-pack", &headers, Some(body)).await
}

async fn live_caller(api: &RunApi, headers: &HeaderMap) -> ApiResult<Caller> {
    let caller = caller(api, headers).await?;
    caller.must_be_live()?;
    Ok(caller)
}

async fn remote(api: &RunApi, caller: &Caller) -> ApiResult<GitRemote> {
    let name = &caller.frozen()?.repository_name;
    let repository = caller.access.repository;
    api.remotes.remote(repository, name).await.map_err(|error| {
        let error = format!("{error:#}");
        tracing::warn!(run.id = %caller.run(), error, "no Git remote for a run");
        ApiError::bad_gateway("the forge cannot be asked now, try again")
    })
}

fn git_answer(kind: &'static str, body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, body).into_response()
}

fn git_failed(error: &GitError) -> ApiError {
    tracing::warn!(error = %error, "a Git cache failed");
    ApiError::bad_gateway("the repository cannot be read now, try again")
}
