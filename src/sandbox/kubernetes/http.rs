//! The API over HTTP: from a request to the store and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use serde_json::{Value, json};

use super::discovery;
use super::fault::{Fault, Verb, WriteRecord};
use super::list;
use super::log::tail;
use super::resource::{self, Target};
use super::state::Shared;
use super::status::ApiStatus;
use super::store::{ApplyBy, DeleteBy, Key, Store};
use super::watch;

/// The most a request may bring: more than etcd takes.
const LARGEST_BODY: usize = 3 * 1024 * 1024;

/// A request as the handlers see it.
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) target: Target,
    pub(super) query: BTreeMap<String, String>,
    /// The client asked for metadata alone.
    pub(super) metadata_only: bool,
    agent: String,
    arrived: Instant,
    body: Value,
}

impl Call {
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.query(name), Some("true" | "1"))
    }

    fn key(&self) -> Result<Key, ApiStatus> {
        let name = self
            .target
            .name
            .clone()
            .ok_or_else(ApiStatus::no_such_path)?;
        let namespace = self.target.namespace.clone().unwrap_or_default();
        if self.target.resource.namespaced && namespace.is_empty() {
            return Err(ApiStatus::no_such_path());
        }
        Ok(Key {
            resource: self.target.resource,
            namespace,
            name,
        })
    }

    /// An object as this client wants to see it.
    pub(super) fn shown(&self, object: &Value) -> Value {
        if !self.metadata_only {
            return object.clone();
        }
        json!({
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadata",
            "metadata": object["metadata"],
        })
    }
}

/// Everything the model answers.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .fallback(answer)
        .layer(axum::extract::DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(shared)
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !authorised(&shared, &headers) {
        return ApiStatus::new(401, "Unauthorized", "Unauthorized").into_response();
    }
    if let Some(document) = discovery::document(uri.path()) {
        return axum::Json(document).into_response();
    }
    match read_call(&method, &uri, query, &headers, &body) {
        // A change is made also when whoever asked for it has gone.
        Ok(call) if call.verb.is_mutating() => {
            let change = tokio::spawn(async move { perform(&shared, call).await });
            let answer = change.await;
            answer.unwrap_or_else(|_| {
                ApiStatus::new(500, "InternalError", "the call panicked").into_response()
            })
        }
        Ok(call) => perform(&shared, call).await,
        Err(status) => status.into_response(),
    }
}

fn authorised(shared: &Shared, headers: &HeaderMap) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    given.and_then(|value| value.strip_prefix("Bearer ")) == Some(shared.token.as_str())
}

