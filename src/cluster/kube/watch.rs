//! One watch task per kind, feeding the cache.
//!
//! A watch that fails is begun anew with a complete list after a pause: the
//! kind is unknown in between. A watch that merely ended goes on from its
//! version without a word.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{Api, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;
use tokio_util::task::AbortOnDropHandle;

use super::super::kind::ObjectKind;
use super::super::labels;
use super::cache::{Cache, Mirror, Mirrors, NodeRow, Row};
use super::read::resource;
use super::{KubeCluster, failure, lock, rows};
use crate::cluster::ErrorClass;

/// The first pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// No longer than this: a run waits for its pod's end to be seen.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How often nodes are asked for where we may not read them.
const FORBIDDEN_PAUSE: Duration = Duration::from_mins(5);

/// Finds the mirror that a watch feeds.
type Pick<R> = fn(&mut Mirrors, Option<ObjectKind>) -> Option<&mut Mirror<R>>;

/// One watch: what it follows, what becomes of an object, where it goes.
struct Follow<K, R> {
    api: Api<K>,
    config: watcher::Config,
    name: &'static str,
    kind: Option<ObjectKind>,
    to_row: fn(Option<ObjectKind>, &K) -> R,
    pick: Pick<R>,
    cache: Arc<Cache>,
}

impl KubeCluster {
    /// Starts the watches unless they run.
    pub(super) fn start_watches(&self) {
        let mut tasks = lock(&self.tasks);
        if !tasks.is_empty() {
            return;
        }
        tasks.push(self.follow::<Namespace, _>(
            "namespaces",
            |_, object| rows::namespace(object),
            |mirrors, _| Some(&mut mirrors.namespaces),
        ));
        tasks.push(self.follow::<Job, _>(
            "jobs",
            |_, object| rows::job(object),
            |mirrors, _| Some(&mut mirrors.jobs),
        ));
        tasks.push(self.follow::<Pod, _>(
            "pods",
            |_, object| rows::pod(object),
            |mirrors, _| Some(&mut mirrors.pods),
        ));
        tasks.push(self.follow_nodes());
        tasks.extend(ObjectKind::METADATA_ONLY.map(|kind| self.follow_metadata(kind)));
    }

    /// The watch's settings; a time-out in whole seconds, at least one.
    fn watch_config(&self) -> watcher::Config {
        let seconds = u32::try_from(self.options.watch_timeout.as_secs()).unwrap_or(u32::MAX);
        watcher::Config::default()
            .timeout(seconds.max(1))
            .page_size(self.options.page_size)
    }

    fn labelled(&self) -> watcher::Config {
        self.watch_config()
            .labels(&labels::installation_selector(&self.options.installation))
    }

    fn follow<K, R>(
        &self,
        name: &'static str,
        to_row: fn(Option<ObjectKind>, &K) -> R,
        pick: Pick<R>,
    ) -> AbortOnDropHandle<()>
    where
        K: kube::Resource<DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
        R: Row + Send + 'static,
    {
        spawn(Follow {
            api: Api::all(self.client.clone()),
            config: self.labelled(),
            name,
            kind: None,
            to_row,
            pick,
            cache: Arc::clone(&self.cache),
        })
    }

    fn follow_nodes(&self) -> AbortOnDropHandle<()> {
        spawn(Follow::<Node, NodeRow> {
            api: Api::all(self.client.clone()),
            config: self.watch_config(),
            name: "nodes",
            kind: None,
            to_row: |_, node| NodeRow {
                name: node.metadata.name.clone().unwrap_or_default(),
                resource_version: node.metadata.resource_version.clone().unwrap_or_default(),
                unreachable_since: rows::unreachable_since(node),
            },
            pick: |mirrors, _| Some(&mut mirrors.nodes),
            cache: Arc::clone(&self.cache),
        })
    }

    fn follow_metadata(&self, kind: ObjectKind) -> AbortOnDropHandle<()> {
        spawn(Follow::<PartialObjectMeta<DynamicObject>, _> {
            api: Api::all_with(self.client.clone(), &resource(kind)),
            config: self.labelled(),
            name: kind.plural(),
            kind: Some(kind),
            to_row: |kind, partial| {
                rows::object(
                    kind.expect("metadata watches name their kind"),
                    &partial.metadata,
                )
            },
            pick: |mirrors, kind| mirrors.objects.get_mut(&kind?),
            cache: Arc::clone(&self.cache),
        })
    }
}

fn spawn<K, R>(follow: Follow<K, R>) -> AbortOnDropHandle<()>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    R: Row + Send + 'static,
{
    AbortOnDropHandle::new(tokio::spawn(async move { follow.run().await }))
}

impl<K, R> Follow<K, R>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    R: Row + Send + 'static,
{
    /// Follows for ever, each time from a complete list.
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = self.follow_once(&mut pause).await;
            let forbidden = self.name == "nodes" && class(&error) == Some(ErrorClass::Forbidden);
            if forbidden {
                tracing::info!("nodes cannot be read; unreachable ones will not be noticed");
                self.feed([Event::Init, Event::InitDone]);
                tokio::time::sleep(FORBIDDEN_PAUSE).await;
                continue;
            }
            let reason = describe(&error);
            tracing::warn!(
                watch.kind = self.name,
                error.message = reason,
                "cluster watch failed"
            );
            self.cache.update(|mirrors| {
                if let Some(mirror) = (self.pick)(mirrors, self.kind) {
                    mirror.lose(reason);
                }
                true
            });
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Follows until the watch fails.
    async fn follow_once(&self, pause: &mut Duration) -> watcher::Error {
        let stream = watcher(self.api.clone(), self.config.clone());
        let mut stream = std::pin::pin!(stream);
        loop {
            match stream.next().await {
                Some(Ok(event)) => {
                    if matches!(event, Event::InitDone) {
                        *pause = FIRST_PAUSE;
                    }
                    self.feed([self.row_event(&event)]);
                }
                Some(Err(error)) => return error,
                None => return watcher::Error::NoResourceVersion,
            }
        }
    }

    fn row_event(&self, event: &Event<K>) -> Event<R> {
        let row = |object: &K| (self.to_row)(self.kind, object);
        match event {
            Event::Apply(object) => Event::Apply(row(object)),
            Event::Delete(object) => Event::Delete(row(object)),
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(row(object)),
            Event::InitDone => Event::InitDone,
        }
    }

    fn feed(&self, events: impl IntoIterator<Item = Event<R>>) {
        self.cache.update(|mirrors| {
            let Some(mirror) = (self.pick)(mirrors, self.kind) else {
                return false;
            };
            let mut changed = false;
            for event in events {
                changed |= mirror.take(event);
            }
            changed
        });
    }
}

fn class(error: &watcher::Error) -> Option<ErrorClass> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(failure::status_class(status)),
        _ => None,
    }
}

/// The whole chain of an error as one line.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let words = source.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = source.source();
    }
    text
}
