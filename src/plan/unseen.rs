//! Labels that stand on open subjects and come to nothing: why.
//!
//! A trigger is an event. A label without one, as a read shows it that is ahead of the events,
//! waits for its own; one that looks like a trigger and is not in the catalogue is passed over.

use std::collections::BTreeMap;

use super::{builder::PlanBuilder, index::Index};
use crate::{
    desired::model::{Desired, LabelMeaning},
    domain::{
        forge::{Issue, SubjectState},
        ids::{LabelName, Subject},
        report::ReportState,
        trigger::WithdrawnBy,
    },
};

/// What labels that ask for runs begin with.
const TRIGGERS: &str = "run:";

/// Writes a line for each such label.
pub(super) fn step_unseen(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let Some(desired) = index.desired() else {
        return;
    };
    let mut known: BTreeMap<&LabelName, Standing> = BTreeMap::new();
    for (subject, issue) in &index.issues {
        if issue.state != SubjectState::Open || index.repository(subject.repository).is_err() {
            continue;
        }
        for label in &issue.labels {
            let standing = known
                .entry(label)
                .or_insert_with(|| Standing::of(desired, label));
            match standing {
                Standing::Nothing => {}
                Standing::Unknown => {
                    let why = format!("ignored: the catalogue knows no label `{label}`");
                    say(plan, issue, label, ReportState::Refused, why);
                }
                Standing::Trigger if has_event(index, *subject, label) => {}
                Standing::Trigger => {
                    let why = format!("waits: no event says yet who put label `{label}` on");
                    say(plan, issue, label, ReportState::Waiting, why);
                }
            }
        }
    }
}

/// What a label on a subject is to this step.
enum Standing {
    /// It asks for a run.
    Trigger,
    /// It looks as if it did.
    Unknown,
    /// It asks for none.
    Nothing,
}

impl Standing {
    fn of(desired: &Desired, label: &LabelName) -> Self {
        match desired.label(label.as_str()) {
            Some(LabelMeaning::Trigger(_) | LabelMeaning::Discussion) => Self::Trigger,
            None if label.folded().starts_with(TRIGGERS) => Self::Unknown,
            _ => Self::Nothing,
        }
    }
}

/// Whether the newest event that put a label on explains that it is there: nobody took it off
/// since. Closing takes a trigger back and leaves its label.
fn has_event(index: &Index<'_>, subject: Subject, label: &LabelName) -> bool {
    let mut sightings = index.sightings(subject).iter();
    let newest = sightings.rfind(|sighting| sighting.label == label);
    newest.is_some_and(|sighting| {
        sighting.removed_by_us.is_none()
            && !matches!(sighting.withdrawn_by, Some(WithdrawnBy::Unlabeled { .. }))
    })
}

fn say(
    plan: &mut PlanBuilder<'_>,
    issue: &Issue,
    label: &LabelName,
    state: ReportState,
    why: String,
) {
    let subject = Subject {
        repository: issue.repository,
        number: issue.number,
    };
    let candidate = format!("label/{}/{}/{label}", subject.repository, subject.number);
    plan.report_other(candidate, Some(subject), state, why);
}
