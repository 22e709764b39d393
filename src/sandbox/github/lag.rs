//! Read-after-write lag: what a reader sees some time after it was written.
//!
//! GitHub answers reads from replicas and search indexes. A write's own answer is fresh, a list read
//! a moment later may not hold it yet. Each repository has one delay per stream, drawn from the
//! model's seed, and a stream never goes back: what was seen once stays seen.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The greatest delay of each stream, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// Issues, their labels and states, as read from issue lists and single issues.
    pub labels_ms: u32,
    /// Issue events.
    pub events_ms: u32,
    /// Comment and review lists.
    pub comments_ms: u32,
    /// Pull-request lists.
    pub pulls_ms: u32,
}

impl Lag {
    /// No lag at all.
    pub const NONE: Self = Self {
        labels_ms: 0,
        events_ms: 0,
        comments_ms: 0,
        pulls_ms: 0,
    };

    /// The same greatest delay everywhere.
    pub const fn up_to_ms(all: u32) -> Self {
        Self {
            labels_ms: all,
            events_ms: all,
            comments_ms: all,
            pulls_ms: all,
        }
    }
}

impl Default for Lag {
    /// What tests live with unless they say otherwise.
    fn default() -> Self {
        Self::up_to_ms(2_000)
    }
}

/// The streams that lag, each by its own delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    Labels,
    Events,
    Comments,
    Pulls,
}

impl Lag {
    pub(super) fn greatest(&self, stream: Stream) -> u32 {
        match stream {
            Stream::Labels => self.labels_ms,
            Stream::Events => self.events_ms,
            Stream::Comments => self.comments_ms,
            Stream::Pulls => self.pulls_ms,
        }
    }
}

/// A small seeded generator (SplitMix64): same seed, same delays and faults.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Seeded(u64);

impl Seeded {
    pub(in crate::sandbox) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..=greatest`.
    pub(super) fn up_to(&mut self, greatest: u32) -> u32 {
        let span = u64::from(greatest) + 1;
        u32::try_from(self.next() % span).unwrap_or(greatest)
    }

    /// True in `per_million` of a million cases.
    pub(in crate::sandbox) fn happens(&mut self, per_million: u32) -> bool {
        self.next() % 1_000_000 < u64::from(per_million)
    }
}

/// A delay as time.
pub(super) fn milliseconds(ms: u32) -> TimeDelta {
    TimeDelta::milliseconds(i64::from(ms))
}

/// When a version is seen by readers of each kind of list.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeenAt {
    /// Readers of the issue or comment itself.
    pub own: DateTime<Utc>,
    /// Readers of pull-request lists.
    pub pulls: DateTime<Utc>,
}

/// How long replaced versions are kept for stale reads.
const REMEMBERED: TimeDelta = TimeDelta::minutes(5);

/// A thing with the versions that some reader may still be shown.
#[derive(Debug, Clone)]
pub(super) struct Versioned<T> {
    current: T,
    seen_at: SeenAt,
    earlier: Vec<(SeenAt, T)>,
}

impl<T: Clone> Versioned<T> {
    pub(super) fn new(value: T, seen_at: SeenAt) -> Self {
        Self {
            current: value,
            seen_at,
            earlier: Vec::new(),
        }
    }

    /// The newest version: what a write's own answer shows.
    pub(super) const fn current(&self) -> &T {
        &self.current
    }

    /// Begins a new version that readers see from `seen_at` on.
    pub(super) fn edit(&mut self, now: DateTime<Utc>, seen_at: SeenAt) -> &mut T {
        let forgotten = |at: &SeenAt| at.own.max(at.pulls) <= now - REMEMBERED;
        if forgotten(&self.seen_at) {
            self.earlier.clear();
        }
        while self.earlier.get(1).is_some_and(|(at, _)| forgotten(at)) {
            self.earlier.remove(0);
        }
        self.earlier.push((self.seen_at, self.current.clone()));
        self.seen_at = seen_at;
        &mut self.current
    }

    /// The version a reader of the thing itself is shown.
    pub(super) fn seen(&self, now: DateTime<Utc>) -> Option<&T> {
        self.seen_by(now, |at| at.own)
    }

    /// The version a reader of pull-request lists is shown.
    pub(super) fn seen_in_pulls(&self, now: DateTime<Utc>) -> Option<&T> {
        self.seen_by(now, |at| at.pulls)
    }

    fn seen_by(&self, now: DateTime<Utc>, at: impl Fn(&SeenAt) -> DateTime<Utc>) -> Option<&T> {
        if at(&self.seen_at) <= now {
            return Some(&self.current);
        }
        let older = self.earlier.iter().rev();
        older
            .into_iter()
            .find(|(seen, _)| at(seen) <= now)
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_the_old_version_until_the_delay_is_over() {
        let now = Utc::now();
        let later = now + milliseconds(500);
        let at = |when| SeenAt {
            own: when,
            pulls: now,
        };
        let mut thing = Versioned::new(1, at(now));
        *thing.edit(now, at(later)) = 2;
        assert_eq!(thing.seen(now), Some(&1));
        assert_eq!(thing.seen_in_pulls(now), Some(&2));
        assert_eq!(thing.seen(later), Some(&2));
        assert_eq!(thing.current(), &2);
    }

    #[test]
    fn a_new_thing_is_absent_until_the_delay_is_over() {
        let now = Utc::now();
        let later = now + milliseconds(500);
        let thing = Versioned::new(
            1,
            SeenAt {
                own: later,
                pulls: later,
            },
        );
        assert_eq!(thing.seen(now), None);
        assert_eq!(thing.seen(later), Some(&1));
    }

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let draw = |seed| {
            let mut seeded = Seeded::new(seed);
            (0..5).map(|_| seeded.up_to(2_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
