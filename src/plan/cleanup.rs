//! Cleanup: a run's environment goes once the run has ended, unless it is kept for debugging.
//!
//! Deleting a namespace needs a terminal run, its pods gone (known), and either
//! the debug label known to be absent or the retention ceiling passed.

use chrono::Duration;
use serde_json::json;

use super::{
    action::ActionKind,
    builder::{Ensure, PlanBuilder},
    comment, event,
    index::Index,
    reopen,
};
use crate::{
    cluster::{DeleteTarget, ObjectRef, Propagation, snapshot::NamespacePhase},
    desired::model::LabelMeaning,
    domain::{
        event::EventKind,
        report::{ReportLine, ReportState},
        run::{Environment, EnvironmentState, Run},
    },
};

/// Looks at every environment whose run has ended.
pub(super) fn step_cleanup(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for (id, environment) in &index.environments {
        let Some(run) = index.runs.get(id) else {
            continue;
        };
        if run.state.is_terminal() && environment.state != EnvironmentState::Gone {
            step_environment(index, plan, run, environment);
        }
    }
}

fn step_environment(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    environment: &Environment,
) {
    let Some(rows) = index.in_cluster(&run.id) else {
        report(plan, run, ReportState::Unknown, index.cluster_unknown());
        return;
    };
    let namespace = rows
        .namespaces
        .iter()
        .copied()
        .find(|row| row.name == environment.namespace);
    let Some(namespace) = namespace else {
        if index.may_be_hidden(&super::environment::environment_key(run)) {
            report(
                plan,
                run,
                ReportState::Waiting,
                "waits until the cluster shows its namespace",
            );
        } else if let Some(uid) = asked_to_go(index, run, environment) {
            // The answer was lost: asked once more, the ledger has it with its event.
            delete(plan, run, &environment.namespace, uid);
        } else {
            tell_gone(index, plan, run, environment);
        }
        return;
    };
    if namespace.phase == NamespacePhase::Terminating {
        going(index, plan, run, environment);
        return;
    }
    if !rows.pods.is_empty() {
        report(plan, run, ReportState::Waiting, "its pods are still there");
        return;
    }
    match kept(index, run, environment) {
        Keep::Unknown(reason) => report(plan, run, ReportState::Unknown, reason),
        Keep::Yes => retain(plan, run, environment),
        Keep::No => delete(plan, run, &namespace.name, &namespace.uid),
    }
}

enum Keep {
    Yes,
    No,
    Unknown(String),
}

fn kept(index: &Index<'_>, run: &Run, environment: &Environment) -> Keep {
    let Some(desired) = index.desired() else {
        return Keep::Unknown("no config is accepted yet".to_owned());
    };
    let ceiling = desired.platform.retention.debug_namespaces.as_secs();
    let ceiling = Duration::seconds(i64::try_from(ceiling).unwrap_or(i64::MAX / 2_000));
    if environment
        .retained_at
        .is_some_and(|at| at + ceiling <= index.now())
    {
        return Keep::No;
    }
    if !index.repositories.contains_key(&run.repository) || reopen::is_taken_back(index, run) {
        return Keep::No;
    }
    if let Err(reason) = index.repository(run.repository) {
        return Keep::Unknown(reason);
    }
    let is_debug = |subject| {
        let issue = index.issues.get(&subject)?;
        Some(issue.labels.iter().any(|label| {
            desired.label_in(&run.project, label.as_str()) == Some(LabelMeaning::Debug)
        }))
    };
    match (is_debug(run.subject()), is_debug(run.work_subject())) {
        (None, None) => Keep::Unknown("the issue's labels are not read".to_owned()),
        (subject, work_item) if subject == Some(true) || work_item == Some(true) => Keep::Yes,
        _ => Keep::No,
    }
}

