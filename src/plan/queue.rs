//! The queue: which pending run is launched next, and why the others are not.
//!
//! Limits are per project, so that one project never takes another's room. The
//! order is priority, then age. The head never blocks a run that would fit.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    action::{ActionKind, RunChange},
    authority::{self, Verdict},
    builder::{Ensure, PlanBuilder},
    disposition::{LABEL_MISSING, conflict_on, label_missing},
    event,
    freeze::{Launch, freeze},
    index::Index,
    moves::{end_pending, update_run},
    reasons::refusal_text,
    texts,
};
use crate::{
    desired::model::{AgentView, Suspend},
    domain::{
        Timestamp,
        event::EventKind,
        forge::SubjectState,
        ids::{AgentKey, LabelName, RunId, SlotNo},
        report::ReportState,
        run::{Run, RunState},
    },
};

/// Launches what may be launched, in order.
pub(super) fn step_queue(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let mut room = Room::of(index, plan);
    // What enters the queue in this very plan is launched by the next; its room is not given away.
    let entering = plan.enqueued().map(|run| Place::of(index, run)).min();
    for run in queue(index) {
        if plan.touches(&run.id) {
            continue;
        }
        match hold(index, run) {
            Hold::Reject(reason) => end_pending(plan, run, RunState::Rejected, reason),
            Hold::Held(reason) => held(plan, run, reason),
            Hold::Free
                if entering
                    .as_ref()
                    .is_some_and(|first| *first < Place::of(index, run)) =>
            {
                plan.report_run(run, ReportState::Queued, "queued: an older run comes first");
            }
            Hold::Free => launch_or_queue(index, plan, run, &mut room),
        }
    }
}

/// Pending runs, first to launch first.
fn queue<'a>(index: &Index<'a>) -> Vec<&'a Run> {
    let mut queue: Vec<_> = index
        .runs
        .values()
        .copied()
        .filter(|run| run.state == RunState::Pending)
        .collect();
    queue.sort_by_cached_key(|run| Place::of(index, run));
    queue
}

/// A run's place in the queue: larger priority, then the older trigger by the forge's own clock
/// and ids, which grow. When its row was written decides nothing, so that neither a crash nor
/// the order of a pass's writes does.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    priority: std::cmp::Reverse<i32>,
    occurred_at: Option<Timestamp>,
    source_id: (usize, String),
    run: RunId,
}

impl Place {
    fn of(index: &Index<'_>, run: &Run) -> Self {
        let source_id = &run.trigger.source_id;
        Self {
            priority: std::cmp::Reverse(run.priority),
            occurred_at: index.triggers.get(&run.trigger).map(|row| row.occurred_at),
            source_id: (source_id.len(), source_id.clone()),
            run: run.id,
        }
    }
}

/// What stands between a pending run and its launch besides room.
enum Hold {
    Free,
    Held(String),
    Reject(String),
}

const TEXT_CHANGED: &str = "refused: title or body changed by someone who may not start runs";

fn hold(index: &Index<'_>, run: &Run) -> Hold {
    let Some(project) = index.project() else {
        return Hold::Held("the project is not in the config".to_owned());
    };
    if let Err(reason) = index.repository(run.repository) {
        return Hold::Held(reason);
    }
    if let Some(trigger) = index.triggers.get(&run.trigger) {
        match authority::judge(index, &project.spec, trigger) {
            Verdict::Refuse(reason) => return Hold::Reject(refusal_text(&reason).to_owned()),
            Verdict::Wait(_) => {
                return Hold::Held("the actor's permission is not known".to_owned());
            }
            Verdict::Entitled => {}
        }
        match index.issues.get(&run.subject()) {
            None => return Hold::Held("the issue is not read".to_owned()),
            Some(issue) if issue.state != SubjectState::Open => {
                return Hold::Held("the issue is not open".to_owned());
            }
            Some(issue) => match texts::judge_text(index, &project.spec, trigger, issue) {
                Verdict::Refuse(_) => return Hold::Reject(TEXT_CHANGED.to_owned()),
                Verdict::Wait(_) => return Hold::Held(texts::EDITS_UNREAD.to_owned()),
                Verdict::Entitled if label_missing(index, trigger, issue) => {
                    return Hold::Held(LABEL_MISSING.to_owned());
                }
                Verdict::Entitled => {}
            },
        }
    }
    if let Some(labels) = conflict_on(index, run.work_subject()) {
        let labels: Vec<_> = labels.iter().map(LabelName::as_str).collect();
        return Hold::Held(format!(
            "the labels {} contradict each other",
            labels.join(", ")
        ));
    }
    let suspended = index
        .desired()
        .is_some_and(|desired| desired.suspend(&run.project) != Suspend::None);
    if suspended {
        return Hold::Held("the project or platform is suspended".to_owned());
    }
    match agent_of(index, run).filter(|agent| !agent.spec.enabled) {
        Some(agent) => Hold::Held(format!("agent `{}` is not enabled", agent.key)),
        None => Hold::Free,
    }
}

