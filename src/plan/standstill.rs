//! What keeps a work item from going on until people do something about it: one comment for
//! each, edited to "resolved" once it is over. A conflict is known by the set of its labels: of
//! another set another comment speaks, further down the thread.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    action::ActionKind,
    builder::PlanBuilder,
    comment::{content, locale},
    disposition::{Judged, conflict_on, contends, is_granted, judge, label_of},
    event,
    index::Index,
    reasons::wait_state,
};
use crate::{
    desired::model::StateKind,
    domain::{
        effect::Effect,
        event::EventKind,
        ids::{IssueNumber, LabelName, RepositoryId, StageKind, Subject},
        messages::{self, BlockedComment, ConflictComment, ConflictState, Obstacle},
        report::ReportState,
        run::RunState,
        trigger::{Trigger, TriggerKind, WaitReason},
    },
};

/// What a conflict is known by: its labels, folded and in order.
type Set = BTreeSet<String>;

/// What there is to say on a work item, or was said.
#[derive(Default)]
struct Standstill {
    obstacle: Option<Obstacle>,
    conflicts: BTreeSet<Set>,
}

/// Says on issues which labels contradict each other, and what else stands in the way.
pub(super) fn step_standstills(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let mut found: BTreeMap<Subject, Standstill> = BTreeMap::new();
    for (work_item, triggers) in &index.waiting {
        let here = found.entry(*work_item).or_default();
        here.obstacle = triggers
            .iter()
            .find_map(|trigger| match judge(index, trigger) {
                Judged::Wait(reason) => obstacle(index, *work_item, reason),
                _ => None,
            });
    }
    for effect in index.effects.values().filter(|effect| is_called(effect)) {
        if let Some((subject, set)) = conflict_in(&effect.key.0) {
            found.entry(subject).or_default().conflicts.insert(set);
        } else if let Some(subject) = subject_in(&effect.key.0, "blocked/") {
            found.entry(subject).or_default();
        }
    }
    for (subject, here) in found {
        if index.repository(subject.repository).is_ok() {
            step_conflicts(index, plan, subject, &here.conflicts);
            step_obstacle(index, plan, subject, here.obstacle);
        }
    }
}

/// What people can do something about, of all reasons to wait.
fn obstacle(index: &Index<'_>, work_item: Subject, reason: WaitReason) -> Option<Obstacle> {
    match reason {
        WaitReason::Blocked { label } => Some(Obstacle::Label(label)),
        WaitReason::StageMissing { stage } if !is_coming(index, work_item, &stage) => {
            let kind = TriggerKind {
                stage,
                revise: false,
            };
            let label = index.desired()?.labels.trigger_for(&kind);
            Some(Obstacle::Stage {
                label: label.map(|label| label.name.clone()),
                stage: kind.stage,
            })
        }
        WaitReason::Unreviewed { stage } => {
            let label = index.desired()?.labels.state.get(StateKind::Approved);
            Some(Obstacle::Review {
                stage,
                label: label.map(|label| label.name.clone()),
            })
        }
        _ => None,
    }
}

/// Whether a stage that is missing is at work already, or was granted and comes by itself: then
/// there is nothing for people to do.
fn is_coming(index: &Index<'_>, work_item: Subject, stage: &StageKind) -> bool {
    let at_work = index
        .current_run(work_item)
        .is_some_and(|run| run.kind.stage == *stage);
    let granted = |trigger: &Trigger| {
        is_granted(&trigger.identity)
            && trigger.kind.stage == *stage
            && judge(index, trigger) == Judged::Ready
    };
    at_work || waiting_on(index, work_item).any(granted)
}

fn waiting_on<'a>(index: &Index<'a>, work_item: Subject) -> impl Iterator<Item = &'a Trigger> {
    index.waiting.get(&work_item).into_iter().flatten().copied()
}

fn step_conflicts(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    subject: Subject,
    written: &BTreeSet<Set>,
) {
    let present = conflict_on(index, subject);
    let unclear = |trigger| match judge(index, trigger) {
        Judged::Wait(reason) => wait_state(&reason) == ReportState::Unknown,
        _ => false,
    };
    // What cannot be judged now may still contradict.
    if present.is_none() && waiting_on(index, subject).any(unclear) {
        return;
    }
    for set in written {
        let labels = set.iter().map(LabelName::new).collect();
        let state = match &present {
            Some(labels) if set_of(labels) == *set => continue,
            Some(_) => ConflictState::Replaced,
            None => ConflictState::Over {
                left: left(index, subject, set),
            },
        };
        let comment = ConflictComment {
            subject,
            labels,
            state,
        };
        // What is left was true when it was written, and stays.
        if !is_settled(index, &comment) {
            say_conflict(index, plan, &comment);
        }
    }
    if let Some(labels) = present {
        let state = ConflictState::Open;
        let comment = ConflictComment {
            subject,
            labels,
            state,
        };
        say_conflict(index, plan, &comment);
    }
}

