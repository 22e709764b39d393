//! Why a trigger waits or was refused, in the words of the report.

use crate::domain::{
    ids::LabelName,
    report::ReportState,
    trigger::{RefusalReason, WaitReason},
};

/// A refusal in one sentence.
pub(super) fn refusal_text(reason: &RefusalReason) -> &'static str {
    match reason {
        RefusalReason::NoRights => "refused: the actor may not start runs here",
        RefusalReason::Bot => "refused: set by a bot, an app or one of our own identities",
        RefusalReason::ContentChanged => {
            "refused: title or body changed after the trigger by someone who may not start runs"
        }
        RefusalReason::Historical => "refused: older than the repository's binding",
        RefusalReason::NoPullRequest => "refused: there is no open pull request of ours to revise",
        RefusalReason::Consumed => {
            "it had run its course before the database was restored; its label is off"
        }
        RefusalReason::PullRequestClosed => "refused: the pull request was closed or merged before",
        RefusalReason::NotRevisable => {
            "refused: the work of this stage is not revised; its label starts it anew"
        }
        RefusalReason::Superseded => "refused: the work on the issue was taken back afterwards",
        RefusalReason::DiscussionOver => "refused: work was asked for, which ends the discussion",
        RefusalReason::NotConfigured => "refused: the config no longer asks for it",
        RefusalReason::ForeignText => {
            "refused: the issue's text is not by members who may start runs"
        }
        RefusalReason::Unbound => "refused: the repository is no longer in the config",
    }
}

/// How sure a wait is of what it waits for.
pub(super) fn wait_state(reason: &WaitReason) -> ReportState {
    match reason {
        WaitReason::IdentitiesUnknown
        | WaitReason::PermissionUnknown
        | WaitReason::SubjectUnknown { .. }
        | WaitReason::PullRequestUnknown => ReportState::Unknown,
        _ => ReportState::Waiting,
    }
}

/// A wait in one sentence.
pub(super) fn wait_text(reason: &WaitReason) -> String {
    match reason {
        WaitReason::New => "seen".to_owned(),
        WaitReason::IdentitiesUnknown => "waits: our own identities are not read yet".to_owned(),
        WaitReason::PermissionUnknown => "waits: the actor's permission is not read yet".to_owned(),
        WaitReason::SubjectUnknown { why } | WaitReason::Config { why } => {
            format!("waits: {why}")
        }
        WaitReason::Conflict { labels } => {
            let labels: Vec<_> = labels.iter().map(LabelName::as_str).collect();
            format!(
                "waits: the labels {} contradict each other, keep one",
                labels.join(", ")
            )
        }
        WaitReason::BehindRun { run } => format!("waits behind run {run} of the same work item"),
        WaitReason::StageMissing { stage } => {
            format!("waits: stage `{stage}` has not succeeded on this issue")
        }
        WaitReason::Unreviewed { stage } => {
            format!("waits: the work of stage `{stage}` has not passed its review")
        }
        WaitReason::Blocked { label } => format!("waits: label `{label}` is on the issue"),
        WaitReason::Suspended => "waits: the project or platform is suspended".to_owned(),
        WaitReason::PullRequestUnknown => {
            "waits: the pull request to revise is not read yet".to_owned()
        }
    }
}
