//! The HTTP server: tells Git, REST, GraphQL and the control endpoint apart.
//!
//! One lock guards the whole model; it is never held across an await. A request is read whole before
//! it is looked at, its answer is complete before it is sent. A change that was asked for is made
//! also when whoever asked has gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State as Extracted};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::HeaderName};
use serde_json::Value;

use super::budget::Budgets;
use super::exchanges::Exchanges;
use super::faults::{Fault, Faults};
use super::journal::{Arrival, Journal};
use super::reply::Reply;
use super::wire::Fuse;
use super::world::{Principal, World};
use super::{api, control, graphql, smart};

/// The greatest request body, above GitHub's push limit for nothing but our own packs.
const LARGEST_BODY: usize = 256 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct State {
    pub world: World,
    pub budgets: Budgets,
    pub journal: Journal,
    pub exchanges: Exchanges,
    pub faults: Faults,
}

/// What every request shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub state: Mutex<State>,
    /// What the control endpoint asks for as bearer.
    pub control_secret: String,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The name by which a credential's budget and writes are kept.
    pub(super) fn owner_name(&self, principal: Principal) -> String {
        self.world
            .user_or_ghost(self.world.actor_of(principal).user)
            .login
    }
}

/// A request as the model reads it.
#[derive(Debug)]
pub(super) struct Asked {
    pub method: String,
    pub path: String,
    pub raw_query: String,
    pub headers: HeaderMap,
    pub body: bytes::Bytes,
    /// A fault that changes what is read.
    pub twist: Option<Fault>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn query(&self) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(self.raw_query.as_bytes())
            .into_owned()
            .collect()
    }

    /// Whether it asks for a change, a token made for the caller itself aside.
    fn changes(&self) -> bool {
        let reads = self.path == "/api/graphql"
            || self.path.ends_with("/access_tokens")
            || self.path.ends_with("/git-upload-pack");
        self.method != "GET" && !reads
    }

    /// The body as JSON; an empty one is null.
    pub(super) fn json(&self) -> Result<Value, Reply> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|_| Reply::error(400, "Problems parsing JSON"))
    }
}

/// The path's segments, percent-decoded.
pub(super) fn segments(path: &str) -> Vec<String> {
    path.trim_matches('/').split('/').map(decoded).collect()
}

fn decoded(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let hex = segment.get(index + 1..index + 3).filter(|_| byte == b'%');
        let value = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(value.unwrap_or(byte));
        index += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Answers any request.
pub(super) async fn answer(
    Extracted(shared): Extracted<Arc<Shared>>,
    ConnectInfo(fuse): ConnectInfo<Fuse>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return response(&Reply::error(413, "Payload Too Large"));
    };
    let mut asked = Asked {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        raw_query: parts.uri.query().unwrap_or("").to_owned(),
        headers: parts.headers,
        body,
        twist: None,
    };
    if asked.path.starts_with("/_model/") {
        return response(&control::answer(&shared, &asked));
    }
    let fault = arrived(&shared, &asked);
    asked.twist = fault.filter(|fault| {
        matches!(
            fault,
            Fault::RepeatedPage | Fault::StaleRead { .. } | Fault::NotModified
        )
    });
    if !asked.changes() {
        return suffered(&shared, &fuse, &asked, fault).await;
    }
    let change = tokio::spawn(async move { suffered(&shared, &fuse, &asked, fault).await });
    let answer = change.await;
    answer.unwrap_or_else(|_| response(&Reply::error(500, "Server Error")))
}