fn read_call(
    method: &Method,
    uri: &Uri,
    query: BTreeMap<String, String>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Call, ApiStatus> {
    let target = resource::parse(uri.path()).ok_or_else(ApiStatus::no_such_path)?;
    let text = |name: header::HeaderName| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let content = text(header::CONTENT_TYPE);
    let verb = match (method.as_str(), &target.name, target.subresource.as_deref()) {
        ("GET", Some(_), Some("log")) if target.resource.kind == "Pod" => Verb::Log,
        ("GET", Some(_), None | Some("status")) => Verb::Get,
        ("GET", None, None)
            if matches!(query.get("watch").map(String::as_str), Some("true" | "1")) =>
        {
            Verb::Watch
        }
        ("GET", None, None) => Verb::List,
        ("POST", None, None) => Verb::Create,
        ("PATCH", Some(_), None | Some("status")) => match content {
            "application/apply-patch+yaml" => Verb::Apply,
            "application/merge-patch+json" => Verb::Patch,
            other => {
                let message = format!("the body of the request was in an unknown format: {other}");
                return Err(ApiStatus::new(415, "UnsupportedMediaType", message));
            }
        },
        ("DELETE", Some(_), None) => Verb::Delete,
        _ => {
            let message = "the server does not allow this method on the requested resource";
            return Err(ApiStatus::new(405, "MethodNotAllowed", message));
        }
    };
    let body = if body.is_empty() {
        Value::Null
    } else {
        // JSON is YAML; a client may send either to an apply.
        serde_yaml::from_slice(body).map_err(|error| ApiStatus::bad_request(error.to_string()))?
    };
    let metadata_only = text(header::ACCEPT).contains("as=PartialObjectMetadata");
    Ok(Call {
        verb,
        target,
        query,
        metadata_only,
        agent: text(header::USER_AGENT).to_owned(),
        arrived: Instant::now(),
        body,
    })
}

/// Lets a fault strike, performs the call and records it if it changes things.
async fn perform(shared: &Arc<Shared>, call: Call) -> Response {
    let fault = shared
        .faults()
        .strike(call.verb, call.target.resource.plural);
    match &fault {
        Some(Fault::Status {
            code,
            reason,
            message,
        }) => {
            record(shared, &call, *code, false);
            return ApiStatus::new(*code, reason, message).into_response();
        }
        Some(Fault::HangBefore) => {
            record(shared, &call, 0, false);
            return std::future::pending().await;
        }
        Some(Fault::CutBefore) => {
            record(shared, &call, 0, false);
            return cut();
        }
        Some(Fault::Slow(pause)) => tokio::time::sleep(*pause).await,
        Some(Fault::HangAfter | Fault::CutAfter | Fault::Truncated) | None => {}
    }
    let response = dispatch(shared, &call).unwrap_or_else(IntoResponse::into_response);
    let changed = response.extensions().get::<Changed>() == Some(&Changed(true));
    record(shared, &call, response.status().as_u16(), changed);
    match fault {
        Some(Fault::HangAfter) => std::future::pending().await,
        Some(Fault::CutAfter) => cut(),
        Some(Fault::Truncated) => truncated(response).await,
        _ => response,
    }
}

/// The end of a connection in the middle of an answer: its body breaks at once.
fn cut() -> Response {
    let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    Body::from_stream(futures::stream::iter([Err::<Bytes, _>(reset)])).into_response()
}

async fn truncated(whole: Response) -> Response {
    let (mut parts, body) = whole.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await;
    let body = body.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body.slice(..body.len() / 2)))
}

fn record(shared: &Shared, call: &Call, code: u16, changed: bool) {
    if !call.verb.is_mutating() {
        return;
    }
    let named = call.body["metadata"]["name"].as_str().map(str::to_owned);
    shared.writes().push(WriteRecord {
        at: call.arrived,
        agent: call.agent.clone(),
        verb: call.verb,
        resource: call.target.resource.plural,
        namespace: call.target.namespace.clone().unwrap_or_default(),
        name: call.target.name.clone().or(named).unwrap_or_default(),
        code,
        changed: changed && code < 400,
    });
}

fn dispatch(shared: &Arc<Shared>, call: &Call) -> Result<Response, ApiStatus> {
    match call.verb {
        Verb::Get => {
            let key = call.key()?;
            let object = shared.with_store(|store| store.get(&key));
            let object = object.ok_or_else(|| ApiStatus::not_found(key.resource, &key.name))?;
            Ok(axum::Json(call.shown(&object)).into_response())
        }
        Verb::List => Ok(axum::Json(list::page(shared, call)?).into_response()),
        Verb::Watch => watch::stream(shared, call),
        Verb::Log => logs(shared, call),
        Verb::Create => create(shared, call),
        Verb::Apply | Verb::Patch => patch(shared, call),
        Verb::Delete => delete(shared, call),
    }
}

/// Goes with an answer: whether an object changed by the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Changed(bool);

/// Works on the store and says whether anything changed by it.
fn tracked<T>(
    shared: &Shared,
    work: impl FnOnce(&mut Store) -> Result<T, ApiStatus>,
) -> Result<(Extension<Changed>, T), ApiStatus> {
    shared.with_store(|store| {
        let before = store.version();
        let answer = work(store)?;
        Ok((Extension(Changed(store.version() != before)), answer))
    })
}

fn manager(call: &Call) -> &str {
    call.query("fieldManager").unwrap_or("unknown")
}

