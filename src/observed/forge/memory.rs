//! What the observer remembers between polls. All of it may be lost: a
//! restart reads a little more, and concludes nothing else. Times are the
//! store's, at the beginning of the poll that made them.

use std::{collections::BTreeMap, time::Duration};

use crate::domain::{
    Timestamp,
    ids::{BranchName, IssueNumber, UserId},
};

/// What is remembered of one repository.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Until when the forge may lag behind: it is read every period, and once more after that.
    pub(super) settling_until: Option<Timestamp>,
    /// When the last whole read began.
    pub(super) known_at: Option<Timestamp>,
    /// The newest label or state event of hot subjects at the last whole read.
    pub(super) newest_events: BTreeMap<IssueNumber, Option<String>>,
    /// The update times at which conversations were read.
    pub(super) conversations: BTreeMap<IssueNumber, Timestamp>,
    /// When the owner variable was read.
    pub(super) owner_read: Option<Timestamp>,
    /// When the last sweep was.
    pub(super) swept: Option<Timestamp>,
    /// When branches were read.
    pub(super) branches: BTreeMap<BranchName, Timestamp>,
    /// When rights were read.
    pub(super) permissions: BTreeMap<UserId, Timestamp>,
}

/// Whether something last done then is due again.
pub(super) fn is_due(last: Option<Timestamp>, every: Duration, now: Timestamp) -> bool {
    last.is_none_or(|last| now >= later(last, every))
}

/// A time and a span after it.
pub(super) fn later(time: Timestamp, by: Duration) -> Timestamp {
    chrono::TimeDelta::from_std(by)
        .ok()
        .and_then(|by| time.checked_add_signed(by))
        .unwrap_or(Timestamp::MAX_UTC)
}
