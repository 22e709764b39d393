//! Waiting for people: a run whose agent waits stands still, and so does its time.
//!
//! ```text
//! running ─ the agent waits for a decision ─► waiting_… ─ decided, or nobody waits ─► running
//! ```
//!
//! `waiting_owner_review` is for a decision that only owners of the project make, `waiting_mcp`
//! for one of any member.
//!
//! A call that is held open counts for a short while; an attempt that was told to end counts
//! until there is an answer. Such an attempt is parked and not lost: the next one begins with
//! the answer.

use chrono::Duration;

use super::{
    action::RunChange,
    builder::PlanBuilder,
    index::Index,
    moves::{move_run, report_quiet},
};
use crate::domain::{
    approval::{Approval, ApprovalMode, ApprovalState},
    event::EventKind,
    fact::{Fact, RunFact, WaitFact, WaitStage},
    report::ReportState,
    run::{Attempt, AttemptState, Run, RunState},
    tools::HELD_COUNTS_SECONDS,
};

/// Attempts of a run that may end to wait; one that waits more often is lost like any other.
pub(super) const MOST_PARKED: i32 = 20;

/// Lets runs stand still whose agents wait, and go on where nobody waits any more.
pub(super) fn step_waits(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for run in index.runs.values() {
        let waits = is_open(index, run);
        match run.state {
            RunState::Running if waits => {
                // For whom is known once the request has its row, with the next pass.
                if let Some(asked) = asked(index, run) {
                    let to = match asked.mode {
                        ApprovalMode::Owner => RunState::WaitingOwnerReview,
                        ApprovalMode::Delegated | ApprovalMode::None => RunState::WaitingMcp,
                    };
                    let change = RunChange::default();
                    move_run(plan, run, to, change, EventKind::RunWaiting);
                }
            }
            state if state.waits() && !waits => resume(plan, run),
            _ => {}
        }
    }
}

/// The deadline moves by as long as the run has waited.
fn resume(plan: &mut PlanBuilder<'_>, run: &Run) {
    let left = run
        .timeout_at
        .zip(run.waiting_since)
        .map(|(timeout, since)| (timeout - since).num_seconds().max(1));
    let change = RunChange {
        timeout_seconds: left,
        ..RunChange::default()
    };
    move_run(plan, run, RunState::Running, change, EventKind::RunResumed);
}

/// Says of a run that stands still for whom it does.
pub(super) fn report(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) {
    let line = asked(index, run).map_or_else(
        || "its agent waits for people".to_owned(),
        |asked| format!("its agent waits until people decide on `{}`", asked.target),
    );
    report_quiet(plan, run, ReportState::Waiting, line);
}

/// The request that a run's agent waited for last.
fn asked<'a>(index: &Index<'a>, run: &Run) -> Option<&'a Approval> {
    let (_, wait) = newest(index, run)?;
    index.approvals.get(&wait.approval).copied()
}

/// Whether a run's agent waits for a decision that is not made yet.
pub(super) fn is_open(index: &Index<'_>, run: &Run) -> bool {
    let Some((fact, wait)) = newest(index, run) else {
        return false;
    };
    let undecided = index
        .approvals
        .get(&wait.approval)
        .is_none_or(|asked| asked.state == ApprovalState::Requested);
    let counts = match wait.stage {
        WaitStage::Asking => fact.created_at + Duration::seconds(HELD_COUNTS_SECONDS) > index.now(),
        WaitStage::Parked => true,
        WaitStage::Answered => false,
    };
    undecided && counts && run.result.is_none() && index.result_fact(&run.id).is_none()
}

/// Whether an attempt was told to end and to be followed by one that knows the answer.
pub(super) fn is_parked(index: &Index<'_>, attempt: &Attempt) -> bool {
    let own = waits(index, &attempt.run).rfind(|(fact, _)| fact.attempt == attempt.number);
    own.is_some_and(|(_, wait)| wait.stage == WaitStage::Parked)
        && parked(index, attempt) < MOST_PARKED
}

/// How many attempts of its run ended to wait.
pub(super) fn parked(index: &Index<'_>, attempt: &Attempt) -> i32 {
    let attempts = index.attempts.get(&attempt.run).into_iter().flatten();
    let parked = attempts.filter(|attempt| attempt.state == AttemptState::Parked);
    i32::try_from(parked.count()).unwrap_or(i32::MAX)
}

/// Why a run's time is over, if it is: of work, or of waiting.
pub(super) fn out_of_time(index: &Index<'_>, run: &Run) -> Option<&'static str> {
    let timeout = run.timeout_at?;
    let Some(since) = run.waiting_since else {
        return (timeout <= index.now()).then_some("its time is up");
    };
    let frozen = run.frozen.as_ref()?;
    let moved = timeout - run.started_at? - Duration::seconds(frozen.timeout_seconds);
    let waited = moved.max(Duration::zero()) + (index.now() - since);
    (waited >= Duration::seconds(frozen.wait_seconds))
        .then_some("it waited for people for longer than a run may")
}

fn newest<'a>(index: &Index<'a>, run: &Run) -> Option<(&'a RunFact, &'a WaitFact)> {
    waits(index, &run.id).next_back()
}

/// A run's facts about waiting, oldest first.
fn waits<'a>(
    index: &Index<'a>,
    run: &crate::domain::ids::RunId,
) -> impl DoubleEndedIterator<Item = (&'a RunFact, &'a WaitFact)> + use<'a> {
    let facts = index.facts.get(run).map(<[_]>::to_vec);
    facts
        .unwrap_or_default()
        .into_iter()
        .filter_map(|fact| match &fact.what {
            Fact::Wait(wait) => Some((fact, wait)),
            _ => None,
        })
}
