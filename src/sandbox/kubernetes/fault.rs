//! Faults for tests, and the record of changing calls.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::sandbox::github::Seeded;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read a collection.
    List,
    /// Follow a collection.
    Watch,
    /// Read a pod's log.
    Log,
    /// Create an object.
    Create,
    /// Server-side apply.
    Apply,
    /// Merge patch.
    Patch,
    /// Delete one object.
    Delete,
}

impl Verb {
    /// Whether such a call changes something.
    pub fn is_mutating(self) -> bool {
        matches!(
            self,
            Self::Create | Self::Apply | Self::Patch | Self::Delete
        )
    }
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An answer with an error status; nothing happens.
    Status {
        /// The HTTP code.
        code: u16,
        /// Kubernetes' reason, such as `InternalError`.
        reason: String,
        /// The words.
        message: String,
    },
    /// No answer, and nothing happens.
    HangBefore,
    /// The request takes effect, and no answer comes.
    HangAfter,
    /// The connection breaks before anything happens.
    CutBefore,
    /// The connection breaks after it happened.
    CutAfter,
    /// The second half of the answer is missing.
    Truncated,
    /// The answer comes late.
    Slow(Duration),
}

impl Fault {
    /// The fault's name in the counters.
    fn name(&self) -> String {
        let name = match self {
            Self::Status { code, .. } => return code.to_string(),
            Self::HangBefore => "hang before",
            Self::HangAfter => "hang after",
            Self::CutBefore => "lost-request",
            Self::CutAfter => "lost-answer",
            Self::Truncated => "truncated-body",
            Self::Slow(_) => "slow",
        };
        name.to_owned()
    }
}

/// A fault and the requests it strikes.
#[derive(Debug, Clone)]
pub struct FaultRule {
    /// The verb; `None` is any.
    pub verb: Option<Verb>,
    /// The resource by plural name; `None` is any.
    pub resource: Option<&'static str>,
    /// What goes wrong.
    pub fault: Fault,
    /// How many requests it strikes; `None` is all until removed.
    pub times: Option<u32>,
    /// In so many of a million requests it strikes; `None` is each.
    pub per_million: Option<u32>,
}

impl FaultRule {
    /// A fault for one request.
    pub fn once(verb: Verb, resource: &'static str, fault: Fault) -> Self {
        Self {
            verb: Some(verb),
            resource: Some(resource),
            fault,
            times: Some(1),
            per_million: None,
        }
    }

    /// A fault for every request until the rules are cleared.
    pub fn always(verb: Verb, resource: &'static str, fault: Fault) -> Self {
        Self {
            times: None,
            ..Self::once(verb, resource, fault)
        }
    }

    /// A fault for some of all requests with a verb, until the rules are cleared.
    pub fn sometimes(verb: Verb, fault: Fault, per_million: u32) -> Self {
        Self {
            verb: Some(verb),
            resource: None,
            fault,
            times: None,
            per_million: Some(per_million),
        }
    }

    fn matches(&self, verb: Verb, resource: &str) -> bool {
        self.times != Some(0)
            && self.verb.is_none_or(|wanted| wanted == verb)
            && self.resource.is_none_or(|wanted| wanted == resource)
    }
}

/// A changing call that reached the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRecord {
    /// When it came in.
    pub at: Instant,
    /// Its `User-Agent`.
    pub agent: String,
    /// What it was.
    pub verb: Verb,
    /// The resource by plural name.
    pub resource: &'static str,
    /// The namespace; empty where there is none.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The answer's HTTP code.
    pub code: u16,
    /// Whether any object changed by it.
    pub changed: bool,
}

/// The rules in force.
#[derive(Debug)]
pub(super) struct Faults {
    rules: Vec<FaultRule>,
    seeded: Seeded,
    struck: BTreeMap<String, u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            seeded: Seeded::new(1),
            struck: BTreeMap::new(),
        }
    }
}

impl Faults {
    pub(super) fn add(&mut self, rule: FaultRule) {
        self.rules.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Draws anew from a seed.
    pub(super) fn seed(&mut self, seed: u64) {
        self.seeded = Seeded::new(seed);
    }

    /// How often each kind of fault struck.
    pub(super) fn struck(&self) -> BTreeMap<String, u64> {
        self.struck.clone()
    }

    /// The first fault that strikes, used up by one.
    pub(super) fn strike(&mut self, verb: Verb, resource: &str) -> Option<Fault> {
        let seeded = &mut self.seeded;
        let rule = self.rules.iter_mut().find(|rule| {
            rule.matches(verb, resource) && rule.per_million.is_none_or(|rate| seeded.happens(rate))
        })?;
        if let Some(times) = &mut rule.times {
            *times -= 1;
        }
        let fault = rule.fault.clone();
        *self.struck.entry(fault.name()).or_default() += 1;
        Some(fault)
    }
}
