//! What the batched reads cost by GitHub's formula: each connection needs one request for
//! every thing it hangs on; the sum divided by a hundred, rounded, at least one, is a query's
//! price in points.

use std::ops::Add;

use super::{graphql::DETECT_BATCH, moved::REPOSITORIES, subjects::SUBJECT_BATCH};

/// What a read costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Price {
    /// Queries.
    pub queries: u64,
    /// Points.
    pub points: u64,
}

impl Add for Price {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            queries: self.queries + other.queries,
            points: self.points + other.points,
        }
    }
}

fn batched(things: usize, batch: usize, connections: usize) -> Price {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let points = |things: usize| (count(things * connections) + 50) / 100;
    let (whole, rest) = (things / batch, things % batch);
    let mut price = Price {
        queries: count(whole),
        points: count(whole) * points(batch).max(1),
    };
    if rest > 0 {
        price = price
            + Price {
                queries: 1,
                points: points(rest).max(1),
            };
    }
    price
}

/// Asking which of so many repositories moved.
pub fn detection(repositories: usize) -> Price {
    batched(repositories, DETECT_BATCH, 2)
}

/// Asking what moved in so many repositories.
pub fn listed(repositories: usize) -> Price {
    batched(repositories, REPOSITORIES, 2)
}

/// Reading so many live subjects: labels, newest event, edits and renames.
pub fn hot_subjects(subjects: usize) -> Price {
    batched(subjects, SUBJECT_BATCH, 4)
}

/// Reading so many other subjects: labels and newest event.
pub fn moved_subjects(subjects: usize) -> Price {
    batched(subjects, SUBJECT_BATCH, 2)
}

/// Reading so many conversations; the query asks of issues and of pull requests.
pub fn conversations(subjects: usize) -> Price {
    batched(subjects, SUBJECT_BATCH, 2)
}

/// Looking through so many repositories by label.
pub fn sweep(repositories: usize) -> Price {
    batched(repositories, REPOSITORIES, 3)
}