/// Serves a request with what goes wrong with it.
async fn suffered(
    shared: &Shared,
    fuse: &Fuse,
    asked: &Asked,
    fault: Option<Fault>,
) -> Response<Body> {
    match fault {
        None | Some(Fault::RepeatedPage | Fault::StaleRead { .. } | Fault::NotModified) => {
            served(shared, asked).await
        }
        Some(Fault::Status {
            status,
            retry_after,
        }) => refused(shared, asked, status, retry_after),
        Some(Fault::LostRequest { hold_ms }) => lost(fuse, hold_ms).await,
        Some(Fault::LostAnswer { hold_ms }) => {
            served(shared, asked).await;
            lost(fuse, hold_ms).await
        }
        Some(Fault::TruncatedBody) => truncated(served(shared, asked).await).await,
        Some(Fault::Slow { by_ms }) => {
            tokio::time::sleep(Duration::from_millis(by_ms)).await;
            served(shared, asked).await
        }
    }
}

/// Notes a request to change something; answers the fault that a rule has for it.
fn arrived(shared: &Shared, asked: &Asked) -> Option<Fault> {
    let mut state = shared.lock();
    let route = match smart::asked_for(&asked.path) {
        _ if asked.path == "/api/graphql" => "POST /graphql".to_owned(),
        Some((_, smart::Service::ReceivePack)) => "GIT receive-pack".to_owned(),
        Some(_) => "GIT upload-pack".to_owned(),
        None => api::operation(&state, asked),
    };
    if asked.changes() {
        state.journal.arrivals.push(Arrival {
            at: Instant::now(),
            agent: asked.header("user-agent").unwrap_or_default().to_owned(),
            route: route.clone(),
        });
    }
    let fault = state.faults.draw(&route, &asked.body)?;
    state.journal.fault(&fault.name());
    Some(fault)
}

fn refused(
    shared: &Shared,
    asked: &Asked,
    status: u16,
    retry_after: Option<u32>,
) -> Response<Body> {
    let message = match (status, retry_after) {
        (403 | 429, Some(_)) => {
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        }
        (401, _) => "Bad credentials",
        (404, _) => "Not Found",
        (409, _) => "Conflict",
        (410, _) => "Gone",
        (422, _) => "Validation Failed",
        (500.., _) => "Server Error",
        _ => "Forbidden",
    };
    let mut reply = Reply::error(status, message);
    reply
        .headers
        .extend(retry_after.map(|wait| ("retry-after", wait.to_string())));
    let mut state = shared.lock();
    if asked.path.starts_with("/api/v3/") {
        api::judge(&mut state, asked, &reply);
    }
    response(&api::with_common_headers(reply, state.world.now()))
}

async fn lost(fuse: &Fuse, hold_ms: u64) -> Response<Body> {
    tokio::time::sleep(Duration::from_millis(hold_ms)).await;
    fuse.break_now();
    response(&Reply::no_content())
}

async fn truncated(whole: Response<Body>) -> Response<Body> {
    let (parts, body) = whole.into_parts();
    let body = to_bytes(body, LARGEST_BODY).await.unwrap_or_default();
    Response::from_parts(parts, Body::from(body.slice(..body.len() / 2)))
}

async fn served(shared: &Shared, asked: &Asked) -> Response<Body> {
    if asked.path.starts_with("/api/v3/") || asked.path == "/api/v3" {
        return api::answer(shared, asked);
    }
    if asked.path == "/api/graphql" && asked.method == "POST" {
        return graphql::answer(shared, asked);
    }
    if let Some((repo, service)) = smart::asked_for(&asked.path) {
        return smart::answer(shared, asked, repo, service).await;
    }
    response(&Reply::not_found())
}

/// A reply as HTTP.
pub(super) fn response(reply: &Reply) -> Response<Body> {
    let body = reply.body.as_ref().map(Value::to_string);
    let mut response = Response::new(body.map_or_else(Body::empty, Body::from));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if reply.body.is_some() {
        headers.insert(
            "content-type",
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
    }
    for (name, value) in &reply.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_percent_decoded() {
        assert_eq!(
            segments("/repos/o/r/labels/run%3Adev%20x"),
            ["repos", "o", "r", "labels", "run:dev x"]
        );
        assert_eq!(segments("/a/100%"), ["a", "100%"]);
    }
}
