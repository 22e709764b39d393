//! Upkeep: labels and variables of the catalogue in a repository, compared with the mirror and
//! put right, a few a minute.

use std::collections::BTreeMap;

use chrono::Duration;
use serde_json::json;

use super::{
    action::{ActionKind, ActionName},
    builder::{Ensure, PlanBuilder},
    catalogue, event,
    index::Index,
};
use crate::domain::{
    Timestamp,
    event::EventKind,
    forge::{LabelRecord, VariableRecord},
    ids::{LabelName, RepositoryId},
    mirror::{OwnerVariable, RepositoryMirror},
    report::ReportState,
};

/// How much may be written yet: the forge's writes of a minute are there for runs, too.
pub(super) struct Upkeep<'a> {
    left: usize,
    held_back: bool,
    labels: BTreeMap<(RepositoryId, &'a LabelName), &'a LabelRecord>,
    variables: BTreeMap<(RepositoryId, &'a str), &'a str>,
}

impl<'a> Upkeep<'a> {
    /// What is left of this minute, for each of the projects that are planned with these rows.
    pub(super) fn new(index: &Index<'a>) -> Self {
        let rows = &index.input.rows;
        let labels = rows.labels.iter();
        let variables = rows.variables.iter();
        let minute = Duration::minutes(1);
        let is_near = |at: Timestamp| index.now() - minute < at && at < index.now() + minute;
        let effects = index.effects.values();
        // What failed counts while it is tried again: a forge that refuses is not asked more and
        // more. What waits for long, as without rights, leaves the room to others.
        let lately = effects.filter(|effect| {
            UPKEEP.iter().any(|kind| effect.kind == kind.to_string())
                && (effect.done_at.is_some_and(is_near) || effect.next_at.is_some_and(is_near))
        });
        let left = index
            .settings()
            .upkeep_per_minute
            .saturating_sub(lately.count());
        let projects = index.desired().map_or(1, |desired| desired.projects.len());
        Self {
            left: left.div_ceil(projects.max(1)),
            held_back: false,
            labels: labels
                .map(|row| ((row.repository, &row.label.name), &row.label))
                .collect(),
            variables: variables
                .map(|row| {
                    let variable = &row.variable;
                    (
                        (row.repository, variable.name.as_str()),
                        variable.value.as_str(),
                    )
                })
                .collect(),
        }
    }

    /// Says that there is more to do than may be done now.
    pub(super) fn report(&self, index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
        if self.held_back {
            let most = index.settings().upkeep_per_minute;
            let reason =
                format!("more of it follows: at most {most} writes a minute are spent on it");
            plan.report_other("catalogue", None, ReportState::Waiting, reason);
        }
    }

    /// Plans a write, unless it is a new one and there is no room for it; what failed before has
    /// its room already.
    fn ensure(
        &mut self,
        index: &Index<'_>,
        plan: &mut PlanBuilder<'_>,
        key: String,
        kind: ActionKind,
    ) -> Ensure {
        let is_new = index.effect(&key).is_none_or(|effect| effect.attempts == 0);
        if is_new && self.left == 0 {
            self.held_back = true;
            return Ensure::Held;
        }
        let found = plan.ensure(key, None, kind);
        if is_new && found == Ensure::Added {
            self.left -= 1;
        }
        found
    }
}

/// Whether exactly this was done so lately that the forge may still hide it from reads.
fn is_hidden(index: &Index<'_>, key: &str, kind: &ActionKind) -> bool {
    let visible = Duration::seconds(index.settings().visibility_seconds);
    index.effect(key).is_some_and(|effect| {
        let lately = effect.done_at.is_some_and(|at| index.now() < at + visible);
        lately && effect.is_done(&kind.content_hash())
    })
}

/// The actions that keep the catalogue right.
const UPKEEP: [ActionName; 2] = [ActionName::EnsureLabel, ActionName::SetVariable];

/// Defines what the catalogue names and the repository lacks, and puts right what looks
/// otherwise there. A label that people deleted while a trigger of it is still in play stays
/// away until that is over: its return would make their deletion look like a withdrawal.
/// Labels that the config does not name are nobody's business here.
pub(super) fn ensure_labels(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    mirror: &RepositoryMirror,
    upkeep: &mut Upkeep<'_>,
) {
    let (Some(desired), Some(project)) = (index.desired(), index.project_key()) else {
        return;
    };
    if index.existing_labels(mirror.id()).is_none() {
        return;
    }
    for wanted in catalogue::labels(desired, project) {
        let name = &wanted.label.name;
        let key = format!("repository/{}/label/{}", mirror.id(), name.folded());
        let there = upkeep.labels.get(&(mirror.id(), name)).copied();
        let change = there.is_some_and(|found| wanted.differs(found));
        let settled = there.is_some() && !change && !index.is_open(&key);
        if settled || (!change && in_play(index, mirror.id(), name)) {
            continue;
        }
        let kind = ActionKind::EnsureLabel {
            repository_id: mirror.id(),
            repository: mirror.record.name.clone(),
            event: event::of_platform(
                EventKind::LabelEnsured,
                format!("repository/{}", mirror.id()),
                index.project_key(),
                None,
                json!({ "label": name }),
            ),
            change,
            label: wanted.label,
        };
        if is_hidden(index, &key, &kind) {
            continue;
        }
        if let Ensure::Backoff(at) = upkeep.ensure(index, plan, key, kind) {
            report_retry(plan, mirror, at);
        }
    }
}

fn report_retry(plan: &mut PlanBuilder<'_>, mirror: &RepositoryMirror, at: Timestamp) {
    plan.report_other(
        format!("repository/{}", mirror.configured_name),
        None,
        ReportState::Retrying,
        format!(
            "a label could not be made, retried at {}",
            at.format("%Y-%m-%dT%H:%M:%SZ")
        ),
    );
}

fn in_play(index: &Index<'_>, repository: RepositoryId, label: &LabelName) -> bool {
    index.triggers.values().any(|trigger| {
        !trigger.settled
            && trigger.identity.repository == repository
            && trigger.label.as_ref() == Some(label)
    })
}

/// Publishes the catalogue's labels as variables of a repository that is ours, where what is
/// there says otherwise. Variables of other names are nobody's business here.
///
/// A credential that may not write one may write none: until one stands, a single
/// one is tried.
pub(super) fn ensure_variables(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    mirror: &RepositoryMirror,
    upkeep: &mut Upkeep<'_>,
) {
    let Some(desired) = index.desired() else {
        return;
    };
    let candidate = format!("repository/{}/variables", mirror.configured_name);
    match mirror.owner_variable {
        OwnerVariable::Ours => {}
        OwnerVariable::Forbidden => {
            let reason = "our credential may not read variables: labels are not published there";
            plan.report_other(candidate, None, ReportState::Refused, reason);
            return;
        }
        _ => return,
    }
    let key = |name: &str| format!("repository/{}/variable/{name}", mirror.id());
    let wanted = catalogue::variables(desired);
    let stands = |row: &VariableRecord| {
        let there = upkeep.variables.get(&(mirror.id(), row.name.as_str()));
        there.copied() == Some(row.value.as_str())
    };
    let proven = wanted.iter().any(stands);
    let open: Vec<&VariableRecord> = wanted
        .iter()
        .filter(|row| !stands(row) || index.is_open(&key(&row.name)))
        .collect();
    let failed = open.iter().copied().find(|row| {
        index
            .effect(&key(&row.name))
            .is_some_and(|effect| effect.attempts > 0)
    });
    let first = failed.or_else(|| open.first().copied());
    let now = if proven {
        open
    } else {
        first.into_iter().collect()
    };
    for variable in now {
        let key = key(&variable.name);
        let kind = ActionKind::SetVariable {
            repository_id: mirror.id(),
            repository: mirror.record.name.clone(),
            variable: variable.clone(),
            event: event::of_platform(
                EventKind::VariableSet,
                format!("repository/{}", mirror.id()),
                index.project_key(),
                None,
                json!({ "variable": variable.name, "value": variable.value }),
            ),
        };
        if is_hidden(index, &key, &kind) {
            continue;
        }
        let failure = index
            .effect(&key)
            .and_then(|effect| effect.last_error.clone());
        let found = upkeep.ensure(index, plan, key, kind);
        if let Some(why) = failure {
            let when = match found {
                Ensure::Backoff(at) => format!("retried at {}", at.format("%Y-%m-%dT%H:%M:%SZ")),
                _ => "tried again now".to_owned(),
            };
            let reason = format!("labels are not published there: {why}; {when}");
            plan.report_other(&candidate, None, ReportState::Retrying, reason);
        }
    }
}
