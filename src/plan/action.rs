//! Actions: imperative, specific, with everything fixed that apply needs.
//!
//! An action leaves no choice: names, bodies, expected versions and uids are in
//! it. Its key is stable from pass to pass; the hash of its content tells one
//! wish from the next under the same key.

use serde::{Deserialize, Serialize};

pub use super::content::{CommentContent, PullRequestContent, RunChange};
use crate::{
    cluster::{
        DeleteTarget,
        manifests::{AttemptSpec, RunEnvironment},
    },
    domain::{
        approval::{Approval, ApprovalId, ApprovalState, Decision},
        effect::{EffectKey, content_hash},
        event::NewEvent,
        fact::PushFact,
        forge::{LabelRecord, VariableRecord},
        ids::{
            AttemptNo, BranchName, CommitSha, IssueNumber, LabelName, RepositoryName, RunId,
            SlotNo, Subject,
        },
        run::{Attempt, AttemptState, FrozenRun, Run, RunState},
        trigger::{Disposition, Trigger, TriggerIdentity, WithdrawnBy},
    },
};

/// When an action is performed: phase after phase, concurrently inside one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    /// Rows: triggers, runs, attempts.
    Record,
    /// Ending what must not go on.
    Stop,
    /// Making environments and attempts.
    Build,
    /// Writing at the forge.
    Publish,
    /// Removing what is no longer needed.
    Clean,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Stable from pass to pass; unique in a plan.
    pub key: EffectKey,
    /// The run it serves.
    pub run: Option<RunId>,
    /// What is to be done.
    #[serde(flatten)]
    pub kind: ActionKind,
}

impl Action {
    /// When it is performed.
    pub fn phase(&self) -> Phase {
        self.kind.phase()
    }

    /// SHA-256 of the content.
    pub fn content_hash(&self) -> String {
        self.kind.content_hash()
    }
}

