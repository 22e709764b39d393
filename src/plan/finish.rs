//! Finishing: a chain of one-time effects after a run has ended.
//!
//! Comment → output labels → trigger label, removed last → finalised. After
//! that the labels belong to people.

use serde_json::json;

use super::{
    action::ActionKind,
    builder::{Ensure, PlanBuilder},
    comment::{self, Commented},
    discussion,
    disposition::release,
    event,
    freeze::{clear_labels, outcome_labels},
    index::Index,
    reasons::refusal_text,
    sighting::{report, withdrawn_by},
    standing::is_standing,
    tools,
};
use crate::domain::{
    event::EventKind,
    forge::SubjectState,
    ids::{LabelName, RunId, Subject},
    messages,
    report::ReportState,
    run::{Run, RunState},
    trigger::{Disposition, RefusalReason, Trigger, TriggerSource},
};

/// Finishes every run that has ended, and every refused trigger that gets an answer.
pub(super) fn step_finish(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for run in index.runs.values() {
        if run.finalized_at.is_some() {
            plan.report_run(run, ReportState::Done, format!("it ended as {}", run.state));
        } else if run.state.is_terminal() {
            finish_run(index, plan, run);
        }
    }
    for trigger in index.triggers.values() {
        if trigger.settled {
            explain_settled(index, plan, trigger);
        } else {
            finish_trigger(index, plan, trigger);
        }
    }
}

/// While a label that was refused or taken back stays on its issue, or the config asks in vain,
/// people wonder why nothing starts.
fn explain_settled(index: &Index<'_>, plan: &mut PlanBuilder<'_>, trigger: &Trigger) {
    let (state, text, historical) = match &trigger.disposition {
        Disposition::Refused(reason) => {
            let historical = *reason == RefusalReason::Historical;
            (ReportState::Refused, refusal_text(reason), historical)
        }
        Disposition::Withdrawn => (ReportState::Withdrawn, TAKEN_BACK, true),
        _ => return,
    };
    let issue = index.issues.get(&trigger.subject());
    // What was pushed before the config asked for it surprises nobody.
    let wanted = || is_standing(&trigger.identity) && !historical;
    let there = issue.is_some_and(|issue| {
        let label = trigger.label.as_ref();
        issue.state == SubjectState::Open
            && label.map_or_else(wanted, |label| issue.labels.contains(label))
    });
    let newest = || {
        let mut others = index.triggers_on(trigger.subject()).iter();
        others.all(|other| {
            let same =
                other.label == trigger.label && other.identity.source == trigger.identity.source;
            !same || other.place() <= trigger.place()
        })
    };
    if there && newest() {
        report(plan, trigger, state, text);
    }
}

/// Closing an issue takes back what its labels ask for, and opening it again gives nothing back.
const TAKEN_BACK: &str = "it was taken back before it could start; taken off and put on again, \
                          its label starts it";

fn finish_run(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) {
    if index.repositories.contains_key(&run.repository)
        && let Err(reason) = index.repository(run.repository)
    {
        plan.report_run(
            run,
            ReportState::Unknown,
            format!("ended as {}; {reason}", run.state),
        );
        return;
    }
    let reachable = index.repositories.contains_key(&run.repository);
    let chain = [
        tools::labels as Link,
        comment::status,
        comment::learning,
        output_labels,
        stale_labels,
        joined_labels,
        trigger_label,
    ];
    for link in chain.into_iter().filter(|_| reachable) {
        match link(index, plan, run) {
            Ensure::NotNeeded => {}
            found => {
                plan.report_effect(run, found, &format!("finishes as {}", run.state));
                return;
            }
        }
    }
    let found = plan.ensure(
        format!("run/{}/finalize", run.id),
        Some(run.id),
        ActionKind::FinalizeRun {
            version: run.version,
            trigger: run.trigger.clone(),
            event: event::of_run(run, EventKind::RunFinished, json!({ "state": run.state })),
        },
    );
    plan.report_effect(run, found, &format!("is finished as {}", run.state));
}

type Link = fn(&Index<'_>, &mut PlanBuilder<'_>, &Run) -> Ensure;

/// The labels that a run's end puts on: those frozen at its launch. A run that was recovered by
/// its pull request has lost them with everything else of its launch: the present config's count.
fn wanted_labels(index: &Index<'_>, run: &Run) -> Vec<LabelName> {
    let Some(frozen) = &run.frozen else {
        let desired = index.desired().filter(|_| run.state == RunState::Succeeded);
        let stage = desired.and_then(|desired| desired.stage(&run.kind.stage));
        let labels = desired.zip(stage);
        return labels
            .map(|(desired, stage)| outcome_labels(desired, &stage.on_success))
            .unwrap_or_default();
    };
    match run.state {
        RunState::Succeeded if has_questions(run) => frozen.question_labels.clone(),
        RunState::Succeeded => frozen.success_labels.clone(),
        RunState::Failed | RunState::TimedOut => frozen.failure_labels.clone(),
        _ => Vec::new(),
    }
}

