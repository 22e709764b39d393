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
    forge::{EventsRead, NewestEvent},
};

/// What is remembered of one repository.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Until when the forge may lag behind: it is read every period, and once more after that.
    pub(super) settling_until: Option<Timestamp>,
    /// When the last whole read began.
    pub(super) known_at: Option<Timestamp>,
    /// The newest label or state event of hot subjects at the last whole read.
    pub(super) newest_events: BTreeMap<IssueNumber, Option<NewestEvent>>,
    /// The opaque ids of the newest events that were read.
    pub(super) event_ids: BTreeSet<String>,
    /// The forge's clock when events were last read back to the known one.
    pub(super) events_read: Option<Timestamp>,
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

impl Memory {
    /// Notes that events were read.
    pub(super) fn note_events(&mut self, read: &EventsRead) {
        self.events_read = read.at.or(self.events_read);
        self.event_ids.clone_from(&read.node_ids);
    }

    /// Whether a subject's newest event is among those that were read: by its id, or because
    /// the forge had long stopped to hide it when they were. Both times are the forge's.
    pub(super) fn has_read(&self, newest: &NewestEvent, visibility: Duration) -> bool {
        self.event_ids.contains(&newest.id)
            || self
                .events_read
                .is_some_and(|read| later(newest.at, visibility) < read)
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
