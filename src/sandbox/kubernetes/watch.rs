//! Watches and followed logs: answers that go on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::http::Call;
use super::log::PodLog;
use super::resource::Resource;
use super::selector::Selector;
use super::state::{Knobs, Shared};
use super::status::ApiStatus;
use super::store::Change;

/// How long a watch lasts when the client does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(5);
/// How often a quiet watch says how far it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(5);

/// One open watch.
struct Watching {
    shared: Arc<Shared>,
    resource: &'static Resource,
    namespace: Option<String>,
    selector: Selector,
    metadata_only: bool,
    bookmarks: bool,
    /// Everything up to here has been shown.
    version: u64,
    ready: VecDeque<Value>,
    versions: watch::Receiver<u64>,
    knobs: watch::Receiver<Knobs>,
    generation: u64,
    until: Instant,
    ended: bool,
}

/// Answers a watch request with a stream of events.
pub(super) fn stream(shared: &Arc<Shared>, call: &Call) -> Result<Response, ApiStatus> {
    let selector = Selector::parse(call.query("labelSelector"), call.query("fieldSelector"))?;
    let seconds = call
        .query("timeoutSeconds")
        .and_then(|text| text.parse().ok());
    let timeout = seconds.map_or(DEFAULT_TIMEOUT, Duration::from_secs);
    let from = call.query("resourceVersion").unwrap_or_default();
    let knobs = shared.knobs.subscribe();
    let generation = knobs.borrow().watch_generation;
    let mut watching = Watching {
        shared: Arc::clone(shared),
        resource: call.target.resource,
        namespace: call.target.namespace.clone(),
        selector,
        metadata_only: call.metadata_only,
        bookmarks: call.query("allowWatchBookmarks") == Some("true"),
        version: 0,
        ready: VecDeque::new(),
        versions: shared.versions(),
        knobs,
        generation,
        until: Instant::now() + timeout,
        ended: false,
    };
    match from {
        "" | "0" => watching.begin_with_all(),
        text => {
            watching.version = text
                .parse()
                .map_err(|_| ApiStatus::bad_request(format!("invalid resource version {text}")))?;
        }
    }
    let events = futures::stream::unfold(watching, |mut watching| async move {
        let event = watching.next().await?;
        let mut line = event.to_string();
        line.push('\n');
        Some((Ok::<_, Infallible>(Bytes::from(line)), watching))
    });
    Ok((
        [(header::CONTENT_TYPE, "application/json")],
        Body::from_stream(events),
    )
        .into_response())
}

impl Watching {
    /// A watch from nowhere shows first what is there.
    fn begin_with_all(&mut self) {
        let listed = self
            .shared
            .with_store(|store| store.list(self.resource, self.namespace.as_deref()));
        self.version = listed.0;
        for (_, object) in listed
            .1
            .iter()
            .filter(|(_, object)| self.selector.matches(object))
        {
            self.ready.push_back(self.event("ADDED", object));
        }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            let knobs = self.knobs.borrow_and_update().clone();
            if knobs.watch_generation != self.generation {
                return None;
            }
            self.versions.mark_unchanged();
            if !knobs.hold_watches && self.read_changes() {
                continue;
            }
            let now = Instant::now();
            if now >= self.until {
                self.ended = true;
                return self.bookmarks.then(|| self.bookmark());
            }
            let pause = (self.until - now).min(BOOKMARK_EVERY);
            tokio::select! {
                _ = self.versions.changed() => {}
                _ = self.knobs.changed() => {}
                () = tokio::time::sleep(pause) => {
                    if self.bookmarks && !knobs.hold_watches {
                        return Some(self.bookmark());
                    }
                }
            }
        }
    }

    /// Takes new changes in; answers whether there are events to send.
    fn read_changes(&mut self) -> bool {
        let Some(changes) = self
            .shared
            .with_store(|store| store.changes_after(self.version))
        else {
            self.ended = true;
            let status = ApiStatus::expired().body();
            self.ready
                .push_back(json!({"type": "ERROR", "object": status}));
            return true;
        };
        for change in changes {
            self.version = change.version;
            let here = change.key.resource == self.resource
                && self
                    .namespace
                    .as_ref()
                    .is_none_or(|name| *name == change.key.namespace);
            if here && let Some(event) = self.show(&change) {
                self.ready.push_back(event);
            }
        }
        !self.ready.is_empty()
    }

    /// What a change is to this watch: an object that leaves the selection is
    /// gone for it, one that comes into it is new.
    fn show(&self, change: &Change) -> Option<Value> {
        let selected = |object: &Option<Arc<Value>>| {
            object
                .as_ref()
                .is_some_and(|object| self.selector.matches(object))
        };
        let kind = match (selected(&change.before), selected(&change.after)) {
            (false, false) => return None,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        Some(self.event(kind, &change.last))
    }

    fn event(&self, kind: &str, object: &Value) -> Value {
        if !self.metadata_only {
            return json!({"type": kind, "object": object});
        }
        let partial = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": object["metadata"]});
        json!({"type": kind, "object": partial})
    }

    fn bookmark(&self) -> Value {
        let (api_version, kind) = if self.metadata_only {
            ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadata")
        } else {
            (self.resource.api_version(), self.resource.kind)
        };
        json!({"type": "BOOKMARK", "object": {"apiVersion": api_version, "kind": kind,
            "metadata": {"resourceVersion": self.version.to_string(), "creationTimestamp": null}}})
    }
}

/// A log from its beginning to the pod's end.
pub(super) fn follow_log(log: Arc<PodLog>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let progress = log.progress();
    futures::stream::unfold(
        (log, progress, 0),
        |(log, mut progress, shown)| async move {
            let more = progress
                .wait_for(|(length, open)| *length > shown || !open)
                .await;
            if more.is_err() {
                return None;
            }
            drop(more);
            let bytes = log.read_from(shown);
            if bytes.is_empty() {
                return None;
            }
            let shown = shown + bytes.len();
            Some((Ok(bytes), (log, progress, shown)))
        },
    )
}
