//! What a pass tells the metrics. No per-issue labels.

use std::time::Duration;

use strum::IntoEnumIterator;

use crate::{
    domain::{approval::ApprovalState, run::RunState, snapshot::StoreSnapshot},
    plan::{ActionKind, Plan, PlanInput},
    telemetry::metrics::{Metrics, Source, WriteTarget},
};

/// Where an action of this name writes, outside Postgres.
pub(super) fn write_target(kind: &str) -> Option<WriteTarget> {
    match kind {
        "push_branch" | "open_pull_request" | "edit_pull_request" | "upsert_comment"
        | "add_labels" | "remove_label" | "ensure_label" | "set_owner_variable"
        | "set_variable" => Some(WriteTarget::Forge),
        "apply_environment" | "apply_attempt" | "delete_object" | "delete_namespace" => {
            Some(WriteTarget::Cluster)
        }
        _ => None,
    }
}

/// Queue wait of launches, and seconds from label to job.
pub(super) fn launches(metrics: &Metrics, plan: &Plan, input: &PlanInput) {
    for action in &plan.actions {
        let run = action
            .run
            .and_then(|id| input.rows.runs.iter().find(|run| run.id == id));
        let Some(run) = run else { continue };
        let waited = (input.now - run.created_at).to_std().unwrap_or_default();
        match &action.kind {
            ActionKind::LaunchRun { .. } => metrics.runs.launched(waited),
            ActionKind::ApplyAttempt { number, .. } if number.0 == 1 => {
                let trigger = input
                    .rows
                    .triggers
                    .iter()
                    .find(|row| row.identity == run.trigger);
                if let Some(trigger) = trigger {
                    let since = input.now - trigger.occurred_at;
                    metrics.runs.job_made(since.to_std().unwrap_or_default());
                }
            }
            _ => {}
        }
    }
}

/// Runs by state, slots, effects that retry.
pub(super) fn rows(metrics: &Metrics, rows: &StoreSnapshot, slots: i64) {
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    for state in RunState::iter() {
        let runs = rows.runs.iter().filter(|run| run.state == state).count();
        metrics.runs.set_runs(state, count(runs));
    }
    for state in [ApprovalState::Requested, ApprovalState::Approved] {
        let open = rows.approvals.iter().filter(|row| row.state == state);
        metrics.runs.set_approvals(state, count(open.count()));
    }
    metrics.runs.set_slots(count(rows.slots.len()), slots);
    let retrying = rows
        .effects
        .iter()
        .filter(|effect| effect.next_at.is_some())
        .count();
    metrics.apply.set_retrying(count(retrying));
}

/// How old the view of the cluster is.
pub(super) fn cluster(metrics: &Metrics, age: Option<Duration>) {
    if let Some(age) = age {
        metrics.observed.set_age(Source::Cluster, age);
    }
    metrics
        .observed
        .set_unknown(Source::Cluster, i64::from(age.is_none()));
}
