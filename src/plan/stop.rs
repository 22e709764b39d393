//! Stopping: by withdrawal, by time-out, by suspension; and from `stopping` to the end.

use serde_json::json;

use super::{
    action::{ActionKind, RunChange},
    builder::PlanBuilder,
    discussion,
    disposition::label_of,
    event,
    index::Index,
    moves::{end_pending, move_run, stop_run},
    reopen,
    sighting::withdrawn_by,
    wait,
};
use crate::{
    cluster::{
        DeleteTarget, ObjectKind, ObjectRef, Propagation,
        manifests::attempt_name,
        snapshot::{PodRow, RunRows},
    },
    desired::model::Suspend,
    domain::{
        event::EventKind,
        report::ReportState,
        run::{Outcome, Run, RunState},
        trigger::WithdrawnBy,
    },
};

/// Stops what people took back, what ran out of time and what is suspended to a stop.
pub(super) fn step_stop(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for run in index.runs.values().filter(|run| !run.state.is_terminal()) {
        if run.state == RunState::Stopping {
            continue;
        }
        let Some((outcome, reason)) = stop_reason(index, run) else {
            continue;
        };
        if run.state == RunState::Pending {
            if outcome == Outcome::Cancelled {
                end_pending(plan, run, RunState::Cancelled, reason);
            }
        } else {
            stop_run(plan, run, outcome, reason);
        }
    }
}

fn stop_reason(index: &Index<'_>, run: &Run) -> Option<(Outcome, String)> {
    let trigger = index.triggers.get(&run.trigger);
    if let Some(by) = trigger.and_then(|trigger| withdrawn_by(index, trigger)) {
        return Some((Outcome::Cancelled, withdrawal_text(&by).to_owned()));
    }
    if let Some(by) = reopen::stopped_by(index, run) {
        let label = label_of(index, &by.kind);
        let reason = format!("the work on the issue was taken back by `{label}`");
        return Some((Outcome::Cancelled, reason));
    }
    if let Some(by) = discussion::ended_by(index, run) {
        let label = label_of(index, &by.kind);
        let reason = format!("`{label}` asks for work, which ends the discussion");
        return Some((Outcome::Cancelled, reason));
    }
    if let Some(reason) = wait::out_of_time(index, run) {
        return Some((Outcome::TimedOut, reason.to_owned()));
    }
    let suspended = index
        .desired()
        .is_some_and(|desired| desired.suspend(&run.project) == Suspend::Stop);
    let launched = run.state != RunState::Pending;
    (suspended && launched).then(|| {
        (
            Outcome::Cancelled,
            "the project or platform is suspended".to_owned(),
        )
    })
}

/// Why people took it back, in one clause.
pub(super) fn withdrawal_text(by: &WithdrawnBy) -> &'static str {
    match by {
        WithdrawnBy::Unlabeled { .. } => "the label was taken off",
        WithdrawnBy::Dismissed => "the review was dismissed",
        WithdrawnBy::Closed { .. } => "the issue was closed",
        WithdrawnBy::Gone => "the issue is gone from this repository",
    }
}

/// Ends stopping runs: their workload is deleted, and when no pod is left they are over.
pub(super) fn step_stopping(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for run in index
        .runs
        .values()
        .filter(|run| run.state == RunState::Stopping)
    {
        end_workload(index, plan, run);
    }
}

fn end_workload(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) {
    let Some(rows) = index.in_cluster(&run.id) else {
        plan.report_run(
            run,
            ReportState::Unknown,
            format!("stopping; {}", index.cluster_unknown()),
        );
        return;
    };
    delete_jobs(plan, run, rows);
    let living: Vec<_> = rows
        .pods
        .iter()
        .filter(|pod| !is_gone(index, pod))
        .collect();
    if !living.is_empty() || !rows.jobs.is_empty() {
        let pods = living.len();
        plan.report_run(
            run,
            ReportState::Running,
            format!("stopping: {pods} pods are still there"),
        );
        return;
    }
    let hidden = index
        .attempts
        .get(&run.id)
        .into_iter()
        .flatten()
        .any(|attempt| {
            index.job_may_be_hidden(&super::attempt::apply_key(&run.id, attempt.number))
        });
    if hidden {
        plan.report_run(
            run,
            ReportState::Waiting,
            "stopping: waits until the cluster shows its last job",
        );
        return;
    }
    if ask_again(index, plan, run) {
        return;
    }
    let outcome = run.outcome.unwrap_or(Outcome::Failed);
    move_run(
        plan,
        run,
        outcome.state(),
        RunChange::default(),
        ended(outcome),
    );
}

