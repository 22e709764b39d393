//! What the observer remembers between polls. All of it may be lost: a
//! restart reads a little more, and concludes nothing else. Times are the
//! store's, at the beginning of the poll that made them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    domain::{
        Timestamp,
        ids::{BranchName, IssueNumber, UserId},
    },
    forge::SubjectRead,
};

/// What is remembered of one repository.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Until when the forge may lag behind: it is read every period, and once more after that.
    pub(super) settling_until: Option<Timestamp>,
    /// When the last whole read began.
    pub(super) known_at: Option<Timestamp>,
    /// What of the events that subjects show was read.
    pub(super) events: ShownEvents,
    /// The update times at which conversations were read.
    pub(super) conversations: BTreeMap<IssueNumber, Timestamp>,
    /// When the owner variable was read.
    pub(super) owner_read: Option<Timestamp>,
    /// When the variables that are ours were read.
    pub(super) variables_read: Option<Timestamp>,
    /// When the last sweep was.
    pub(super) swept: Option<Timestamp>,
    /// When branches were read.
    pub(super) branches: BTreeMap<BranchName, Timestamp>,
    /// When rights were read.
    pub(super) permissions: BTreeMap<UserId, Timestamp>,
}

/// Which of the events that subjects show as their newest were read. A subject and the list of
/// events are read apart, and each may lag: an event counts as read when it was on a page, and
/// not because time went by.
#[derive(Debug, Default)]
pub(super) struct ShownEvents {
    /// The opaque ids of those on the pages last read, and of those shown that were read before.
    read: BTreeSet<String>,
    /// What subjects show that no page had, and since when.
    unread: BTreeMap<String, Timestamp>,
    /// What subjects showed when they were last looked at.
    shown: BTreeSet<String>,
}

impl ShownEvents {
    /// Notes what all subjects that were looked at show as their newest event.
    pub(super) fn note_shown(&mut self, reads: &[SubjectRead], now: Timestamp) {
        let shown = reads.iter().filter_map(|read| read.newest_event.clone());
        self.shown = shown.collect();
        for id in self.shown.difference(&self.read) {
            self.unread.entry(id.clone()).or_insert(now);
        }
    }

    /// Whether there are events that were shown and not read.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Whether an event is missing that was shown until then.
    pub(super) fn misses_since(&self, then: Timestamp) -> bool {
        self.unread.values().any(|since| *since <= then)
    }

    /// Notes the opaque ids of everything on the pages that were read.
    pub(super) fn note_read(&mut self, ids: &BTreeSet<String>) {
        self.read.retain(|id| self.shown.contains(id));
        self.read.extend(ids.iter().cloned());
        self.unread.retain(|id, _| !self.read.contains(id));
    }

    /// Counts as read what was shown until then: pages that are as the forge has them now do not
    /// have it, so it is older than they reach.
    pub(super) fn settle(&mut self, then: Timestamp) {
        let (old, unread) = std::mem::take(&mut self.unread)
            .into_iter()
            .partition(|(_, since)| *since <= then);
        self.unread = unread;
        let old: BTreeMap<String, Timestamp> = old;
        self.read.extend(old.into_keys());
    }
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

/// A time and a span before it.
pub(super) fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    chrono::TimeDelta::from_std(by)
        .ok()
        .and_then(|by| time.checked_sub_signed(by))
        .unwrap_or(Timestamp::MIN_UTC)
}
