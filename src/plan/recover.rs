//! Recovery: what the world shows of runs that the rows have forgotten.
//!
//! A database that was set back, or made anew, knows less than forge and
//! cluster. Three things outlive it, and none of them stands there in ordinary
//! life for a run that has not got so far:
//!
//! 1. the run's namespace, with everything that its launch fixed: the run is
//!    launched again as it was, in its slot and branch, and its attempts are
//!    taken over by their numbers, so that the live agent goes on;
//! 2. its pull request, by our author and its mark: with its workload gone, the
//!    run has succeeded;
//! 3. our own removal of its label, which is the last link of its finishing
//!    chain: the run is over, though nobody knows any more how it ended.
//!
//! All of it needs the repository read whole and the cluster known; until then
//! nothing of the run is planned (see [`PlanBuilder::ensure`]).

use std::collections::BTreeSet;

use super::{
    action::RunChange,
    builder::PlanBuilder,
    discussion, disposition,
    freeze::Launch,
    index::Index,
    moves::{end_pending, move_run, stop_run, update_run},
    queue::launch_run,
    review,
    sighting::{Seen, Sight, record, report, withdrawn_by},
    standing::is_standing,
};
use crate::{
    cluster::snapshot::{NamespacePhase, NamespaceRow},
    domain::{
        event::EventKind,
        fold::Sighting,
        forge::PullRequest,
        ids::{IssueNumber, RunId, SlotNo, Subject},
        launch::LaunchRecord,
        marker::comment_marker,
        messages,
        report::ReportState,
        run::{Outcome, Run, RunState},
        trigger::{Disposition, RefusalReason, Trigger, TriggerIdentity},
    },
};

/// Why a run counts as over of which nothing is left but its removed label.
const OVER: &str = "it ended before the database was restored; how is not known any more";

/// Rebuilds runs that stand in the world and not, or not so far, in the rows.
pub(super) fn step_recover(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for trigger in index.triggers.values() {
        if let Some(begun) = begun(index, trigger) {
            rebuild(index, plan, trigger, begun);
        }
    }
    let mut taken: BTreeSet<SlotNo> = index.input.rows.slots.iter().map(|row| row.slot).collect();
    for run in index.runs.values() {
        if run.state.is_terminal() || run.state == RunState::Stopping || plan.touches(&run.id) {
            continue;
        }
        if index.repository(run.repository).is_err() {
            continue;
        }
        // What a namespace says of a launch is long: it is read for runs that lack one alone.
        let is_pending = run.state == RunState::Pending;
        match is_pending.then(|| launch_of(index, run)).flatten() {
            Some(launch) => relaunch(index, plan, run, launch, &mut taken),
            None => close(index, plan, run),
        }
    }
}

/// Records the triggers without a label whose runs stand in the cluster and that no row knows:
/// nothing at the forge would ever name them again.
pub(super) fn step_marked(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let Some(project) = index.project_key() else {
        return;
    };
    let snapshot = index.input.cluster.known();
    for namespace in snapshot.iter().flat_map(|snapshot| &snapshot.namespaces) {
        let Some(identity) = unlabelled(index, namespace) else {
            continue;
        };
        let Ok(mirror) = index.repository(identity.repository) else {
            continue;
        };
        if index.triggers.contains_key(&identity) {
            continue;
        }
        let Some(launch) = launch_in(namespace) else {
            continue;
        };
        let subject = Subject {
            repository: identity.repository,
            number: launch.number,
        };
        let sight = Sight {
            occurred_at: index.now(),
            ..Sight::default()
        };
        let kind = launch.kind.into_owned();
        let seen = Seen {
            identity,
            kind,
            project,
            mirror,
            subject,
        };
        record(index, plan, &seen, sight);
    }
}

/// Whether a namespace will be known again by the trigger without a label that it is of.
pub(super) fn is_marked(index: &Index<'_>, namespace: &NamespaceRow) -> bool {
    unlabelled(index, namespace).is_some_and(|trigger| {
        !index.triggers.contains_key(&trigger)
            && index.repositories.contains_key(&trigger.repository)
            && launch_in(namespace).is_some()
    })
}

/// The trigger without a label that a namespace in use says it is of. What it says of its launch
/// is not read yet: that is long, and every project looks at all namespaces.
fn unlabelled(index: &Index<'_>, namespace: &NamespaceRow) -> Option<TriggerIdentity> {
    let identity: TriggerIdentity = namespace.mark.trigger.as_ref()?.parse().ok()?;
    if identity.source.is_label() || namespace.phase != NamespacePhase::Active {
        return None;
    }
    let run = identity.run_id(&index.input.installation);
    (namespace.owner.run == Some(run.0)).then_some(identity)
}

