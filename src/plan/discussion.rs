//! Discussions: while an issue has the catalogue's label for it, each comment of a person there
//! is a trigger of the stage that discusses.
//!
//! A discussion is a chain of short runs in one session. Between them no pod waits and no slot is
//! held, so that idling costs nothing, and an end by idleness is nothing that has to be done.
//! Comments that come while a run is at work are answered together by the next. The discussion
//! ends when the label is taken off, the issue closed, or work asked for: then we take it off.

use super::{
    builder::PlanBuilder,
    disposition::{Judged, judge},
    finish::remove,
    index::Index,
    sighting::{Seen, Sight, record},
};
use crate::domain::{
    fold::Sighting,
    forge::{AccountKind, Comment, SubjectState},
    ids::{LabelName, Subject},
    marker::is_about_run,
    run::Run,
    trigger::{
        Disposition, RefusalReason, Trigger, TriggerIdentity, TriggerKind, TriggerSource,
        WithdrawnBy,
    },
};

/// Records every comment in a discussion that no row knows.
pub(super) fn step_comments(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let (Some(project), Some(kind)) = (index.project_key(), kind(index)) else {
        return;
    };
    if index.project().is_none() || !index.identities_known() {
        return;
    }
    let triggers = index.triggers.values().copied();
    let mut on: Vec<Subject> = triggers
        .filter(|row| row.kind == kind && row.identity.source == TriggerSource::Label)
        .map(Trigger::subject)
        .collect();
    on.sort_unstable();
    on.dedup();
    for subject in on {
        let (Ok(mirror), Some(label)) =
            (index.repository(subject.repository), begun(index, subject))
        else {
            continue;
        };
        let comments = index.input.rows.comments.iter().filter(|comment| {
            comment.repository == subject.repository
                && comment.number == subject.number
                && comment.created_at > label.occurred_at
                && is_said(index, comment)
        });
        for comment in comments {
            let seen = Seen {
                identity: TriggerIdentity {
                    forge: mirror.forge,
                    repository: mirror.id(),
                    source: TriggerSource::Comment,
                    source_id: comment.id.to_string(),
                },
                kind: kind.clone(),
                project,
                mirror,
                subject,
            };
            if !index.triggers.contains_key(&seen.identity) {
                let sight = Sight {
                    actor: comment.author.clone(),
                    via_app: comment.via_app.clone(),
                    occurred_at: comment.created_at,
                    ..Sight::default()
                };
                record(index, plan, &seen, sight);
            }
        }
    }
}

/// Whether a comment is a person's and no command.
fn is_said(index: &Index<'_>, comment: &Comment) -> bool {
    let author = comment.author.as_ref();
    let person = author.is_some_and(|author| author.kind == AccountKind::User);
    person
        && comment.via_app.is_none()
        && !index.is_ours(author)
        && !comment.body.trim_start().starts_with('/')
}

/// What the catalogue's label for discussions asks for.
pub(super) fn kind(index: &Index<'_>) -> Option<TriggerKind> {
    index.desired()?.discussion_kind()
}

fn label<'a>(index: &Index<'a>) -> Option<&'a LabelName> {
    let (_, label) = index.desired()?.discussion()?;
    Some(&label.name)
}

/// Whether a label stands for a discussion: it outlives the runs that it starts.
pub(super) fn is_label(index: &Index<'_>, name: &LabelName) -> bool {
    label(index).is_some_and(|label| label.folded() == name.folded())
}

/// Whether what is asked for is to discuss.
pub(super) fn is_discussion(index: &Index<'_>, kind: &TriggerKind) -> bool {
    self::kind(index).as_ref() == Some(kind)
}

