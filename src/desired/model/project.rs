//! `Project`: who may ask for work, in which language, and how much of it at once.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{guardrails::Narrowing, kind::ObjectName, platform::Suspend};
use crate::domain::{
    forge::Permission,
    ids::{AgentKey, LabelName, Locale, StageKind, UserId},
};

/// A project; its key is `metadata.name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectSpec {
    /// Its name for people; the key when empty.
    #[serde(default)]
    pub display_name: String,
    /// The language of its prompts and comments; the platform's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
    /// Who may ask for work.
    #[serde(default)]
    pub members: Vec<Member>,
    /// Slugs of apps whose doings on behalf of a member count as the member's own.
    #[serde(default)]
    pub trusted_apps: BTreeSet<String>,
    /// Which agents do stages here, where others than the stage model names: its own, or the
    /// platform's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<StageKind, AgentKey>,
    /// How many environments it may have at once.
    #[schemars(range(min = 1, max = 1000))]
    pub slots: u32,
    /// How many runs may be active at once.
    #[serde(default)]
    pub limits: ProjectLimits,
    /// What its runs may spend.
    #[serde(default)]
    pub budgets: Budgets,
    /// Whether triggers older than the binding of a repository count.
    #[serde(default)]
    pub adopt_existing: bool,
    /// Stops the project from starting runs, or stops its runs.
    #[serde(default)]
    pub suspend: Suspend,
    /// Whether agents explain what they do; the platform's word when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_mode: Option<bool>,
    /// A label of this project's own that moves a run to the head of the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub priority_label: Option<LabelName>,
    /// The `ApprovalPolicy` for what its agents ask; beside the platform's the stricter word holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_policy: Option<ObjectName>,
    /// What it takes away from the platform's guardrails.
    #[serde(default)]
    pub narrow: Narrowing,
}

impl ProjectSpec {
    /// How many runs may be active at once: its limit, or its slots when it sets none.
    pub fn max_runs(&self) -> u32 {
        self.limits.max_runs.unwrap_or(self.slots).min(self.slots)
    }

    /// The role that owns the project: the highest that any member entry gives.
    pub fn owner_role(&self) -> MemberRole {
        let roles = self.members.iter().map(Member::role);
        roles.max().unwrap_or(MemberRole::Admin)
    }
}

/// How many runs may be active at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProjectLimits {
    /// Of the whole project; as many as it has slots when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_runs: Option<u32>,
    /// Of one agent, by its key; the agent's policy holds as well.
    pub per_agent: BTreeMap<AgentKey, u32>,
}

/// What runs may spend. Absent means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Budgets {
    /// Model tokens of one run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_run: Option<u64>,
    /// Model tokens of the project in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
}

/// What a member may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// See the project.
    Read,
    /// Ask for work and withdraw it.
    ReadWrite,
    /// That, and decide on approvals.
    Admin,
}

impl MemberRole {
    /// The role as the config writes it, in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadWrite => "read_write",
            Self::Admin => "admin",
        }
    }

    /// Whether it may ask for work.
    pub const fn may_trigger(self) -> bool {
        matches!(self, Self::ReadWrite | Self::Admin)
    }
}

/// A permission at the forge that may stand for an account.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum ForgeRight {
    /// Write to the repository, or more.
    Write,
    /// Maintain the repository, or more.
    Maintain,
    /// Administer the repository.
    Admin,
}

/// An entry of a project's member list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "MemberFields", into = "MemberFields")]
pub enum Member {
    /// One account.
    User {
        /// Its immutable id at the forge: this is what counts.
        id: UserId,
        /// Its login, for readers.
        login: String,
        /// What it may do.
        role: MemberRole,
        /// Whether agents explain what they do for it; the project's word when absent.
        learning_mode: Option<bool>,
    },
    /// Everyone whom the forge gives a permission on the repository.
    AnyoneWith {
        /// The least permission: write, maintain or admin.
        permission: Permission,
        /// What they may do.
        role: MemberRole,
    },
}

impl Member {
    /// What the entry allows.
    pub const fn role(&self) -> MemberRole {
        match self {
            Self::User { role, .. } | Self::AnyoneWith { role, .. } => *role,
        }
    }
}

/// A member entry as written: either `id` and `login`, or `anyoneWith`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Member")]
struct MemberFields {
    /// The account's immutable id at the forge: this is what counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<UserId>,
    /// The account's login, for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    /// Whether agents explain what they do for this account; the project's word when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    learning_mode: Option<bool>,
    /// Instead of an account: everyone whom the forge gives this right on the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anyone_with: Option<ForgeRight>,
    /// What the entry allows.
    role: MemberRole,
}

/// Why a member entry is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a member is either an account with `id` and `login`, perhaps with `learningMode`, or `anyoneWith` a right"
)]
struct InvalidMember;

impl TryFrom<MemberFields> for Member {
    type Error = InvalidMember;

    fn try_from(fields: MemberFields) -> Result<Self, InvalidMember> {
        let role = fields.role;
        match (fields.id, fields.login, fields.anyone_with) {
            (Some(id), Some(login), None) => Ok(Self::User {
                id,
                login,
                role,
                learning_mode: fields.learning_mode,
            }),
            (None, None, Some(right)) if fields.learning_mode.is_none() => {
                let permission = match right {
                    ForgeRight::Write => Permission::Write,
                    ForgeRight::Maintain => Permission::Maintain,
                    ForgeRight::Admin => Permission::Admin,
                };
                Ok(Self::AnyoneWith { permission, role })
            }
            _ => Err(InvalidMember),
        }
    }
}

impl From<Member> for MemberFields {
    fn from(member: Member) -> Self {
        match member {
            Member::User {
                id,
                login,
                role,
                learning_mode,
            } => Self {
                id: Some(id),
                login: Some(login),
                learning_mode,
                anyone_with: None,
                role,
            },
            Member::AnyoneWith { permission, role } => {
                let right = match permission {
                    Permission::Admin => ForgeRight::Admin,
                    Permission::Maintain => ForgeRight::Maintain,
                    _ => ForgeRight::Write,
                };
                Self {
                    id: None,
                    login: None,
                    learning_mode: None,
                    anyone_with: Some(right),
                    role,
                }
            }
        }
    }
}
