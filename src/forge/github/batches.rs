//! Batches of a read: what one query asks, and how a query that fails is asked in halves.
//!
//! A query may fail because it is too dear, or because of one of the things in it. Both halves
//! are asked then, so that in the end what cannot be read fails by itself and the rest is read.
//! A forge that fails whatever it is asked is soon left alone.

use std::{collections::VecDeque, ops::Range};

use crate::forge::{ForgeError, ForgeErrorKind};

/// So many failures without a single answer say that the forge itself fails.
const MOST_WITHOUT_ANSWER: usize = 4;

/// So many failures in one read are made good by halves: enough for three bad things among
/// hundreds.
const MOST_FAILURES: usize = 24;

/// What of a list of things is still to be asked, as ranges of it.
#[derive(Debug)]
pub(super) struct Batches {
    left: VecDeque<Range<usize>>,
    answered: bool,
    failures: usize,
}

impl Batches {
    /// So many things, as many at once as a query takes.
    pub(super) fn of(things: usize, most: usize) -> Self {
        let starts = (0..things).step_by(most.max(1));
        Self {
            left: starts
                .map(|start| start..things.min(start + most))
                .collect(),
            answered: false,
            failures: 0,
        }
    }

    /// The next query's things.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        self.left.pop_front()
    }

    /// Notes that a query was answered.
    pub(super) fn note_answer(&mut self) {
        self.answered = true;
    }

    /// Takes a query that failed; says which things cannot be read now. Its halves are asked
    /// after the others, where that may help.
    pub(super) fn note_failure(
        &mut self,
        batch: Range<usize>,
        error: &ForgeError,
    ) -> Vec<Range<usize>> {
        self.failures += 1;
        let forge_fails = !self.answered && self.failures >= MOST_WITHOUT_ANSWER;
        if forge_fails || concerns_all(&error.kind) {
            return std::iter::once(batch).chain(self.left.drain(..)).collect();
        }
        if batch.len() < 2 || self.failures > MOST_FAILURES || !concerns_some(&error.kind) {
            return vec![batch];
        }
        let middle = batch.start.midpoint(batch.end);
        self.left.extend([batch.start..middle, middle..batch.end]);
        Vec::new()
    }
}

/// Whether a query may have failed by its size, or by one of the things in it.
fn concerns_some(kind: &ForgeErrorKind) -> bool {
    matches!(
        kind,
        ForgeErrorKind::Timeout
            | ForgeErrorKind::Server
            | ForgeErrorKind::Unprocessable
            | ForgeErrorKind::Forbidden
    )
}

/// Whether every other query would fail as well.
fn concerns_all(kind: &ForgeErrorKind) -> bool {
    matches!(
        kind,
        ForgeErrorKind::RateLimited { .. }
            | ForgeErrorKind::Budget { .. }
            | ForgeErrorKind::Unauthorized
            | ForgeErrorKind::NotSent
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forge::Purpose;

    fn error(kind: ForgeErrorKind) -> ForgeError {
        ForgeError::new(kind, Purpose::Detect, "it", "no")
    }

    /// Reads so many things of which some cannot be read: what was read, and with how many queries.
    fn read(
        things: usize,
        most: usize,
        fails: impl Fn(&Range<usize>) -> Option<ForgeErrorKind>,
    ) -> (Vec<bool>, usize) {
        let mut batches = Batches::of(things, most);
        let mut found = vec![None; things];
        let mut queries = 0;
        while let Some(batch) = batches.next() {
            queries += 1;
            let Some(kind) = fails(&batch) else {
                batches.note_answer();
                found[batch].fill(Some(true));
                continue;
            };
            let failed = batches.note_failure(batch, &error(kind));
            for batch in failed {
                found[batch].fill(Some(false));
            }
        }
        let found = found.into_iter().map(|it| it.expect("an answer"));
        (found.collect(), queries)
    }

    #[test]
    fn one_bad_thing_fails_by_itself() {
        for bad in [0, 17, 73, 74, 99] {
            let (found, queries) = read(100, 74, |batch| {
                batch.contains(&bad).then_some(ForgeErrorKind::Server)
            });
            let failed: Vec<usize> = (0..100).filter(|at| !found[*at]).collect();
            assert_eq!(failed, [bad]);
            assert!(queries <= 16, "{queries}");
        }
    }

    #[test]
    fn what_is_too_much_at_once_is_read_in_parts() {
        let dear = |batch: &Range<usize>| (batch.len() > 20).then_some(ForgeErrorKind::Timeout);
        let (found, queries) = read(74, 74, dear);
        assert_eq!((found, queries), (vec![true; 74], 7));
    }

    #[test]
    fn a_forge_that_fails_is_asked_no_more_than_a_few_times() {
        let (found, queries) = read(1_000, 74, |_| Some(ForgeErrorKind::Timeout));
        assert_eq!((found, queries), (vec![false; 1_000], 4));
        let limited = || ForgeErrorKind::RateLimited {
            retry_after: std::time::Duration::from_secs(1),
        };
        let (found, queries) = read(1_000, 74, |batch| (batch.start > 0).then(limited));
        assert_eq!(queries, 2);
        assert_eq!(found.iter().filter(|read| **read).count(), 74);
    }

    #[test]
    fn an_answer_that_is_none_costs_its_own_batch() {
        let invalid = |batch: &Range<usize>| (batch.start == 0).then_some(ForgeErrorKind::Invalid);
        let (found, queries) = read(100, 74, invalid);
        assert_eq!(queries, 2);
        assert_eq!(found.iter().filter(|read| **read).count(), 26);
    }
}
