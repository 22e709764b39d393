//! The planner: from what is desired and what is observed to ordered actions and a report.
//!
//! ```text
//! PlanInput ─► Index ─► step ─► step ─► … ─► Plan { actions, report }
//! ```
//!
//! [`plan`] is a list of steps in the order in which a run lives; each step is a
//! file. It is pure: same input, same bytes. It performs nothing and asks
//! nobody; what it does not know it reports as unknown and leaves alone.
//!
//! Invariants:
//! - every candidate that a step looks at gets a report line;
//! - at most one action that changes a run's row in one plan;
//! - nothing destructive rests on an `Unknown`;
//! - an action uses only facts that are rows or caches already; what needs an
//!   earlier action's result is planned in the next pass.

mod action;
mod approvals;
mod attempt;
mod authority;
mod builder;
mod catalogue;
pub mod check;
mod cleanup;
mod comment;
mod content;
mod context;
mod decisions;
mod discussion;
mod disposition;
mod environment;
mod event;
mod finish;
mod freeze;
pub mod guards;
mod index;
mod input;
mod lookup;
mod moves;
mod orphans;
pub mod page;
pub mod preview;
mod publish;
mod queue;
mod reasons;
mod recover;
mod reopen;
mod repository;
mod requests;
pub mod result;
mod review;
mod revise;
mod sighting;
mod standing;
mod standstill;
mod stop;
mod texts;
mod tools;
mod unseen;
mod upkeep;
mod wait;
mod workload;

pub use self::{
    action::{
        Action, ActionKind, ActionName, CommentContent, Phase, PullRequestContent, RunChange,
    },
    builder::Plan,
    decisions::deciders,
    input::{PlanInput, PlanSettings, Scope},
    texts::{editors, texts_of},
};

use self::{builder::PlanBuilder, index::Index};

/// Plans one scope.
///
/// *Guarantees*: pure and total; actions ordered by phase and key; keys unique.
/// *Assumptions*: the cluster was read before the rows.
pub fn plan(input: &PlanInput) -> Plan {
    let index = Index::new(input);
    let mut plan = PlanBuilder::new(input, &index);
    match &input.scope {
        Scope::Project { .. } => plan_project(&index, &mut plan),
        Scope::Orphans => orphans::step_orphans(&index, &mut plan),
    }
    plan.finish()
}

fn plan_project(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    repository::step_repositories(index, plan);
    sighting::step_sightings(index, plan);
    unseen::step_unseen(index, plan);
    review::step_review_sightings(index, plan);
    standing::step_standing(index, plan);
    discussion::step_comments(index, plan);
    recover::step_marked(index, plan);
    sighting::step_withdrawals(index, plan);
    recover::step_recover(index, plan);
    stop::step_stop(index, plan);
    disposition::step_dispositions(index, plan);
    queue::step_queue(index, plan);
    environment::step_environments(index, plan);
    wait::step_waits(index, plan);
    attempt::step_attempts(index, plan);
    tools::step_tools(index, plan);
    publish::step_pushes(index, plan);
    result::step_results(index, plan);
    stop::step_stopping(index, plan);
    comment::step_comments(index, plan);
    reopen::step_superseded(index, plan);
    discussion::step_over(index, plan);
    standstill::step_standstills(index, plan);
    finish::step_finish(index, plan);
    approvals::step_approvals(index, plan);
    cleanup::step_cleanup(index, plan);
    recover::step_unread(index, plan);
}