fn retain(plan: &mut PlanBuilder<'_>, run: &Run, environment: &Environment) {
    report(
        plan,
        run,
        ReportState::Waiting,
        "kept: the debug label is on the issue",
    );
    if environment.state == EnvironmentState::Active {
        plan.ensure(
            format!("run/{}/environment/retain", run.id),
            Some(run.id),
            ActionKind::RetainEnvironment {
                event: event::of_run(
                    run,
                    EventKind::NamespaceRetained,
                    json!({
                        "namespace": environment.namespace,
                        "reason": "debug_label_present",
                        "cleanup": format!("kubectl delete namespace {}", environment.namespace),
                    }),
                ),
            },
        );
    }
}

fn delete_key(run: &Run, uid: &str) -> String {
    format!("run/{}/environment/delete/{uid}", run.id)
}

/// The namespace's uid, where its deletion was tried and nothing says that it is done.
fn asked_to_go<'a>(index: &Index<'_>, run: &Run, environment: &'a Environment) -> Option<&'a str> {
    let uid = environment.uid.as_deref()?;
    index.is_open(&delete_key(run, uid)).then_some(uid)
}

fn delete(plan: &mut PlanBuilder<'_>, run: &Run, name: &str, uid: &str) {
    report(plan, run, ReportState::Acting, "its namespace is deleted");
    plan.ensure(
        delete_key(run, uid),
        Some(run.id),
        ActionKind::DeleteNamespace {
            target: DeleteTarget {
                object: ObjectRef::namespace(name),
                uid: uid.to_owned(),
                propagation: Propagation::Background,
            },
            orphan: false,
            event: event::of_run(
                run,
                EventKind::ObjectDeleted,
                json!({ "kind": "Namespace", "name": name }),
            ),
        },
    );
}

fn going(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run, environment: &Environment) {
    let limit = Duration::seconds(index.settings().stuck_namespace_seconds);
    let stuck = environment
        .deleting_at
        .is_some_and(|at| at + limit <= index.now());
    if stuck {
        report(
            plan,
            run,
            ReportState::Stalled,
            "its namespace is stuck in Terminating: see its finalizers",
        );
    } else {
        report(
            plan,
            run,
            ReportState::Running,
            "its namespace is going away",
        );
    }
}

/// People are told first: once the row says that it is gone, nobody looks at it again. What its
/// run's end has to say there comes before.
fn tell_gone(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run, environment: &Environment) {
    let (state, reason) = match index.repository(run.repository) {
        Err(reason) if index.repositories.contains_key(&run.repository) => {
            (ReportState::Unknown, reason)
        }
        _ if run.finalized_at.is_none() => {
            let reason = "its namespace is gone, its run is being finished";
            (ReportState::Waiting, reason.to_owned())
        }
        _ => match comment::cleaned(index, plan, run, environment) {
            Ensure::NotNeeded => return note_gone(plan, run, environment),
            Ensure::Added => (
                ReportState::Acting,
                "says that its namespace is gone".to_owned(),
            ),
            Ensure::Backoff(_) | Ensure::Held => {
                let reason = "its namespace is gone, what says so waits";
                (ReportState::Retrying, reason.to_owned())
            }
        },
    };
    report(plan, run, state, reason);
}

fn note_gone(plan: &mut PlanBuilder<'_>, run: &Run, environment: &Environment) {
    report(plan, run, ReportState::Acting, "its namespace is gone");
    plan.ensure(
        format!("run/{}/environment/gone", run.id),
        Some(run.id),
        ActionKind::NoteEnvironmentGone {
            event: event::of_run(
                run,
                EventKind::NamespaceCleaned,
                json!({ "namespace": environment.namespace }),
            ),
        },
    );
}

fn report(plan: &mut PlanBuilder<'_>, run: &Run, state: ReportState, reason: impl Into<String>) {
    plan.report(ReportLine {
        candidate: format!("environment/{}", run.id),
        project: Some(run.project.clone()),
        subject: Some(run.subject()),
        run: Some(run.id),
        state,
        reason: reason.into(),
    });
}