/// The agent that a run would be launched with now.
fn agent_of<'a>(index: &Index<'a>, run: &Run) -> Option<AgentView<'a>> {
    let (desired, project) = index.desired().zip(index.project_key())?;
    desired.agent_for(project, &run.kind.stage)
}

fn held(plan: &mut PlanBuilder<'_>, run: &Run, reason: String) {
    plan.report_run(run, ReportState::Waiting, format!("held: {reason}"));
    if run.held.as_ref() != Some(&reason) {
        let change = RunChange {
            held: Some(Some(reason)),
            ..RunChange::default()
        };
        update_run(plan, run, "held", change);
    }
}

fn launch_or_queue(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run, room: &mut Room) {
    if run.held.is_some() {
        let change = RunChange {
            held: Some(None),
            ..RunChange::default()
        };
        plan.report_run(run, ReportState::Acting, "no longer held");
        update_run(plan, run, "held", change);
        return;
    }
    if let Some(reason) = index.workload_unknown() {
        plan.report_run(run, ReportState::Unknown, reason);
        return;
    }
    // A prompt is rendered only for a run that there is room for.
    if let Some(Err(reason)) = agent_of(index, run).map(|agent| room.check(agent.key)) {
        plan.report_run(run, ReportState::Queued, reason);
        return;
    }
    let launch = match freeze(index, run) {
        Ok(launch) => launch,
        Err(super::freeze::NotYet::Wait(reason)) => {
            plan.report_run(run, ReportState::Waiting, reason);
            return;
        }
        Err(super::freeze::NotYet::Never(reason)) => {
            end_pending(plan, run, RunState::Rejected, reason);
            return;
        }
    };
    match room.take(&launch.frozen.agent) {
        Ok(slot) => {
            let found = launch_run(plan, run, launch, slot, false);
            plan.report_effect(run, found, &format!("launches in slot {slot}"));
        }
        Err(reason) => plan.report_run(run, ReportState::Queued, reason),
    }
}

/// Plans a run's launch: from the queue, or again beside a workload that is there already.
pub(super) fn launch_run(
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    launch: Launch,
    slot: SlotNo,
    recovered: bool,
) -> Ensure {
    let mut details = json!({
        "slot": slot,
        "branch": launch.branch,
        "agent": launch.frozen.agent,
        "config": launch.frozen.config_sha,
        "prompt": launch.frozen.prompt_hash,
        "model": launch.frozen.model,
        "model_source": launch.frozen.model_source,
        "reasoning": launch.frozen.reasoning,
        "reasoning_source": launch.frozen.reasoning_source,
    });
    if recovered {
        details["recovered"] = json!(true);
    }
    plan.ensure(
        format!("run/{}/launch", run.id),
        Some(run.id),
        ActionKind::LaunchRun {
            version: run.version,
            recovered,
            slot,
            event: event::of_run(run, EventKind::RunLaunched, details),
            frozen: Box::new(launch.frozen),
            branch: launch.branch,
            head: launch.head,
        },
    )
}

/// What room a project has left.
pub(super) struct Room {
    free_slots: BTreeSet<SlotNo>,
    active: u32,
    max_runs: u32,
    by_agent: BTreeMap<AgentKey, u32>,
    agent_limits: BTreeMap<AgentKey, u32>,
}

