//! What the observer remembers between polls. All of it may be lost: a
//! restart reads a little more, and concludes nothing else.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::domain::{
    Timestamp,
    ids::{BranchName, IssueNumber, UserId},
};

/// What is remembered of one repository.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Until when it is read every period because the forge may lag behind.
    pub(super) settling_until: Option<Instant>,
    /// When the last whole read began (the store's clock).
    pub(super) known_at: Option<Timestamp>,
    /// The newest label or state event of hot subjects at the last whole read.
    pub(super) newest_events: BTreeMap<IssueNumber, Option<String>>,
    /// The update times at which conversations were read.
    pub(super) conversations: BTreeMap<IssueNumber, Timestamp>,
    /// When the owner variable was read.
    pub(super) owner_read: Option<Instant>,
    /// When the last sweep was.
    pub(super) swept: Option<Instant>,
    /// When branches were read.
    pub(super) branches: BTreeMap<BranchName, Instant>,
    /// When rights were read.
    pub(super) permissions: BTreeMap<UserId, Instant>,
}

/// Whether something last done then is due again.
pub(super) fn is_due(last: Option<Instant>, every: Duration, now: Instant) -> bool {
    last.is_none_or(|last| now.saturating_duration_since(last) >= every)
}
