//! What the watches have shown, as rows.
//!
//! A row we have just written is laid over what the watch has shown so far,
//! until the watch shows it as well: an object must not seem absent because
//! its event is still on its way.
//!
//! *Invariant*: a mirror is in step only between a complete list and the next
//! failure of its watch.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta as KubeMeta;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use super::super::kind::{ObjectKind, ObjectRef};
use super::super::port::ClusterCache;
use super::super::snapshot::{ClusterSnapshot, JobRow, NamespaceRow, ObjectRow, PodRow};
use super::{lock, rows};

/// A write that no watch has shown for the length of a watch and this is
/// forgotten: the object was made and deleted before we looked. A watch whose
/// connection died silently is noticed before that, five seconds after its end.
const OVERLAY_MARGIN: Duration = Duration::from_secs(30);

/// Namespace and name of an object; no namespace where it lives in none.
type Place = (String, String);

/// A row that knows its object's name and version.
pub(super) trait Row: Clone {
    /// Namespace and name.
    fn key(&self) -> Place;
    /// The object's version.
    fn version(&self) -> &str;
}

macro_rules! impl_row {
    ($($row:ty),*) => {$(
        impl Row for $row {
            fn key(&self) -> Place {
                (self.namespace.clone(), self.name.clone())
            }
            fn version(&self) -> &str {
                &self.resource_version
            }
        }
    )*};
}

impl_row!(JobRow, PodRow, ObjectRow);

impl Row for NamespaceRow {
    fn key(&self) -> Place {
        (String::new(), self.name.clone())
    }
    fn version(&self) -> &str {
        &self.resource_version
    }
}

/// A node by name, and since when it does not answer.
#[derive(Debug, Clone)]
pub(super) struct NodeRow {
    pub(super) name: String,
    pub(super) resource_version: String,
    pub(super) unreachable_since: Option<DateTime<Utc>>,
}

impl Row for NodeRow {
    fn key(&self) -> Place {
        (String::new(), self.name.clone())
    }
    fn version(&self) -> &str {
        &self.resource_version
    }
}

/// Whether `version` is the same as `other` or came after it.
fn not_older(version: &str, other: &str) -> bool {
    match (version.parse::<u64>(), other.parse::<u64>()) {
        (Ok(version), Ok(other)) => version >= other,
        _ => true,
    }
}

/// Where a watch stands.
#[derive(Debug, Clone)]
enum Step {
    Starting,
    Following,
    Lost(String),
}

/// What one watch has shown.
#[derive(Debug)]
pub(super) struct Mirror<R> {
    rows: BTreeMap<Place, R>,
    /// The list being read, with the time it was begun.
    filling: Option<(Instant, BTreeMap<Place, R>)>,
    overlay: BTreeMap<Place, (Instant, R)>,
    overlay_limit: Duration,
    step: Step,
    last_event: Instant,
}

impl<R: Row> Mirror<R> {
    fn new(overlay_limit: Duration) -> Self {
        Self {
            rows: BTreeMap::new(),
            filling: None,
            overlay: BTreeMap::new(),
            overlay_limit,
            step: Step::Starting,
            last_event: Instant::now(),
        }
    }

    /// Takes an event in; answers whether what readers see may have changed.
    pub(super) fn take(&mut self, event: Event<R>) -> bool {
        self.last_event = Instant::now();
        match event {
            Event::Init => {
                self.filling = Some((Instant::now(), BTreeMap::new()));
                return false;
            }
            Event::InitApply(row) => {
                if let Some((_, filling)) = &mut self.filling {
                    filling.insert(row.key(), row);
                }
                return false;
            }
            Event::InitDone => {
                if let Some((begun, filling)) = self.filling.take() {
                    self.rows = filling;
                    self.overlay.retain(|_, (written, _)| *written > begun);
                }
                self.step = Step::Following;
            }
            Event::Apply(row) => {
                self.seen(&row);
                self.rows.insert(row.key(), row);
            }
            Event::Delete(row) => {
                self.seen(&row);
                self.rows.remove(&row.key());
            }
        }
        true
    }

    /// Drops the overlay that an event has caught up with.
    fn seen(&mut self, row: &R) {
        let key = row.key();
        if let Some((_, written)) = self.overlay.get(&key)
            && not_older(row.version(), written.version())
        {
            self.overlay.remove(&key);
        }
    }

