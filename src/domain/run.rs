//! Runs: states, the one transition table, and what a run carries.
//!
//! ```text
//! pending → preparing → running ⇄ waiting_mcp | waiting_owner_review
//!    │          └───────────┴──────────┴──────────┐
//!    └→ rejected | cancelled | succeeded (recovered)    stopping(outcome) → succeeded | failed | timed_out | cancelled
//! ```

mod frozen;

use serde::{Deserialize, Serialize};

pub use self::frozen::{ChoiceSource, CommitIdentity, FrozenRun, PullRequestRule};

use super::{
    Timestamp,
    fact::ResultRecord,
    forge::Actor,
    ids::{
        AttemptNo, BranchName, CommitSha, IssueNumber, LabelName, ProjectKey, RepositoryId, RunId,
        SlotNo, Subject,
    },
    trigger::{TriggerIdentity, TriggerKind},
};

/// Where a run stands.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RunState {
    /// In the queue.
    Pending,
    /// Frozen, with a slot; its environment is being made.
    Preparing,
    /// An attempt's pod is at work.
    Running,
    /// Waits for a decision that any member may make; its timer stands still.
    WaitingMcp,
    /// Waits for a decision of the project's owners; its timer stands still.
    WaitingOwnerReview,
    /// Ending with an outcome that is already decided; still counts as active.
    Stopping,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended by its time-out.
    TimedOut,
    /// Ended because people took it back.
    Cancelled,
    /// Never launched, and never will.
    Rejected,
}

impl RunState {
    /// Whether the run has ended for good.
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::TimedOut | Self::Cancelled | Self::Rejected
        )
    }

    /// Whether the run holds a slot and its branch.
    pub fn is_active(self) -> bool {
        !self.is_terminal() && self != Self::Pending
    }

    /// Whether the run's agent may still add facts (stopping takes only logs and session).
    pub fn takes_facts(self) -> bool {
        matches!(
            self,
            Self::Preparing | Self::Running | Self::WaitingMcp | Self::WaitingOwnerReview
        )
    }

    /// Whether it stands still until people have decided something.
    pub fn waits(self) -> bool {
        matches!(self, Self::WaitingMcp | Self::WaitingOwnerReview)
    }

    /// The transition table: whether a run may go from here to `to`.
    pub fn may_become(self, to: Self) -> bool {
        use RunState::{
            Cancelled, Failed, Pending, Preparing, Rejected, Running, Stopping, Succeeded,
            TimedOut, WaitingMcp, WaitingOwnerReview,
        };
        match self {
            // Straight to its success only where a restored database finds its work done.
            Pending => matches!(to, Preparing | Rejected | Cancelled | Succeeded),
            Preparing => matches!(to, Running | Stopping),
            Running => matches!(to, WaitingMcp | WaitingOwnerReview | Stopping),
            WaitingMcp | WaitingOwnerReview => matches!(to, Running | Stopping),
            Stopping => matches!(to, Succeeded | Failed | TimedOut | Cancelled),
            Succeeded | Failed | TimedOut | Cancelled | Rejected => false,
        }
    }
}

/// How a run ends; decided when it starts to stop.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// Its result was verified against the forge.
    Succeeded,
    /// It failed.
    Failed,
    /// Its time ran out.
    TimedOut,
    /// People took it back.
    Cancelled,
}

impl Outcome {
    /// The terminal state it leads to.
    pub fn state(self) -> RunState {
        match self {
            Self::Succeeded => RunState::Succeeded,
            Self::Failed => RunState::Failed,
            Self::TimedOut => RunState::TimedOut,
            Self::Cancelled => RunState::Cancelled,
        }
    }
}

/// A run as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The trigger that made it.
    pub trigger: TriggerIdentity,
    /// The project.
    pub project: ProjectKey,
    /// The repository.
    pub repository: RepositoryId,
    /// The issue or pull request that carries the trigger; comments and labels go here.
    pub number: IssueNumber,
    /// The work item: the issue whose branch this is. One active run each.
    pub work_item: IssueNumber,
    /// What it does.
    pub kind: TriggerKind,
    /// The trigger label's name as stored, removed last.
    pub label: Option<LabelName>,
    /// Whose trigger it was.
    pub actor: Option<Actor>,
    /// Where it stands.
    pub state: RunState,
    /// How it ends, from `stopping` on.
    pub outcome: Option<Outcome>,
    /// Why it ends so, or why it was rejected: a sentence for people (catalogue text, English).
    pub reason: Option<String>,
    /// Why a `pending` run is held back besides the queue.
    pub held: Option<String>,
    /// Larger starts earlier.
    pub priority: i32,
    /// Everything fixed at launch.
    pub frozen: Option<FrozenRun>,
    /// The branch it works on, from launch on.
    pub branch: Option<BranchName>,
    /// The slot it holds, from launch to its end.
    pub slot: Option<SlotNo>,
    /// The head of its branch that we pushed or accepted last.
    pub accepted_head: Option<CommitSha>,
    /// Its pull request, once known.
    pub pull_request: Option<IssueNumber>,
    /// The result that was accepted, if any.
    pub result: Option<ResultRecord>,
    /// When its time is up (database clock); moves while it waits.
    pub timeout_at: Option<Timestamp>,
    /// Since when it waits (database clock); none where it does not.
    #[serde(default)]
    pub waiting_since: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was launched.
    pub preparing_at: Option<Timestamp>,
    /// When its first pod ran.
    pub started_at: Option<Timestamp>,
    /// When it began to stop.
    pub stopping_at: Option<Timestamp>,
    /// When it reached its terminal state.
    pub finished_at: Option<Timestamp>,
    /// When its finishing chain was through; labels belong to people from then on.
    pub finalized_at: Option<Timestamp>,
    /// Row version, for compare-and-set.
    pub version: i64,
}

