//! The check of a finished plan withholds what the planner must never ask for.

use codex_k8s::{
    cluster::{DeleteTarget, ObjectRef, Propagation},
    domain::{
        effect::EffectKey,
        event::{EventActor, EventKind, NewEvent},
    },
    plan::{Action, ActionKind, Plan, Scope, check},
};

use super::world::World;

fn deletion(uid: &str) -> Plan {
    let event = NewEvent {
        kind: EventKind::NamespaceCleaned,
        correlation: "orphan".to_owned(),
        actor: EventActor::System,
        project: None,
        run: None,
        subject: None,
        payload: serde_json::json!({}),
    };
    let target = DeleteTarget {
        object: ObjectRef::namespace("stray"),
        uid: uid.to_owned(),
        propagation: Propagation::Background,
    };
    Plan {
        scope: Scope::Orphans,
        revision: None,
        actions: vec![Action {
            key: EffectKey(format!("orphan/{uid}/delete")),
            run: None,
            kind: ActionKind::DeleteNamespace {
                target,
                orphan: true,
                event,
            },
        }],
        report: Vec::new(),
    }
}

#[test]
fn a_deletion_of_what_is_not_known_to_be_ours_is_withheld() {
    let mut world = World::example();
    world.stray_namespace("stray");
    let uid = world.cluster.namespaces[0].uid.clone();
    let (kept, violations) = check::check(&world.input(Scope::Orphans), deletion(&uid));
    assert_eq!((kept.actions.len(), violations), (1, vec![]));

    let foreign = check::check(&world.input(Scope::Orphans), deletion("somebody-elses"));
    assert!(foreign.0.is_empty());
    assert_eq!(foreign.1[0].rule, check::Rule::NotOurs);

    world.blind = Some("the watch broke".to_owned());
    let blind = check::check(&world.input(Scope::Orphans), deletion(&uid));
    assert!(blind.0.is_empty(), "nothing is deleted by hearsay");
}
