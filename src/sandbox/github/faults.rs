//! Faults a test switches on: on which route, which kind, how often.
//!
//! Rules are looked at in order; the first that applies and fires decides. Draws come from a
//! generator of their own, so that the lag of a seed stays the same with and without faults.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::lag::Seeded;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Fault {
    /// An error instead of the answer; nothing happens.
    Status {
        /// 401, 403, 404, 409, 410, 422, 429, 5xx.
        status: u16,
        /// The `retry-after` header in seconds.
        retry_after: Option<u32>,
    },
    /// The connection breaks before anything happens.
    LostRequest {
        /// How long the caller waits for that.
        hold_ms: u64,
    },
    /// The connection breaks after it happened.
    LostAnswer {
        /// How long the caller waits for that.
        hold_ms: u64,
    },
    /// The second half of the body is missing.
    TruncatedBody,
    /// A later page shows the page before it once more.
    RepeatedPage,
    /// A read shows the world as it was.
    StaleRead {
        /// How much older than usual.
        by_ms: u32,
    },
    /// A conditional read of a changed page is told that nothing changed.
    NotModified,
    /// The answer comes late.
    Slow {
        /// By how much.
        by_ms: u64,
    },
}

impl Fault {
    /// The fault's name in the counters; refusals are told apart by their status.
    pub fn name(self) -> String {
        match self {
            Self::Status {
                status,
                retry_after: Some(_),
            } => format!("{status} with retry-after"),
            Self::Status { status, .. } => status.to_string(),
            other => <&'static str>::from(other).to_owned(),
        }
    }
}

/// How often a rule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Often {
    /// This many times, then never again.
    Times(u32),
    /// In so many of a million requests.
    PerMillion(u32),
}

/// A fault on a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRule {
    /// `METHOD /path/{template}` as in the counters, `POST /graphql`, `GIT upload-pack`,
    /// `GIT receive-pack`; a `*` at the end matches any rest.
    pub route: String,
    /// What goes wrong.
    pub fault: Fault,
    /// How often.
    pub often: Often,
    /// How many matching requests go well first.
    #[serde(default)]
    pub skip: u32,
    /// Only requests whose body has this text match.
    #[serde(default)]
    pub mentions: Option<String>,
}

impl FaultRule {
    /// A fault that happens once, at the next matching request.
    pub fn once(route: &str, fault: Fault) -> Self {
        Self {
            route: route.to_owned(),
            fault,
            often: Often::Times(1),
            skip: 0,
            mentions: None,
        }
    }

    /// A fault that happens in some of the matching requests.
    pub fn sometimes(route: &str, fault: Fault, per_million: u32) -> Self {
        Self {
            route: route.to_owned(),
            fault,
            often: Often::PerMillion(per_million),
            skip: 0,
            mentions: None,
        }
    }

    fn matches(&self, route: &str, body: &[u8]) -> bool {
        let mentions = self.mentions.as_ref().is_none_or(|text| {
            !text.is_empty() && body.windows(text.len()).any(|part| part == text.as_bytes())
        });
        mentions && self.is_on(route)
    }

    fn is_on(&self, route: &str) -> bool {
        match self.route.strip_suffix('*') {
            Some(beginning) => route.starts_with(beginning),
            None => route == self.route,
        }
    }

    fn fires(&mut self, seeded: &mut Seeded) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.often {
            Often::Times(0) => false,
            Often::Times(left) => {
                *left -= 1;
                true
            }
            Often::PerMillion(rate) => seeded.happens(*rate),
        }
    }
}

#[derive(Debug)]
pub(super) struct Faults {
    pub rules: Vec<FaultRule>,
    seeded: Seeded,
}

impl Faults {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            rules: Vec::new(),
            seeded: Seeded::new(seed ^ 0x5EED_FA17),
        }
    }

    /// The fault of a request, if it has one.
    pub(super) fn draw(&mut self, route: &str, body: &[u8]) -> Option<Fault> {
        let rules = self.rules.iter_mut();
        let matching = rules.filter(|rule| rule.matches(route, body));
        let mut firing =
            matching.filter_map(|rule| rule.fires(&mut self.seeded).then_some(rule.fault));
        firing.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_skips_fires_and_is_spent() {
        let mut faults = Faults::new(1);
        let rule = FaultRule {
            skip: 1,
            ..FaultRule::once("GET /repos*", Fault::TruncatedBody)
        };
        faults.rules.push(rule);
        let route = "GET /repos/{owner}/{repo}";
        assert_eq!(faults.draw("POST /graphql", b""), None);
        assert_eq!(faults.draw(route, b""), None);
        assert_eq!(faults.draw(route, b""), Some(Fault::TruncatedBody));
        assert_eq!(faults.draw(route, b""), None);
    }

    #[test]
    fn rates_come_out_as_asked() {
        let mut faults = Faults::new(1);
        faults
            .rules
            .push(FaultRule::sometimes("*", Fault::TruncatedBody, 300_000));
        let hits = (0..10_000)
            .filter(|_| faults.draw("x", b"").is_some())
            .count();
        assert!((2_700..3_300).contains(&hits), "{hits}");
    }
}
