//! Moving a run: the one place where a transition becomes an action.

use serde_json::json;

use super::{
    action::{ActionKind, RunChange},
    builder::{Ensure, PlanBuilder},
    event,
};
use crate::domain::{
    event::EventKind,
    report::ReportState,
    run::{Outcome, Run, RunState},
};

/// Moves a run on, at most once a plan.
pub(super) fn move_run(
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    to: RunState,
    change: RunChange,
    kind: EventKind,
) {
    if plan.touches(&run.id) {
        return;
    }
    let reason = change.reason.clone().unwrap_or_default();
    let found = plan.ensure(
        format!("run/{}/{to}", run.id),
        Some(run.id),
        ActionKind::MoveRun {
            from: run.state,
            to,
            version: run.version,
            event: event::of_run(
                run,
                kind,
                json!({ "from": run.state, "to": to, "outcome": change.outcome, "reason": reason }),
            ),
            change: Box::new(change),
        },
    );
    let doing = if reason.is_empty() {
        format!("becomes {to}")
    } else {
        format!("becomes {to}: {reason}")
    };
    plan.report_effect(run, found, &doing);
}

/// Begins to stop an active run with its outcome.
pub(super) fn stop_run(
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    outcome: Outcome,
    reason: impl Into<String>,
) {
    let change = RunChange {
        outcome: Some(outcome),
        reason: Some(reason.into()),
        ..RunChange::default()
    };
    move_run(
        plan,
        run,
        RunState::Stopping,
        change,
        EventKind::RunStopping,
    );
}

/// Ends a run that never launched.
pub(super) fn end_pending(
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    to: RunState,
    reason: impl Into<String>,
) {
    let kind = if to == RunState::Cancelled {
        EventKind::RunCancelled
    } else {
        EventKind::RunRejected
    };
    let change = RunChange {
        reason: Some(reason.into()),
        held: run.held.as_ref().map(|_| None),
        ..RunChange::default()
    };
    move_run(plan, run, to, change, kind);
}

/// Changes a run's row in place, at most once a plan.
pub(super) fn update_run(
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    what: &str,
    change: RunChange,
) -> Ensure {
    if plan.touches(&run.id) {
        return Ensure::NotNeeded;
    }
    plan.ensure(
        format!("run/{}/{what}", run.id),
        Some(run.id),
        ActionKind::UpdateRun {
            version: run.version,
            change: Box::new(change),
        },
    )
}

/// Writes a run's line unless this plan already acts on it.
pub(super) fn report_quiet(
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    state: ReportState,
    reason: impl Into<String>,
) {
    if !plan.touches(&run.id) {
        plan.report_run(run, state, reason);
    }
}

/// An attempt works: from now on the run's time counts.
pub(super) fn begin_work(plan: &mut PlanBuilder<'_>, run: &Run) {
    let timeout_seconds = run.frozen.as_ref().map(|frozen| frozen.timeout_seconds);
    let change = RunChange {
        timeout_seconds,
        ..RunChange::default()
    };
    move_run(plan, run, RunState::Running, change, EventKind::RunStarted);
}
