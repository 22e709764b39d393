//! Entry guards: what must hold before a stage starts, as one table.
//!
//! The guards are asked in their order and the first that does not hold answers.
//! The page of stages in `docs/` is written from the same table.

use super::{
    authority::{Account, Verdict, judge_account},
    disposition::{Judged, wait_config},
    index::Index,
    reopen,
    revise::{is_rebuilt, revised_pull},
};
use crate::{
    desired::model::{Desired, LabelMeaning, StageSpec, StateKind, Suspend},
    domain::{
        forge::{Issue, SubjectState},
        ids::{LabelName, ProjectKey, StageKind, Subject},
        run::{PullRequestRule, Run, RunState},
        trigger::{RefusalReason, Trigger, TriggerSource, WaitReason},
    },
};

/// A guard, for people.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// Its name.
    pub name: &'static str,
    /// What must hold.
    pub asks: &'static str,
    /// What becomes of the trigger where it does not.
    pub otherwise: &'static str,
    holds: fn(&Asked<'_>) -> Judged,
}

/// All guards, in the order in which they are asked.
pub const GUARDS: [Guard; 8] = [
    Guard {
        name: "stage",
        asks: "the config knows the stage",
        otherwise: "waits for the config",
        holds: stage_known,
    },
    Guard {
        name: "agent",
        asks: "the stage's agent is in the config and enabled",
        otherwise: "waits for the config",
        holds: agent_enabled,
    },
    Guard {
        name: "revisable",
        asks: "for a review: the work of the stage is revised",
        otherwise: "is refused, and answered on the pull request",
        holds: revisable,
    },
    Guard {
        name: "labels",
        asks: "no label of `entry.withoutStates` or `entry.withoutNeeds` is on the issue, nor on the pull request that is labelled or reviewed",
        otherwise: "waits until it is taken off, and says so on the issue",
        holds: nothing_blocks,
    },
    Guard {
        name: "after",
        asks: "a run of each stage in `entry.after` has succeeded on the issue",
        otherwise: "waits until one has, and says so on the issue",
        holds: earlier_stages_done,
    },
    Guard {
        name: "reviewed",
        asks: "with `entry.reviewed`, for new work: of each stage in `entry.after` a pull request is merged, or one is open or none was needed and an owner of the project has put on the label for `approved`",
        otherwise: "waits for that, and says so on the issue",
        holds: earlier_stages_reviewed,
    },
    Guard {
        name: "suspend",
        asks: "neither project nor platform is suspended",
        otherwise: "waits until it is resumed",
        holds: not_suspended,
    },
    Guard {
        name: "revise",
        asks: "for a revise: an open pull request of ours is there to be revised",
        otherwise: "waits for a run at work that may bring one; is refused without any",
        holds: something_to_revise,
    },
];

/// A trigger that asks for a stage, and where.
pub(super) struct Asked<'a> {
    pub(super) index: &'a Index<'a>,
    pub(super) trigger: &'a Trigger,
    pub(super) issue: &'a Issue,
    pub(super) desired: &'a Desired,
    pub(super) project: &'a ProjectKey,
}

impl<'a> Asked<'a> {
    fn stage(&self) -> Option<&'a StageSpec> {
        self.desired.stage(&self.trigger.kind.stage)
    }

    fn work_item(&self) -> Subject {
        Subject {
            repository: self.trigger.identity.repository,
            number: self.index.work_item(self.trigger.subject()),
        }
    }
}

/// The answer of the first guard that does not hold.
pub(super) fn judge(asked: &Asked<'_>) -> Judged {
    let answers = GUARDS.iter().map(|guard| (guard.holds)(asked));
    answers
        .into_iter()
        .find(|answer| *answer != Judged::Ready)
        .unwrap_or(Judged::Ready)
}

fn stage_known(asked: &Asked<'_>) -> Judged {
    if asked.stage().is_some() {
        return Judged::Ready;
    }
    let kind = &asked.trigger.kind.stage;
    wait_config(format!("the config knows no stage `{kind}`"))
}

fn agent_enabled(asked: &Asked<'_>) -> Judged {
    let kind = &asked.trigger.kind.stage;
    match asked.desired.agent_for(asked.project, kind) {
        None => wait_config(format!("the config has no agent for stage `{kind}`")),
        Some(agent) if !agent.spec.enabled => {
            wait_config(format!("agent `{}` is not enabled", agent.key))
        }
        Some(_) => Judged::Ready,
    }
}

/// Labels that ask for a revise are checked with the config; a review asks for one unasked.
fn revisable(asked: &Asked<'_>) -> Judged {
    let of_stage = asked.stage().is_none_or(|stage| stage.revisable);
    if asked.trigger.identity.source != TriggerSource::Review || of_stage {
        return Judged::Ready;
    }
    Judged::Refuse(RefusalReason::NotRevisable)
}

fn nothing_blocks(asked: &Asked<'_>) -> Judged {
    let label = asked.stage().and_then(|stage| blocked_by(asked, stage));
    label.map_or(Judged::Ready, |label| {
        Judged::Wait(WaitReason::Blocked { label })
    })
}

fn blocked_by(asked: &Asked<'_>, stage: &StageSpec) -> Option<LabelName> {
    let blocks = |label: &&LabelName| match asked.desired.label_in(asked.project, label.as_str()) {
        Some(LabelMeaning::State(state)) => stage.entry.without_states.contains(&state),
        Some(LabelMeaning::Need(need)) => stage.entry.without_needs.contains(&need),
        _ => false,
    };
    // What a run leaves on its work item holds back what is asked for on its pull request.
    let of_work_item = asked.index.issues.get(&asked.work_item());
    let of_work_item = of_work_item.into_iter().flat_map(|issue| &issue.labels);
    let labels = asked.issue.labels.iter().chain(of_work_item);
    labels.into_iter().find(blocks).cloned()
}

