//! Flow events: the audit trail, append-only, one per effect and per decision.

use serde::{Deserialize, Serialize};

use super::{
    Timestamp,
    ids::{ProjectKey, RunId, Subject, UserId},
};

/// Who caused an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum EventActor {
    /// The platform itself.
    System,
    /// A run's agent.
    Agent {
        /// The run.
        run: RunId,
    },
    /// A person, by forge id.
    Human {
        /// The account.
        id: UserId,
        /// The login at that time.
        login: String,
    },
}

/// What happened. The names are data: dashboards and exports match on them.
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
    strum::IntoStaticStr,
    strum::EnumIter,
)]
pub enum EventKind {
    /// A trigger was seen for the first time.
    #[strum(serialize = "trigger.seen")]
    TriggerSeen,
    /// A trigger was refused.
    #[strum(serialize = "trigger.refused")]
    TriggerRefused,
    /// A trigger was taken back.
    #[strum(serialize = "trigger.withdrawn")]
    TriggerWithdrawn,
    /// A trigger joined an older one's run.
    #[strum(serialize = "trigger.merged")]
    TriggerMerged,
    /// The run that a trigger had joined was never launched: it waits again.
    #[strum(serialize = "trigger.released")]
    TriggerReleased,
    /// Two trigger labels contradict each other.
    #[strum(serialize = "run.trigger.conflict.comment")]
    TriggerConflict,
    /// A label or a stage that is missing keeps a work item from going on, or no longer does.
    #[strum(serialize = "run.trigger.blocked.comment")]
    TriggerBlocked,
    /// A run entered the queue.
    #[strum(serialize = "run.enqueued")]
    RunEnqueued,
    /// A run was launched: frozen, with a slot.
    #[strum(serialize = "run.launched")]
    RunLaunched,
    /// A run's first pod was seen at work.
    #[strum(serialize = "run.started")]
    RunStarted,
    /// A run began to wait for people; its time stands still.
    #[strum(serialize = "run.wait.paused")]
    RunWaiting,
    /// A run goes on after people answered, or without their answer.
    #[strum(serialize = "run.wait.resumed")]
    RunResumed,
    /// A run began to stop.
    #[strum(serialize = "run.stopping")]
    RunStopping,
    /// A run ended well.
    #[strum(serialize = "run.succeeded")]
    RunSucceeded,
    /// A run failed.
    #[strum(serialize = "run.failed")]
    RunFailed,
    /// A run's time ran out.
    #[strum(serialize = "run.timed_out")]
    RunTimedOut,
    /// A run was taken back.
    #[strum(serialize = "run.cancelled")]
    RunCancelled,
    /// A run never launched.
    #[strum(serialize = "run.rejected")]
    RunRejected,
    /// A run's finishing chain is through.
    #[strum(serialize = "run.finished")]
    RunFinished,
    /// An attempt began.
    #[strum(serialize = "run.attempt.started")]
    AttemptStarted,
    /// An attempt ended.
    #[strum(serialize = "run.attempt.ended")]
    AttemptEnded,
    /// A run's namespace and objects are there.
    #[strum(serialize = "run.namespace.prepared")]
    NamespacePrepared,
    /// A run's namespace was kept for debugging.
    #[strum(serialize = "run.namespace.cleanup_skipped")]
    NamespaceRetained,
    /// A run's namespace is gone.
    #[strum(serialize = "run.namespace.cleaned")]
    NamespaceCleaned,
    /// A namespace without a run was noticed.
    #[strum(serialize = "run.namespace.orphan_noted")]
    OrphanNoted,
    /// A namespace without a run was deleted.
    #[strum(serialize = "run.namespace.orphan_deleted")]
    OrphanDeleted,
    /// An object in the cluster was written.
    #[strum(serialize = "cluster.object.applied")]
    ObjectApplied,
    /// An object in the cluster was deleted.
    #[strum(serialize = "cluster.object.deleted")]
    ObjectDeleted,
    /// A push was passed on to the forge.
    #[strum(serialize = "run.push.accepted")]
    PushAccepted,
    /// A push was refused.
    #[strum(serialize = "run.push.refused")]
    PushRefused,
    /// A pull request was opened.
    #[strum(serialize = "run.pr.created")]
    PullRequestCreated,
    /// A pull request was edited.
    #[strum(serialize = "run.pr.updated")]
    PullRequestUpdated,
    /// A status comment was written or edited.
    #[strum(serialize = "run.status.comment.upserted")]
    CommentUpserted,
    /// Labels were put on.
    #[strum(serialize = "label.applied")]
    LabelApplied,
    /// A label was taken off.
    #[strum(serialize = "label.removed")]
    LabelRemoved,
    /// A repository label was made or mended.
    #[strum(serialize = "label.ensured")]
    LabelEnsured,
    /// A repository was bound.
    #[strum(serialize = "repository.bound")]
    RepositoryBound,
    /// A repository variable was set.
    #[strum(serialize = "repository.variable.set")]
    VariableSet,
    /// An agent's request was put to people.
    #[strum(serialize = "approval.requested")]
    ApprovalRequested,
    /// A request was posted anew with another code: its comment was not ours any more.
    #[strum(serialize = "approval.renewed")]
    ApprovalRenewed,
    /// A request was granted.
    #[strum(serialize = "approval.approved")]
    ApprovalApproved,
    /// A request was denied.
    #[strum(serialize = "approval.denied")]
    ApprovalDenied,
    /// A request ended undecided.
    #[strum(serialize = "approval.expired")]
    ApprovalExpired,
    /// A request ended with its issue.
    #[strum(serialize = "approval.withdrawn")]
    ApprovalWithdrawn,
    /// A request was put to nobody.
    #[strum(serialize = "approval.refused")]
    ApprovalRefused,
    /// What was granted is begun.
    #[strum(serialize = "approval.applied")]
    ApprovalApplied,
    /// What was granted could not be begun.
    #[strum(serialize = "approval.failed")]
    ApprovalFailed,
    /// A config revision was accepted.
    #[strum(serialize = "config.accepted")]
    ConfigAccepted,
    /// A config commit was refused.
    #[strum(serialize = "config.refused")]
    ConfigRefused,
    /// A plan broke a consistency rule.
    #[strum(serialize = "plan.check_failed")]
    CheckFailed,
}

/// An event to be written in the transaction of what it reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventKind,
    /// Joins everything of one run (its id) or of one trigger (its identity).
    pub correlation: String,
    /// Who caused it.
    pub actor: EventActor,
    /// The project, where there is one.
    pub project: Option<ProjectKey>,
    /// The run, where there is one.
    pub run: Option<RunId>,
    /// The subject, where there is one.
    pub subject: Option<Subject>,
    /// Typed detail; never a secret.
    pub payload: serde_json::Value,
}

/// An event as read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowEvent {
    /// Grows with insertion.
    pub id: i64,
    /// What was written.
    #[serde(flatten)]
    pub event: NewEvent,
    /// When (database clock).
    pub created_at: Timestamp,
}
