//! What was asked of the model: requests by route, and every write with its time and actor.

use std::{collections::BTreeMap, time::Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;

/// A change made through the model's HTTP interfaces; people's actions are not among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Write {
    /// The model's time.
    pub at: DateTime<Utc>,
    /// The login whose credential made it.
    pub actor: String,
    /// `POST`, `PATCH`, … or `PUSH` for Git.
    pub method: String,
    /// The path below the API's root, or the repository's name for a push.
    pub path: String,
    /// The status that was answered (a fault may have kept it from arriving).
    pub status: u16,
}

/// A request to change something, as it came in: before any fault, whatever the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// Its `User-Agent`.
    pub agent: String,
    /// The route, as fault rules name it.
    pub route: String,
}

/// The model's counters.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counters {
    /// Requests by `METHOD /path/{template}`; GraphQL is `POST /graphql`, Git `GIT service`.
    pub requests: BTreeMap<String, u64>,
    /// Answers that changed something.
    pub writes: u64,
    /// REST requests charged, and GraphQL points.
    pub points: BTreeMap<String, u64>,
    /// Injected faults by kind.
    pub faults: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    pub counters: Counters,
    pub writes: Vec<Write>,
    pub arrivals: Vec<Arrival>,
}

impl Journal {
    pub(super) fn request(&mut self, route: &str) {
        *self.counters.requests.entry(route.to_owned()).or_default() += 1;
    }

    pub(super) fn charge(&mut self, resource: &str, points: u64) {
        *self.counters.points.entry(resource.to_owned()).or_default() += points;
    }

    pub(super) fn fault(&mut self, kind: &str) {
        *self.counters.faults.entry(kind.to_owned()).or_default() += 1;
    }

    pub(super) fn write(&mut self, write: Write) {
        self.counters.writes += 1;
        self.writes.push(write);
    }
}