    fn lay_over(&mut self, row: R) {
        let key = row.key();
        let shown = self.rows.get(&key);
        if shown.is_none_or(|shown| !not_older(shown.version(), row.version())) {
            self.overlay.insert(key, (Instant::now(), row));
        }
    }

    /// The watch failed: nothing is known until the next complete list.
    pub(super) fn lose(&mut self, reason: String) {
        self.step = Step::Lost(reason);
        self.filling = None;
    }

    /// What readers see: an own write hides the row that it is newer than.
    fn visible(&self) -> impl Iterator<Item = &R> {
        let fresh = |written: &Instant| written.elapsed() < self.overlay_limit;
        let hidden = move |key: &Place| self.overlay.get(key).is_some_and(|(at, _)| fresh(at));
        let shown = self.rows.iter().filter(move |(key, _)| !hidden(key));
        let laid = self.overlay.values().filter(move |(at, _)| fresh(at));
        shown.map(|(_, row)| row).chain(laid.map(|(_, row)| row))
    }

    fn trouble(&self) -> Option<&str> {
        match &self.step {
            Step::Starting => Some("not read yet"),
            Step::Following => None,
            Step::Lost(reason) => Some(reason),
        }
    }
}

/// All mirrors.
#[derive(Debug)]
pub(super) struct Mirrors {
    pub(super) namespaces: Mirror<NamespaceRow>,
    pub(super) jobs: Mirror<JobRow>,
    pub(super) pods: Mirror<PodRow>,
    pub(super) nodes: Mirror<NodeRow>,
    pub(super) objects: BTreeMap<ObjectKind, Mirror<ObjectRow>>,
}

/// The cache behind [`snapshot`](super::super::Cluster::snapshot).
#[derive(Debug)]
pub(super) struct Cache {
    mirrors: Mutex<Mirrors>,
    changes: watch::Sender<u64>,
    /// What a silent watch may at most hide.
    watch_timeout: Duration,
}

impl Cache {
    pub(super) fn new(watch_timeout: Duration) -> Self {
        let limit = watch_timeout + OVERLAY_MARGIN;
        let objects = ObjectKind::METADATA_ONLY.map(|kind| (kind, Mirror::new(limit)));
        Self {
            mirrors: Mutex::new(Mirrors {
                namespaces: Mirror::new(limit),
                jobs: Mirror::new(limit),
                pods: Mirror::new(limit),
                nodes: Mirror::new(limit),
                objects: objects.into(),
            }),
            changes: watch::Sender::new(0),
            watch_timeout,
        }
    }

    /// A receiver whose number grows with every change.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Changes the mirrors and wakes readers where `change` says so.
    pub(super) fn update(&self, change: impl FnOnce(&mut Mirrors) -> bool) {
        let changed = change(&mut lock(&self.mirrors));
        if changed {
            self.changes.send_modify(|number| *number += 1);
        }
    }

    /// Lays what an apply answered over what the watch has shown.
    pub(super) fn overlay(&self, object: &ObjectRef, meta: &KubeMeta) {
        self.update(|mirrors| {
            match object.kind {
                ObjectKind::Namespace => {
                    mirrors
                        .namespaces
                        .lay_over(rows::namespace_from_meta(meta, false));
                }
                // An apply leaves the status alone: what was shown of it stays.
                ObjectKind::Job => {
                    let mut row = rows::job_from_meta(meta);
                    if let Some(shown) = mirrors.jobs.rows.get(&row.key()) {
                        let version = std::mem::take(&mut row.resource_version);
                        row = JobRow {
                            resource_version: version,
                            ..shown.clone()
                        };
                    }
                    mirrors.jobs.lay_over(row);
                }
                kind => {
                    if let Some(mirror) = mirrors.objects.get_mut(&kind) {
                        mirror.lay_over(rows::object(kind, meta));
                    }
                }
            }
            true
        });
    }