fn ended(outcome: Outcome) -> EventKind {
    match outcome {
        Outcome::Succeeded => EventKind::RunSucceeded,
        Outcome::Failed => EventKind::RunFailed,
        Outcome::TimedOut => EventKind::RunTimedOut,
        Outcome::Cancelled => EventKind::RunCancelled,
    }
}

/// A pod on a node that has been unreachable for the set time counts as gone: its token
/// is dead with the run, and what it still does reaches nothing.
fn is_gone(index: &Index<'_>, pod: &PodRow) -> bool {
    let grace = chrono::Duration::seconds(index.settings().node_grace_seconds);
    pod.node_unreachable_since
        .is_some_and(|since| since + grace <= index.now())
}

/// Deletes a run's Jobs, and pods that no Job owns any more.
pub(super) fn delete_jobs(plan: &mut PlanBuilder<'_>, run: &Run, rows: &RunRows<'_>) {
    // The Job stands until its pods are gone: its absence proves theirs.
    let mut end = |kind, namespace: &str, name: &str, uid: &str| {
        let object = ObjectRef::namespaced(kind, namespace, name);
        delete(plan, run, object, uid, Propagation::Foreground);
    };
    for job in rows
        .jobs
        .iter()
        .filter(|job| job.deletion_timestamp.is_none())
    {
        end(ObjectKind::Job, &job.namespace, &job.name, &job.uid);
    }
    if rows.jobs.is_empty() {
        for pod in rows
            .pods
            .iter()
            .filter(|pod| pod.deletion_timestamp.is_none())
        {
            end(ObjectKind::Pod, &pod.namespace, &pod.name, &pod.uid);
        }
    }
}

/// Asks once more for the Jobs whose deletion was called and not answered; says whether there are
/// any. They are gone by now, and hearing so closes the deletion's row.
fn ask_again(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) -> bool {
    let (Some(frozen), Some(attempts)) = (&run.frozen, index.attempts.get(&run.id)) else {
        return false;
    };
    let mut any = false;
    for attempt in attempts {
        let number = u32::try_from(attempt.number.0).unwrap_or_default();
        let name = attempt_name(run.id.0, number);
        let uid = attempt.job_uid.as_deref();
        if let Some(uid) = uid.filter(|uid| index.is_open(&delete_key(run, ObjectKind::Job, uid))) {
            let object = ObjectRef::namespaced(ObjectKind::Job, &frozen.namespace, &name);
            delete(plan, run, object, uid, Propagation::Foreground);
            any = true;
        }
    }
    any
}

fn delete_key(run: &Run, kind: ObjectKind, uid: &str) -> String {
    format!("run/{}/delete/{kind}/{uid}", run.id)
}

/// Deletes one object of a run.
pub(super) fn delete(
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    object: ObjectRef,
    uid: &str,
    propagation: Propagation,
) {
    let ObjectRef {
        kind,
        namespace,
        name,
    } = &object;
    let doing = format!("deletes {kind} {name}");
    let found = plan.ensure(
        delete_key(run, *kind, uid),
        Some(run.id),
        ActionKind::DeleteObject {
            event: event::of_run(
                run,
                EventKind::ObjectDeleted,
                json!({ "kind": kind.to_string(), "namespace": namespace, "name": name }),
            ),
            target: DeleteTarget {
                object,
                uid: uid.to_owned(),
                propagation,
            },
        },
    );
    plan.report_effect(run, found, &doing);
}