impl Room {
    /// The room beside active runs, and beside those that this plan launches again.
    fn of(index: &Index<'_>, plan: &PlanBuilder<'_>) -> Self {
        let active: Vec<_> = index
            .runs
            .values()
            .filter(|run| run.state.is_active())
            .collect();
        let mut by_agent = BTreeMap::new();
        for frozen in active.iter().filter_map(|run| run.frozen.as_ref()) {
            *by_agent.entry(frozen.agent.clone()).or_insert(0) += 1;
        }
        for (_, frozen) in plan.launches() {
            *by_agent.entry(frozen.agent.clone()).or_insert(0) += 1;
        }
        let rows = index.input.rows.slots.iter().map(|row| row.slot);
        let held: BTreeSet<_> = rows.chain(plan.launches().map(|(slot, _)| slot)).collect();
        let slots = index.project().map_or(0, |project| project.spec.slots);
        let last = i32::try_from(slots).unwrap_or(i32::MAX);
        Self {
            free_slots: (1..=last)
                .map(SlotNo)
                .filter(|slot| !held.contains(slot))
                .collect(),
            active: u32::try_from(active.len() + plan.launches().count()).unwrap_or(u32::MAX),
            max_runs: index.project().map_or(0, |project| project.spec.max_runs()),
            by_agent,
            agent_limits: agent_limits(index),
        }
    }

    /// Says which limit stands in the way of a run, if one does.
    fn check(&self, agent: &AgentKey) -> Result<(), String> {
        if self.active >= self.max_runs {
            return Err(format!(
                "queued: all {} runs of the project are taken",
                self.max_runs
            ));
        }
        let running = self.by_agent.get(agent).copied().unwrap_or(0);
        let limit = self.agent_limits.get(agent).copied().unwrap_or(0);
        if running >= limit {
            return Err(format!(
                "queued: agent `{agent}` already has its {limit} runs"
            ));
        }
        if self.free_slots.is_empty() {
            return Err("queued: no slot is free".to_owned());
        }
        Ok(())
    }

    /// Takes the lowest free slot, or says which limit stands in the way.
    pub(super) fn take(&mut self, agent: &AgentKey) -> Result<SlotNo, String> {
        self.check(agent)?;
        let Some(slot) = self.free_slots.pop_first() else {
            return Err("queued: no slot is free".to_owned());
        };
        self.active += 1;
        *self.by_agent.entry(agent.clone()).or_insert(0) += 1;
        Ok(slot)
    }
}

fn agent_limits(index: &Index<'_>) -> BTreeMap<AgentKey, u32> {
    let (Some(desired), Some(project)) = (index.desired(), index.project_key()) else {
        return BTreeMap::new();
    };
    let own = desired
        .project(project)
        .into_iter()
        .flat_map(|project| project.agents.keys());
    desired
        .agents
        .keys()
        .chain(own)
        .filter_map(|agent| Some((agent.clone(), desired.agent_limit(project, agent)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The oracle counts from outside: whatever is asked, no limit is ever passed.
        #[test]
        fn room_is_never_overdrawn(
            slots in 0..6_i32,
            max_runs in 0..6_u32,
            limits in proptest::collection::btree_map("[ab]", 0..4_u32, 0..3),
            asks in proptest::collection::vec("[ab]", 0..20),
        ) {
            let limits: BTreeMap<_, _> =
                limits.into_iter().map(|(agent, limit)| (AgentKey::new(agent), limit)).collect();
            let mut room = Room {
                free_slots: (1..=slots).map(SlotNo).collect(),
                active: 0,
                max_runs,
                by_agent: BTreeMap::new(),
                agent_limits: limits.clone(),
            };
            let mut taken: Vec<(AgentKey, SlotNo)> = Vec::new();
            for agent in asks.into_iter().map(AgentKey::new) {
                if let Ok(slot) = room.take(&agent) {
                    taken.push((agent, slot));
                }
            }
            let distinct: BTreeSet<_> = taken.iter().map(|(_, slot)| *slot).collect();
            prop_assert_eq!(distinct.len(), taken.len());
            prop_assert!(taken.len() <= usize::try_from(max_runs).unwrap());
            prop_assert!(taken.len() <= usize::try_from(slots).unwrap());
            for (agent, limit) in &limits {
                let of_agent = taken.iter().filter(|(a, _)| a == agent).count();
                prop_assert!(of_agent <= usize::try_from(*limit).unwrap());
            }
        }
    }
}
