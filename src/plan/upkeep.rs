//! Upkeep: labels and variables of the catalogue in a repository, compared with the mirror and
//! put right, a few a minute.

use chrono::Duration;
use serde_json::json;

use super::{
    action::{ActionKind, ActionName},
    builder::{Ensure, PlanBuilder},
    catalogue::{self, WantedLabel},
    event,
    index::Index,
    lookup::Groups,
};
use crate::domain::{
    Timestamp,
    event::EventKind,
    forge::{LabelRecord, VariableRecord},
    ids::{LabelName, RepositoryId},
    mirror::{OwnerVariable, RepositoryMirror},
    report::ReportState,
};

/// Upkeep of the repositories of one plan.
pub(super) struct Upkeep<'a> {
    wanted: Wanted<'a>,
    room: Room,
}

/// What every repository is to have, and what tells whether it does.
struct Wanted<'a> {
    labels: Vec<WantedLabel<'a>>,
    variables: Vec<VariableRecord>,
    /// The variables that stand.
    standing: Groups<RepositoryId, &'a VariableRecord>,
    /// Whether any write to a repository is not known to be done. Nearly always none is, and then
    /// nobody has to ask for each.
    any_open: bool,
    /// The labels and the variables of a repository that lacked nothing. Nearly all look alike,
    /// and are compared as a whole.
    whole_labels: Option<Vec<&'a LabelRecord>>,
    whole_variables: Option<Vec<&'a VariableRecord>>,
}

/// How much may be written yet: the forge's writes of a minute are there for runs, too.
struct Room {
    left: usize,
    held_back: bool,
}

impl<'a> Upkeep<'a> {
    pub(super) fn new(index: &Index<'a>) -> Self {
        Self {
            wanted: Wanted::new(index),
            room: Room::new(index),
        }
    }

    /// Says that there is more to do than may be done now.
    pub(super) fn report(&self, index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
        if self.room.held_back {
            let most = index.settings().upkeep_per_minute;
            let reason =
                format!("more of it follows: at most {most} writes a minute are spent on it");
            plan.report_other("catalogue", None, ReportState::Waiting, reason);
        }
    }
}

impl<'a> Wanted<'a> {
    fn new(index: &Index<'a>) -> Self {
        let labels = index.desired().zip(index.project_key());
        let standing = index.input.rows.variables.iter();
        let standing = standing.map(|row| (row.repository, &row.variable));
        let mut effects = index.effects.iter();
        Self {
            labels: labels.map_or_else(Vec::new, |(desired, key)| catalogue::labels(desired, key)),
            variables: index.desired().map_or_else(Vec::new, catalogue::variables),
            standing: Groups::new(standing),
            any_open: effects
                .any(|(key, effect)| key.starts_with(OF_REPOSITORY) && effect.done_at.is_none()),
            whole_labels: None,
            whole_variables: None,
        }
    }

    /// Whether a write to a repository was tried and nothing says that it is done.
    fn is_open(&self, index: &Index<'_>, key: impl FnOnce() -> String) -> bool {
        self.any_open && index.is_open(&key())
    }
}