/// Whether the agent left something that only people can answer.
fn has_questions(run: &Run) -> bool {
    let result = run.result.as_ref();
    result.is_some_and(|result| !result.answer.questions.is_empty())
}

/// Issue and pull request of a run, as far as they can carry labels.
fn labelled_subjects(run: &Run) -> Vec<Subject> {
    let on = |number| Subject {
        repository: run.repository,
        number,
    };
    let mut subjects = vec![on(run.work_item)];
    subjects.extend(
        run.pull_request
            .filter(|_| run.state == RunState::Succeeded)
            .map(on),
    );
    subjects.dedup();
    subjects
}

fn output_labels(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) -> Ensure {
    let labels = wanted_labels(index, run);
    if labels.is_empty() {
        return Ensure::NotNeeded;
    }
    let found = labelled_subjects(run).into_iter().map(|subject| {
        if is_gone(index, subject) {
            return Ensure::NotNeeded;
        }
        put_on(plan, run, "labels", subject, labels.clone())
    });
    first_open(found.collect())
}

/// Puts labels on, once and for all for what they say of the run.
pub(super) fn put_on(
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    says: &str,
    subject: Subject,
    labels: Vec<LabelName>,
) -> Ensure {
    let Some(repository) = plan.repository_of(run) else {
        return Ensure::NotNeeded;
    };
    let on = json!({ "on": subject.number, "labels": labels });
    plan.ensure_ever(
        format!("run/{}/{says}/{}", run.id, subject.number),
        Some(run.id),
        ActionKind::AddLabels {
            subject,
            repository,
            event: event::of_run(run, EventKind::LabelApplied, on),
            labels,
        },
    )
}

fn stale_labels(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) -> Ensure {
    let wanted = wanted_labels(index, run);
    if wanted.is_empty() {
        return Ensure::NotNeeded;
    }
    let subject = run.work_subject();
    let Some(issue) = index.issues.get(&subject) else {
        return Ensure::NotNeeded;
    };
    let clear = match (&run.frozen, index.desired()) {
        (Some(frozen), _) => frozen.clear_labels.clone(),
        (None, Some(desired)) => clear_labels(desired),
        (None, None) => Vec::new(),
    };
    let stale = clear
        .iter()
        .filter(|label| !wanted.contains(label))
        .filter(|label| {
            issue.labels.contains(label) || index.is_open(&unlabel_key(run, subject, label))
        });
    let found = stale.map(|label| remove(plan, run, subject, label));
    first_open(found.collect())
}

/// Takes off the labels of triggers that joined the run from elsewhere or under another name.
fn joined_labels(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) -> Ensure {
    if is_unserved(run) {
        return Ensure::NotNeeded;
    }
    let joined = index.triggers.values().filter(|trigger| {
        matches!(&trigger.disposition, Disposition::MergedInto { run: into } if *into == run.id)
    });
    let found = joined.filter_map(|trigger| {
        let label = trigger.label.as_ref()?;
        let subject = trigger.subject();
        let own = subject == run.subject() && Some(label) == run.label.as_ref()
            || discussion::is_label(index, label);
        let there = index
            .issues
            .get(&subject)
            .is_some_and(|issue| issue.labels.contains(label));
        let wanted = there || index.is_open(&unlabel_key(run, subject, label));
        let newer = || is_newer(index, subject, label, &trigger.identity.source_id);
        (!own && wanted && !is_gone(index, subject) && !newer())
            .then(|| remove(plan, run, subject, label))
    });
    first_open(found.collect())
}

/// Takes the trigger label off, unless people did, or it stands for a newer live trigger.
fn trigger_label(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) -> Ensure {
    let Some(label) = &run.label else {
        return Ensure::NotNeeded;
    };
    let stays = stands_for_newer(index, run, label) || discussion::is_label(index, label);
    if is_gone(index, run.subject()) || stays {
        return Ensure::NotNeeded;
    }
    let trigger = index.triggers.get(&run.trigger);
    let by_people = trigger.and_then(|trigger| withdrawn_by(index, trigger));
    let there = index
        .issues
        .get(&run.subject())
        .is_some_and(|issue| issue.labels.contains(label));
    // What was begun is ended all the same: its answer may be what was lost.
    let begun = index.is_open(&unlabel_key(run, run.subject(), label));
    if by_people.is_some() && !there && !begun {
        return Ensure::NotNeeded;
    }
    remove(plan, run, run.subject(), label)
}

fn stands_for_newer(index: &Index<'_>, run: &Run, label: &LabelName) -> bool {
    run.trigger.source == TriggerSource::Label
        && is_newer(index, run.subject(), label, &run.trigger.source_id)
}

/// Whether a label on a subject stands for a live trigger newer than this event.
fn is_newer(index: &Index<'_>, subject: Subject, label: &LabelName, event: &str) -> bool {
    index.sightings(subject).iter().any(|sighting| {
        sighting.label == label
            && sighting.withdrawn_by.is_none()
            && sighting.removed_by_us.is_none()
            && event.parse().is_ok_and(|id: i64| sighting.event.id.0 > id)
    })
}