/// The label that a discussion goes by now: the newest one there, if it was accepted.
fn begun<'a>(index: &Index<'a>, subject: Subject) -> Option<&'a Trigger> {
    let issue = index.issues.get(&subject)?;
    let there = issue.labels.iter().any(|label| is_label(index, label));
    if !there || issue.state != SubjectState::Open {
        return None;
    }
    let mut sightings = index.sightings(subject).iter();
    let put_on = sightings.rfind(|sighting| is_label(index, sighting.label))?;
    let source_id = put_on.event.id.to_string();
    let mut labels = index.triggers_on(subject).iter().copied();
    let newest = labels.find(|row| {
        row.identity.source == TriggerSource::Label && row.identity.source_id == source_id
    })?;
    let accepted = match &newest.disposition {
        Disposition::Refused(reason) => *reason == RefusalReason::Consumed,
        Disposition::Withdrawn => false,
        _ => newest.withdrawn_by.is_none(),
    };
    accepted.then_some(newest)
}

/// The last time that the label was put on before a trigger.
fn before<'a, 'b>(index: &'b Index<'a>, trigger: &Trigger) -> Option<&'b Sighting<'a>> {
    let mut sightings = index.sightings(trigger.subject()).iter();
    sightings.rfind(|sighting| {
        is_label(index, sighting.label) && sighting.event.created_at <= trigger.occurred_at
    })
}

/// What took a comment's trigger back: what took back the label that it goes by.
pub(super) fn withdrawn_by(index: &Index<'_>, trigger: &Trigger) -> Option<WithdrawnBy> {
    if trigger.identity.source != TriggerSource::Comment {
        return None;
    }
    before(index, trigger)?.withdrawn_by.clone()
}

/// The trigger that asks for work where there is a discussion.
fn work_asked<'a>(index: &Index<'a>, work_item: Subject) -> Option<&'a Trigger> {
    let waiting = index.waiting.get(&work_item).into_iter().flatten().copied();
    waiting
        .filter(|other| !is_discussion(index, &other.kind))
        .find(|other| judge(index, other) == Judged::Ready)
}

/// Whether a trigger is part of a discussion that is over.
pub(super) fn gives_way(index: &Index<'_>, trigger: &Trigger) -> bool {
    if !is_discussion(index, &trigger.kind) {
        return false;
    }
    let work_item = Subject {
        repository: trigger.identity.repository,
        number: index.work_item(trigger.subject()),
    };
    work_asked(index, work_item).is_some()
}

/// The trigger that ends the discussion which a run is part of.
pub(super) fn ended_by<'a>(index: &Index<'a>, run: &Run) -> Option<&'a Trigger> {
    is_discussion(index, &run.kind)
        .then(|| work_asked(index, run.work_subject()))
        .flatten()
}

/// Takes the label off where work was asked for since it was put on.
pub(super) fn step_over(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let Some(kind) = kind(index) else {
        return;
    };
    let live = index.runs.values().copied();
    let live = live.filter(|run| run.finalized_at.is_none() && run.kind != kind);
    for run in live {
        let subject = run.work_subject();
        let Some(issue) = index.issues.get(&subject) else {
            continue;
        };
        let Some(label) = issue.labels.iter().find(|label| is_label(index, label)) else {
            continue;
        };
        let asked = index.triggers.get(&run.trigger);
        let is_newer = |sighting: &Sighting<'_>| {
            is_label(index, sighting.label)
                && asked.is_some_and(|by| sighting.event.created_at > by.occurred_at)
        };
        let newer = index.sightings(subject).iter().any(is_newer);
        if asked.is_some() && !newer && index.repository(run.repository).is_ok() {
            remove(plan, run, subject, label);
        }
    }
}

/// Whether a comment is answered, where a restored database has forgotten the run: a comment of
/// ours about one was written after it.
pub(super) fn is_answered(index: &Index<'_>, trigger: &Trigger) -> bool {
    let restored = index.input.rows.restored_at;
    trigger.identity.source == TriggerSource::Comment
        && restored.is_some_and(|at| trigger.occurred_at < at)
        && index.input.rows.comments.iter().any(|comment| {
            comment.repository == trigger.identity.repository
                && comment.number == trigger.number
                && comment.created_at > trigger.occurred_at
                && index.is_ours(comment.author.as_ref())
                && is_about_run(&comment.body)
        })
}
