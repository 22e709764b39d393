//! `Repository`: a repository that belongs to a project.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{kind::ObjectName, schedule::PushTrigger};
use crate::domain::{
    forge::ForgeKind,
    ids::{BranchName, ProjectKey},
};

/// A repository of one project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepositorySpec {
    /// Its project. Not needed below `projects/KEY/`, where it may only name that project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectKey>,
    /// The forge that has it.
    #[serde(default = "github")]
    pub forge: ForgeKind,
    /// The user or organisation.
    #[schemars(length(min = 1), regex(pattern = r"^[A-Za-z0-9_.-]+$"))]
    pub owner: String,
    /// The repository below it.
    #[schemars(length(min = 1), regex(pattern = r"^[A-Za-z0-9_.-]+$"))]
    pub name: String,
    /// The branch that work starts from; the forge's default branch when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_branch: Option<BranchName>,
    /// Stages asked for by every push to the default branch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_push: Vec<PushTrigger>,
    /// The name of the credential in the process settings; the installation's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<ObjectName>,
}

const fn github() -> ForgeKind {
    ForgeKind::Github
}