fn create(shared: &Shared, call: &Call) -> Result<Response, ApiStatus> {
    let resource = call.target.resource;
    let name = call.body["metadata"]["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        return Err(ApiStatus::invalid(
            resource,
            "",
            "metadata.name: Required value",
        ));
    }
    let namespace = call.target.namespace.clone().unwrap_or_default();
    let key = Key {
        resource,
        namespace,
        name: name.to_owned(),
    };
    let (changed, created) = tracked(shared, |store| {
        store.create(&key, call.body.clone(), manager(call))
    })?;
    Ok((
        StatusCode::CREATED,
        changed,
        axum::Json(call.shown(&created)),
    )
        .into_response())
}

fn patch(shared: &Shared, call: &Call) -> Result<Response, ApiStatus> {
    let key = call.key()?;
    check_identity(&key, call)?;
    let (changed, (existed, object)) = tracked(shared, |store| {
        let existed = store.get(&key).is_some();
        let by = ApplyBy {
            manager: manager(call),
            force: call.flag("force"),
        };
        let object = match call.verb {
            Verb::Apply => store.apply(&key, &call.body, by),
            _ => store.patch(&key, &call.body, by.manager),
        };
        object.map(|object| (existed, object))
    })?;
    let code = if existed {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((code, changed, axum::Json(call.shown(&object))).into_response())
}

/// An applied object must be the one of the path.
fn check_identity(key: &Key, call: &Call) -> Result<(), ApiStatus> {
    if call.verb != Verb::Apply {
        return Ok(());
    }
    if call.query("fieldManager").is_none() {
        return Err(ApiStatus::bad_request(
            "fieldManager is required for apply patch",
        ));
    }
    let expected = [
        ("/kind", key.resource.kind.to_owned()),
        ("/apiVersion", key.resource.api_version()),
        ("/metadata/name", key.name.clone()),
    ];
    for (pointer, expected) in expected {
        let found = call
            .body
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default();
        if found != expected {
            let why = format!("{pointer} is {found:?}, the request is for {expected:?}");
            return Err(ApiStatus::bad_request(why));
        }
    }
    Ok(())
}

fn delete(shared: &Shared, call: &Call) -> Result<Response, ApiStatus> {
    let key = call.key()?;
    let text = |pointer: &str| call.body.pointer(pointer).and_then(Value::as_str);
    let policy = text("/propagationPolicy").or(call.query("propagationPolicy"));
    let grace = call.body["gracePeriodSeconds"].as_u64();
    let by = DeleteBy {
        uid: text("/preconditions/uid").map(str::to_owned),
        version: text("/preconditions/resourceVersion").map(str::to_owned),
        foreground: policy == Some("Foreground"),
        grace_seconds: grace.or_else(|| {
            call.query("gracePeriodSeconds")
                .and_then(|text| text.parse().ok())
        }),
    };
    let (changed, (there, object)) = tracked(shared, |store| {
        let object = store.delete(&key, &by)?;
        Ok((store.get(&key).is_some(), object))
    })?;
    if there || key.resource.kind == "Pod" {
        return Ok((changed, axum::Json(call.shown(&object))).into_response());
    }
    let details = json!({"name": key.name, "kind": key.resource.plural,
        "uid": object["metadata"]["uid"]});
    let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
        "status": "Success", "details": details});
    Ok((changed, axum::Json(done)).into_response())
}

fn logs(shared: &Arc<Shared>, call: &Call) -> Result<Response, ApiStatus> {
    let key = call.key()?;
    let pod = shared.with_store(|store| store.get(&key));
    let pod = pod.ok_or_else(|| ApiStatus::not_found(key.resource, &key.name))?;
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let log = shared.logs().get(uid).cloned().ok_or_else(|| {
        let name = &key.name;
        ApiStatus::bad_request(format!("container in pod \"{name}\" is waiting to start"))
    })?;
    let number = |name: &str| call.query(name).and_then(|text| text.parse::<usize>().ok());
    if call.flag("follow") {
        return Ok(Body::from_stream(watch::follow_log(log)).into_response());
    }
    let all = log.read_from(0);
    let mut shown = number("tailLines").map_or(&all[..], |lines| tail(&all, lines));
    if let Some(limit) = number("limitBytes") {
        shown = &shown[..shown.len().min(limit)];
    }
    Ok(([(header::CONTENT_TYPE, "text/plain")], shown.to_vec()).into_response())
}
