//! The event fold: from a subject's label and state events to its triggers, live or withdrawn.
//!
//! Events count in id order. Only a newer `unlabeled`, `closed` or `transferred`
//! event withdraws; an `unlabeled` by one of our own identities does not (a
//! trigger is consumed by its disposition), and one whose label no longer
//! exists in the repository does not either.

use std::borrow::Cow;

use super::{
    forge::{IssueEvent, IssueEventKind, LabelRecord, OwnIdentity},
    ids::{EventId, LabelName},
    trigger::WithdrawnBy,
};

/// One `labeled` event and what took it back since, if anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting<'a> {
    /// The `labeled` event.
    pub event: &'a IssueEvent,
    /// Its label.
    pub label: &'a LabelName,
    /// What withdrew it.
    pub withdrawn_by: Option<WithdrawnBy>,
    /// An `unlabeled` that was passed over because its label is gone from the repository.
    pub ignored: Option<EventId>,
    /// Our own removal of the label, if it came before anything else.
    pub removed_by_us: Option<EventId>,
}

/// What the fold must know besides the events.
#[derive(Debug, Clone, Copy)]
pub struct FoldContext<'a> {
    /// Our own identities.
    pub own: &'a [OwnIdentity],
    /// The labels that exist in the repository; `None` where that is not known,
    /// and then every `unlabeled` counts for nothing yet.
    pub existing_labels: Option<&'a [&'a LabelRecord]>,
    /// Labels that we made and no read has shown yet, so that people may have deleted them
    /// again: of those, too, an `unlabeled` counts for nothing yet.
    pub unconfirmed: &'a [&'a LabelName],
}

impl FoldContext<'_> {
    /// Whether a label is known to exist.
    fn exists(&self, label: &LabelName) -> bool {
        let existing = self.existing_labels;
        existing.is_some_and(|existing| LabelRecord::find(existing, label).is_some())
            && !self.unconfirmed.contains(&label)
    }
}

/// Folds one subject's events, in any order and with repeats, to its sightings in id order.
pub fn fold<'a>(events: &[&'a IssueEvent], ctx: FoldContext<'_>) -> Vec<Sighting<'a>> {
    let mut events = Cow::Borrowed(events);
    if !events.is_sorted_by(|one, next| one.id < next.id) {
        let events = events.to_mut();
        events.sort_by_key(|event| event.id);
        events.dedup_by_key(|event| event.id);
    }
    let is_labeled = |event: &&&IssueEvent| matches!(event.what, IssueEventKind::Labeled { .. });
    let labeled = events.iter().filter(is_labeled).count();
    let mut sightings: Vec<Sighting<'a>> = Vec::with_capacity(labeled);
    for &event in events.iter() {
        match &event.what {
            IssueEventKind::Labeled { label } => sightings.push(Sighting {
                event,
                label,
                withdrawn_by: None,
                ignored: None,
                removed_by_us: None,
            }),
            IssueEventKind::Unlabeled { label } => {
                let open = sightings
                    .iter_mut()
                    .filter(|s| s.label == label && is_open(s));
                for sighting in open {
                    unlabel(sighting, event, ctx);
                }
            }
            IssueEventKind::Closed | IssueEventKind::Merged => {
                withdraw_all(&mut sightings, || WithdrawnBy::Closed {
                    event: event.id,
                    actor: event.actor.clone(),
                });
            }
            IssueEventKind::Transferred => withdraw_all(&mut sightings, || WithdrawnBy::Gone),
            IssueEventKind::Reopened | IssueEventKind::Renamed => {}
        }
    }
    sightings
}

fn is_open(sighting: &Sighting<'_>) -> bool {
    sighting.withdrawn_by.is_none()
}

fn withdraw_all(sightings: &mut [Sighting<'_>], by: impl Fn() -> WithdrawnBy) {
    for sighting in sightings.iter_mut().filter(|s| is_open(s)) {
        sighting.withdrawn_by = Some(by());
    }
}

fn unlabel(sighting: &mut Sighting<'_>, event: &IssueEvent, ctx: FoldContext<'_>) {
    if is_own(event, ctx.own) {
        sighting.removed_by_us.get_or_insert(event.id);
        return;
    }
    if ctx.exists(sighting.label) {
        sighting.withdrawn_by = Some(WithdrawnBy::Unlabeled {
            event: event.id,
            actor: event.actor.clone(),
        });
    } else {
        sighting.ignored = Some(event.id);
    }
}

/// Whether one of our own identities did it.
pub fn is_own(event: &IssueEvent, own: &[OwnIdentity]) -> bool {
    own.iter().any(|identity| {
        event
            .actor
            .as_ref()
            .is_some_and(|actor| actor.id == identity.actor.id)
            || (identity.app_slug.is_some() && identity.app_slug == event.via_app)
    })
}

#[cfg(test)]
#[path = "fold/tests.rs"]
mod tests;
