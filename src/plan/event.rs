//! Events that planned actions carry: the audit line is fixed with the action.

use serde_json::{Value, json};

use crate::domain::{
    event::{EventActor, EventKind, NewEvent},
    forge::Actor,
    ids::{ProjectKey, Subject},
    run::Run,
    trigger::Trigger,
};

/// An event of a run, by the platform.
pub(super) fn of_run(run: &Run, kind: EventKind, payload: Value) -> NewEvent {
    NewEvent {
        kind,
        correlation: run.id.to_string(),
        actor: EventActor::System,
        project: Some(run.project.clone()),
        run: Some(run.id),
        subject: Some(run.subject()),
        payload,
    }
}

/// An event of a trigger, by whoever caused it.
pub(super) fn of_trigger(
    trigger: &Trigger,
    kind: EventKind,
    actor: EventActor,
    reason: &str,
) -> NewEvent {
    NewEvent {
        kind,
        correlation: trigger.identity.to_string(),
        actor,
        project: Some(trigger.project.clone()),
        run: None,
        subject: Some(trigger.subject()),
        payload: json!({
            "trigger": trigger.identity.to_string(),
            "kind": trigger.kind.to_string(),
            "label": trigger.label,
            "reason": reason,
        }),
    }
}

/// An event about anything else.
pub(super) fn of_platform(
    kind: EventKind,
    correlation: impl Into<String>,
    project: Option<&ProjectKey>,
    subject: Option<Subject>,
    payload: Value,
) -> NewEvent {
    NewEvent {
        kind,
        correlation: correlation.into(),
        actor: EventActor::System,
        project: project.cloned(),
        run: None,
        subject,
        payload,
    }
}

/// A forge account as an event's actor.
pub(super) fn human(actor: Option<&Actor>) -> EventActor {
    actor.map_or(EventActor::System, |actor| EventActor::Human {
        id: actor.id,
        login: actor.login.clone(),
    })
}
