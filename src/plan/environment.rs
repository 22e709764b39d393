//! Environments: a launched run's namespace and the objects in it, kept as they should be.
//!
//! Network policies, role binding and pod-security level follow the newest
//! accepted config; everything else is the run's, frozen.

use serde_json::json;

use super::{
    action::ActionKind, builder::PlanBuilder, event, index::Index, moves::report_quiet,
    stop::delete,
};
use crate::{
    cluster::{
        Propagation,
        manifests::{
            Cidr, ContainerLimits, Egress, EgressRule, PodSecurityLevel, Quota, RunEnvironment,
            RunIdentity, environment_inventory, input_hash,
        },
        snapshot::{NamespacePhase, NamespaceRow, ObjectRow, RunRows},
    },
    desired::model::{Guardrails, PodSecurity},
    domain::{
        event::EventKind,
        launch::LaunchRecord,
        report::ReportState,
        run::{EnvironmentState, FrozenRun, Run},
    },
};

/// The service account that pods of a run use.
pub(super) const SERVICE_ACCOUNT: &str = "codex-runner";

/// The ledger key of a run's environment.
pub(super) fn environment_key(run: &Run) -> String {
    format!("run/{}/environment", run.id)
}

/// Makes and mends the environments of runs that work or are about to.
pub(super) fn step_environments(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for run in index.runs.values().filter(|run| run.state.takes_facts()) {
        let Some(frozen) = &run.frozen else { continue };
        step_environment(index, plan, run, frozen);
    }
}

fn step_environment(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run, frozen: &FrozenRun) {
    let Some(rows) = index.in_cluster(&run.id) else {
        report_quiet(plan, run, ReportState::Unknown, index.cluster_unknown());
        return;
    };
    if terminating(rows, &frozen.namespace) {
        report_quiet(
            plan,
            run,
            ReportState::Waiting,
            "its namespace is going away and is made again after",
        );
        return;
    }
    let environment = environment(index, run, frozen);
    prune(plan, run, rows, &environment);
    if stands(index, run, &environment) {
        return;
    }
    let key = environment_key(run);
    let hash = input_hash(&environment);
    let just_applied = index.may_be_hidden(&key)
        && index
            .environments
            .get(&run.id)
            .is_some_and(|row| row.input_hash.as_ref() == Some(&hash));
    if just_applied {
        report_quiet(
            plan,
            run,
            ReportState::Waiting,
            "its environment is applied; the cluster does not show it yet",
        );
        return;
    }
    let found = plan.ensure(
        key,
        Some(run.id),
        ActionKind::ApplyEnvironment {
            event: event::of_run(
                run,
                EventKind::NamespacePrepared,
                json!({ "namespace": frozen.namespace, "input": hash }),
            ),
            environment: Box::new(environment),
            input_hash: hash,
        },
    );
    plan.report_effect(run, found, "prepares its namespace");
}

/// Whether the environment stands as it should: applied from the present input, all of it
/// there, and nothing of an input before.
pub(super) fn is_ready(index: &Index<'_>, run: &Run, frozen: &FrozenRun) -> bool {
    let environment = environment(index, run, frozen);
    stands(index, run, &environment)
        && index
            .in_cluster(&run.id)
            .is_some_and(|rows| leftovers(rows, &environment).is_empty())
}

/// What an input before has left in the namespace: a role's binding cannot become that of
/// another, and a policy without a rule left is not made any more.
fn leftovers<'a>(rows: &RunRows<'a>, environment: &RunEnvironment) -> Vec<&'a ObjectRow> {
    let wanted = environment_inventory(environment);
    let is_left = |row: &&&ObjectRow| {
        row.namespace == environment.namespace
            && row.owner.attempt.is_none()
            && !wanted.contains(&(row.kind, row.name.clone()))
    };
    rows.objects.iter().filter(is_left).copied().collect()
}

/// Deletes what is left. Not only after the new objects are applied: what was taken away is
/// taken away even where those cannot be.
fn prune(plan: &mut PlanBuilder<'_>, run: &Run, rows: &RunRows<'_>, environment: &RunEnvironment) {
    for row in leftovers(rows, environment) {
        // In the foreground it would stand, and count, until a controller comes by.
        delete(
            plan,
            run,
            row.reference(),
            &row.uid,
            Propagation::Background,
        );
    }
}

