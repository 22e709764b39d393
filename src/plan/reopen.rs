//! Going back: a stage that reopens an issue ends the other work on it, and what is made anew
//! afterwards supersedes what was there.
//!
//! 1. While its trigger is live, older triggers of other stages are refused and older runs
//!    stopped: one wish is left.
//! 2. With its run, the environments that older runs left for debugging go.
//! 3. Where the work begins anew is for people to say, by a label or by approving what the run
//!    asked for. From then on what older runs of that stage and of those after it had made no
//!    longer counts: not as a stage that has succeeded, nor as a pull request to go on with.

use std::collections::BTreeSet;

use super::{
    builder::PlanBuilder,
    disposition::{Judged, judge},
    finish::{put_on, remove},
    index::Index,
};
use crate::{
    desired::model::{Desired, StateKind},
    domain::{
        forge::SubjectState,
        ids::{IssueNumber, StageKind, Subject},
        run::{Run, RunState},
        trigger::{Trigger, TriggerKind},
    },
};

fn reopens(index: &Index<'_>, kind: &TriggerKind) -> bool {
    let stage = index
        .desired()
        .and_then(|desired| desired.stage(&kind.stage));
    stage.is_some_and(|stage| stage.reopens)
}

/// The newest trigger on a work item that may start and takes the work there back.
fn asked_on<'a>(index: &Index<'a>, work_item: Subject) -> Option<&'a Trigger> {
    let waiting = index.waiting.get(&work_item).into_iter().flatten().copied();
    waiting
        .filter(|trigger| reopens(index, &trigger.kind) && judge(index, trigger) == Judged::Ready)
        .max_by(|one, other| one.place().cmp(&other.place()))
}

/// Whether a live trigger is older than one that takes the work back.
pub(super) fn takes_back(index: &Index<'_>, trigger: &Trigger) -> bool {
    let work_item = Subject {
        repository: trigger.identity.repository,
        number: index.work_item(trigger.subject()),
    };
    !reopens(index, &trigger.kind)
        && asked_on(index, work_item).is_some_and(|by| trigger.place() < by.place())
}

/// The trigger that takes back what a run works at.
pub(super) fn stopped_by<'a>(index: &Index<'a>, run: &Run) -> Option<&'a Trigger> {
    if reopens(index, &run.kind) {
        return None;
    }
    let by = asked_on(index, run.work_subject())?;
    let own = index.triggers.get(&run.trigger);
    own.is_none_or(|own| own.place() < by.place()).then_some(by)
}

/// Whether a later run has begun to take back what a run left.
pub(super) fn is_taken_back(index: &Index<'_>, run: &Run) -> bool {
    index.runs_on(run.work_subject()).iter().any(|other| {
        reopens(index, &other.kind) && other.frozen.is_some() && is_older(index, run, other)
    })
}

/// Whether what a run made no longer counts, because the work began anew at its stage or before.
pub(super) fn is_superseded(index: &Index<'_>, run: &Run) -> bool {
    superseded_by(index, run).is_some()
}

fn superseded_by<'a>(index: &Index<'a>, run: &Run) -> Option<&'a Run> {
    let desired = index.desired()?;
    let runs = index.runs_on(run.work_subject());
    let back = runs.iter().filter(|other| {
        other.state == RunState::Succeeded
            && reopens(index, &other.kind)
            && is_older(index, run, other)
    });
    let mut anew = back.filter_map(|back| begun_after(index, back));
    anew.find(|anew| is_at_or_after(desired, &run.kind.stage, &anew.kind.stage))
}

/// The run with which the work began anew: the first that stands after it was taken back.
fn begun_after<'a>(index: &Index<'a>, back: &Run) -> Option<&'a Run> {
    let runs = index.runs_on(back.work_subject()).iter().copied();
    runs.filter(|run| {
        let stands = run.frozen.is_some() || run.state == RunState::Pending;
        stands && !run.kind.revise && !reopens(index, &run.kind) && is_older(index, back, run)
    })
    .min_by_key(|run| index.triggers.get(&run.trigger).map(|row| row.place()))
}

/// Whether a run was asked for before another. One whose trigger is forgotten is older.
fn is_older(index: &Index<'_>, run: &Run, than: &Run) -> bool {
    let place = |run: &Run| index.triggers.get(&run.trigger).map(|row| row.place());
    place(run) < place(than)
}

/// Whether a stage is one itself, or comes after it.
fn is_at_or_after(desired: &Desired, stage: &StageKind, one: &StageKind) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![stage];
    while let Some(stage) = open.pop() {
        if stage == one {
            return true;
        }
        if seen.insert(stage) {
            open.extend(
                desired
                    .stage(stage)
                    .iter()
                    .flat_map(|spec| &spec.entry.after),
            );
        }
    }
    false
}

/// Whether all work in a pull request is superseded.
pub(super) fn is_superseded_pull(index: &Index<'_>, work_item: Subject, pull: IssueNumber) -> bool {
    let runs = index.runs_on(work_item).iter();
    let mut of_pull = runs.filter(|run| run.pull_request == Some(pull)).peekable();
    of_pull.peek().is_some() && of_pull.all(|run| is_superseded(index, run))
}

/// Marks the pull requests that a run at work supersedes.
pub(super) fn step_superseded(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let Some(desired) = index.desired() else {
        return;
    };
    let Some(label) = desired.labels.state.get(StateKind::Superseded) else {
        return;
    };
    let at_work = index.runs.values().filter(|run| run.state.is_active());
    for run in at_work.copied() {
        let work_item = run.work_subject();
        for number in superseded_pulls(index, run) {
            let subject = Subject {
                repository: run.repository,
                number,
            };
            let Some(issue) = index.issues.get(&subject) else {
                continue;
            };
            if issue.state != SubjectState::Open || !is_superseded_pull(index, work_item, number) {
                continue;
            }
            put_on(plan, run, "superseded", subject, vec![label.name.clone()]);
            let states = desired.labels.state.iter().map(|(_, state)| &state.name);
            for other in states.filter(|name| **name != label.name) {
                if issue.labels.contains(other) {
                    remove(plan, run, subject, other);
                }
            }
        }
    }
}

/// The pull requests of the runs that a run supersedes.
fn superseded_pulls(index: &Index<'_>, by: &Run) -> BTreeSet<IssueNumber> {
    let runs = index.runs_on(by.work_subject()).iter();
    let superseded = runs.filter(|run| superseded_by(index, run).is_some_and(|it| it.id == by.id));
    superseded.filter_map(|run| run.pull_request).collect()
}
