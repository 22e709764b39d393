//! Repositories: is each one bound, readable and ours, and does it have the catalogue's labels?

use serde_json::json;

use super::{
    action::ActionKind,
    builder::{Ensure, PlanBuilder},
    event,
    index::Index,
};
use crate::{
    desired::model::{DesiredRepository, LabelCatalogSpec},
    domain::{
        event::EventKind,
        forge::LabelRecord,
        ids::{LabelName, Locale, RepositoryId},
        mirror::{OwnerMark, OwnerVariable, RepositoryMirror},
        report::ReportState,
    },
};

/// Looks at every repository of the project.
pub(super) fn step_repositories(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let Some(project) = index.project() else {
        return;
    };
    for repository in project.repositories.values() {
        step_repository(index, plan, repository);
    }
}

fn step_repository(index: &Index<'_>, plan: &mut PlanBuilder<'_>, desired: &DesiredRepository) {
    let candidate = format!("repository/{}", desired.name);
    let Some(mirror) = index.repository_named(&desired.name) else {
        plan.report_other(candidate, None, ReportState::Waiting, "it is not bound yet");
        return;
    };
    if mirror.unknown.is_none() && mirror.complete && lacks_owner(index, mirror) {
        set_owner(index, plan, mirror);
    }
    match index.repository(mirror.id()) {
        Err(reason) => plan.report_other(candidate, None, ReportState::Unknown, reason),
        Ok(mirror) if !index.identities_known() => plan.report_other(
            candidate,
            None,
            ReportState::Unknown,
            format!("our own identities at {} are not read yet", mirror.forge),
        ),
        Ok(mirror) => {
            plan.report_other(
                candidate,
                None,
                ReportState::Running,
                "it is bound and readable",
            );
            ensure_labels(index, plan, mirror);
        }
    }
}

fn lacks_owner(index: &Index<'_>, mirror: &RepositoryMirror) -> bool {
    match &mirror.owner_variable {
        OwnerVariable::Absent => true,
        OwnerVariable::Ours => index.is_open(&owner_key(mirror.id())),
        _ => false,
    }
}

fn owner_key(repository: RepositoryId) -> String {
    format!("repository/{repository}/owner")
}

fn set_owner(index: &Index<'_>, plan: &mut PlanBuilder<'_>, mirror: &RepositoryMirror) {
    let installation = index.input.installation.as_str();
    let mark = OwnerMark {
        installation: installation.to_owned(),
        binding_event: mirror.binding_event,
        binding_review: mirror.binding_review,
    };
    plan.ensure(
        owner_key(mirror.id()),
        None,
        ActionKind::SetOwnerVariable {
            repository_id: mirror.id(),
            repository: mirror.record.name.clone(),
            value: mark.to_string(),
            event: event::of_platform(
                EventKind::VariableSet,
                format!("repository/{}", mirror.id()),
                index.project_key(),
                None,
                json!({ "installation": installation }),
            ),
        },
    );
}

/// Defines what the catalogue names and the repository lacks. A label that people deleted
/// while a trigger of it is still in play stays away until that is over: its return
/// would make their deletion look like a withdrawal.
fn ensure_labels(index: &Index<'_>, plan: &mut PlanBuilder<'_>, mirror: &RepositoryMirror) {
    let (Some(desired), Some(existing)) = (index.desired(), index.existing_labels(mirror.id()))
    else {
        return;
    };
    let Some(project) = index.project_key() else {
        return;
    };
    for label in catalogue(&desired.labels, desired.locale(project)) {
        let key = format!("repository/{}/label/{}", mirror.id(), label.name.folded());
        let there = existing.contains(&label.name) && !index.is_open(&key);
        if there || index.just_done(&key) || in_play(index, mirror.id(), &label.name) {
            continue;
        }
        let found = plan.ensure(
            key,
            None,
            ActionKind::EnsureLabel {
                repository_id: mirror.id(),
                repository: mirror.record.name.clone(),
                event: event::of_platform(
                    EventKind::LabelEnsured,
                    format!("repository/{}", mirror.id()),
                    index.project_key(),
                    None,
                    json!({ "label": label.name }),
                ),
                label,
            },
        );
        if let Ensure::Backoff(at) = found {
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
    }
}

fn in_play(index: &Index<'_>, repository: RepositoryId, label: &LabelName) -> bool {
    index.triggers.values().any(|trigger| {
        !trigger.settled
            && trigger.identity.repository == repository
            && trigger.label.as_ref() == Some(label)
    })
}

/// The catalogue's labels as a repository whose people speak this language gets them.
fn catalogue(labels: &LabelCatalogSpec, locale: &Locale) -> Vec<LabelRecord> {
    let record = |name: &LabelName, colour: &str, description: &str| LabelRecord {
        name: name.clone(),
        colour: colour.to_owned(),
        description: description.to_owned(),
    };
    let triggers = labels
        .triggers
        .iter()
        .map(|label| record(&label.name, &label.colour, label.description_in(locale)));
    let single = labels
        .state
        .iter()
        .map(|(_, label)| label)
        .chain(labels.need.values())
        .chain([&labels.debug])
        .chain(&labels.discussion)
        .chain(&labels.priority)
        .map(|label| record(&label.name, &label.colour, label.description_in(locale)));
    triggers.chain(single).collect()
}
