//! What the API roles need of the rest of the platform, and nothing more: rows
//! to read, facts to insert, a forge to read Git from, someone to wake, and
//! someone who knows whether the platform is ready.

use async_trait::async_trait;
use secrecy::SecretString;
use serde::Serialize;
use url::Url;

use crate::domain::{
    Timestamp,
    approval::{Approval, ApprovalId, Verdict},
    event::FlowEvent,
    fact::{Fact, PushFact, PushOutcome, WaitFact},
    ids::{
        AttemptNo, BranchName, CommitSha, LabelName, ProjectKey, RepositoryId, RepositoryName,
        RunId, Subject,
    },
    run::{FrozenRun, LogsAbsent, Run, RunState},
    run_api::LogChunk,
};

use super::{
    mcp::ToolCallRecord,
    models::{ModelCallRecord, TokensUsed},
};

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// It cannot be reached now; the same call may go well later.
    #[error("the store is not available")]
    Unavailable(#[source] anyhow::Error),
    /// The run takes no more of this: it stops, has ended, or has a newer attempt.
    #[error("the run takes no more of this")]
    Over,
    /// It was reached and failed.
    #[error("the store failed")]
    Failed(#[source] anyhow::Error),
}

/// What a call of the run API is judged by.
#[derive(Debug, Clone)]
pub struct RunAccess {
    /// The run.
    pub run: RunId,
    /// Its project.
    pub project: ProjectKey,
    /// Its repository.
    pub repository: RepositoryId,
    /// Where it stands.
    pub state: RunState,
    /// The number of its newest attempt, which alone may speak.
    pub attempt: AttemptNo,
    /// The key version of that attempt's token.
    pub key_version: i32,
    /// Its branch.
    pub branch: Option<BranchName>,
    /// The head of its branch that was accepted last.
    pub accepted_head: Option<CommitSha>,
    /// Everything fixed at its launch.
    pub frozen: Option<FrozenRun>,
    /// When it began to stop.
    pub stopping_at: Option<Timestamp>,
    /// The database's clock.
    pub now: Timestamp,
}

/// What became of a fact that was to be inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is there now.
    New,
    /// The same was there already.
    Repeated,
    /// Another one stands in its place, and stays.
    Differs,
}

/// A saved session: opaque to the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionBlob {
    /// What wrote it, and how.
    pub format: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The rows of the run API: reads, and inserts of facts.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// What calls for a run are judged by; `None` where there is no such run or
    /// it has no attempt.
    async fn run_access(&self, run: RunId) -> Result<Option<RunAccess>, PortError>;

    /// The whole run.
    async fn get_run(&self, run: RunId) -> Result<Option<Run>, PortError>;

    /// Whether an attempt has handed in its result.
    async fn has_result(&self, run: RunId, attempt: AttemptNo) -> Result<bool, PortError>;

    /// Inserts a fact of an attempt. A heartbeat replaces the attempt's older
    /// one; a result or an end is taken once.
    async fn insert_fact(
        &self,
        run: RunId,
        attempt: AttemptNo,
        fact: &Fact,
    ) -> Result<Inserted, PortError>;

    /// Inserts a push with its pack, or finds the attempt's push of the same
    /// commit; its fact id either way.
    async fn insert_push(
        &self,
        run: RunId,
        attempt: AttemptNo,
        push: &PushFact,
        pack: Vec<u8>,
    ) -> Result<i64, PortError>;

    /// What became of a push; `None` while it is under way.
    async fn push_outcome(&self, fact: i64) -> Result<Option<PushOutcome>, PortError>;

    /// Appends log chunks; those that are there already are left as they are.
    async fn append_log_chunks(
        &self,
        run: RunId,
        attempt: AttemptNo,
        chunks: &[LogChunk],
    ) -> Result<(), PortError>;

    /// Saves the attempt's session in place of its older one.
    async fn save_session(
        &self,
        run: RunId,
        attempt: AttemptNo,
        session: SessionBlob,
    ) -> Result<(), PortError>;

    /// The newest session of the run's branch and agent.
    async fn latest_session(&self, run: RunId) -> Result<Option<SessionBlob>, PortError>;

    /// The tokens used by a run, and by its project since the day (UTC) began.
    async fn tokens_used(&self, run: RunId, project: &ProjectKey) -> Result<TokensUsed, PortError>;

    /// What a run asked for.
    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, PortError>;

    /// All that a run asked for, by id.
    async fn approvals_of(&self, run: RunId) -> Result<Vec<Approval>, PortError>;

    /// The labels of an issue or pull request, as last read; `None` where it is not read.
    async fn labels_of(&self, subject: Subject) -> Result<Option<Vec<LabelName>>, PortError>;

    /// What an attempt last said about its waiting, and when.
    async fn wait_of(
        &self,
        run: RunId,
        attempt: AttemptNo,
    ) -> Result<Option<(WaitFact, Timestamp)>, PortError>;

    /// Writes down a call of a tool.
    async fn insert_tool_call(
        &self,
        run: RunId,
        attempt: AttemptNo,
        call: &ToolCallRecord,
    ) -> Result<(), PortError>;

    /// Writes down a call of a model.
    async fn insert_model_call(
        &self,
        run: RunId,
        attempt: AttemptNo,
        project: &ProjectKey,
        call: &ModelCallRecord,
    ) -> Result<(), PortError>;
}