/// What is to be done.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::EnumDiscriminants, strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case", tag = "action")]
#[strum(serialize_all = "snake_case")]
#[strum_discriminants(
    name(ActionName),
    derive(
        Hash,
        PartialOrd,
        Ord,
        strum::Display,
        strum::EnumIter,
        strum::IntoStaticStr
    ),
    strum(serialize_all = "snake_case"),
    doc = "The kinds of action, as metric labels and in tables."
)]
pub enum ActionKind {
    /// Writes a trigger's row at first sight.
    RecordTrigger {
        /// The row.
        trigger: Box<Trigger>,
        /// The event.
        event: NewEvent,
    },
    /// Decides a trigger.
    DecideTrigger {
        /// The trigger.
        identity: TriggerIdentity,
        /// What it must be now.
        from: Disposition,
        /// What it becomes.
        to: Disposition,
        /// What took it back, if that is why.
        withdrawn_by: Option<WithdrawnBy>,
        /// Nothing is left to do for it afterwards.
        settled: bool,
        /// The event.
        event: NewEvent,
    },
    /// Notes that nothing is left to do for a trigger.
    SettleTrigger {
        /// The trigger.
        identity: TriggerIdentity,
    },
    /// Puts a new run into the queue and decides its trigger.
    EnqueueRun {
        /// The new row.
        new: Box<Run>,
        /// What the trigger must be now.
        from: Disposition,
        /// The event.
        event: NewEvent,
    },
    /// Launches a pending run: freezes it and takes a slot.
    LaunchRun {
        /// The row version it was planned on.
        version: i64,
        /// What is frozen.
        frozen: Box<FrozenRun>,
        /// The branch.
        branch: BranchName,
        /// The branch's head now, where it exists.
        head: Option<CommitSha>,
        /// The slot.
        slot: SlotNo,
        /// Whether its workload is there already, so that no limit holds it back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        recovered: bool,
        /// The event.
        event: NewEvent,
    },
    /// Moves a run to another state, with its event.
    MoveRun {
        /// The state it must be in.
        from: RunState,
        /// The state it goes to.
        to: RunState,
        /// The row version it was planned on.
        version: i64,
        /// What else changes.
        change: Box<RunChange>,
        /// The event.
        event: NewEvent,
    },
    /// Changes a run's row without moving it.
    UpdateRun {
        /// The row version it was planned on.
        version: i64,
        /// What changes.
        change: Box<RunChange>,
    },
    /// Begins an attempt.
    StartAttempt {
        /// The new row.
        attempt: Attempt,
        /// The event.
        event: NewEvent,
    },
    /// Moves an attempt on.
    MoveAttempt {
        /// Which.
        number: AttemptNo,
        /// The state it must be in.
        from: AttemptState,
        /// The state it goes to.
        to: AttemptState,
        /// Why, for people.
        reason: Option<String>,
        /// The event, where the move is worth one.
        event: Option<NewEvent>,
    },
    /// Writes down what an agent asks for; the code is drawn with it.
    RecordApproval {
        /// The row.
        approval: Box<Approval>,
        /// The event.
        event: NewEvent,
    },
    /// Moves an approval on.
    MoveApproval {
        /// Which.
        approval: ApprovalId,
        /// The state it must be in.
        from: ApprovalState,
        /// The state it goes to.
        to: ApprovalState,
        /// How it was decided, where this is its decision.
        decision: Option<Decision>,
        /// Why, for people, where nobody decided.
        reason: Option<String>,
        /// The event.
        event: NewEvent,
    },
    /// Gives a request another code, for another comment.
    RenewApproval {
        /// Which.
        approval: ApprovalId,
        /// The count of its comments that it was planned on.
        posting: i32,
        /// The event.
        event: NewEvent,
    },
    /// Notes that nothing is left to do for an approval at the forge.
    SettleApproval {
        /// Which.
        approval: ApprovalId,
    },
    /// Answers a push that will not be passed on.
    RefusePush {
        /// The fact.
        fact: i64,
        /// Why, as the agent sees it.
        reason: String,
        /// The event.
        event: NewEvent,
    },
    /// Closes a run's finishing chain.
    FinalizeRun {
        /// The row version it was planned on.
        version: i64,
        /// The trigger that is settled with it.
        trigger: TriggerIdentity,
        /// The event.
        event: NewEvent,
    },
    /// Keeps an environment for debugging.
    RetainEnvironment {
        /// The event.
        event: NewEvent,
    },
    /// Notes that an environment is gone from the cluster.
    NoteEnvironmentGone {
        /// The event.
        event: NewEvent,
    },
    /// Notes an unexplained namespace, to be looked at again after the grace time.
    NoteOrphan {
        /// The namespace.
        namespace: String,
        /// Its uid.
        uid: String,
        /// The event.
        event: NewEvent,
    },
    /// Applies a run's namespace and the objects in it.
    ApplyEnvironment {
        /// The builders' input.
        environment: Box<RunEnvironment>,
        /// Its hash.
        input_hash: String,
        /// The event.
        event: NewEvent,
    },
    /// Applies an attempt's Secret and Job.
    ApplyAttempt {
        /// Which.
        number: AttemptNo,
        /// The builders' input.
        spec: Box<AttemptSpec>,
        /// The event.
        event: NewEvent,
    },
    /// Deletes an object under its uid.
    DeleteObject {
        /// The object.
        target: DeleteTarget,
        /// The event.
        event: NewEvent,
    },
    /// Deletes a run's namespace under its uid.
    DeleteNamespace {
        /// The namespace.
        target: DeleteTarget,
        /// Whether a run's environment row goes along.
        orphan: bool,
        /// The event.
        event: NewEvent,
    },
    /// Passes a push on to the forge.
    PushBranch {
        /// The fact.
        fact: i64,
        /// The repository's name.
        repository: RepositoryName,
        /// What is pushed.
        push: PushFact,
        /// The event.
        event: NewEvent,
    },
    /// Opens a pull request.
    OpenPullRequest {
        /// What is written.
        content: PullRequestContent,
        /// The repository and work item.
        subject: Subject,
        /// The event.
        event: NewEvent,
    },
    /// Edits a pull request of ours.
    EditPullRequest {
        /// Which.
        number: IssueNumber,
        /// What is written.
        content: PullRequestContent,
        /// The repository and work item.
        subject: Subject,
        /// The event.
        event: NewEvent,
    },
    /// Writes a comment, or edits ours in place.
    UpsertComment {
        /// What is written.
        content: CommentContent,
        /// The event.
        event: NewEvent,
    },
    /// Puts labels on.
    AddLabels {
        /// On what.
        subject: Subject,
        /// The repository's name.
        repository: RepositoryName,
        /// Which.
        labels: Vec<LabelName>,
        /// The event.
        event: NewEvent,
    },
    /// Takes a label off.
    RemoveLabel {
        /// From what.
        subject: Subject,
        /// The repository's name.
        repository: RepositoryName,
        /// Which.
        label: LabelName,
        /// The event.
        event: NewEvent,
    },
    /// Defines a label of the catalogue in a repository, or puts it right.
    EnsureLabel {
        /// The repository.
        repository_id: crate::domain::ids::RepositoryId,
        /// The repository's name.
        repository: RepositoryName,
        /// The label.
        label: LabelRecord,
        /// Whether it is there and looks otherwise: it is put right, and not made again where
        /// people have deleted it meanwhile. Else it is made, and left as it is where it exists.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        change: bool,
        /// The event.
        event: NewEvent,
    },
    /// Sets the repository variable that names the owning installation.
    SetOwnerVariable {
        /// The repository.
        repository_id: crate::domain::ids::RepositoryId,
        /// The repository's name.
        repository: RepositoryName,
        /// What it says.
        value: String,
        /// The event.
        event: NewEvent,
    },
    /// Publishes a label of the catalogue as a repository variable.
    SetVariable {
        /// The repository.
        repository_id: crate::domain::ids::RepositoryId,
        /// The repository's name.
        repository: RepositoryName,
        /// The variable.
        variable: VariableRecord,
        /// The event.
        event: NewEvent,
    },
}

