//! What runner and run API say to each other: bodies as JSON, paths, limits.
//!
//! Both sides use these types, so neither can drift from the other. Every call
//! carries the run token; what a runner sends is a claim.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    agent_cli::AgentCli,
    answer::AskedPart,
    ids::{AttemptNo, BranchName, CommitSha, IssueNumber, Locale, RepositoryName, RunId},
    run::RunState,
    trigger::TriggerKind,
};

/// The path below which the run API lies.
pub const RUN_API_PREFIX: &str = "/run/v1";
/// The path of the run's repository, as a Git smart HTTP remote.
pub const GIT_PATH: &str = "/run/v1/git";
/// The path below which providers of models lie, each under its name.
pub const MODELS_PATH: &str = "/run/v1/models";
/// The path of the platform's tools, by the Model Context Protocol.
pub const MCP_PATH: &str = "/run/v1/mcp";
/// The header that names a session's format.
pub const SESSION_FORMAT_HEADER: &str = "x-codexk8s-session-format";
/// The longest session: larger ones say more than an agent can read again.
pub const MAX_SESSION_BYTES: usize = 32 * 1024 * 1024;
/// The most one call of logs may carry.
pub const MAX_LOG_BODY_BYTES: usize = 1024 * 1024;
/// The longest text of one log chunk.
pub const MAX_LOG_CHUNK_BYTES: usize = 64 * 1024;
/// The longest result record: its texts go into a pull request.
pub const MAX_RESULT_BYTES: usize = 256 * 1024;
/// The largest pack of one push.
pub const MAX_PACK_BYTES: u64 = 64 * 1024 * 1024;
/// What a push is answered while its outcome is not known yet: push again.
pub const PUSH_PENDING: &str = "still on its way to the forge, push again";

/// All that a runner is told of its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// The run.
    pub run: RunId,
    /// The attempt the token speaks for.
    pub attempt: AttemptNo,
    /// Where the run stands.
    pub state: RunState,
    /// What it does.
    pub kind: TriggerKind,
    /// The repository.
    pub repository: RepositoryName,
    /// The work item.
    pub issue: IssueNumber,
    /// Its title at launch.
    pub issue_title: String,
    /// The branch to work on.
    pub branch: BranchName,
    /// The branch the work goes on top of.
    pub base_branch: BranchName,
    /// Whether the run may leave commits; of others nothing is pushed.
    #[serde(default = "yes")]
    pub changes_files: bool,
    /// The head of the branch that the platform accepted last.
    pub accepted_head: Option<CommitSha>,
    /// The path of the Git remote below the run API's address.
    pub git_path: String,
    /// The prompt.
    pub prompt: String,
    /// What the stage asks of the answer besides the usual.
    #[serde(default)]
    pub asked: Vec<AskedPart>,
    /// The agent program.
    pub cli: AgentCli,
    /// Environment of the command.
    pub environment: BTreeMap<String, String>,
    /// The model, where one is set.
    pub model: Option<String>,
    /// The reasoning effort, where one is set.
    pub reasoning: Option<String>,
    /// The language of the run.
    pub locale: Locale,
    /// The author of commits the runner makes.
    pub author: CommitAuthor,
    /// How the runner keeps time.
    pub pace: Pace,
    /// Whether this attempt's result is already there.
    pub result_handed_in: bool,
}

const fn yes() -> bool {
    true
}

/// A commit's author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitAuthor {
    /// Its name.
    pub name: String,
    /// Its address.
    pub email: String,
}

/// Seconds the runner goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Seconds of work allowed; the platform keeps this time, not the runner.
    pub timeout_seconds: i64,
    /// Between two heartbeats.
    pub heartbeat_seconds: u64,
    /// Without an accepted heartbeat, after which the runner ends itself.
    pub silence_seconds: u64,
    /// Between the polite signal and the final one.
    pub grace_seconds: u64,
    /// Between two session snapshots.
    pub session_seconds: u64,
}

/// What a heartbeat is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "order")]
pub enum Order {
    /// Go on.
    Continue,
    /// End the command, save logs and session, and end.
    Stop {
        /// Why, for people.
        reason: String,
    },
}

/// One piece of output. A chunk sent twice counts once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChunk {
    /// Grows inside an attempt; gaps mean nothing.
    pub sequence: i64,
    /// The text, redacted by the runner and again where it arrives.
    pub text: String,
}

/// Several chunks in one call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogBatch {
    /// In order.
    pub chunks: Vec<LogChunk>,
}

/// Why a runner ends itself without a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndedNotice {
    /// Why, for people.
    pub reason: String,
}

/// The body of every error answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A stable word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The field that is wrong, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}