/// What is left of a conflict: the label that goes on.
fn left(index: &Index<'_>, subject: Subject, set: &Set) -> Option<LabelName> {
    let current = index
        .current_run(subject)
        .filter(|run| !run.state.is_terminal() && run.state != RunState::Stopping)
        .map(|run| (&run.label, &run.kind));
    let waiting = waiting_on(index, subject).filter(|trigger| contends(&judge(index, trigger)));
    let all = current.into_iter();
    let mut all = all.chain(waiting.map(|trigger| (&trigger.label, &trigger.kind)));
    all.find_map(|(label, kind)| {
        let label = label.clone().unwrap_or_else(|| label_of(index, kind));
        set.contains(&label.folded())
            .then(|| LabelName::new(label.folded()))
    })
}

fn set_of(labels: &[LabelName]) -> Set {
    labels.iter().map(LabelName::folded).collect()
}

fn conflict_key(comment: &ConflictComment) -> String {
    let set = json!(set_of(&comment.labels));
    format!("{}/{set}", key("conflict/", comment.subject))
}

fn conflict_in(key: &str) -> Option<(Subject, Set)> {
    let at = key.find("/[")?;
    let subject = subject_in(&key[..at], "conflict/")?;
    Some((subject, serde_json::from_str(&key[at + 1..]).ok()?))
}

/// Whether a conflict's comment says already that it is over, whatever it says is left.
fn is_settled(index: &Index<'_>, comment: &ConflictComment) -> bool {
    let key = conflict_key(comment);
    let effect = index.effect(&key);
    let left = comment.labels.iter().cloned().map(Some).chain([None]);
    let over = left.map(|left| ConflictState::Over { left });
    let mut all = over.chain([ConflictState::Replaced]);
    all.any(|state| {
        let said = ConflictComment {
            state,
            ..comment.clone()
        };
        let action = conflict_action(index, &key, &said);
        action.is_some_and(|action| effect.is_some_and(|it| it.is_done(&action.content_hash())))
    })
}

fn conflict_action(index: &Index<'_>, key: &str, comment: &ConflictComment) -> Option<ActionKind> {
    let event = event::of_platform(
        EventKind::TriggerConflict,
        key,
        index.project_key(),
        Some(comment.subject),
        json!({ "labels": comment.labels, "open": comment.state == ConflictState::Open }),
    );
    let body = messages::conflict_comment(comment, &locale(index, None));
    let marker = messages::conflict_comment_key(comment);
    let content = content(index, comment.subject, &marker, body)?;
    Some(ActionKind::UpsertComment { content, event })
}

fn say_conflict(index: &Index<'_>, plan: &mut PlanBuilder<'_>, comment: &ConflictComment) {
    let key = conflict_key(comment);
    if let Some(action) = conflict_action(index, &key, comment) {
        plan.ensure_once(key, None, action);
    }
}

fn step_obstacle(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    subject: Subject,
    obstacle: Option<Obstacle>,
) {
    let key = key("blocked/", subject);
    if obstacle.is_none() && !index.effect(&key).is_some_and(is_called) {
        return;
    }
    let by = match &obstacle {
        None => json!(null),
        Some(Obstacle::Label(label)) => json!({ "label": label }),
        Some(Obstacle::Stage { stage, .. }) => json!({ "stage": stage }),
        Some(Obstacle::Review { stage, .. }) => json!({ "review": stage }),
    };
    let event = event::of_platform(
        EventKind::TriggerBlocked,
        key.clone(),
        index.project_key(),
        Some(subject),
        json!({ "by": by }),
    );
    let body =
        messages::blocked_comment(&BlockedComment { subject, obstacle }, &locale(index, None));
    let marker = messages::blocked_comment_key(&subject);
    if let Some(content) = content(index, subject, &marker, body) {
        plan.ensure_once(key, None, ActionKind::UpsertComment { content, event });
    }
}

/// Whether the comment was called for: its answer may be what was lost. Where it never was there
/// is nothing to resolve.
fn is_called(effect: &Effect) -> bool {
    effect.done_at.is_some() || effect.attempted_at.is_some()
}

fn key(prefix: &str, subject: Subject) -> String {
    format!("{prefix}{}/{}", subject.repository, subject.number)
}

fn subject_in(key: &str, prefix: &str) -> Option<Subject> {
    let (repository, number) = key.strip_prefix(prefix)?.split_once('/')?;
    Some(Subject {
        repository: RepositoryId(repository.parse().ok()?),
        number: IssueNumber(number.parse().ok()?),
    })
}