impl Room {
    /// What is left of this minute, for each of the projects that are planned with these rows.
    fn new(index: &Index<'_>) -> Self {
        let minute = Duration::minutes(1);
        let is_near = |at: Timestamp| index.now() - minute < at && at < index.now() + minute;
        let kinds = UPKEEP.map(|kind| kind.to_string());
        // What failed counts while it is tried again: a forge that refuses is not asked more and
        // more. What waits for long, as without rights, leaves the room to others.
        let lately = index.effects.values().filter(|effect| {
            kinds.contains(&effect.kind)
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
        }
    }

    /// Whether there is no room for this write: it is a new one and none are left. What failed
    /// before has its room already, and what was just done may need no more.
    fn is_spent(&mut self, index: &Index<'_>, key: &str) -> bool {
        let spent = self.left == 0 && is_new(index, key) && !index.just_done(key);
        self.held_back |= spent;
        spent
    }

    /// Plans a write, unless there is no room for it.
    fn ensure(
        &mut self,
        index: &Index<'_>,
        plan: &mut PlanBuilder<'_>,
        key: String,
        kind: ActionKind,
    ) -> Ensure {
        let is_new = is_new(index, &key);
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

fn is_new(index: &Index<'_>, key: &str) -> bool {
    index.effect(key).is_none_or(|effect| effect.attempts == 0)
}

/// Whether exactly this was done so lately that the forge may still hide it from reads.
fn is_hidden(index: &Index<'_>, key: &str, kind: &ActionKind) -> bool {
    index.just_done(key)
        && index
            .effect(key)
            .is_some_and(|effect| effect.is_done(&kind.content_hash()))
}

/// What the ledger's keys of writes to repositories begin with.
const OF_REPOSITORY: &str = "repository/";

/// The actions that keep the catalogue right.
const UPKEEP: [ActionName; 2] = [ActionName::EnsureLabel, ActionName::SetVariable];

/// Defines what the catalogue names and the repository lacks, and puts right what looks
/// otherwise there. A label that people deleted while a trigger of it is still in play stays
/// away until that is over: its return would make their deletion look like a withdrawal.
/// Labels that the config does not name are nobody's business here.
pub(super) fn ensure_labels<'a>(
    index: &Index<'a>,
    plan: &mut PlanBuilder<'_>,
    mirror: &RepositoryMirror,
    upkeep: &mut Upkeep<'a>,
) {
    let Some(existing) = index.existing_labels(mirror.id()) else {
        return;
    };
    let Upkeep { wanted: all, room } = upkeep;
    if !all.any_open && all.whole_labels.as_deref() == Some(existing) {
        return;
    }
    let mut whole = true;
    for wanted in &all.labels {
        let name = wanted.name;
        let key = || label_key(mirror.id(), name);
        let there = LabelRecord::find(existing, name);
        let change = there.is_some_and(|found| wanted.differs(found));
        let settled = there.is_some() && !change && !all.is_open(index, key);
        whole &= settled;
        if settled || (!change && in_play(index, mirror.id(), name)) {
            continue;
        }
        let key = key();
        if room.is_spent(index, &key) {
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
            label: wanted.record(),
        };
        if is_hidden(index, &key, &kind) {
            continue;
        }
        if let Ensure::Backoff(at) = room.ensure(index, plan, key, kind) {
            report_retry(plan, mirror, at);
        }
    }
    if whole {
        all.whole_labels = Some(existing.to_vec());
    }
}

fn label_key(repository: RepositoryId, name: &LabelName) -> String {
    format!("{OF_REPOSITORY}{repository}/label/{}", name.folded())
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
    let candidate = || format!("repository/{}/variables", mirror.configured_name);
    match mirror.owner_variable {
        OwnerVariable::Ours => {}
        OwnerVariable::Forbidden => {
            let reason = "our credential may not read variables: labels are not published there";
            plan.report_other(candidate(), None, ReportState::Refused, reason);
            return;
        }
        _ => return,
    }
    let Upkeep { wanted, room } = upkeep;
    let key = |row: &VariableRecord| {
        let name = &row.name;
        format!("{OF_REPOSITORY}{}/variable/{name}", mirror.id())
    };
    let standing = wanted.standing.all(&mirror.id());
    if !wanted.any_open && wanted.whole_variables.as_deref() == Some(standing) {
        return;
    }
    let stands = |row: &VariableRecord| standing.contains(&row);
    let proven = wanted.variables.iter().any(stands);
    let all = wanted.variables.iter();
    let open: Vec<&VariableRecord> = all
        .filter(|row| !stands(row) || wanted.is_open(index, || key(row)))
        .collect();
    if open.is_empty() {
        wanted.whole_variables = Some(standing.to_vec());
        return;
    }
    let failed = open.iter().copied().find(|row| {
        index
            .effect(&key(row))
            .is_some_and(|effect| effect.attempts > 0)
    });
    let first = failed.or_else(|| open.first().copied());
    let now = if proven {
        open
    } else {
        first.into_iter().collect()
    };
    for variable in now {
        let key = key(variable);
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
        let found = room.ensure(index, plan, key, kind);
        if let Some(why) = failure {
            let when = match found {
                Ensure::Backoff(at) => format!("retried at {}", at.format("%Y-%m-%dT%H:%M:%SZ")),
                _ => "tried again now".to_owned(),
            };
            let reason = format!("labels are not published there: {why}; {when}");
            plan.report_other(candidate(), None, ReportState::Retrying, reason);
        }
    }
}
