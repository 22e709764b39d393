//! Plain counters of what is asked of a forge, for the telemetry room to export.
//!
//! Nothing here decides anything; the budget lives with the adapter.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// What a request is for: the label by which requests are counted.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::Display,
    strum::IntoStaticStr,
    strum::EnumIter,
)]
#[strum(serialize_all = "snake_case")]
pub enum Purpose {
    /// Who we are.
    Identity,
    /// One repository's record.
    Repository,
    /// Which repositories moved.
    Detect,
    /// Issues that moved.
    Issues,
    /// The hot set.
    Subjects,
    /// One issue.
    Issue,
    /// Label and state events.
    Events,
    /// Label definitions.
    Labels,
    /// Pull requests.
    Pulls,
    /// Reviews.
    Reviews,
    /// Comments.
    Comments,
    /// An account's rights.
    Permission,
    /// A repository variable.
    Variable,
    /// A branch's head.
    Ref,
    /// Putting a label on, taking it off, or defining it.
    WriteLabel,
    /// Writing, editing or deleting a comment.
    WriteComment,
    /// Opening or editing a pull request.
    WritePull,
    /// Setting a repository variable.
    WriteVariable,
    /// What is left of the budget.
    Budget,
    /// Pushing commits.
    Push,
    /// Renewing a credential.
    Token,
}

/// The budget of one credential as the forge said it last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetLeft {
    /// Requests (or points) an hour.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
    /// When the hour ends: seconds since 1970, the forge's clock.
    pub reset_epoch_seconds: i64,
}

/// A credential's budget as it stands: what the forge said last, and the time since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetWindow {
    /// The credential's name.
    pub credential: String,
    /// `core` or `graphql`.
    pub resource: String,
    /// Requests (or points) an hour.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
    /// How long until it is filled again.
    pub resets_in: std::time::Duration,
}

/// What was asked so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgeMetricsSnapshot {
    /// Requests by purpose and result: `ok`, `not_modified` or an error's name.
    pub requests: BTreeMap<(&'static str, &'static str), u64>,
    /// Budget by credential name and resource (`core`, `graphql`).
    pub budget: BTreeMap<(String, String), BudgetLeft>,
    /// GraphQL points by purpose.
    pub points: BTreeMap<&'static str, u64>,
    /// Milliseconds that requests were held back to spare the budget.
    pub held_back_milliseconds: u64,
    /// Changing requests that left us.
    pub writes: u64,
}

/// The counters, shared by everyone who uses a forge.
#[derive(Debug, Default)]
pub struct ForgeMetrics(Mutex<ForgeMetricsSnapshot>);

impl ForgeMetrics {
    fn with<T>(&self, change: impl FnOnce(&mut ForgeMetricsSnapshot) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts one request.
    pub fn count(&self, purpose: Purpose, result: &'static str) {
        self.with(|all| *all.requests.entry((purpose.into(), result)).or_default() += 1);
    }

    /// Counts a changing request that left us.
    pub fn count_write(&self) {
        self.with(|all| all.writes += 1);
    }

    /// Counts what a query cost.
    pub fn count_points(&self, purpose: Purpose, points: u64) {
        self.with(|all| *all.points.entry(purpose.into()).or_default() += points);
    }

    /// Notes a credential's budget.
    pub fn note_budget(&self, credential: &str, resource: &str, left: BudgetLeft) {
        self.with(|all| {
            all.budget
                .insert((credential.to_owned(), resource.to_owned()), left)
        });
    }

    /// Adds time for which a request was held back.
    pub fn held_back(&self, time: std::time::Duration) {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.with(|all| {
            all.held_back_milliseconds = all.held_back_milliseconds.saturating_add(milliseconds);
        });
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> ForgeMetricsSnapshot {
        self.with(|all| all.clone())
    }
}
