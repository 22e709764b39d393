//! Repositories: is each one bound, readable and ours, and does it have the catalogue's labels?

use serde_json::json;

use super::{
    action::ActionKind,
    builder::PlanBuilder,
    event,
    index::Index,
    upkeep::{Upkeep, ensure_labels, ensure_variables},
};
use crate::{
    desired::model::DesiredRepository,
    domain::{
        event::EventKind,
        ids::RepositoryId,
        mirror::{OwnerMark, OwnerVariable, RepositoryMirror},
        report::ReportState,
    },
};

/// Looks at every repository of the project.
pub(super) fn step_repositories(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let Some(project) = index.project() else {
        return;
    };
    let mut upkeep = Upkeep::new(index);
    for repository in project.repositories.values() {
        step_repository(index, plan, repository, &mut upkeep);
    }
    upkeep.report(index, plan);
}

fn step_repository<'a>(
    index: &Index<'a>,
    plan: &mut PlanBuilder<'_>,
    desired: &DesiredRepository,
    upkeep: &mut Upkeep<'a>,
) {
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
            ensure_labels(index, plan, mirror, upkeep);
            ensure_variables(index, plan, mirror, upkeep);
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
