//! Orphans: namespaces with our mark that no run explains.
//!
//! They are noted first and deleted only after the grace time, with a complete
//! sweep of forge and cluster folded in since: what a restored database has
//! forgotten gets the time to be recognised again.

use chrono::Duration;
use serde_json::json;

use super::{
    action::ActionKind, builder::PlanBuilder, event, index::Index, recover::is_marked,
    sighting::may_name,
};
use crate::{
    cluster::{
        DeleteTarget, ObjectRef, Propagation,
        snapshot::{NamespacePhase, NamespaceRow},
    },
    domain::{event::EventKind, ids::RunId, report::ReportState},
};

/// Looks at every namespace of ours without a run in the rows.
pub(super) fn step_orphans(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let Some(snapshot) = index.input.cluster.known() else {
        plan.report_other(
            "orphan",
            None,
            ReportState::Unknown,
            index.cluster_unknown(),
        );
        return;
    };
    for namespace in &snapshot.namespaces {
        let run = namespace.owner.run.map(RunId);
        let explained = run.is_some_and(|run| index.environments.contains_key(&run));
        if !explained {
            step_orphan(index, plan, namespace);
        }
    }
}

fn step_orphan(index: &Index<'_>, plan: &mut PlanBuilder<'_>, namespace: &NamespaceRow) {
    let candidate = format!("orphan/{}", namespace.name);
    if namespace.phase == NamespacePhase::Terminating {
        plan.report_other(
            candidate,
            None,
            ReportState::Running,
            "no run explains it; it is going away",
        );
        return;
    }
    let named = namespace
        .owner
        .run
        .is_some_and(|run| may_name(index, RunId(run)));
    if named || is_marked(index, namespace) {
        let reason = "no run explains it so far; a trigger names its run";
        plan.report_other(candidate, None, ReportState::Waiting, reason);
        return;
    }
    let key = format!("orphan/{}", namespace.uid);
    let Some(noted_at) = index.effect(&key).and_then(|effect| effect.done_at) else {
        plan.report_other(
            candidate,
            None,
            ReportState::Acting,
            "no run explains it; noted",
        );
        plan.ensure(
            key,
            None,
            ActionKind::NoteOrphan {
                namespace: namespace.name.clone(),
                uid: namespace.uid.clone(),
                event: event::of_platform(
                    EventKind::OrphanNoted,
                    format!("orphan/{}", namespace.uid),
                    None,
                    None,
                    json!({ "namespace": namespace.name, "run": namespace.owner.run }),
                ),
            },
        );
        return;
    };
    let due = noted_at + Duration::seconds(index.settings().orphan_grace_seconds);
    let swept = index.input.swept_at.is_some_and(|swept| swept > noted_at);
    if due > index.now() || !swept {
        plan.report_other(
            candidate,
            None,
            ReportState::Waiting,
            "no run explains it; deleted after the grace time and a complete sweep",
        );
        return;
    }
    plan.report_other(
        candidate,
        None,
        ReportState::Acting,
        "no run explains it; deleted",
    );
    plan.ensure(
        format!("orphan/{}/delete", namespace.uid),
        None,
        ActionKind::DeleteNamespace {
            target: DeleteTarget {
                object: ObjectRef::namespace(&namespace.name),
                uid: namespace.uid.clone(),
                propagation: Propagation::Background,
            },
            orphan: true,
            event: event::of_platform(
                EventKind::OrphanDeleted,
                format!("orphan/{}", namespace.uid),
                None,
                None,
                json!({ "namespace": namespace.name, "run": namespace.owner.run }),
            ),
        },
    );
}
