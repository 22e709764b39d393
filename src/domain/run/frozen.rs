//! What a launch fixes: a run carries it to its end, whatever the config says later.

use serde::{Deserialize, Serialize};

use crate::domain::{
    agent_cli::AgentCli,
    answer::AskedPart,
    ids::{
        AgentKey, BranchName, CommitSha, IssueNumber, LabelName, Locale, RepositoryName, ReviewId,
        Revision,
    },
    model_route::ModelRoute,
    tools::ToolGrant,
};

/// Everything fixed at launch; config changes after it do not touch the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrozenRun {
    /// The accepted config revision.
    pub revision: Revision,
    /// Its commit.
    pub config_sha: CommitSha,
    /// The repository's name at launch.
    pub repository_name: RepositoryName,
    /// The agent.
    pub agent: AgentKey,
    /// The policy's name.
    pub policy: String,
    /// What it gets to work with, as its stage has it: `full-env` or `code-only`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub runtime_mode: String,
    /// The image of the pod.
    pub image: String,
    /// The agent program.
    pub cli: AgentCli,
    /// Where its model calls go; `None` where it makes none.
    #[serde(default)]
    pub models: Option<ModelRoute>,
    /// What its agent may do with the platform's tools.
    #[serde(default)]
    pub tools: ToolGrant,
    /// Environment of the agent command; never secrets.
    pub environment: std::collections::BTreeMap<String, String>,
    /// The model, where one is set.
    pub model: Option<String>,
    /// What chose it.
    #[serde(default)]
    pub model_source: ChoiceSource,
    /// The reasoning effort, where one is set.
    pub reasoning: Option<String>,
    /// What chose it.
    #[serde(default)]
    pub reasoning_source: ChoiceSource,
    /// The language of comments and, where there is a template in it, of the prompt.
    pub locale: Locale,
    /// The template that made the prompt.
    pub template: String,
    /// Where that comes from: `project`, `platform` or `built-in`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub template_scope: String,
    /// Its language, where it is not the run's: there was none in that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_locale: Option<Locale>,
    /// SHA-256 of the template's text, hexadecimal: its version.
    #[serde(default)]
    pub template_hash: String,
    /// The final prompt. Rows of runs are read without it: a plan goes by its hash.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// SHA-256 of the prompt, hexadecimal.
    pub prompt_hash: String,
    /// The branch that the work goes on top of and the pull request goes to.
    pub base_branch: BranchName,
    /// The title of the issue at launch, for the pull request.
    pub issue_title: String,
    /// Whether success needs a pull request.
    #[serde(default)]
    pub pull_request: PullRequestRule,
    /// Whether merging that pull request closes the issue.
    #[serde(default)]
    pub closes_issue: bool,
    /// What its stage asks of the answer besides the usual.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<AskedPart>,
    /// The run's namespace.
    pub namespace: String,
    /// Seconds of work allowed, waiting not counted. Never zero.
    pub timeout_seconds: i64,
    /// Seconds that it may wait for people, all waits together. Never zero.
    #[serde(default = "a_day")]
    pub wait_seconds: i64,
    /// Attempts allowed.
    pub max_attempts: i32,
    /// `state:*` and `need:*` labels put on at success.
    pub success_labels: Vec<LabelName>,
    /// Those put on instead where the agent leaves questions behind.
    #[serde(default)]
    pub question_labels: Vec<LabelName>,
    /// `state:*` and `need:*` labels put on at failure or time-out.
    pub failure_labels: Vec<LabelName>,
    /// Output labels of the same groups that success or failure takes off.
    pub clear_labels: Vec<LabelName>,
    /// Whether pushes may touch paths that execute in the target's CI.
    pub allow_workflow_pushes: bool,
    /// RBAC profile of the pod's service account; `None` mounts no token.
    pub rbac_profile: Option<String>,
    /// What the pod asks for, as Kubernetes quantities by resource name.
    pub requests: std::collections::BTreeMap<String, String>,
    /// What the pod may reach.
    pub limits: std::collections::BTreeMap<String, String>,
    /// The `RuntimeClass`, where policy names one.
    pub runtime_class: Option<String>,
    /// The author of commits that the runner makes itself.
    pub author: CommitIdentity,
    /// Whether the agent explains what it does.
    #[serde(default)]
    pub learning: bool,
    /// The pull request that a revise continues.
    pub revises: Option<IssueNumber>,
    /// The reviews of it that ask for changes and were known at the launch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<ReviewId>,
}

impl FrozenRun {
    /// Whether the run may leave commits: its stage says what becomes of them.
    pub fn changes_files(&self) -> bool {
        self.pull_request != PullRequestRule::None
    }
}

/// What chose a model or a reasoning effort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ChoiceSource {
    /// A label on the pull request that is revised.
    PullRequestLabel,
    /// A label on the issue.
    IssueLabel,
    /// A label chose a model that needs a subscription, and there is none: the default is taken.
    NoSubscription,
    /// The agent's own default.
    AgentDefault,
    /// The platform's default.
    #[default]
    PlatformDefault,
}

/// Whether a run must end with a pull request.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum PullRequestRule {
    /// A run without one fails.
    #[default]
    Required,
    /// One is opened where the run left commits; without any its words are the result.
    Optional,
    /// None is opened, and nothing is pushed: its words are the result.
    None,
}

/// A commit's author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitIdentity {
    /// The name.
    pub name: String,
    /// The e-mail address.
    pub email: String,
}

const fn a_day() -> i64 {
    24 * 60 * 60
}
