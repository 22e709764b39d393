//! Hints: "something happened over there", from webhooks, `notify` or another
//! replica. They carry no truth and only bring a read forward.
//!
//! A hint is coalesced per repository and the repository is read again at 0,
//! 1, 3 and 10 s, because the forge shows a change a little late.

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

/// The hints not yet followed.
#[derive(Debug, Default)]
pub struct Hints {
    due: Mutex<BTreeMap<RepositoryName, BTreeSet<Instant>>>,
    wake: Notify,
}

impl Hints {
    /// Takes a hint. More hints for the same repository replace what is left
    /// of the earlier ones.
    pub fn hint(&self, repository: &RepositoryName, now: Instant) {
        let times = AGAIN.iter().map(|after| now + *after).collect();
        self.with(|due| due.insert(repository.clone(), times));
        self.wake.notify_one();
    }

    /// Waits for a new hint.
    pub async fn arrived(&self) {
        self.wake.notified().await;
    }

    /// The repositories to read now; what is due is taken out.
    pub fn take_due(&self, now: Instant) -> BTreeSet<RepositoryName> {
        self.with(|due| {
            let mut taken = BTreeSet::new();
            due.retain(|name, times| {
                let before = times.len();
                times.retain(|time| *time > now);
                if times.len() < before {
                    taken.insert(name.clone());
                }
                !times.is_empty()
            });
            taken
        })
    }

    /// When the next hinted read is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.with(|due| {
            due.values()
                .filter_map(|times| times.first().copied())
                .min()
        })
    }

    fn with<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<RepositoryName, BTreeSet<Instant>>) -> T,
    ) -> T {
        change(&mut self.due.lock().unwrap_or_else(PoisonError::into_inner))
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
}
