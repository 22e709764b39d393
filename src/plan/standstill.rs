//! What keeps a work item from going on until people do something about it: one comment for
//! each, edited to "resolved" once it is over.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    action::ActionKind,
    builder::PlanBuilder,
    comment::{content, locale},
    disposition::{Judged, conflict_on, judge},
    event,
    index::Index,
};
use crate::domain::{
    event::{EventKind, NewEvent},
    ids::{IssueNumber, RepositoryId, Subject},
    messages::{self, BlockedComment, ConflictComment, Obstacle},
    trigger::{TriggerKind, WaitReason},
};

/// Says on issues which labels contradict each other, and what else stands in the way.
pub(super) fn step_standstills(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let mut obstacles: BTreeMap<Subject, Option<Obstacle>> = BTreeMap::new();
    for (work_item, triggers) in &index.waiting {
        let found = obstacles.entry(*work_item).or_default();
        for trigger in triggers {
            if found.is_none()
                && let Judged::Wait(reason) = judge(index, trigger)
            {
                *found = obstacle(index, reason);
            }
        }
    }
    let commented = |prefix: &'static str| {
        let effects = index.effects.values();
        effects.filter_map(move |effect| subject_in(&effect.key.0, prefix))
    };
    for subject in commented("conflict/").chain(commented("blocked/")) {
        obstacles.entry(subject).or_default();
    }
    for (subject, obstacle) in obstacles {
        if index.repository(subject.repository).is_ok() {
            step_conflict(index, plan, subject);
            step_obstacle(index, plan, subject, obstacle);
        }
    }
}

/// What people can do something about, of all reasons to wait.
fn obstacle(index: &Index<'_>, reason: WaitReason) -> Option<Obstacle> {
    match reason {
        WaitReason::Blocked { label } => Some(Obstacle::Label(label)),
        WaitReason::StageMissing { stage } => {
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
        _ => None,
    }
}

fn step_conflict(index: &Index<'_>, plan: &mut PlanBuilder<'_>, subject: Subject) {
    let labels = conflict_on(index, subject);
    let key = key("conflict/", subject);
    if labels.is_none() && !is_written(index, &key) {
        return;
    }
    let labels = labels.unwrap_or_default();
    let event = event::of_platform(
        EventKind::TriggerConflict,
        key.clone(),
        index.project_key(),
        Some(subject),
        json!({ "labels": labels }),
    );
    let body =
        messages::conflict_comment(&ConflictComment { subject, labels }, &locale(index, None));
    let marker = messages::conflict_comment_key(&subject);
    say(index, plan, subject, (key, &marker, body, event));
}

fn step_obstacle(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    subject: Subject,
    obstacle: Option<Obstacle>,
) {
    let key = key("blocked/", subject);
    if obstacle.is_none() && !is_written(index, &key) {
        return;
    }
    let by = match &obstacle {
        None => json!(null),
        Some(Obstacle::Label(label)) => json!({ "label": label }),
        Some(Obstacle::Stage { stage, .. }) => json!({ "stage": stage }),
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
    say(index, plan, subject, (key, &marker, body, event));
}

fn say(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    subject: Subject,
    (key, marker, body, event): (String, &str, String, NewEvent),
) {
    if let Some(content) = content(index, subject, marker, body) {
        plan.ensure_once(key, None, ActionKind::UpsertComment { content, event });
    }
}

/// Whether the comment is there: without one there is nothing to resolve.
fn is_written(index: &Index<'_>, key: &str) -> bool {
    index
        .effect(key)
        .is_some_and(|effect| effect.done_at.is_some())
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
