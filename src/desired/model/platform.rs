//! `Platform`: rules and ceilings of the whole installation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{duration::DurationText, guardrails::Guardrails, kind::ObjectName};
use crate::domain::{
    ids::Locale,
    model_route::{ModelWire, Price},
};

/// Rules and ceilings of the whole installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlatformSpec {
    /// The language of prompts and comments where a project names none.
    #[serde(default = "default_locale")]
    pub default_locale: Locale,
    /// How many runs may be active at once. The limits of all projects together may not exceed it.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_runs: u32,
    /// Stops all projects from starting runs, or stops their runs.
    #[serde(default)]
    pub suspend: Suspend,
    /// How long what finished runs leave behind is kept.
    #[serde(default)]
    pub retention: Retention,
    /// What agents may use at most.
    #[serde(default)]
    pub guardrails: Guardrails,
    /// The runtime class of agent pods, where the cluster has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class: Option<String>,
    /// The `ApprovalPolicy` that holds in every project; without one the owner decides everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_policy: Option<ObjectName>,
    /// Whether agents explain what they do, for those who ask for it to learn from; projects and
    /// members may say otherwise.
    #[serde(default)]
    pub learning_mode: bool,
    /// The models agents may use.
    pub models: Models,
}

fn default_locale() -> Locale {
    Locale::from("en")
}

/// Whether work is suspended.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Suspend {
    /// Work goes on.
    #[default]
    None,
    /// Nothing new starts; what runs goes on.
    Start,
    /// Nothing new starts and what runs is stopped.
    Stop,
}

/// How long what finished runs leave behind is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retention {
    /// How long the debug label keeps an environment after its run has ended.
    pub debug_namespaces: DurationText,
    /// How many environments the debug label may keep at once; beyond that the oldest goes first.
    pub max_namespaces: u32,
    /// How long a run's logs are kept after its end. Never zero.
    pub logs: DurationText,
    /// How long the last session of a run is kept after its end, for the next run of its agent on
    /// the issue to go on with. Never zero.
    pub sessions: DurationText,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            debug_namespaces: DurationText::from_hours(8),
            max_namespaces: 10,
            logs: DurationText::from_hours(14 * 24),
            sessions: DurationText::from_hours(30 * 24),
        }
    }
}

/// The models agents may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Models {
    /// The model of agents that name none: the `id` of an entry of the catalogue.
    pub default: String,
    /// The models there are.
    #[schemars(length(min = 1))]
    pub catalogue: Vec<ModelSpec>,
    /// Who serves them. Agents reach a provider through the run API alone, which adds its key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ProviderSpec>,
    /// The reasoning effort of agents that name none.
    #[serde(default = "default_reasoning")]
    pub default_reasoning: ReasoningEffort,
}

impl Models {
    /// Whether a model needs a subscription and the key of its provider is none.
    pub fn lacks_subscription(&self, id: &str) -> bool {
        let mut catalogue = self.catalogue.iter();
        let needs = catalogue.find(|model| model.id == id && model.subscription_only);
        needs.is_some_and(|model| {
            let name = model.provider.as_ref();
            let mut providers = self.providers.iter();
            !providers.any(|it| it.subscription && name.is_none_or(|name| *name == it.name))
        })
    }
}

const fn default_reasoning() -> ReasoningEffort {
    ReasoningEffort::High
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelSpec {
    /// The model's id at its provider.
    #[schemars(length(min = 1))]
    pub id: String,
    /// Whether it needs a subscription: a run whose label chooses it has its agent's default
    /// model where the provider's key is none of a subscription.
    #[serde(default)]
    pub subscription_only: bool,
    /// The provider that serves it; agents whose program speaks to another cannot use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ObjectName>,
    /// What it costs; the cost of its runs is unknown without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// A provider of models. Its key is a process setting: a file of the provider's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderSpec {
    /// Its name, which `AgentCli` and models refer to.
    pub name: ObjectName,
    /// What its API is like.
    pub wire: ModelWire,
    /// Its address, `http` or `https`, without query: calls go to paths below it, such as
    /// `URL/responses` or `URL/v1/messages`.
    pub url: String,
    /// Whether its key is that of a subscription, with which models may be used that need one.
    #[serde(default)]
    pub subscription: bool,
}

/// How much a model thinks before it answers.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ReasoningEffort {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// As much as it can.
    ExtraHigh,
}

impl ReasoningEffort {
    /// The name as written in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::ExtraHigh => "extra-high",
        }
    }
}
