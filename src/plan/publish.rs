//! Pushes: what agents pushed is passed on to the forge, one after the other.

use serde_json::json;

use super::{action::ActionKind, builder::PlanBuilder, event, index::Index};
use crate::domain::{
    event::EventKind,
    fact::{Fact, PushFact, RunFact},
    ids::RunId,
    run::Run,
};

/// Passes on the oldest unanswered push of every run, or refuses it where the run takes none.
pub(super) fn step_pushes(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for run in index.runs.values() {
        // What is stopped in this very plan publishes nothing any more; the next pass answers.
        if plan.stops(&run.id) {
            continue;
        }
        let Some((fact, push)) = next_push(index, run) else {
            continue;
        };
        let current = index.attempt(&run.id).map(|attempt| attempt.number);
        if !run.state.takes_facts() {
            refuse(plan, run, fact, "the run is over");
        } else if current != Some(fact.attempt) {
            refuse(plan, run, fact, "a newer attempt is at work");
        } else {
            // Where the branch must stand the push says itself, as the run API saw it, commits of
            // people included; the forge compares once more.
            pass_on(plan, run, fact, push);
        }
    }
}

/// The oldest push of a run that has no outcome yet.
pub(super) fn next_push<'a>(index: &Index<'a>, run: &Run) -> Option<(&'a RunFact, &'a PushFact)> {
    let answered = |id: i64| {
        index
            .input
            .rows
            .push_outcomes
            .iter()
            .any(|row| row.fact == id)
    };
    index
        .facts
        .get(&run.id)?
        .iter()
        .filter_map(|fact| match &fact.what {
            Fact::Push(push) if !answered(fact.id) => Some((*fact, push)),
            _ => None,
        })
        .min_by_key(|(fact, _)| fact.id)
}

fn refuse(plan: &mut PlanBuilder<'_>, run: &Run, fact: &RunFact, reason: &str) {
    plan.ensure(
        format!("run/{}/push/{}/refuse", run.id, fact.id),
        Some(run.id),
        ActionKind::RefusePush {
            fact: fact.id,
            reason: reason.to_owned(),
            event: event::of_run(
                run,
                EventKind::PushRefused,
                json!({ "fact": fact.id, "reason": reason }),
            ),
        },
    );
}

/// The key of the effect that passes a push on.
pub(super) fn push_key(run: &RunId, fact: i64) -> String {
    format!("run/{run}/push/{fact}")
}

fn pass_on(plan: &mut PlanBuilder<'_>, run: &Run, fact: &RunFact, push: &PushFact) {
    let Some(repository) = plan.repository_of(run) else {
        return;
    };
    let found = plan.ensure(
        push_key(&run.id, fact.id),
        Some(run.id),
        ActionKind::PushBranch {
            fact: fact.id,
            repository,
            push: push.clone(),
            event: event::of_run(
                run,
                EventKind::PushAccepted,
                json!({ "branch": push.branch, "old": push.old, "new": push.new }),
            ),
        },
    );
    plan.report_effect(run, found, &format!("pushes {}", push.branch));
}
