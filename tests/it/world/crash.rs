//! Crash points: effect key and edge. A watch writes them down, and at a chosen
//! one never answers, which is how the process ends there.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use codex_k8s::store::{Edge, EdgeWatch};
use futures::future::BoxFuture;
use tokio::sync::Notify;

/// A named place to crash at: what is the same from world to world of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Point {
    pub(crate) subject: String,
    pub(crate) edge: Edge,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} @ {}", self.subject, self.edge)
    }
}

/// Where the process is to crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CrashAt {
    /// At a point, the so-manieth time it comes by, from 1 on.
    Point(Point, usize),
    /// At the edge that comes by as the so-manieth, from 1 on.
    Nth(usize),
}

/// Where a process stands still before an intent until it is let go.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    reached: Notify,
    go: Notify,
}

impl Hold {
    /// Waits until the process stands there.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets the process go on.
    pub(crate) fn let_go(&self) {
        self.go.notify_one();
    }
}

/// Watches the edges of every process of a world, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Points {
    seen: Mutex<Seen>,
    crashed: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    /// Names for what is drawn by chance, in the order of appearance.
    names: BTreeMap<String, String>,
    counts: BTreeMap<Point, usize>,
    order: Vec<Point>,
    total: usize,
    crash_at: Vec<CrashAt>,
    crashes: Vec<Point>,
    /// Before which of the next intents the process is held.
    hold: Option<(usize, Arc<Hold>)>,
}

impl Points {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Adds a crash.
    pub(crate) fn crash_at(&self, at: CrashAt) {
        self.seen().crash_at.push(at);
    }

    /// Holds the process before one of its next intents, from 0 on.
    pub(crate) fn hold_before_intent(&self, nth: usize) -> Arc<Hold> {
        let hold = Arc::new(Hold::default());
        self.seen().hold = Some((nth, hold.clone()));
        hold
    }

    /// Holds nothing that does not stand there yet.
    pub(crate) fn hold_nothing(&self) {
        self.seen().hold = None;
    }

    /// Waits for a crash.
    pub(crate) async fn crashed(&self) {
        self.crashed.notified().await;
    }

    /// All points so far, in the order in which they first came by, with how often they did.
    pub(crate) fn found(&self) -> Vec<(Point, usize)> {
        let seen = self.seen();
        let counted = seen.order.iter();
        counted
            .map(|point| (point.clone(), seen.counts[point]))
            .collect()
    }

    /// The points crashed at so far.
    pub(crate) fn crashes(&self) -> Vec<Point> {
        self.seen().crashes.clone()
    }

    /// How many edges came by so far.
    pub(crate) fn total(&self) -> usize {
        self.seen().total
    }
}

impl Seen {
    /// Counts a point; says whether the process ends here.
    fn pass(&mut self, subject: &str, edge: Edge) -> bool {
        let point = Point {
            subject: self.canonical(subject),
            edge,
        };
        self.total += 1;
        let count = self.counts.entry(point.clone()).or_insert(0);
        *count += 1;
        if *count == 1 {
            self.order.push(point.clone());
        }
        let (count, total) = (*count, self.total);
        let due = self.crash_at.iter().position(|at| match at {
            CrashAt::Point(wanted, nth) => *wanted == point && *nth == count,
            CrashAt::Nth(nth) => *nth == total,
        });
        let Some(due) = due else {
            return false;
        };
        self.crash_at.remove(due);
        self.crashes.push(point);
        true
    }

    /// The hold that this edge comes to.
    fn held(&mut self, edge: Edge) -> Option<Arc<Hold>> {
        let (nth, hold) = self.hold.take_if(|_| edge == Edge::BeforeIntent)?;
        if nth == 0 {
            return Some(hold);
        }
        self.hold = Some((nth - 1, hold));
        None
    }

    /// A key with its drawn parts (uuids, commits, hashes) named in the order of appearance.
    fn canonical(&mut self, key: &str) -> String {
        let drawn = |word: &str| {
            let hex = word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
            hex && word.len() >= 32
        };
        let words: Vec<String> = key
            .split('/')
            .map(|word| {
                // A push is named by its commit and where it counts.
                let (what, place) = word.split_at(word.find('@').unwrap_or(word.len()));
                if !drawn(what) {
                    return word.to_owned();
                }
                let next = format!("#{}", self.names.len() + 1);
                let name = self.names.entry(what.to_owned()).or_insert(next);
                format!("{name}{place}")
            })
            .collect();
        words.join("/")
    }
}

impl EdgeWatch for Points {
    fn at<'a>(&'a self, subject: &'a str, edge: Edge) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let ends = self.seen().pass(subject, edge);
            if ends {
                self.crashed.notify_one();
                std::future::pending::<()>().await;
            }
            let held = self.seen().held(edge);
            if let Some(hold) = held {
                hold.reached.notify_one();
                hold.go.notified().await;
            }
        })
    }
}

#[test]
fn a_point_is_the_same_from_world_to_world_and_crashes_once() {
    let point = |subject: &str| Point {
        subject: subject.to_owned(),
        edge: Edge::AfterCall,
    };
    let mut seen = Seen::default();
    seen.crash_at.push(CrashAt::Point(point("run/#1/move"), 2));
    let run = format!("run/{}/move", uuid::Uuid::from_u128(7));
    assert!(!seen.pass(&run, Edge::AfterCall));
    assert!(!seen.pass(&run, Edge::AfterDone));
    assert!(seen.pass(&run, Edge::AfterCall));
    assert!(!seen.pass(&run, Edge::AfterCall));
    assert_eq!(seen.crashes, [point("run/#1/move")]);
    assert_eq!(seen.counts[&point("run/#1/move")], 3);
    let push = format!("trigger/github/1/push/{}@1/seen", "0a".repeat(20));
    assert!(!seen.pass(&push, Edge::AfterCall));
    assert_eq!(seen.counts[&point("trigger/github/1/push/#2@1/seen")], 1);
}