/// What a list of runs is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of this project only.
    pub project: Option<String>,
    /// In this state only.
    pub state: Option<RunState>,
    /// Of this repository only.
    pub repository: Option<i64>,
    /// Of this issue or pull request of the repository only.
    pub issue: Option<i64>,
    /// At most so many, newest first.
    pub limit: u32,
}

/// A stored log chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredChunk {
    /// The attempt.
    pub attempt: AttemptNo,
    /// Its place inside the attempt.
    pub sequence: i64,
    /// The text.
    pub text: String,
}

/// The rows of the staff API: reads, and decisions as facts.
#[async_trait]
pub trait StaffStore: Send + Sync {
    /// Runs, newest first.
    async fn list_runs(&self, filter: &RunFilter) -> Result<Vec<Run>, PortError>;

    /// One run.
    async fn get_run(&self, run: RunId) -> Result<Option<Run>, PortError>;

    /// A run's events, oldest first, with ids above `after`.
    async fn events(&self, run: RunId, after: i64, limit: u32)
    -> Result<Vec<FlowEvent>, PortError>;

    /// A run's log chunks in order, after an attempt's chunk.
    async fn logs(
        &self,
        run: RunId,
        after: Option<(AttemptNo, i64)>,
        limit: u32,
    ) -> Result<Vec<StoredChunk>, PortError>;

    /// Why a run without log chunks has none; `None` where it just said nothing, or not yet.
    async fn logs_absent(&self, run: RunId) -> Result<Option<LogsAbsent>, PortError>;

    /// Approvals, newest first; only those that wait for people, or all.
    async fn list_approvals(
        &self,
        project: Option<&str>,
        open: bool,
        limit: u32,
    ) -> Result<Vec<Approval>, PortError>;

    /// The approval that a code names: the open one, else the last that had it.
    async fn approval_of_code(&self, code: &str) -> Result<Option<Approval>, PortError>;

    /// The role of a member of a project, by login.
    async fn member_role(&self, project: &str, login: &str) -> Result<Option<String>, PortError>;

    /// Hands in a decision about an open request; `false` where none has the code any more.
    async fn decide(
        &self,
        code: &str,
        verdict: Verdict,
        login: &str,
        reason: Option<&str>,
    ) -> Result<bool, PortError>;
}

/// Where a repository's Git is, and with what it may be read.
#[derive(Debug, Clone)]
pub struct GitRemote {
    /// The clone address, without credentials.
    pub url: Url,
    /// The value of the `Authorization` header; `None` where none is needed.
    pub authorization: Option<SecretString>,
}

/// The forge, as far as Git is concerned, with a credential that only reads.
#[async_trait]
pub trait GitRemotes: Send + Sync {
    /// The remote of a repository.
    async fn remote(
        &self,
        repository: RepositoryId,
        name: &RepositoryName,
    ) -> anyhow::Result<GitRemote>;
}

/// A hint that something moved at the forge. It carries no truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The repository, by id.
    pub repository: RepositoryId,
    /// Its name, as the hint says.
    pub name: RepositoryName,
}

/// Someone who reads the forge earlier when told to.
pub trait WakeHandle: Send + Sync {
    /// Says that a repository may have moved. Never blocks.
    fn hint(&self, hint: Hint);
}

/// One thing that readiness depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadyCheck {
    /// Its name: `database`, `config`, `forge`.
    pub name: &'static str,
    /// Whether it holds.
    pub ready: bool,
    /// Why not, in one sentence without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ReadyCheck {
    /// A check that holds.
    pub fn ready(name: &'static str) -> Self {
        Self {
            name,
            ready: true,
            reason: None,
        }
    }

    /// A check that does not hold.
    pub fn not_ready(name: &'static str, reason: impl Into<String>) -> Self {
        Self {
            name,
            ready: false,
            reason: Some(reason.into()),
        }
    }
}

/// Someone who knows whether the platform can do its work now.
#[async_trait]
pub trait Readiness: Send + Sync {
    /// Every check, made now: the database is really asked.
    async fn checks(&self) -> Vec<ReadyCheck>;
}