fn stands(index: &Index<'_>, run: &Run, environment: &RunEnvironment) -> bool {
    let (Some(rows), Some(row)) = (index.in_cluster(&run.id), index.environments.get(&run.id))
    else {
        return false;
    };
    let Some(namespace) = active_namespace(rows, &environment.namespace) else {
        return false;
    };
    let hash = input_hash(environment);
    row.state == EnvironmentState::Active
        && row.uid.as_ref() == Some(&namespace.uid)
        && row.input_hash.as_ref() == Some(&hash)
        && namespace.input_hash.as_ref() == Some(&hash)
        && environment_inventory(environment)
            .iter()
            .all(|(kind, name)| {
                rows.objects.iter().any(|object| {
                    object.kind == *kind
                        && object.name == *name
                        && object.namespace == environment.namespace
                        && object.input_hash.as_ref() == Some(&hash)
                })
            })
}

fn active_namespace<'a>(rows: &RunRows<'a>, name: &str) -> Option<&'a NamespaceRow> {
    let found = rows
        .namespaces
        .iter()
        .copied()
        .find(|row| row.name == name)?;
    (found.phase == NamespacePhase::Active).then_some(found)
}

fn terminating(rows: &RunRows<'_>, name: &str) -> bool {
    rows.namespaces
        .iter()
        .any(|row| row.name == name && row.phase == NamespacePhase::Terminating)
}

/// Whose the run's objects are.
pub(super) fn identity(index: &Index<'_>, run: &Run, frozen: &FrozenRun) -> RunIdentity {
    RunIdentity {
        installation: index.input.installation.to_string(),
        run: run.id.0,
        project: run.project.to_string(),
        repository_id: u64::try_from(run.repository.0).unwrap_or_default(),
        repository: frozen.repository_name.to_string(),
        issue: u64::try_from(run.work_item.0).unwrap_or_default(),
        trigger: run.trigger.to_string(),
        correlation_id: run.id.to_string(),
    }
}

fn environment(index: &Index<'_>, run: &Run, frozen: &FrozenRun) -> RunEnvironment {
    let guardrails = index
        .desired()
        .map(|desired| desired.guardrails(&run.project).into_owned())
        .unwrap_or_default();
    RunEnvironment {
        identity: identity(index, run, frozen),
        namespace: frozen.namespace.clone(),
        launch: LaunchRecord::of(run).and_then(|launch| launch.to_text()),
        pod_security: match guardrails.pod_security {
            PodSecurity::Restricted => PodSecurityLevel::Restricted,
            PodSecurity::Baseline => PodSecurityLevel::Baseline,
            PodSecurity::Privileged => PodSecurityLevel::Privileged,
        },
        service_account: SERVICE_ACCOUNT.to_owned(),
        agent_role: role(index, run, frozen, &guardrails),
        quota: Quota::default(),
        limits: ContainerLimits::default(),
        egress: egress(index, &guardrails),
    }
}

/// The `ClusterRole` that the run's pods get: by the agent's profile in the newest config,
/// by the frozen one where the agent is not in it any more, and never beyond the guardrails.
fn role(
    index: &Index<'_>,
    run: &Run,
    frozen: &FrozenRun,
    guardrails: &Guardrails,
) -> Option<String> {
    let agent = index
        .desired()
        .and_then(|desired| desired.agent(&run.project, &frozen.agent));
    let profile = match agent {
        Some(agent) => agent.spec.rbac_profile.as_str(),
        None => frozen.rbac_profile.as_deref()?,
    };
    let mut allowed = guardrails.rbac_profiles.iter();
    allowed.find(|allowed| allowed.as_str() == profile)?;
    index.settings().roles.get(profile).cloned()
}

fn egress(index: &Index<'_>, guardrails: &Guardrails) -> Egress {
    let settings = index.settings();
    // The loader refuses what is not a range, so nothing is lost here.
    let ranges = |texts: &[String]| {
        texts
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect::<Vec<Cidr>>()
    };
    Egress {
        dns: settings.dns.clone(),
        run_api: settings.run_api.clone(),
        proxy: settings.proxy.clone(),
        allow: ranges(&guardrails.egress.cidrs)
            .into_iter()
            .map(|cidr| EgressRule {
                cidr,
                except: Vec::new(),
                ports: Vec::new(),
            })
            .collect(),
        except: settings
            .protected
            .iter()
            .copied()
            .chain(ranges(&guardrails.egress.except_cidrs))
            .collect(),
    }
}
