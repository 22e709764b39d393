//! Tools that the platform gives agents, and what a run's grant lets them do.
//!
//! A grant is frozen at launch. It is looked at twice: where a call comes in, so that the agent
//! hears why, and by the planner, for which a fact is only a claim.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::LabelName;

/// Labels that one call may name: more is no work but noise.
pub const MAX_LABELS_A_CALL: usize = 20;

/// For how many seconds a waiting call counts that is not answered: longer than calls are held
/// open, so that only one whose caller or server is gone runs out.
pub const HELD_COUNTS_SECONDS: i64 = 120;

/// A tool of the platform.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ToolName {
    /// The labels of the run's issue or pull request.
    LabelsList,
    /// Puts labels on. Those that ask for work become requests to people.
    LabelsAdd,
    /// Takes labels off.
    LabelsRemove,
    /// Takes some off and puts others on.
    LabelsTransition,
    /// Waits for what people decide on a request; the run's time stands still meanwhile.
    RequestWait,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ToolOutcome {
    /// It was done, or will be.
    Ok,
    /// People are asked.
    Requested,
    /// People have not decided yet.
    Waiting,
    /// It was not granted, or cannot be.
    Refused,
    /// The platform failed.
    Failed,
}

/// What a run's agent may do with the platform's tools. Without any tool there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolGrant {
    /// The tools it is shown and may call.
    pub tools: BTreeSet<ToolName>,
    /// Labels that ask for work: to put one on is a request.
    pub requests: BTreeSet<LabelName>,
    /// Labels of the catalogue that it may put on and take off.
    pub labels: BTreeSet<LabelName>,
    /// All other labels of the catalogue: people's, or the platform's.
    pub reserved: BTreeSet<LabelName>,
    /// Labels beside the catalogue that it may put on and take off: names, or the beginning of
    /// names before a `*`.
    pub patterns: BTreeSet<String>,
}

/// What becomes of a label that an agent names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelWish {
    /// It is put on or taken off.
    Write,
    /// People are asked.
    Request,
    /// Neither; why.
    Refused(&'static str),
}

impl ToolGrant {
    /// What becomes of a label that the agent wants to have on.
    pub fn adding(&self, label: &LabelName) -> LabelWish {
        if self.requests.contains(label) {
            return LabelWish::Request;
        }
        self.writing(label)
    }

    /// What becomes of a label that the agent wants to have off.
    pub fn removing(&self, label: &LabelName) -> LabelWish {
        if self.requests.contains(label) {
            return LabelWish::Refused("a label that asks for work is taken off by people");
        }
        self.writing(label)
    }

    fn writing(&self, label: &LabelName) -> LabelWish {
        if self.labels.contains(label) {
            LabelWish::Write
        } else if self.reserved.contains(label) {
            LabelWish::Refused("this label belongs to people or to the platform")
        } else if self
            .patterns
            .iter()
            .any(|pattern| covers_label(pattern, label.as_str()))
        {
            LabelWish::Write
        } else {
            LabelWish::Refused("the agent's policy does not name this label")
        }
    }
}

/// Whether a label, or a narrower pattern, is the pattern or begins with what stands before
/// its `*`.
pub fn covers_label(pattern: &str, label: &str) -> bool {
    let fold = |text: &str| LabelName::new(text).folded();
    let (pattern, label) = (fold(pattern), fold(label));
    pattern
        .strip_suffix('*')
        .map_or(pattern == label, |start| label.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> ToolGrant {
        ToolGrant {
            requests: ["run:qa".into()].into(),
            labels: ["need:qa".into()].into(),
            reserved: ["run:dev".into(), "state:in-review".into()].into(),
            patterns: ["area/*".to_owned(), "bug".to_owned(), "run:*".to_owned()].into(),
            ..ToolGrant::default()
        }
    }

    #[test]
    fn what_asks_for_work_becomes_a_request_whatever_patterns_say() {
        let grant = grant();
        assert_eq!(grant.adding(&"Run:QA".into()), LabelWish::Request);
        assert!(matches!(
            grant.adding(&"run:dev".into()),
            LabelWish::Refused(_)
        ));
        assert!(matches!(
            grant.removing(&"run:qa".into()),
            LabelWish::Refused(_)
        ));
    }

    #[test]
    fn a_label_is_written_where_the_grant_names_it_and_not_otherwise() {
        let grant = grant();
        for label in ["need:qa", "area/ui", "Area/UI", "bug"] {
            assert_eq!(grant.adding(&label.into()), LabelWish::Write, "{label}");
            assert_eq!(grant.removing(&label.into()), LabelWish::Write, "{label}");
        }
        for label in ["state:in-review", "buggy", "area"] {
            let wish = grant.adding(&label.into());
            assert!(matches!(wish, LabelWish::Refused(_)), "{label}");
        }
        let none = ToolGrant::default().adding(&"bug".into());
        assert!(matches!(none, LabelWish::Refused(_)));
    }
}