fn is_gone(index: &Index<'_>, subject: Subject) -> bool {
    index
        .issues
        .get(&subject)
        .is_some_and(|issue| issue.state == SubjectState::Gone)
}

fn unlabel_key(run: &Run, subject: Subject, label: &LabelName) -> String {
    let label = label.folded();
    format!("run/{}/unlabel/{}/{label}", run.id, subject.number)
}

pub(super) fn remove(
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    subject: Subject,
    label: &LabelName,
) -> Ensure {
    let Some(repository) = plan.repository_of(run) else {
        return Ensure::NotNeeded;
    };
    plan.ensure_ever(
        unlabel_key(run, subject, label),
        Some(run.id),
        ActionKind::RemoveLabel {
            subject,
            repository,
            label: label.clone(),
            event: event::of_run(
                run,
                EventKind::LabelRemoved,
                json!({ "on": subject.number, "label": label }),
            ),
        },
    )
}

fn first_open(found: Vec<Ensure>) -> Ensure {
    found
        .into_iter()
        .find(|found| *found != Ensure::NotNeeded)
        .unwrap_or(Ensure::NotNeeded)
}

/// Answers a refusal on the issue where it gets one, takes its label off, and settles it; and
/// settles withdrawn triggers that never had a run.
fn finish_trigger(index: &Index<'_>, plan: &mut PlanBuilder<'_>, trigger: &Trigger) {
    match &trigger.disposition {
        Disposition::Refused(reason) => {
            report(plan, trigger, ReportState::Refused, refusal_text(reason));
            if !messages::is_answered(reason) {
                settle(plan, trigger);
                return;
            }
        }
        Disposition::Withdrawn => {
            report(plan, trigger, ReportState::Withdrawn, "it was taken back");
            settle(plan, trigger);
            return;
        }
        Disposition::MergedInto { run } => {
            follow(index, plan, trigger, *run);
            return;
        }
        Disposition::Waiting(_) | Disposition::Run { .. } => return,
    }
    if let Err(reason) = index.repository(trigger.identity.repository) {
        let reason = format!("refused, not answered yet: {reason}");
        report(plan, trigger, ReportState::Unknown, reason);
        return;
    }
    if comment::refusal(index, plan, trigger) == Commented::Open {
        return;
    }
    let still_there = index.issues.get(&trigger.subject()).is_some_and(|issue| {
        trigger
            .label
            .as_ref()
            .is_some_and(|label| issue.labels.contains(label))
    });
    let wanted = still_there || index.is_open(&trigger_unlabel_key(trigger));
    if wanted && unlabel_trigger(plan, trigger) != Ensure::NotNeeded {
        return;
    }
    settle(plan, trigger);
}

/// What joined a run goes with it, unless that ends before it was launched: nothing was done for
/// anybody then.
fn follow(index: &Index<'_>, plan: &mut PlanBuilder<'_>, trigger: &Trigger, id: RunId) {
    let run = index.runs.get(&id).copied();
    let unlaunched = run.filter(|run| run.state == RunState::Pending || is_unserved(run));
    match unlaunched {
        None => {
            report(plan, trigger, ReportState::Done, format!("joined run {id}"));
            settle(plan, trigger);
        }
        // Its withdrawal has the line.
        Some(_) if withdrawn_by(index, trigger).is_some() => {}
        Some(run) if run.state == RunState::Pending => {
            let reason = format!("waits with run {id}, which it joined");
            report(plan, trigger, ReportState::Queued, reason);
        }
        Some(run) => release(plan, trigger, run),
    }
}

/// Whether a run ended before it was launched.
fn is_unserved(run: &Run) -> bool {
    let ended = matches!(run.state, RunState::Cancelled | RunState::Rejected);
    ended && run.preparing_at.is_none()
}

fn trigger_unlabel_key(trigger: &Trigger) -> String {
    format!("trigger/{}/unlabel", trigger.identity)
}

fn unlabel_trigger(plan: &mut PlanBuilder<'_>, trigger: &Trigger) -> Ensure {
    let (Some(label), Some(repository)) = (
        &trigger.label,
        plan.repository_name(trigger.identity.repository),
    ) else {
        return Ensure::NotNeeded;
    };
    plan.ensure_ever(
        trigger_unlabel_key(trigger),
        None,
        ActionKind::RemoveLabel {
            subject: trigger.subject(),
            repository,
            label: label.clone(),
            event: event::of_trigger(
                trigger,
                EventKind::LabelRemoved,
                crate::domain::event::EventActor::System,
                "the trigger was refused",
            ),
        },
    )
}

fn settle(plan: &mut PlanBuilder<'_>, trigger: &Trigger) {
    plan.ensure(
        format!("trigger/{}/settle", trigger.identity),
        None,
        ActionKind::SettleTrigger {
            identity: trigger.identity.clone(),
        },
    );
}
