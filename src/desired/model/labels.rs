//! `LabelCatalog`: every label the platform reads or writes.
//!
//! Labels read as input (triggers, debug, discussion, priority, models and
//! reasoning) and labels written as output (`state`, `need`) are disjoint, so
//! that a write of ours is never a wish of somebody's. Those of `semantic` are
//! neither: they are people's, and only stand in every repository alike.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::platform::ReasoningEffort;
use crate::domain::{
    ids::{LabelName, Locale, StageKind},
    trigger::TriggerKind,
};

/// The labels the platform reads and writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelCatalogSpec {
    /// Labels that ask for a run of a stage.
    #[schemars(length(min = 1))]
    pub triggers: Vec<TriggerLabel>,
    /// Labels that say where the work stands; written by the platform.
    pub state: StateLabels,
    /// Labels that say who or what is needed next, by name; written by the platform.
    #[serde(default)]
    pub need: BTreeMap<String, LabelSpec>,
    /// Keeps the environment of a finished run while it is set. It starts nothing.
    pub debug: LabelSpec,
    /// Asks for the stage that discusses, again with each comment while it is set. It stays on
    /// until people take it off or ask for work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discussion: Option<LabelSpec>,
    /// Moves an issue's run to the head of its project's queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<LabelSpec>,
    /// Labels that choose a model, by the `id` of an entry of `Platform.spec.models.catalogue`.
    /// Case and surrounding brackets do not count where they are read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, LabelSpec>,
    /// Labels that choose a reasoning effort. Case and surrounding brackets do not count where
    /// they are read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasoning: BTreeMap<ReasoningEffort, LabelSpec>,
    /// Labels that say what an issue is about, by name. They are people's and agents': the
    /// platform makes them and puts their looks right, and neither reads nor writes them on
    /// issues.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub semantic: BTreeMap<String, LabelSpec>,
}

/// A label that asks for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TriggerLabel {
    /// The label's name, such as `run:dev`.
    #[schemars(length(min = 1, max = 50))]
    pub name: LabelName,
    /// The stage it asks for.
    pub stage: StageKind,
    /// Whether it continues the work on an existing pull request.
    #[serde(default)]
    pub revise: bool,
    /// Six hexadecimal digits, without `#`.
    #[serde(default = "default_colour")]
    #[schemars(regex(pattern = "^[0-9a-fA-F]{6}$"))]
    pub colour: String,
    /// The label's description at the forge.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub description: String,
    /// The description in other languages, by locale: a project's repositories get its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub descriptions: BTreeMap<Locale, String>,
}

/// A label's name and looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSpec {
    /// The label's name.
    #[schemars(length(min = 1, max = 50))]
    pub name: LabelName,
    /// Six hexadecimal digits, without `#`.
    #[serde(default = "default_colour")]
    #[schemars(regex(pattern = "^[0-9a-fA-F]{6}$"))]
    pub colour: String,
    /// The label's description at the forge.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub description: String,
    /// The description in other languages, by locale: a project's repositories get its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub descriptions: BTreeMap<Locale, String>,
}

fn default_colour() -> String {
    "1f6feb".to_owned()
}

/// The labels that say where the work stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StateLabels {
    /// Work waits for a person's review.
    pub in_review: LabelSpec,
    /// Work cannot go on.
    pub blocked: LabelSpec,
    /// Work was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<LabelSpec>,
    /// Work was replaced by other work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<LabelSpec>,
    /// Work was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<LabelSpec>,
}

impl StateLabels {
    /// The label of one state, if the catalogue has it.
    pub fn get(&self, state: StateKind) -> Option<&LabelSpec> {
        match state {
            StateKind::InReview => Some(&self.in_review),
            StateKind::Blocked => Some(&self.blocked),
            StateKind::Approved => self.approved.as_ref(),
            StateKind::Superseded => self.superseded.as_ref(),
            StateKind::Abandoned => self.abandoned.as_ref(),
        }
    }

    /// All states that have a label, with it.
    pub fn iter(&self) -> impl Iterator<Item = (StateKind, &LabelSpec)> {
        StateKind::ALL
            .iter()
            .filter_map(|state| self.get(*state).map(|label| (*state, label)))
    }
}

