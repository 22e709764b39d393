//! Rate limits: points an hour per credential, writes a minute.
//!
//! The primary limits follow GitHub's: a number of points an hour for REST and one for GraphQL,
//! reset together. The secondary limit refuses writes that come too thick, with `retry-after`.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::reply::Reply;

/// The limits of each credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// REST requests an hour.
    pub core: u32,
    /// GraphQL points an hour.
    pub graphql: u32,
    /// Writes a minute before the secondary limit refuses; GitHub documents 80.
    pub writes_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            core: 5_000,
            graphql: 5_000,
            writes_per_minute: 80,
        }
    }
}

/// Which primary limit a request counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resource {
    Core,
    Graphql,
}

impl Resource {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Graphql => "graphql",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub limit: u32,
    pub used: u32,
    pub reset: DateTime<Utc>,
}

impl Budget {
    pub(super) const fn remaining(self) -> u32 {
        self.limit.saturating_sub(self.used)
    }

    fn json(self, resource: &str) -> Value {
        json!({
            "limit": self.limit,
            "used": self.used,
            "remaining": self.remaining(),
            "reset": self.reset.timestamp(),
            "resource": resource,
        })
    }
}

/// All credentials' budgets, by the credential's owner.
#[derive(Debug)]
pub(super) struct Budgets {
    pub limits: Limits,
    hours: BTreeMap<(String, Resource), Budget>,
    writes: BTreeMap<String, VecDeque<DateTime<Utc>>>,
}

impl Budgets {
    pub(super) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            hours: BTreeMap::new(),
            writes: BTreeMap::new(),
        }
    }

    /// The budget of this hour.
    pub(super) fn budget(
        &mut self,
        owner: &str,
        resource: Resource,
        now: DateTime<Utc>,
    ) -> &mut Budget {
        let limit = match resource {
            Resource::Core => self.limits.core,
            Resource::Graphql => self.limits.graphql,
        };
        let fresh = Budget {
            limit,
            used: 0,
            reset: now + TimeDelta::hours(1),
        };
        let budget = self
            .hours
            .entry((owner.to_owned(), resource))
            .or_insert(fresh);
        if budget.reset <= now {
            *budget = fresh;
        }
        budget.limit = limit;
        budget
    }

    /// Refuses a request whose hour is used up.
    pub(super) fn check(
        &mut self,
        owner: &str,
        resource: Resource,
        now: DateTime<Utc>,
    ) -> Result<(), Reply> {
        if self.budget(owner, resource, now).remaining() > 0 {
            return Ok(());
        }
        let message = format!("API rate limit exceeded for {owner}.");
        Err(Reply::error(403, &message))
    }

    /// Counts a write, or refuses it for coming too soon after too many others.
    pub(super) fn write(&mut self, owner: &str, now: DateTime<Utc>) -> Result<(), Reply> {
        let recent = self.writes.entry(owner.to_owned()).or_default();
        let minute = TimeDelta::minutes(1);
        while recent.front().is_some_and(|at| now - *at >= minute) {
            recent.pop_front();
        }
        if recent.len() < self.limits.writes_per_minute as usize {
            recent.push_back(now);
            return Ok(());
        }
        let wait = recent
            .front()
            .map_or(60, |oldest| (minute - (now - *oldest)).num_seconds() + 1);
        let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
        let mut reply = Reply::error(403, message);
        reply.headers.push(("retry-after", wait.to_string()));
        Err(reply)
    }

    /// The body of `/rate_limit`.
    pub(super) fn overview(&mut self, owner: &str, now: DateTime<Utc>) -> Value {
        let core = self.budget(owner, Resource::Core, now).json("core");
        let graphql = self.budget(owner, Resource::Graphql, now).json("graphql");
        let search = json!({
            "limit": 30, "used": 0, "remaining": 30, "reset": now.timestamp() + 60, "resource": "search",
        });
        json!({
            "resources": { "core": core, "graphql": graphql, "search": search },
            "rate": core,
        })
    }
}
