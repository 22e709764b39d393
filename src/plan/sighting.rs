//! First sight of triggers, and their withdrawal: what the fold of events says.

use std::collections::BTreeMap;

use super::{
    action::ActionKind, approvals, builder::PlanBuilder, discussion, event, index::Index, review,
    standing,
};
use crate::{
    desired::model::{Desired, LabelMeaning},
    domain::{
        Timestamp,
        effect::content_hash,
        event::EventKind,
        fold::Sighting,
        forge::{Actor, Issue, SubjectState},
        ids::{LabelName, ProjectKey, RunId, Subject},
        mirror::RepositoryMirror,
        report::ReportState,
        trigger::{
            Disposition, RefusalReason, Trigger, TriggerIdentity, TriggerKind, TriggerSource,
            WaitReason, WithdrawnBy,
        },
    },
};

/// Records every label event that the catalogue calls a trigger and no row knows.
pub(super) fn step_sightings(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let (Some(desired), Some(project)) = (index.desired(), index.project_key()) else {
        return;
    };
    if index.project().is_none() || !index.identities_known() {
        return;
    }
    let mut kinds: BTreeMap<&LabelName, Option<TriggerKind>> = BTreeMap::new();
    for (subject, sightings) in &index.sightings {
        let Ok(mirror) = index.repository(subject.repository) else {
            continue;
        };
        for sighting in sightings {
            let kind = kinds
                .entry(sighting.label)
                .or_insert_with(|| triggered(desired, sighting.label));
            let Some(kind) = kind.clone() else {
                continue;
            };
            let identity = identity(mirror, sighting);
            if index.triggers.contains_key(&identity) {
                continue;
            }
            let seen = Seen {
                identity,
                kind,
                project,
                mirror,
                subject: *subject,
            };
            record(index, plan, &seen, sight(index, &seen, sighting));
        }
    }
}

/// What the catalogue calls a label, where that is a trigger.
fn triggered(desired: &Desired, label: &LabelName) -> Option<TriggerKind> {
    match desired.label(label.as_str()) {
        Some(LabelMeaning::Trigger(kind)) => Some(kind),
        Some(LabelMeaning::Discussion) => desired.discussion_kind(),
        _ => None,
    }
}

/// Whether a run may yet come out of what is known: its trigger is not settled, or is a label
/// event that no row was made of so far.
pub(super) fn may_name(index: &Index<'_>, run: RunId) -> bool {
    let installation = &index.input.installation;
    let mut triggers = index.triggers.values();
    if let Some(trigger) = triggers.find(|row| row.identity.run_id(installation) == run) {
        return !trigger.settled;
    }
    let mut asked = index.approvals.values();
    if asked.any(|row| !row.state.is_terminal() && row.trigger().run_id(installation) == run) {
        return true;
    }
    let by_label = index.sightings.iter().any(|(subject, sightings)| {
        let Some(mirror) = index.repositories.get(&subject.repository) else {
            return false;
        };
        let mut named = sightings
            .iter()
            .filter(|sighting| identity(mirror, sighting).run_id(installation) == run);
        named.any(|sighting| may_trigger(index, sighting))
    });
    by_label || review::names(index, run)
}

/// Whether the catalogue calls the label a trigger, as it does until a catalogue is in force.
fn may_trigger(index: &Index<'_>, sighting: &Sighting<'_>) -> bool {
    index
        .desired()
        .is_none_or(|desired| triggered(desired, sighting.label).is_some())
}

pub(super) struct Seen<'a> {
    pub(super) identity: TriggerIdentity,
    pub(super) kind: TriggerKind,
    pub(super) project: &'a ProjectKey,
    pub(super) mirror: &'a RepositoryMirror,
    pub(super) subject: Subject,
}

fn identity(mirror: &RepositoryMirror, sighting: &Sighting<'_>) -> TriggerIdentity {
    TriggerIdentity {
        forge: mirror.forge,
        repository: mirror.id(),
        source: TriggerSource::Label,
        source_id: sighting.event.id.to_string(),
    }
}

/// What is known of a trigger beside what it asks for, at first sight.
#[derive(Default)]
pub(super) struct Sight {
    pub(super) label: Option<LabelName>,
    pub(super) actor: Option<Actor>,
    pub(super) via_app: Option<String>,
    pub(super) occurred_at: Timestamp,
    /// Whether it is older than what starts runs here.
    pub(super) historical: bool,
    pub(super) withdrawn_by: Option<WithdrawnBy>,
}

fn sight(index: &Index<'_>, seen: &Seen<'_>, sighting: &Sighting<'_>) -> Sight {
    let event = sighting.event;
    Sight {
        label: Some(sighting.label.clone()),
        actor: event.actor.clone(),
        via_app: event.via_app.clone(),
        occurred_at: event.created_at,
        historical: event.id <= seen.mirror.binding_event
            && !seen.mirror.adopt_existing
            && !has_namespace(index, seen),
        withdrawn_by: sighting.withdrawn_by.clone(),
    }
}