fn earlier_stages_done(asked: &Asked<'_>) -> Judged {
    let work_item = asked.work_item();
    let after = asked.stage().map(|stage| &stage.entry.after);
    let mut missing = after
        .into_iter()
        .flatten()
        .filter(|stage| !has_succeeded(asked.index, work_item, stage));
    missing.next().map_or(Judged::Ready, |stage| {
        let stage = stage.clone();
        Judged::Wait(WaitReason::StageMissing { stage })
    })
}

/// The runs of a stage that succeeded on a work item and were not superseded.
fn succeeded<'a>(
    index: &'a Index<'_>,
    work_item: Subject,
    stage: &'a StageKind,
) -> impl Iterator<Item = &'a Run> {
    let runs = index.runs_on(work_item).iter().copied();
    runs.filter(move |run| {
        run.kind.stage == *stage
            && run.state == RunState::Succeeded
            && !lacks_pull_request(run)
            && !reopen::is_superseded(index, run)
    })
}

/// Whether a stage has succeeded on a work item. Where a restored database has forgotten the
/// run, that its label was taken off by us speaks for it.
fn has_succeeded(index: &Index<'_>, work_item: Subject, stage: &StageKind) -> bool {
    succeeded(index, work_item, stage).next().is_some()
        || index.consumed().iter().any(|trigger| {
            trigger.kind.stage == *stage
                && trigger.identity.repository == work_item.repository
                && index.work_item(trigger.subject()) == work_item.number
        })
}

/// Whether a run left questions where its stage wants a pull request: the stage is not done.
fn lacks_pull_request(run: &Run) -> bool {
    let frozen = run.frozen.as_ref();
    let wanted = frozen.is_some_and(|frozen| frozen.pull_request == PullRequestRule::Required);
    wanted && run.pull_request.is_none()
}

/// How far the review of a stage's work has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Review {
    /// Its pull requests were closed without a merge.
    Dropped,
    /// It lies before people; so does what a restored database has forgotten.
    Open,
    /// It is merged.
    Merged,
}

/// A revise goes on with what began when this held.
fn earlier_stages_reviewed(asked: &Asked<'_>) -> Judged {
    let entry = asked.stage().map(|stage| &stage.entry);
    let Some(entry) = entry.filter(|entry| entry.reviewed && !asked.trigger.kind.revise) else {
        return Judged::Ready;
    };
    let work_item = asked.work_item();
    let of = |stage| review_of(asked.index, work_item, stage);
    let Some(stage) = entry.after.iter().min_by_key(|stage| of(stage)) else {
        return Judged::Ready;
    };
    let unreviewed = || {
        let stage = stage.clone();
        Judged::Wait(WaitReason::Unreviewed { stage })
    };
    match of(stage) {
        Review::Merged => Judged::Ready,
        Review::Dropped => unreviewed(),
        Review::Open => match approval(asked, work_item) {
            Some(Verdict::Entitled) => Judged::Ready,
            Some(Verdict::Wait(reason)) => Judged::Wait(reason),
            Some(Verdict::Refuse(_)) | None => unreviewed(),
        },
    }
}

fn review_of(index: &Index<'_>, work_item: Subject, stage: &StageKind) -> Review {
    let runs = succeeded(index, work_item, stage);
    let of_run = |run: &Run| {
        let Some(number) = run.pull_request else {
            return Review::Open;
        };
        let repository = work_item.repository;
        match index.pulls.get(&Subject { repository, number }) {
            Some(pull) if pull.merged => Review::Merged,
            Some(pull) if pull.state == SubjectState::Open => Review::Open,
            // One that is not read is not known to be open.
            _ => Review::Dropped,
        }
    };
    runs.map(of_run).max().unwrap_or(Review::Open)
}

/// Whether whoever put on the label for approved work owns the project; `None` where it is not
/// on the issue. What a later run leaves takes it off, so it speaks of what is there now.
fn approval(asked: &Asked<'_>, work_item: Subject) -> Option<Verdict> {
    let label = asked.desired.labels.state.get(StateKind::Approved)?;
    let issue = asked.index.issues.get(&work_item)?;
    if !issue.labels.contains(&label.name) {
        return None;
    }
    let mut put_on = asked.index.sightings(work_item).iter().rev();
    let event = put_on
        .find(|seen| *seen.label == label.name && seen.withdrawn_by.is_none())?
        .event;
    let account = Account {
        repository: work_item.repository,
        actor: event.actor.as_ref()?,
        via_app: event.via_app.as_ref(),
    };
    let spec = &asked.desired.project(asked.project)?.spec;
    Some(judge_account(
        asked.index,
        spec,
        &account,
        spec.owner_role(),
    ))
}

fn not_suspended(asked: &Asked<'_>) -> Judged {
    if asked.desired.suspend(asked.project) == Suspend::None {
        Judged::Ready
    } else {
        Judged::Wait(WaitReason::Suspended)
    }
}

fn something_to_revise(asked: &Asked<'_>) -> Judged {
    let work_item = asked.work_item();
    if !asked.trigger.kind.revise || revised_pull(asked.index, work_item).is_some() {
        return Judged::Ready;
    }
    // A run at work may still bring one.
    let at_work = asked
        .index
        .current_run(work_item)
        .filter(|run| run.state != RunState::Pending);
    match at_work {
        Some(run) => Judged::Wait(WaitReason::BehindRun { run: run.id }),
        None if is_rebuilt(asked.index, asked.trigger.subject(), work_item) => {
            Judged::Wait(WaitReason::PullRequestUnknown)
        }
        None => Judged::Refuse(RefusalReason::NoPullRequest),
    }
}
