//! Edges: the moments between which a process may end.
//!
//! ```text
//! effect:  BeforeIntent ─ commit ─ AfterIntent ─ call ─ [BetweenCalls ─ call] ─ AfterCall ─ commit ─ AfterDone
//! rows:    BeforeCommit ─ commit ─ AfterCommit
//! ```
//!
//! Whoever watches them may stop a process at any of them, by never answering.
//! In production nobody watches, and an edge is nothing.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

/// A moment in the life of an effect or of a holder's transaction.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::Display, strum::EnumIter,
)]
#[strum(serialize_all = "snake_case")]
pub enum Edge {
    /// An action begins; nothing of it is written.
    BeforeIntent,
    /// The intent is committed, the call not yet made.
    AfterIntent,
    /// One call of several is answered.
    BetweenCalls,
    /// The call is answered, and what follows from it written but not committed. Of an action
    /// that changes rows only: all is written and not committed.
    AfterCall,
    /// `done` is committed with its event; the next action has not begun.
    AfterDone,
    /// A transaction that belongs to no action is written and not committed.
    BeforeCommit,
    /// It is committed.
    AfterCommit,
}

/// Watches edges.
pub trait EdgeWatch: Send + Sync + fmt::Debug {
    /// Told that `subject` (an effect's key, or a transaction's name) is at an edge; what goes
    /// on from there waits for the answer.
    fn at<'a>(&'a self, subject: &'a str, edge: Edge) -> BoxFuture<'a, ()>;
}

/// Who watches, if anybody.
#[derive(Debug, Clone, Default)]
pub struct Edges(Option<Arc<dyn EdgeWatch>>);

impl Edges {
    /// Edges that this one watches.
    pub fn watched_by(watch: Arc<dyn EdgeWatch>) -> Self {
        Self(Some(watch))
    }

    /// Tells the watch, and waits for its answer.
    pub async fn at(&self, subject: &str, edge: Edge) {
        if let Some(watch) = &self.0 {
            watch.at(subject, edge).await;
        }
    }
}
