//! What a run would carry if it were launched now, and what it would be told.

use super::{
    disposition::new_run,
    freeze::{NotYet, freeze},
    index::Index,
    input::{PlanInput, Scope},
    sighting::withdrawn_by,
};
use crate::domain::{
    ids::Subject,
    run::FrozenRun,
    trigger::{Disposition, Trigger, TriggerIdentity, TriggerKind, TriggerSource, WaitReason},
};

/// Freezes the run that a kind of trigger on this subject would get. A trigger of that kind that
/// waits there counts as the one meant; without one, comments of people without a role stay out,
/// as no trigger says since when they stood.
///
/// # Errors
///
/// Why no run could be launched, as the report would say it.
pub fn preview(
    input: &PlanInput,
    subject: Subject,
    kind: &TriggerKind,
) -> Result<FrozenRun, String> {
    let index = Index::new(input);
    let Scope::Project { project } = &input.scope else {
        return Err("orphans have no prompts".to_owned());
    };
    let mirror = index.repository(subject.repository)?;
    let waiting = index.triggers.values().copied().find(|trigger| {
        trigger.subject() == subject
            && trigger.kind == *kind
            && matches!(trigger.disposition, Disposition::Waiting(_))
            && withdrawn_by(&index, trigger).is_none()
    });
    let imagined = Trigger {
        identity: TriggerIdentity {
            forge: mirror.forge,
            repository: subject.repository,
            source: TriggerSource::Command,
            source_id: "preview".to_owned(),
        },
        project: project.clone(),
        number: subject.number,
        kind: kind.clone(),
        label: None,
        actor: None,
        via_app: None,
        occurred_at: input.now,
        content_hash: None,
        first_seen_at: input.now,
        disposition: Disposition::Waiting(WaitReason::New),
        withdrawn_by: None,
        settled: false,
    };
    let work_item = Subject {
        repository: subject.repository,
        number: index.work_item(subject),
    };
    let run = new_run(&index, work_item, waiting.unwrap_or(&imagined));
    freeze(&index, &run)
        .map(|launch| launch.frozen)
        .map_err(|(NotYet::Wait(reason) | NotYet::Never(reason))| reason)
}