    /// What is known now.
    pub(super) fn snapshot(&self) -> ClusterCache {
        let mirrors = lock(&self.mirrors);
        if let Some(reason) = mirrors.trouble() {
            return ClusterCache::Unknown { reason };
        }
        let mut snapshot = ClusterSnapshot {
            namespaces: mirrors.namespaces.visible().cloned().collect(),
            jobs: mirrors.jobs.visible().cloned().collect(),
            pods: mirrors.pods.visible().cloned().collect(),
            objects: mirrors
                .objects
                .values()
                .flat_map(Mirror::visible)
                .cloned()
                .collect(),
            ..ClusterSnapshot::default()
        };
        for pod in &mut snapshot.pods {
            let key = (String::new(), pod.node.clone().unwrap_or_default());
            let node = mirrors.nodes.rows.get(&key);
            pod.node_unreachable_since = node.and_then(|node| node.unreachable_since);
        }
        snapshot.normalise();
        ClusterCache::Known {
            age: mirrors.silence().min(self.watch_timeout),
            snapshot,
        }
    }
}

impl Mirrors {
    /// The first watch that is not in step, and why.
    fn trouble(&self) -> Option<String> {
        let named = |name: &str, trouble: Option<&str>| {
            trouble.map(|reason| format!("watch of {name}: {reason}"))
        };
        named("namespaces", self.namespaces.trouble())
            .or_else(|| named("jobs", self.jobs.trouble()))
            .or_else(|| named("pods", self.pods.trouble()))
            .or_else(|| named("nodes", self.nodes.trouble()))
            .or_else(|| {
                self.objects
                    .iter()
                    .find_map(|(kind, mirror)| named(kind.plural(), mirror.trouble()))
            })
    }

    /// How long the quietest of the watches has said nothing.
    fn silence(&self) -> Duration {
        let fixed = [
            self.namespaces.last_event,
            self.jobs.last_event,
            self.pods.last_event,
        ];
        let others = self.objects.values().map(|mirror| mirror.last_event);
        fixed
            .into_iter()
            .chain(others)
            .map(|at| at.elapsed())
            .max()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, version: u64) -> NodeRow {
        NodeRow {
            name: name.to_owned(),
            resource_version: version.to_string(),
            unreachable_since: None,
        }
    }

    fn seen(mirror: &Mirror<NodeRow>) -> Vec<String> {
        let mut all: Vec<_> = mirror
            .visible()
            .map(|row| format!("{}@{}", row.name, row.resource_version))
            .collect();
        all.sort();
        all
    }

    fn listed(rows: &[NodeRow]) -> Mirror<NodeRow> {
        let mut mirror = Mirror::new(Duration::from_mins(1));
        mirror.take(Event::Init);
        for row in rows {
            mirror.take(Event::InitApply(row.clone()));
        }
        mirror.take(Event::InitDone);
        mirror
    }

    #[test]
    fn a_mirror_is_in_step_only_after_a_complete_list() {
        let mut mirror = Mirror::new(Duration::from_mins(1));
        assert_eq!(mirror.trouble(), Some("not read yet"));
        mirror.take(Event::Init);
        mirror.take(Event::InitApply(row("a", 1)));
        assert_eq!(mirror.trouble(), Some("not read yet"));
        mirror.take(Event::InitDone);
        assert_eq!(mirror.trouble(), None);
        mirror.lose("broken".to_owned());
        assert_eq!(mirror.trouble(), Some("broken"));
    }

    #[test]
    fn a_list_replaces_what_was_shown_before() {
        let mut mirror = listed(&[row("a", 1), row("b", 2)]);
        mirror.take(Event::Init);
        mirror.take(Event::InitApply(row("b", 2)));
        assert_eq!(seen(&mirror), ["a@1", "b@2"]);
        mirror.take(Event::InitDone);
        assert_eq!(seen(&mirror), ["b@2"]);
    }

    #[test]
    fn an_own_write_shows_until_its_event_has_come() {
        let mut mirror = listed(&[row("a", 1)]);
        mirror.lay_over(row("a", 7));
        mirror.lay_over(row("b", 8));
        assert_eq!(seen(&mirror), ["a@7", "b@8"]);
        mirror.take(Event::Apply(row("a", 5)));
        assert_eq!(seen(&mirror), ["a@7", "b@8"]);
        mirror.take(Event::Apply(row("a", 7)));
        mirror.take(Event::Delete(row("b", 9)));
        assert_eq!(seen(&mirror), ["a@7"]);
        assert!(mirror.overlay.is_empty());
    }

    #[test]
    fn an_own_write_that_was_shown_already_is_not_laid_over() {
        let mut mirror = listed(&[row("a", 9)]);
        mirror.lay_over(row("a", 7));
        assert_eq!(seen(&mirror), ["a@9"]);
    }
}
