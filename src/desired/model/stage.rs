//! `StageModel`: the stages work goes through, who does them and what they leave behind.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::labels::StateKind;
use crate::domain::{
    ids::{AgentKey, StageKind},
    run::PullRequestRule,
};

/// The stages, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageModelSpec {
    /// The stages, in the order work usually takes.
    #[schemars(length(min = 1))]
    pub stages: Vec<StageSpec>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageSpec {
    /// Its kind, such as `dev`; unique.
    pub kind: StageKind,
    /// The agent that does it.
    pub agent: AgentKey,
    /// Whether its finished work can be revised on the same pull request.
    #[serde(default)]
    pub revisable: bool,
    /// What its runs get to work with.
    #[serde(default)]
    pub runtime_mode: RuntimeMode,
    /// Whether a run must end with a pull request.
    #[serde(default)]
    pub pull_request: PullRequestRule,
    /// Whether merging that pull request closes the issue.
    #[serde(default)]
    pub closes_issue: ClosesIssue,
    /// Whether asking for it takes the work on the issue back: what else is asked for or at work
    /// there ends, kept environments go, and where the work begins anew afterwards, what that
    /// stage and those after it had made is superseded.
    #[serde(default)]
    pub reopens: bool,
    /// Whether its runs answer what people write on an issue while it has the catalogue's
    /// `discussion` label. At most one stage does.
    #[serde(default)]
    pub discussion: bool,
    /// What must hold on the issue for a run to start; until then it waits.
    #[serde(default)]
    pub entry: EntryGuard,
    /// Labels set when a run succeeded.
    #[serde(default)]
    pub on_success: LabelsAfter,
    /// Labels set besides when a run succeeded and left questions that only people can answer;
    /// its state takes the place of the other.
    #[serde(default)]
    pub on_questions: LabelsAfter,
    /// Labels set when a run failed or timed out.
    #[serde(default)]
    pub on_failure: LabelsAfter,
}

/// What a run gets to work with.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeMode {
    /// The repository and a namespace of its own.
    #[default]
    FullEnv,
    /// The repository alone.
    CodeOnly,
}

/// Whether merging the pull request of a stage closes the issue.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ClosesIssue {
    /// It does not: the issue goes on to other stages.
    #[default]
    Never,
    /// It does where the issue went through no other stage.
    Alone,
    /// It does.
    Always,
}

/// What keeps a run from starting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EntryGuard {
    /// Stages of which a run must have succeeded on the issue.
    pub after: BTreeSet<StageKind>,
    /// States that keep it waiting while their label is set.
    pub without_states: BTreeSet<StateKind>,
    /// Needs that keep it waiting while their label is set: keys of the catalogue's `need`.
    pub without_needs: BTreeSet<String>,
}

/// Labels set after a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LabelsAfter {
    /// The state; other `state:*` labels of ours are taken off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateKind>,
    /// Needs: keys of the catalogue's `need`.
    pub needs: BTreeSet<String>,
}
