//! `AgentPolicy`: limits and time-outs that agents refer to.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::DurationText;
use crate::domain::{ids::StageKind, tools::ToolName};

/// Limits and time-outs of the agents that refer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AgentPolicySpec {
    /// How many runs of one agent may be active in one project.
    #[schemars(range(min = 1, max = 1000))]
    pub max_parallel_runs: u32,
    /// How long a run may work, waiting not counted. Never zero.
    pub run_timeout: DurationText,
    /// How many attempts a run has before it fails.
    #[schemars(range(min = 1, max = 20))]
    pub max_attempts: u32,
    /// How long a run may wait for people's decisions, all its waits together. Never zero.
    pub wait_timeout: DurationText,
    /// Stages that an agent may ask to be started; any when absent. Who decides says the
    /// `ApprovalPolicy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requestable_stages: Option<BTreeSet<StageKind>>,
    /// The platform's tools that an agent is given; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<BTreeSet<ToolName>>,
    /// Labels beside the catalogue that an agent may put on and take off with its tools: names,
    /// or the beginning of names before a `*`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub writable_labels: BTreeSet<String>,
}

impl Default for AgentPolicySpec {
    fn default() -> Self {
        Self {
            max_parallel_runs: 2,
            run_timeout: DurationText::from_hours(2),
            max_attempts: 3,
            wait_timeout: DurationText::from_hours(24),
            requestable_stages: None,
            tools: None,
            writable_labels: BTreeSet::new(),
        }
    }
}
