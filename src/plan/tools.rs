//! What agents asked for by the platform's tools: labels put on and taken off, and the requests
//! that labels asking for work become.
//!
//! A fact is a claim: what the grant frozen at launch does not cover is left out, and so is what
//! has got a meaning of its own in the config since then. Of several words on one label the
//! newest counts.

use std::collections::BTreeMap;

use serde_json::json;
use strum::IntoEnumIterator as _;

use super::{
    action::ActionKind,
    builder::{Ensure, PlanBuilder},
    event,
    index::Index,
};
use crate::{
    desired::model::{AgentPolicySpec, Desired, LabelMeaning},
    domain::{
        event::{EventActor, EventKind},
        fact::{Fact, LabelsFact},
        ids::{IssueNumber, LabelName, ProjectKey, Subject},
        report::ReportState,
        run::{Run, RunState},
        tools::{LabelWish, MAX_LABELS_A_CALL, ToolGrant, ToolName},
    },
};

/// What a launch grants: the policy's tools, and which label is whose.
pub(super) fn grant(
    desired: &Desired,
    project: &ProjectKey,
    policy: &AgentPolicySpec,
) -> ToolGrant {
    let all = || ToolName::iter().collect();
    let mut grant = ToolGrant {
        tools: policy.tools.clone().unwrap_or_else(all),
        patterns: policy.writable_labels.clone(),
        ..ToolGrant::default()
    };
    for (label, meaning) in desired.labels_in(project) {
        let group = match meaning {
            LabelMeaning::Trigger(kind)
                if policy
                    .requestable_stages
                    .as_ref()
                    .is_none_or(|stages| stages.contains(&kind.stage)) =>
            {
                &mut grant.requests
            }
            LabelMeaning::Need(_) => &mut grant.labels,
            // As every label of people's: only where the policy's patterns say so.
            LabelMeaning::Semantic(_) => continue,
            _ => &mut grant.reserved,
        };
        group.insert(label);
    }
    grant
}

/// Writes what the agents of runs at work want on and off.
pub(super) fn step_tools(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for run in index.runs.values().filter(|run| run.state.takes_facts()) {
        labels(index, plan, run);
    }
}

/// Writes what a run's agent wants on and off. Nothing of what people took back is written.
pub(super) fn labels(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) -> Ensure {
    if run.state == RunState::Cancelled || index.repository(run.repository).is_err() {
        return Ensure::NotNeeded;
    }
    let mut open = Ensure::NotNeeded;
    for (fact, changes) in by_fact(index, run) {
        for action in changes.actions(plan, run, fact) {
            let found = plan.ensure_ever(action.0, Some(run.id), action.1);
            if found != Ensure::NotNeeded {
                open = found;
            }
        }
    }
    if open != Ensure::NotNeeded {
        let candidate = format!("run/{}/labels", run.id);
        let text = match open {
            Ensure::Backoff(at) => {
                let at = at.format("%Y-%m-%dT%H:%M:%SZ");
                format!("labels that its agent asked for failed before, retried at {at}")
            }
            _ => "labels that its agent asked for are written".to_owned(),
        };
        let state = match open {
            Ensure::Backoff(_) => ReportState::Retrying,
            _ => ReportState::Acting,
        };
        plan.report_other(candidate, Some(run.work_subject()), state, text);
    }
    open
}

/// The labels by which a run's agent asks people for work.
pub(super) fn requests<'a>(index: &Index<'a>, run: &'a Run) -> Vec<&'a LabelName> {
    let Some(frozen) = &run.frozen else {
        return Vec::new();
    };
    if !(run.state.takes_facts() || run.state == RunState::Succeeded) {
        return Vec::new();
    }
    let asked = facts(index, run).flat_map(|(_, fact)| &fact.add);
    asked
        .filter(|label| frozen.tools.adding(label) == LabelWish::Request)
        .collect()
}

/// What one fact still decides.
struct Changes<'a> {
    number: IssueNumber,
    on: Vec<&'a LabelName>,
    off: Vec<&'a LabelName>,
}

impl Changes<'_> {
    fn actions(&self, plan: &PlanBuilder<'_>, run: &Run, fact: i64) -> Vec<(String, ActionKind)> {
        let Some(repository) = plan.repository_of(run) else {
            return Vec::new();
        };
        let subject = Subject {
            repository: run.repository,
            number: self.number,
        };
        let event = |kind, what| {
            let mut event = event::of_run(run, kind, what);
            event.actor = EventActor::Agent { run: run.id };
            event
        };
        let mut actions = Vec::new();
        if !self.on.is_empty() {
            let labels: Vec<_> = self.on.iter().map(|label| (*label).clone()).collect();
            let on = json!({ "on": self.number, "labels": labels });
            let kind = ActionKind::AddLabels {
                subject,
                repository: repository.clone(),
                event: event(EventKind::LabelApplied, on),
                labels,
            };
            actions.push((format!("run/{}/tool/{fact}/on", run.id), kind));
        }
        for label in &self.off {
            let kind = ActionKind::RemoveLabel {
                subject,
                repository: repository.clone(),
                label: (*label).clone(),
                event: event(
                    EventKind::LabelRemoved,
                    json!({ "on": self.number, "label": label }),
                ),
            };
            let key = format!("run/{}/tool/{fact}/off/{}", run.id, label.folded());
            actions.push((key, kind));
        }
        actions
    }
}

/// What is wanted, by the fact that has the last word on it.
fn by_fact<'a>(index: &Index<'a>, run: &'a Run) -> BTreeMap<i64, Changes<'a>> {
    let Some(frozen) = &run.frozen else {
        return BTreeMap::new();
    };
    let mut last: BTreeMap<(IssueNumber, &LabelName), (i64, bool)> = BTreeMap::new();
    for (id, fact) in facts(index, run) {
        let off = fact.remove.iter().map(|label| (label, false));
        for (label, on) in off.chain(fact.add.iter().map(|label| (label, true))) {
            let wish = if on {
                frozen.tools.adding(label)
            } else {
                frozen.tools.removing(label)
            };
            if wish == LabelWish::Write && is_free(index, label) {
                last.insert((fact.number, label), (id, on));
            }
        }
    }
    let mut by_fact = BTreeMap::new();
    for ((number, label), (id, on)) in last {
        let changes = by_fact.entry(id).or_insert_with(|| Changes {
            number,
            on: Vec::new(),
            off: Vec::new(),
        });
        let list = if on {
            &mut changes.on
        } else {
            &mut changes.off
        };
        list.push(label);
    }
    by_fact
}

/// Whether the config, as it is now, leaves a label to agents.
fn is_free(index: &Index<'_>, label: &LabelName) -> bool {
    let (Some(desired), Some(project)) = (index.desired(), index.project_key()) else {
        return false;
    };
    matches!(
        desired.label_in(project, label.as_str()),
        None | Some(LabelMeaning::Need(_) | LabelMeaning::Semantic(_))
    )
}

/// A run's facts about labels, oldest first, of its own issue and pull requests.
fn facts<'a>(index: &Index<'a>, run: &'a Run) -> impl Iterator<Item = (i64, &'a LabelsFact)> {
    let all = index.facts.get(&run.id).into_iter().flatten();
    all.filter_map(|fact| match &fact.what {
        Fact::Labels(labels) => Some((fact.id, labels)),
        _ => None,
    })
    .filter(|(_, fact)| run.works_on(fact.number))
    .filter(|(_, fact)| fact.add.len() + fact.remove.len() <= MAX_LABELS_A_CALL)
}