/// Says of every run in a repository that is not read whole why nothing is planned for it.
pub(super) fn step_unread(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for run in index.runs.values().filter(|run| run.finalized_at.is_none()) {
        if let Some(reason) = index.unread(run.repository) {
            plan.report_run(run, ReportState::Unknown, reason);
        }
    }
}

/// What stands in the world of a trigger that waits in the rows.
#[derive(Clone, Copy)]
pub(super) enum Begun<'a> {
    /// Its run's namespace.
    AtWork(IssueNumber),
    /// Its run's pull request.
    Published(&'a PullRequest),
    /// Nothing but our removal of its label.
    Over,
}

/// Whether a waiting trigger was acted on already.
pub(super) fn begun<'a>(index: &Index<'a>, trigger: &Trigger) -> Option<Begun<'a>> {
    if !matches!(trigger.disposition, Disposition::Waiting(_))
        || withdrawn_by(index, trigger).is_some()
        || index.repository(trigger.identity.repository).is_err()
    {
        return None;
    }
    let run = trigger.identity.run_id(&index.input.installation);
    if let Some(namespace) = namespace_of(index, trigger, &run) {
        let launch = launch_in(namespace);
        let work_item = launch.map_or_else(
            || index.work_item(trigger.subject()),
            |launch| launch.work_item,
        );
        return Some(Begun::AtWork(work_item));
    }
    if let Some(pull) = index.pull_naming(&run) {
        return Some(Begun::Published(pull));
    }
    // A run in the rows says more than a mark does.
    let reviewed =
        || review::answered_by(index, trigger).is_none() && review::is_answered(index, trigger);
    let over = is_consumed(index, trigger)
        || is_answered(index, trigger, &run)
        || discussion::is_answered(index, trigger)
        || reviewed();
    over.then_some(Begun::Over)
}

fn rebuild(index: &Index<'_>, plan: &mut PlanBuilder<'_>, trigger: &Trigger, begun: Begun<'_>) {
    let number = match begun {
        Begun::AtWork(work_item) => work_item,
        Begun::Published(pull) => {
            issue_of(pull).unwrap_or_else(|| index.work_item(trigger.subject()))
        }
        Begun::Over => {
            disposition::refuse(plan, trigger, RefusalReason::Consumed);
            return;
        }
    };
    let work_item = Subject {
        repository: trigger.identity.repository,
        number,
    };
    disposition::enqueue(index, plan, work_item, trigger);
    let reason = "its run is in the world already and is rebuilt";
    report(plan, trigger, ReportState::Acting, reason);
}

/// The issue that a branch of ours was made for.
fn issue_of(pull: &PullRequest) -> Option<IssueNumber> {
    let rest = pull.head.as_str().strip_prefix("codex/issue-")?;
    let digits = rest.split('-').next()?;
    digits.parse().ok().map(IssueNumber)
}

/// The namespace in use that says it is this trigger's run's.
fn namespace_of<'a>(index: &Index<'a>, trigger: &Trigger, run: &RunId) -> Option<&'a NamespaceRow> {
    let identity = trigger.identity.to_string();
    let mut namespaces = index.namespaces_of(run).into_iter();
    namespaces.find(|row| {
        row.phase == NamespacePhase::Active && row.mark.trigger.as_ref() == Some(&identity)
    })
}

fn launch_in(namespace: &NamespaceRow) -> Option<LaunchRecord<'static>> {
    let launch = LaunchRecord::from_text(namespace.mark.launch.as_ref()?)?;
    (launch.frozen.namespace == namespace.name).then_some(launch)
}