/// Where work stands.
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
    strum::VariantArray,
)]
#[serde(rename_all = "camelCase")]
pub enum StateKind {
    /// Work waits for a person's review.
    InReview,
    /// Work cannot go on.
    Blocked,
    /// Work was approved.
    Approved,
    /// Work was replaced by other work.
    Superseded,
    /// Work was given up.
    Abandoned,
}

impl StateKind {
    /// All states.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Its name in words joined by dashes.
    pub const fn words(self) -> &'static str {
        match self {
            Self::InReview => "in-review",
            Self::Blocked => "blocked",
            Self::Approved => "approved",
            Self::Superseded => "superseded",
            Self::Abandoned => "abandoned",
        }
    }

    /// The field of [`StateLabels`] that holds its label.
    pub const fn field(self) -> &'static str {
        match self {
            Self::InReview => "inReview",
            Self::Blocked => "blocked",
            Self::Approved => "approved",
            Self::Superseded => "superseded",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What a label means to the platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LabelMeaning {
    /// It asks for a run.
    Trigger(TriggerKind),
    /// It says where the work stands.
    State(StateKind),
    /// It says who or what is needed next: the key in `need`.
    Need(String),
    /// It keeps the environment of a finished run.
    Debug,
    /// It asks for a discussion.
    Discussion,
    /// It moves a run to the head of the queue.
    Priority,
    /// It chooses a model: the model's id.
    Model(String),
    /// It chooses a reasoning effort.
    Reasoning(ReasoningEffort),
    /// It says what an issue is about: the key in `semantic`.
    Semantic(String),
}

impl LabelMeaning {
    /// Whether the platform writes it; all others it only reads.
    pub const fn is_output(&self) -> bool {
        matches!(self, Self::State(_) | Self::Need(_))
    }

    /// Whether brackets around its name do not count.
    pub const fn is_choice(&self) -> bool {
        matches!(self, Self::Model(_) | Self::Reasoning(_))
    }
}

/// Where a label of the catalogue stands below `spec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelPlace<'a> {
    /// In the list of triggers.
    Trigger(usize),
    /// Under a key of this field.
    In(&'static str, &'a str),
    /// In a field of its own.
    Single(&'static str),
}

impl LabelPlace<'_> {
    /// The path to its name.
    pub fn path(self) -> Vec<String> {
        self.path_to("name")
    }

    /// The path to one of its fields.
    fn path_to(self, field: &str) -> Vec<String> {
        let mut path = match self {
            Self::Trigger(index) => vec!["triggers".to_owned(), index.to_string()],
            Self::In(field, key) => vec![field.to_owned(), key.to_owned()],
            Self::Single(field) => vec![field.to_owned()],
        };
        path.push(field.to_owned());
        path
    }
}

impl LabelCatalogSpec {
    /// Every label of the catalogue with its meaning and its place below `spec`.
    pub fn entries(&self) -> impl Iterator<Item = (&LabelName, LabelMeaning, LabelPlace<'_>)> {
        let triggers = self.triggers.iter().enumerate().map(|(index, trigger)| {
            let meaning = LabelMeaning::Trigger(trigger.kind());
            (&trigger.name, meaning, LabelPlace::Trigger(index))
        });
        let plain = self.plain();
        triggers.chain(plain.map(|(label, meaning, place)| (&label.name, meaning, place)))
    }

    /// Every label but the triggers, with its meaning and its place below `spec`.
    pub fn plain(&self) -> impl Iterator<Item = (&LabelSpec, LabelMeaning, LabelPlace<'_>)> {
        let states = self.state.iter().map(|(state, label)| {
            let place = LabelPlace::In("state", state.field());
            (label, LabelMeaning::State(state), place)
        });
        let needs = self.need.iter().map(|(key, label)| {
            let place = LabelPlace::In("need", key);
            (label, LabelMeaning::Need(key.clone()), place)
        });
        let debug = (Some(&self.debug), LabelMeaning::Debug, "debug");
        let discussion = self.discussion.as_ref();
        let discussion = (discussion, LabelMeaning::Discussion, "discussion");
        let priority = (self.priority.as_ref(), LabelMeaning::Priority, "priority");
        let single = [debug, discussion, priority].into_iter();
        let single = single.filter_map(|(label, meaning, field)| {
            Some((label?, meaning, LabelPlace::Single(field)))
        });
        let models = self.models.iter().map(|(id, label)| {
            let place = LabelPlace::In("models", id);
            (label, LabelMeaning::Model(id.clone()), place)
        });
        let reasoning = self.reasoning.iter().map(|(effort, label)| {
            let place = LabelPlace::In("reasoning", effort.as_str());
            (label, LabelMeaning::Reasoning(*effort), place)
        });
        let semantic = self.semantic.iter().map(|(key, label)| {
            let place = LabelPlace::In("semantic", key);
            (label, LabelMeaning::Semantic(key.clone()), place)
        });
        let output = states.chain(needs).chain(single);
        output.chain(models).chain(reasoning).chain(semantic)
    }

