//! `StageModel`: the stages work goes through, who does them and what they leave behind.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::labels::{StateKind, described};
use crate::domain::{
    answer::AskedPart,
    ids::{AgentKey, Locale, StageKind},
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
    /// Parts of its agents' answers beside those that every answer has. The prompt asks for
    /// them, and people read them on the pull request or, where there is none, on the issue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub answer: Vec<AnswerPartSpec>,
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

/// A part of an answer that a stage asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnswerPartSpec {
    /// Its key in the answer's JSON object, such as `actionItems`; unique in its stage.
    pub name: String,
    /// Its title for people.
    #[schemars(length(min = 1))]
    pub title: String,
    /// The title in other languages, by locale.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub titles: BTreeMap<Locale, String>,
    /// What the agent is asked to put there.
    #[schemars(length(min = 1))]
    pub description: String,
    /// The same in other languages, by locale.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub descriptions: BTreeMap<Locale, String>,
    /// Whether it is a list of texts instead of one.
    #[serde(default)]
    pub list: bool,
    /// Whether a run without it fails.
    #[serde(default)]
    pub required: bool,
}

impl AnswerPartSpec {
    /// What a launch fixes of it for a language, and what the prompt says of it.
    pub fn asked(&self, locale: &Locale) -> (AskedPart, &str) {
        let part = AskedPart {
            name: self.name.clone(),
            title: described(&self.title, &self.titles, locale).to_owned(),
            list: self.list,
            required: self.required,
        };
        (
            part,
            described(&self.description, &self.descriptions, locale),
        )
    }
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

impl RuntimeMode {
    /// The name as written in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FullEnv => "full-env",
            Self::CodeOnly => "code-only",
        }
    }
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
    /// Whether the work of those stages must have passed its review: its pull request is merged,
    /// or an owner of the project has put on the label for `approved`. What was superseded, or
    /// closed without a merge, does not count.
    pub reviewed: bool,
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
