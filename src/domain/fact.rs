//! Facts: what API roles insert about a live run. A fact is a claim; the lease
//! holder's fold decides what follows from it.

use serde::{Deserialize, Serialize};

use super::{
    Timestamp,
    answer::Answer,
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
