//! Facts: what API roles insert about a live run. A fact is a claim; the lease
//! holder's fold decides what follows from it.

use serde::{Deserialize, Serialize};

use super::{
    Timestamp,
    approval::ApprovalId,
    ids::{AttemptNo, BranchName, CommitSha, IssueNumber, LabelName, RunId},
};

/// A fact as stored: rows are only ever inserted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFact {
    /// Grows with insertion; the order of the fold.
    pub id: i64,
    /// The run.
    pub run: RunId,
    /// The attempt that said it.
    pub attempt: AttemptNo,
    /// What was said.
    pub what: Fact,
    /// When it came in (database clock).
    pub created_at: Timestamp,
}

/// What a pod says of its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[strum(serialize_all = "snake_case")]
pub enum Fact {
    /// The runner is at work. Only the newest of an attempt is kept.
    Heartbeat,
    /// The agent pushed; its pack is stored beside the fact until it is pushed on.
    Push(PushFact),
    /// The runner handed in its result; one an attempt.
    Result(ResultRecord),
    /// The runner ended itself without a result; its session was saved.
    Ended {
        /// Why, for people.
        reason: String,
    },
    /// The agent wants labels changed.
    Labels(LabelsFact),
    /// The agent waits for people.
    Wait(WaitFact),
}

/// Labels that an agent wants on and off; those that ask for work are requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelsFact {
    /// The issue or pull request: one of the run's own.
    pub number: IssueNumber,
    /// Wanted on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<LabelName>,
    /// Wanted off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<LabelName>,
}

/// That an agent waits for what people decide on one of its run's requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitFact {
    /// The request.
    pub approval: ApprovalId,
    /// Where the waiting stands.
    pub stage: WaitStage,
}

/// Where an agent's waiting stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitStage {
    /// Its call is held open.
    Asking,
    /// It was told to end: its attempt hands in no result, and the next one is told the answer.
    Parked,
    /// It was told what was decided.
    Answered,
}

/// A push that passed the checks of the run API and waits to be pushed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushFact {
    /// The branch: always the run's own.
    pub branch: BranchName,
    /// The commit the branch stood at, or `None` where it is new.
    pub old: Option<CommitSha>,
    /// The commit it shall stand at.
    pub new: CommitSha,
    /// Bytes of the pack.
    pub pack_bytes: i64,
}

/// What became of a push fact. The agent's request waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum PushOutcome {
    /// The forge's branch stands at the new commit.
    Accepted,
    /// It was refused for good.
    Refused {
        /// Why, as shown to the agent.
        reason: String,
    },
}

/// How the agent's work ended, in its runner's words.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ResultStatus {
    /// The work is done.
    Completed,
    /// The agent gave up or its command failed.
    Failed,
}

/// The runner's result record: the only source of success, and still only a claim
/// until it is verified against the forge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRecord {
    /// How it ended.
    pub status: ResultStatus,
    /// The agent's words.
    #[serde(flatten)]
    pub answer: Answer,
    /// The commit that the branch must stand at; `None` where nothing was changed.
    pub head: Option<CommitSha>,
    /// The exit code of the agent command, where it ran.
    pub exit_code: Option<i32>,
}

/// What an agent says of its work when it is through. All of it is untrusted text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What was done, for the pull request and the status comment.
    pub summary: String,
    /// A title for the pull request.
    pub title: Option<String>,
    /// What it tried out, and what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<String>,
    /// What only people can answer. While there are any the work is not settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<String>,
    /// What there is to learn from it, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanations: Vec<Explanation>,
    /// Labels that it asks to have put on the issue. It is a request: people decide it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<LabelName>,
}

/// A decision explained to those who want to learn from it. Untrusted text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// The file that it is about; none where it is about the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Why this, and why here.
    pub why: String,
    /// What it buys.
    pub gains: String,
    /// What else was considered, and why it is worse.
    pub alternatives: String,
}
