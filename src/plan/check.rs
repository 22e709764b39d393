//! Consistency rules over a finished plan, told apart from the planner on purpose: what
//! fails takes all actions of the runs involved out of the plan and is reported
//! stalled; the rest is applied.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    action::{Action, ActionKind},
    builder::Plan,
    input::{PlanInput, Scope},
};
use crate::domain::{
    ids::{BranchName, RepositoryId, RunId, SlotNo},
    report::{ReportLine, ReportState},
    run::{Run, RunState},
};

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The rule, as a metric label.
    pub rule: Rule,
    /// The runs involved; all their actions are withheld.
    pub runs: BTreeSet<RunId>,
    /// Keys of the actions that broke it.
    pub keys: Vec<String>,
    /// In one sentence.
    pub detail: String,
}

/// The rules.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Rule {
    /// Two runs in one slot.
    SlotTwice,
    /// Two active runs on one work item or branch.
    WorkTwice,
    /// More active runs than the project may have.
    OverLimit,
    /// A transition that the table does not have, or two moves of one run.
    BadTransition,
    /// A deletion of something that the cluster is not known to hold as ours.
    NotOurs,
}

/// Checks a plan and withholds what breaks a rule.
pub fn check(input: &PlanInput, mut plan: Plan) -> (Plan, Vec<Violation>) {
    let runs: BTreeMap<RunId, &Run> = input.rows.runs.iter().map(|run| (run.id, run)).collect();
    let mut violations = Vec::new();
    violations.extend(check_transitions(&plan, &runs));
    violations.extend(check_launches(input, &plan, &runs));
    violations.extend(check_deletions(input, &plan));
    for violation in &violations {
        plan.actions.retain(|action| {
            let of_run = action.run.is_some_and(|run| violation.runs.contains(&run));
            !of_run && !violation.keys.contains(&action.key.0)
        });
        report(&mut plan, violation, &runs);
    }
    (plan, violations)
}

fn report(plan: &mut Plan, violation: &Violation, runs: &BTreeMap<RunId, &Run>) {
    for id in &violation.runs {
        let candidate = format!("run/{id}");
        plan.report.retain(|line| line.candidate != candidate);
        plan.report.push(ReportLine {
            candidate,
            project: runs.get(id).map(|run| run.project.clone()),
            subject: runs.get(id).map(|run| run.subject()),
            run: Some(*id),
            state: ReportState::Stalled,
            reason: format!(
                "the plan broke the rule {}: {}",
                violation.rule, violation.detail
            ),
        });
    }
    plan.report.sort_by(|a, b| a.candidate.cmp(&b.candidate));
}

fn violation(rule: Rule, actions: &[&Action], detail: String) -> Violation {
    Violation {
        rule,
        runs: actions.iter().filter_map(|action| action.run).collect(),
        keys: actions.iter().map(|action| action.key.0.clone()).collect(),
        detail,
    }
}

fn check_transitions(plan: &Plan, runs: &BTreeMap<RunId, &Run>) -> Vec<Violation> {
    let mut moves: BTreeMap<RunId, Vec<&Action>> = BTreeMap::new();
    for action in &plan.actions {
        let moving = matches!(
            action.kind,
            ActionKind::MoveRun { .. } | ActionKind::LaunchRun { .. }
        );
        if let Some(run) = action.run.filter(|_| moving) {
            moves.entry(run).or_default().push(action);
        }
    }
    let illegal = |action: &Action| match (&action.kind, action.run.and_then(|run| runs.get(&run)))
    {
        (ActionKind::MoveRun { from, to, .. }, Some(run)) => {
            run.state != *from || !from.may_become(*to)
        }
        (ActionKind::LaunchRun { .. }, Some(run)) => run.state != RunState::Pending,
        _ => true,
    };
    moves
        .values()
        .filter(|actions| actions.len() > 1 || actions.iter().any(|action| illegal(action)))
        .map(|actions| {
            violation(
                Rule::BadTransition,
                actions,
                "a run cannot move like this".to_owned(),
            )
        })
        .collect()
}

fn check_launches(input: &PlanInput, plan: &Plan, runs: &BTreeMap<RunId, &Run>) -> Vec<Violation> {
    let launches: Vec<(&Action, &Run, SlotNo, &BranchName, bool)> = plan
        .actions
        .iter()
        .filter_map(|action| match &action.kind {
            ActionKind::LaunchRun {
                slot,
                branch,
                recovered,
                ..
            } => Some((action, *runs.get(&action.run?)?, *slot, branch, *recovered)),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    let mut slots: BTreeSet<SlotNo> = input.rows.slots.iter().map(|row| row.slot).collect();
    let active = input.rows.runs.iter().filter(|run| run.state.is_active());
    let mut work: BTreeSet<_> = active.clone().map(Run::work_subject).collect();
    let mut branches: BTreeSet<(RepositoryId, BranchName)> = active
        .clone()
        .filter_map(|run| Some((run.repository, run.branch.clone()?)))
        .collect();
    let mut count = active.count();
    for (action, run, slot, branch, recovered) in launches {
        count += 1;
        if !slots.insert(slot) {
            found.push(violation(
                Rule::SlotTwice,
                &[action],
                format!("slot {slot} is taken"),
            ));
        }
        if !work.insert(run.work_subject()) || !branches.insert((run.repository, branch.clone())) {
            found.push(violation(
                Rule::WorkTwice,
                &[action],
                format!("{branch} is in work already"),
            ));
        }
        if count > limit(input) && !recovered {
            found.push(violation(
                Rule::OverLimit,
                &[action],
                format!("{count} active runs"),
            ));
        }
    }
    found
}

fn limit(input: &PlanInput) -> usize {
    let Scope::Project { project } = &input.scope else {
        return 0;
    };
    let spec = input
        .desired
        .as_ref()
        .and_then(|desired| desired.project(project));
    spec.map_or(0, |project| {
        usize::try_from(project.spec.max_runs()).unwrap_or(usize::MAX)
    })
}

/// Everything that is deleted must be in the cluster's known view, under its uid, or be the
/// namespace that we made by our own rows.
fn check_deletions(input: &PlanInput, plan: &Plan) -> Vec<Violation> {
    let known: Option<BTreeSet<&str>> = input.cluster.known().map(|snapshot| {
        let namespaces = snapshot.namespaces.iter().map(|row| row.uid.as_str());
        let jobs = snapshot.jobs.iter().map(|row| row.uid.as_str());
        let pods = snapshot.pods.iter().map(|row| row.uid.as_str());
        let others = snapshot.objects.iter().map(|row| row.uid.as_str());
        let made = input.rows.environments.iter();
        let made = made.filter_map(|row| row.uid.as_deref());
        let seen = namespaces.chain(jobs).chain(pods).chain(others);
        let attempts = input.rows.attempts.iter();
        let started = attempts.filter_map(|row| row.job_uid.as_deref());
        seen.chain(made).chain(started).collect()
    });
    plan.actions
        .iter()
        .filter(|action| match &action.kind {
            ActionKind::DeleteObject { target, .. }
            | ActionKind::DeleteNamespace { target, .. } => known
                .as_ref()
                .is_none_or(|known| !known.contains(target.uid.as_str())),
            _ => false,
        })
        .map(|action| {
            violation(
                Rule::NotOurs,
                &[action],
                "it would delete what is not known to be ours".to_owned(),
            )
        })
        .collect()
}