/// What has its namespace was launched by us, whatever a new binding says.
pub(super) fn has_namespace(index: &Index<'_>, seen: &Seen<'_>) -> bool {
    let run = seen.identity.run_id(&index.input.installation);
    !index.namespaces_of(&run).is_empty()
}

/// Records a trigger at first sight.
pub(super) fn record(index: &Index<'_>, plan: &mut PlanBuilder<'_>, seen: &Seen<'_>, sight: Sight) {
    let (disposition, reason) = if sight.historical {
        let reason = "older than the repository's binding";
        (Disposition::Refused(RefusalReason::Historical), reason)
    } else if sight.withdrawn_by.is_some() {
        (Disposition::Withdrawn, "taken back before it was seen")
    } else {
        (Disposition::Waiting(WaitReason::New), "seen")
    };
    let text = index.issues.get(&seen.subject);
    let trigger = Trigger {
        identity: seen.identity.clone(),
        project: seen.project.clone(),
        number: seen.subject.number,
        kind: seen.kind.clone(),
        label: sight.label,
        actor: sight.actor,
        via_app: sight.via_app,
        occurred_at: sight.occurred_at,
        content_hash: text.map(|issue| text_hash(issue)),
        first_seen_at: index.now(),
        settled: disposition.is_final(),
        disposition,
        withdrawn_by: sight.withdrawn_by,
    };
    report(plan, &trigger, ReportState::Acting, reason);
    plan.ensure(
        format!("trigger/{}/seen", trigger.identity),
        None,
        ActionKind::RecordTrigger {
            event: event::of_trigger(
                &trigger,
                EventKind::TriggerSeen,
                event::human(trigger.actor.as_ref()),
                reason,
            ),
            trigger: Box::new(trigger),
        },
    );
}

/// SHA-256 of a subject's title and body.
pub(super) fn text_hash(issue: &Issue) -> String {
    content_hash(format!("{}\n{}", issue.title, issue.body).as_bytes())
}

/// Withdraws triggers whose fold says so, and those whose subject is definitely gone.
pub(super) fn step_withdrawals(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for trigger in index.triggers.values().filter(|trigger| !trigger.settled) {
        if matches!(trigger.disposition, Disposition::Withdrawn) || trigger.withdrawn_by.is_some() {
            continue;
        }
        let Some(by) = withdrawn_by(index, trigger) else {
            continue;
        };
        withdraw(index, plan, trigger, by);
    }
}

/// What took a trigger back, as far as is known now.
pub(super) fn withdrawn_by(index: &Index<'_>, trigger: &Trigger) -> Option<WithdrawnBy> {
    if let Some(by) = &trigger.withdrawn_by {
        return Some(by.clone());
    }
    let by_event = index
        .sighting(trigger)
        .and_then(|sighting| sighting.withdrawn_by.clone())
        .or_else(|| review::withdrawn_by(index, trigger));
    let gone = || {
        let issue = index.issues.get(&trigger.subject())?;
        let readable = index.repository(trigger.identity.repository).is_ok();
        (readable && issue.state == SubjectState::Gone).then_some(WithdrawnBy::Gone)
    };
    by_event
        .or_else(|| approvals::closed_since(index, trigger))
        .or_else(|| standing::closed(index, trigger))
        .or_else(|| discussion::withdrawn_by(index, trigger))
        .or_else(gone)
}

fn withdraw(index: &Index<'_>, plan: &mut PlanBuilder<'_>, trigger: &Trigger, by: WithdrawnBy) {
    let (actor, reason) = match &by {
        WithdrawnBy::Unlabeled { actor, .. } => {
            (event::human(actor.as_ref()), "the label was taken off")
        }
        WithdrawnBy::Dismissed => (event::human(None), "the review was dismissed"),
        WithdrawnBy::Closed { actor, .. } => (event::human(actor.as_ref()), "the issue was closed"),
        WithdrawnBy::Gone => (event::human(None), "the issue is gone from this repository"),
    };
    let run = trigger.identity.run_id(&index.input.installation);
    let has_run = index.runs.contains_key(&run);
    report(plan, trigger, ReportState::Withdrawn, reason);
    let to = if has_run {
        trigger.disposition.clone()
    } else {
        Disposition::Withdrawn
    };
    plan.ensure(
        format!("trigger/{}/withdrawn", trigger.identity),
        None,
        ActionKind::DecideTrigger {
            identity: trigger.identity.clone(),
            from: trigger.disposition.clone(),
            to,
            withdrawn_by: Some(by),
            settled: !has_run,
            event: event::of_trigger(trigger, EventKind::TriggerWithdrawn, actor, reason),
        },
    );
}

/// Writes a trigger's line.
pub(super) fn report(
    plan: &mut PlanBuilder<'_>,
    trigger: &Trigger,
    state: ReportState,
    reason: impl Into<String>,
) {
    plan.report_other(
        format!("trigger/{}", trigger.identity),
        Some(trigger.subject()),
        state,
        reason,
    );
}