/// What a run's namespace says of its launch.
fn launch_of(index: &Index<'_>, run: &Run) -> Option<LaunchRecord<'static>> {
    let trigger = index.triggers.get(&run.trigger)?;
    let launch = launch_in(namespace_of(index, trigger, &run.id)?)?;
    (launch.work_item == run.work_item && *launch.kind == run.kind).then_some(launch)
}

/// Launches a run again as it was: it holds its slot, limits or not, for its agent is at work.
fn relaunch(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    launch: LaunchRecord<'static>,
    taken: &mut BTreeSet<SlotNo>,
) {
    let other = index.runs.values().find(|other| {
        other.state.is_active()
            && other.repository == run.repository
            && (other.work_item == run.work_item || other.branch.as_ref() == Some(&*launch.branch))
    });
    if let Some(other) = other {
        let reason = format!(
            "its workload is there; waits until run {} is over",
            other.id
        );
        plan.report_run(run, ReportState::Waiting, reason);
        return;
    }
    let Some(branch) = index.branch(run.repository, launch.branch.as_str()) else {
        let reason = format!(
            "its workload is there; branch {} is not read yet",
            launch.branch
        );
        plan.report_run(run, ReportState::Waiting, reason);
        return;
    };
    let slot = (!taken.contains(&launch.slot)).then_some(launch.slot);
    let mut lowest = (1..).map(SlotNo).filter(|slot| !taken.contains(slot));
    let Some(slot) = slot.or_else(|| lowest.next()) else {
        return;
    };
    taken.insert(slot);
    let launch = Launch {
        frozen: launch.frozen.into_owned(),
        branch: launch.branch.into_owned(),
        head: branch.head.clone(),
    };
    let found = launch_run(plan, run, launch, slot, true);
    plan.report_effect(
        run,
        found,
        &format!("takes its workload over in slot {slot}"),
    );
}

/// Closes a run whose workload is gone and whose end the forge shows.
fn close(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) {
    let reported = run.result.is_some() || index.result_fact(&run.id).is_some();
    if reported || !is_idle(index, run) {
        return;
    }
    if let Some(pull) = index.pull_naming(&run.id) {
        succeed(plan, run, pull);
    } else if index
        .triggers
        .get(&run.trigger)
        .is_some_and(|trigger| is_consumed(index, trigger))
    {
        if run.state == RunState::Pending {
            end_pending(plan, run, RunState::Cancelled, OVER);
        } else {
            stop_run(plan, run, Outcome::Cancelled, OVER);
        }
    }
}

fn succeed(plan: &mut PlanBuilder<'_>, run: &Run, pull: &PullRequest) {
    let reason = format!("recovered: pull request #{} is there", pull.number);
    let change = RunChange {
        pull_request: Some(pull.number),
        ..RunChange::default()
    };
    if run.state == RunState::Pending {
        let change = RunChange {
            outcome: Some(Outcome::Succeeded),
            reason: Some(reason),
            held: run.held.as_ref().map(|_| None),
            ..change
        };
        move_run(
            plan,
            run,
            RunState::Succeeded,
            change,
            EventKind::RunSucceeded,
        );
    } else if run.pull_request == Some(pull.number) {
        stop_run(plan, run, Outcome::Succeeded, reason);
    } else {
        update_run(plan, run, "pull-request/found", change);
        plan.report_run(run, ReportState::Acting, reason);
    }
}

/// Whether nothing of the run's works any more, known and not assumed.
fn is_idle(index: &Index<'_>, run: &Run) -> bool {
    let attempts = index.attempts.get(&run.id).into_iter().flatten();
    let hidden = attempts.into_iter().any(|attempt| {
        index.job_may_be_hidden(&super::attempt::apply_key(&run.id, attempt.number))
    });
    index
        .in_cluster(&run.id)
        .is_some_and(|rows| rows.jobs.is_empty() && rows.pods.is_empty() && !hidden)
}

/// Whether we took a trigger's label off as the last link of its own chain.
///
/// The label may also have come back while we were taking it off for an older
/// trigger. Then that one was withdrawn before, by whoever took the label off
/// first: our removal counts for the newer one only where every older one had
/// its own.
fn is_consumed(index: &Index<'_>, trigger: &Trigger) -> bool {
    let sightings = index.sightings(trigger.subject());
    let Some(own) = index.sighting(trigger) else {
        return false;
    };
    let older = |other: &&Sighting<'_>| other.label == own.label && other.event.id < own.event.id;
    let removed_before =
        |other: &Sighting<'_>| other.removed_by_us.is_some_and(|at| at < own.event.id);
    own.removed_by_us.is_some() && sightings.iter().filter(older).all(removed_before)
}

/// Whether we took a waiting trigger's label off, where it has one, and a comment of ours speaks
/// of its run, or of its refusal.
fn is_answered(index: &Index<'_>, trigger: &Trigger, run: &RunId) -> bool {
    let removed = index
        .sighting(trigger)
        .is_some_and(|sighting| sighting.removed_by_us.is_some());
    let marks = [
        messages::status_comment_key(run),
        messages::refusal_comment_key(&trigger.identity),
    ]
    .map(|key| comment_marker(&key));
    let stays = is_standing(&trigger.identity) || discussion::is_discussion(index, &trigger.kind);
    (removed || stays)
        && index.input.rows.comments.iter().any(|comment| {
            comment.repository == trigger.identity.repository
                && comment.number == trigger.number
                && index.is_ours(comment.author.as_ref())
                && marks.iter().any(|mark| comment.body.contains(mark))
        })
}
