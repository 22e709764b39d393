//! `Agent`: what runs in the pod, with which rights and defaults.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{kind::ObjectName, platform::ReasoningEffort};

/// An agent; its key is `metadata.name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentSpec {
    /// Its name for people; the key when empty.
    #[serde(default)]
    pub display_name: String,
    /// What it is responsible for.
    #[schemars(length(min = 1))]
    pub responsibility: String,
    /// Whether it may start runs. What already runs goes on.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// The image its pods run; it must contain the program.
    #[schemars(length(min = 1))]
    pub image: String,
    /// The `AgentCli` that it is. Either this or `command` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cli: Option<ObjectName>,
    /// A command of its own, without a shell, that is no known program: the prompt is its
    /// standard input, its last lines are what it says, and it may write a result file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The `AgentPolicy` that limits it.
    pub policy: ObjectName,
    /// What it may do in its own namespace.
    #[serde(default)]
    pub rbac_profile: RbacProfile,
    /// Its container's resources.
    #[serde(default)]
    pub resources: Resources,
    /// Its model; the platform's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its reasoning effort; the platform's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<ReasoningEffort>,
    /// Environment variables of its command. Nothing secret belongs here.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The author of its commits.
    #[serde(default)]
    pub author: CommitAuthor,
}

const fn enabled() -> bool {
    true
}

/// The author of commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CommitAuthor {
    /// Its name.
    pub name: String,
    /// Its address.
    pub email: String,
}

impl Default for CommitAuthor {
    fn default() -> Self {
        Self {
            name: "codex-k8s".to_owned(),
            email: "codex-k8s@users.noreply.example".to_owned(),
        }
    }
}

/// What an agent may do in its own namespace: a `ClusterRole` the installation brings along.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum RbacProfile {
    /// Nothing: no API access.
    #[default]
    None,
    /// Read workloads, events and logs.
    Read,
    /// Read and change workloads.
    Edit,
    /// Everything in the namespace that agents may have at all.
    Admin,
}

impl RbacProfile {
    /// The name as written in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Edit => "edit",
            Self::Admin => "admin",
        }
    }
}

/// A container's resources, as Kubernetes quantities by resource name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// What it is scheduled by.
    pub requests: BTreeMap<String, String>,
    /// What it may use at most.
    pub limits: BTreeMap<String, String>,
}

impl Default for Resources {
    fn default() -> Self {
        let map = |cpu: &str, memory: &str| {
            BTreeMap::from([
                ("cpu".to_owned(), cpu.to_owned()),
                ("memory".to_owned(), memory.to_owned()),
            ])
        };
        Self {
            requests: map("250m", "512Mi"),
            limits: map("2", "4Gi"),
        }
    }
}
