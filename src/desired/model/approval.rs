//! `ApprovalPolicy`: who decides on what agents ask for, and until when.
//!
//! Rules are tried in their order and the first that matches counts; where none
//! does, the owner decides. Two policies in force together give the stricter
//! word of both ([`Terms::narrowed`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{duration::DurationText, stage::RuntimeMode};
use crate::domain::{
    approval::{ApprovalAction, ApprovalMode},
    ids::{AgentKey, StageKind},
};

/// How long a request stays open where no policy says so.
const EXPIRES_AFTER: DurationText = DurationText::from_hours(7 * 24);

/// Who decides on what agents ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApprovalPolicySpec {
    /// How long a request stays open. Never zero.
    pub expires_after: DurationText,
    /// The rules; the first that matches counts, and without one the owner decides.
    pub rules: Vec<ApprovalRule>,
}

impl Default for ApprovalPolicySpec {
    fn default() -> Self {
        Self {
            expires_after: EXPIRES_AFTER,
            rules: Vec::new(),
        }
    }
}

/// One rule: it matches a request that has everything it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalRule {
    /// The agent that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentKey>,
    /// The stage of the run that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageKind>,
    /// What the run that asks had to work with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_mode: Option<RuntimeMode>,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ApprovalAction>,
    /// The stage that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<StageKind>,
    /// Who decides.
    pub approval: ApprovalMode,
}

/// A request as policies look at it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The agent that asks.
    pub agent: &'a AgentKey,
    /// The stage of the run that asks.
    pub stage: &'a StageKind,
    /// What that run had to work with.
    pub runtime_mode: RuntimeMode,
    /// What is asked for.
    pub action: ApprovalAction,
    /// The stage that is asked for.
    pub target: &'a StageKind,
}

/// What holds for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Who decides.
    pub approval: ApprovalMode,
    /// For how long.
    pub expires_after: DurationText,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            approval: ApprovalMode::Owner,
            expires_after: EXPIRES_AFTER,
        }
    }
}

impl Terms {
    /// The stricter of both words.
    #[must_use]
    pub fn narrowed(self, other: Self) -> Self {
        Self {
            approval: self.approval.max(other.approval),
            expires_after: self.expires_after.min(other.expires_after),
        }
    }
}

impl ApprovalPolicySpec {
    /// What the policy says of a request.
    pub fn terms(&self, asked: &Asked<'_>) -> Terms {
        let rule = self.rules.iter().find(|rule| rule.matches(asked));
        Terms {
            approval: rule.map_or(ApprovalMode::Owner, |rule| rule.approval),
            expires_after: self.expires_after,
        }
    }
}

impl ApprovalRule {
    fn matches(&self, asked: &Asked<'_>) -> bool {
        self.agent.as_ref().is_none_or(|agent| agent == asked.agent)
            && self.stage.as_ref().is_none_or(|stage| stage == asked.stage)
            && self
                .runtime_mode
                .is_none_or(|mode| mode == asked.runtime_mode)
            && self.action.is_none_or(|action| action == asked.action)
            && self
                .target
                .as_ref()
                .is_none_or(|target| target == asked.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(target: Option<&str>, approval: ApprovalMode) -> ApprovalRule {
        ApprovalRule {
            agent: None,
            stage: None,
            runtime_mode: None,
            action: Some(ApprovalAction::StartStage),
            target: target.map(StageKind::from),
            approval,
        }
    }

    fn policy(rules: Vec<ApprovalRule>) -> ApprovalPolicySpec {
        ApprovalPolicySpec {
            rules,
            ..ApprovalPolicySpec::default()
        }
    }

    fn terms(policy: &ApprovalPolicySpec, target: &str) -> Terms {
        policy.terms(&Asked {
            agent: &AgentKey::from("pm"),
            stage: &StageKind::from("intake"),
            runtime_mode: RuntimeMode::CodeOnly,
            action: ApprovalAction::StartStage,
            target: &StageKind::from(target),
        })
    }

    #[test]
    fn the_first_rule_that_matches_counts_and_without_one_the_owner_decides() {
        let policy = policy(vec![
            rule(Some("vision"), ApprovalMode::Delegated),
            rule(Some("vision"), ApprovalMode::None),
            rule(Some("prd"), ApprovalMode::None),
        ]);
        let approval = |target| terms(&policy, target).approval;
        assert_eq!(approval("vision"), ApprovalMode::Delegated);
        assert_eq!(approval("prd"), ApprovalMode::None);
        assert_eq!(approval("dev"), ApprovalMode::Owner);
    }

    #[test]
    fn of_two_policies_the_stricter_word_counts_whichever_says_it() {
        let lax = policy(vec![rule(None, ApprovalMode::None)]);
        let strict = ApprovalPolicySpec {
            expires_after: DurationText::from_hours(1),
            rules: vec![rule(None, ApprovalMode::Delegated)],
        };
        let (lax, strict) = (terms(&lax, "dev"), terms(&strict, "dev"));
        assert_eq!(lax.narrowed(strict), strict);
        assert_eq!(strict.narrowed(lax), strict);
    }
}