impl ActionKind {
    /// When it is performed.
    pub fn phase(&self) -> Phase {
        match self {
            Self::RecordTrigger { .. }
            | Self::DecideTrigger { .. }
            | Self::SettleTrigger { .. }
            | Self::EnqueueRun { .. }
            | Self::LaunchRun { .. }
            | Self::MoveRun { .. }
            | Self::UpdateRun { .. }
            | Self::StartAttempt { .. }
            | Self::MoveAttempt { .. }
            | Self::RecordApproval { .. }
            | Self::MoveApproval { .. }
            | Self::RenewApproval { .. }
            | Self::SettleApproval { .. }
            | Self::RefusePush { .. }
            | Self::FinalizeRun { .. }
            | Self::RetainEnvironment { .. }
            | Self::NoteEnvironmentGone { .. }
            | Self::NoteOrphan { .. } => Phase::Record,
            Self::DeleteObject { .. } => Phase::Stop,
            Self::ApplyEnvironment { .. } | Self::ApplyAttempt { .. } => Phase::Build,
            Self::PushBranch { .. }
            | Self::OpenPullRequest { .. }
            | Self::EditPullRequest { .. }
            | Self::UpsertComment { .. }
            | Self::AddLabels { .. }
            | Self::RemoveLabel { .. }
            | Self::EnsureLabel { .. }
            | Self::SetOwnerVariable { .. }
            | Self::SetVariable { .. } => Phase::Publish,
            Self::DeleteNamespace { .. } => Phase::Clean,
        }
    }

    /// The event that is recorded with it.
    pub fn event(&self) -> Option<&NewEvent> {
        match self {
            Self::SettleTrigger { .. } | Self::UpdateRun { .. } | Self::SettleApproval { .. } => {
                None
            }
            Self::MoveAttempt { event, .. } => event.as_ref(),
            Self::RecordTrigger { event, .. }
            | Self::DecideTrigger { event, .. }
            | Self::EnqueueRun { event, .. }
            | Self::LaunchRun { event, .. }
            | Self::MoveRun { event, .. }
            | Self::StartAttempt { event, .. }
            | Self::RecordApproval { event, .. }
            | Self::MoveApproval { event, .. }
            | Self::RenewApproval { event, .. }
            | Self::RefusePush { event, .. }
            | Self::FinalizeRun { event, .. }
            | Self::RetainEnvironment { event }
            | Self::NoteEnvironmentGone { event }
            | Self::NoteOrphan { event, .. }
            | Self::ApplyEnvironment { event, .. }
            | Self::ApplyAttempt { event, .. }
            | Self::DeleteObject { event, .. }
            | Self::DeleteNamespace { event, .. }
            | Self::PushBranch { event, .. }
            | Self::OpenPullRequest { event, .. }
            | Self::EditPullRequest { event, .. }
            | Self::UpsertComment { event, .. }
            | Self::AddLabels { event, .. }
            | Self::RemoveLabel { event, .. }
            | Self::EnsureLabel { event, .. }
            | Self::SetOwnerVariable { event, .. }
            | Self::SetVariable { event, .. } => Some(event),
        }
    }

    /// SHA-256 of the content.
    ///
    /// # Panics
    ///
    /// Never: an action is plain data, which always serialises.
    pub fn content_hash(&self) -> String {
        let content = serde_json::to_vec(self).expect("actions are plain data");
        content_hash(&content)
    }

    /// Whether it changes only rows.
    pub fn is_record(&self) -> bool {
        self.phase() == Phase::Record
    }

    /// Its name.
    pub fn name(&self) -> ActionName {
        self.into()
    }
}