impl Run {
    /// The issue or pull request that carries the trigger.
    pub fn subject(&self) -> Subject {
        Subject {
            repository: self.repository,
            number: self.number,
        }
    }

    /// Whether it works on an issue or pull request: its own, or a pull request of its work.
    pub fn works_on(&self, number: IssueNumber) -> bool {
        let revises = self.frozen.as_ref().and_then(|frozen| frozen.revises);
        let numbers = [Some(self.number), Some(self.work_item), self.pull_request];
        numbers.contains(&Some(number)) || revises == Some(number)
    }

    /// The issue whose branch this is.
    pub fn work_subject(&self) -> Subject {
        Subject {
            repository: self.repository,
            number: self.work_item,
        }
    }
}

/// Where an attempt stands.
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
    strum::EnumIter,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AttemptState {
    /// Its row is there; Secret and Job are being made.
    Starting,
    /// Its pod was seen running, or spoke to the run API.
    Running,
    /// It handed in a result.
    Reported,
    /// Its pod ended or was lost without a result.
    Lost,
    /// It ended to wait for people. It is no failure: the next one starts with their answer.
    Parked,
}

/// One try at a run's work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The run.
    pub run: RunId,
    /// Its number.
    pub number: AttemptNo,
    /// Where it stands.
    pub state: AttemptState,
    /// The key version its token was made with.
    pub key_version: i32,
    /// The Job's uid once applied.
    pub job_uid: Option<String>,
    /// Why it ended, for people.
    pub reason: Option<String>,
    /// When its row was made.
    pub created_at: Timestamp,
    /// When it was first seen at work.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The last heartbeat the run API took.
    pub heartbeat_at: Option<Timestamp>,
}

/// Where a run's environment stands.
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
    strum::EnumIter,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum EnvironmentState {
    /// In use.
    Active,
    /// The run is over; kept because of the debug label.
    Retained,
    /// Being deleted.
    Deleting,
    /// Gone from the cluster.
    Gone,
}

/// A run's namespace, which outlives the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The run.
    pub run: RunId,
    /// The namespace.
    pub namespace: String,
    /// Where it stands.
    pub state: EnvironmentState,
    /// The namespace's uid once applied.
    pub uid: Option<String>,
    /// Hash of the builders' input that was applied last.
    pub input_hash: Option<String>,
    /// When its row was made.
    pub created_at: Timestamp,
    /// When it was retained.
    pub retained_at: Option<Timestamp>,
    /// When its deletion was asked for.
    pub deleting_at: Option<Timestamp>,
}

/// Why a run has no logs to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogsAbsent {
    /// None of its attempts began.
    NotStarted,
    /// They were kept for as long as the platform keeps logs of finished runs.
    Expired,
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn terminal_states_lead_nowhere() {
        for from in RunState::iter().filter(|state| state.is_terminal()) {
            assert!(RunState::iter().all(|to| !from.may_become(to)), "{from}");
        }
    }

    #[test]
    fn every_state_is_reachable_from_pending_and_can_end() {
        let mut seen = vec![RunState::Pending];
        let mut next = 0;
        while let Some(&from) = seen.get(next) {
            let new: Vec<_> = RunState::iter()
                .filter(|to| from.may_become(*to) && !seen.contains(to))
                .collect();
            seen.extend(new);
            next += 1;
        }
        assert_eq!(seen.len(), RunState::iter().count());
    }

    #[test]
    fn an_active_run_ends_only_through_stopping() {
        for from in RunState::iter().filter(|s| s.is_active() && *s != RunState::Stopping) {
            assert!(
                RunState::iter().all(|to| !(to.is_terminal() && from.may_become(to))),
                "{from}"
            );
        }
    }

    #[test]
    fn every_outcome_ends_a_stopping_run() {
        for outcome in Outcome::iter() {
            assert!(RunState::Stopping.may_become(outcome.state()));
        }
    }
}
