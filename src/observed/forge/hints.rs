//! Hints: "something happened over there", from webhooks, `notify` or another
//! replica. They carry no truth and only bring a read forward.
//!
//! A hint is coalesced per repository and the repository is read again at 0,
//! 1, 3 and 10 s, because the forge shows a change a little late. However many
//! come, a repository is not read for them more often than once a second.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::domain::ids::RepositoryName;

/// When a hinted repository is read again, counted from the hint.
const AGAIN: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// Between two reads of a repository for hints: a storm of them costs no more of the forge's
/// budget than this.
const APART: Duration = Duration::from_secs(1);

/// The hints not yet followed.
#[derive(Debug, Default)]
pub struct Hints {
    known: Mutex<Known>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// When to read.
    due: BTreeMap<RepositoryName, BTreeSet<Instant>>,
    /// When was read last, where that is not long ago.
    read: BTreeMap<RepositoryName, Instant>,
}

impl Hints {
    /// Takes a hint. More hints for the same repository replace what is left
    /// of the earlier ones.
    pub fn hint(&self, repository: &RepositoryName, now: Instant) {
        self.with(|known| {
            let first = known
                .read
                .get(repository)
                .map_or(now, |read| now.max(*read + APART));
            let times = AGAIN.iter().map(|after| first.max(now + *after));
            known.due.insert(repository.clone(), times.collect());
        });
        self.wake.notify_one();
    }

    /// Waits for a new hint.
    pub async fn arrived(&self) {
        self.wake.notified().await;
    }

    /// The repositories to read now; what is due is taken out.
    pub fn take_due(&self, now: Instant) -> BTreeSet<RepositoryName> {
        self.with(|known| {
            let mut taken = BTreeSet::new();
            known.due.retain(|name, times| {
                let before = times.len();
                times.retain(|time| *time > now);
                if times.len() < before {
                    taken.insert(name.clone());
                }
                !times.is_empty()
            });
            known.read.retain(|_, read| now < *read + APART);
            let read = taken.iter().map(|name| (name.clone(), now));
            known.read.extend(read);
            taken
        })
    }

    /// When the next hinted read is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.with(|known| {
            let due = known.due.values();
            due.filter_map(|times| times.first().copied()).min()
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hinted_repository_is_read_four_times_and_hints_coalesce() {
        let hints = Hints::default();
        let name: RepositoryName = "example-org/shop".parse().unwrap();
        let now = Instant::now();
        let mut reads = 0;
        hints.hint(&name, now);
        hints.hint(&name, now);
        for seconds in 0..=20 {
            reads += hints.take_due(now + Duration::from_secs(seconds)).len();
        }
        assert_eq!(reads, 4);
        assert_eq!(hints.next_due(), None);
    }

    #[test]
    fn a_storm_of_hints_reads_a_repository_once_a_second_and_ten_seconds_after_its_end() {
        let hints = Hints::default();
        let name: RepositoryName = "example-org/shop".parse().unwrap();
        let now = Instant::now();
        let mut reads = Vec::new();
        // A hint every two milliseconds for twenty seconds, each followed at once where it is due.
        for millis in (0..40_000).step_by(2) {
            let at = now + Duration::from_millis(millis);
            if millis < 20_000 {
                hints.hint(&name, at);
            }
            if !hints.take_due(at).is_empty() {
                reads.push(millis);
            }
        }
        assert_eq!(reads[..3], [0, 1_000, 2_000]);
        assert!((20..=24).contains(&reads.len()), "{reads:?}");
        assert_eq!(reads.last(), Some(&29_998));
    }

    #[test]
    fn a_hint_alone_is_followed_at_once_also_after_another() {
        let hints = Hints::default();
        let name: RepositoryName = "example-org/shop".parse().unwrap();
        let now = Instant::now();
        hints.hint(&name, now);
        assert_eq!(hints.take_due(now).len(), 1);
        let later = now + Duration::from_millis(1_500);
        hints.hint(&name, later);
        assert_eq!(hints.take_due(later).len(), 1);
    }
}