    /// Every label of the catalogue with what is said of it by locale, and that one's place
    /// below `spec`.
    pub fn descriptions(&self) -> Vec<(&LabelName, &BTreeMap<Locale, String>, Vec<String>)> {
        let at = |place: LabelPlace<'_>| place.path_to("descriptions");
        let triggers = self.triggers.iter().enumerate();
        let triggers = triggers
            .map(|(index, it)| (&it.name, &it.descriptions, at(LabelPlace::Trigger(index))));
        let plain = self.plain();
        let plain = plain.map(|(it, _, place)| (&it.name, &it.descriptions, at(place)));
        triggers.chain(plain).collect()
    }

    /// The catalogue as a repository's variables, for workflows there: each variable's name
    /// with its label and that label's place below `spec`. Of several labels for one kind of
    /// run the first counts.
    pub fn variables(&self) -> Vec<(String, &LabelName, LabelPlace<'_>)> {
        let mut kinds = BTreeSet::new();
        let named = self.entries().filter_map(|(label, meaning, place)| {
            let middle = match &meaning {
                LabelMeaning::Trigger(kind) if !kinds.insert(kind.clone()) => return None,
                LabelMeaning::Trigger(kind) if kind.revise => {
                    format!("RUN_{}_REVISE", kind.stage)
                }
                LabelMeaning::Trigger(kind) => format!("RUN_{}", kind.stage),
                LabelMeaning::State(state) => format!("STATE_{}", state.words()),
                LabelMeaning::Need(key) => format!("NEED_{key}"),
                LabelMeaning::Debug => "RUN_DEBUG".to_owned(),
                LabelMeaning::Discussion => "MODE_DISCUSSION".to_owned(),
                LabelMeaning::Priority => "RUN_PRIORITY".to_owned(),
                LabelMeaning::Model(id) => format!("AI_MODEL_{id}"),
                LabelMeaning::Reasoning(effort) => format!("AI_REASONING_{}", effort.as_str()),
                LabelMeaning::Semantic(_) => return None,
            };
            Some((
                format!("CODEXK8S_{}_LABEL", in_capitals(&middle)),
                label,
                place,
            ))
        });
        named.collect()
    }

    /// The label that asks for a kind of run, the first when there are several.
    pub fn trigger_for(&self, kind: &TriggerKind) -> Option<&TriggerLabel> {
        self.triggers.iter().find(|trigger| trigger.kind() == *kind)
    }
}

/// A variable's name may have capitals, digits and underscores.
fn in_capitals(text: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric();
    text.chars()
        .map(|letter| {
            if allowed(letter) {
                letter.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}

/// What is said of something in a language, else what is said in any. Locales compare without case.
pub(super) fn described<'a>(
    otherwise: &'a str,
    descriptions: &'a BTreeMap<Locale, String>,
    locale: &Locale,
) -> &'a str {
    let said = descriptions
        .iter()
        .find(|(of, _)| of.as_str().eq_ignore_ascii_case(locale.as_str()));
    said.map_or(otherwise, |(_, text)| text)
}

impl LabelSpec {
    /// Its description in a language, else the one for all.
    pub fn description_in(&self, locale: &Locale) -> &str {
        described(&self.description, &self.descriptions, locale)
    }
}

impl TriggerLabel {
    /// Its description in a language, else the one for all.
    pub fn description_in(&self, locale: &Locale) -> &str {
        described(&self.description, &self.descriptions, locale)
    }

    /// What it asks for.
    pub fn kind(&self) -> TriggerKind {
        TriggerKind {
            stage: self.stage.clone(),
            revise: self.revise,
        }
    }
}
