//! Reviews as triggers: changes that are asked for on an open pull request of ours.
//!
//! A review is a trigger of its own: its identity is the forge's id of it, its
//! kind the revise of the stage whose run owns the pull request. It has no label,
//! so nothing is taken off at its end; that a run answered it says the run's row,
//! and to a database that was lost a mark in the run's last status comment.
//!
//! Forge times are compared with forge times, and otherwise ids are.

use super::{
    builder::PlanBuilder,
    index::Index,
    sighting::{Seen, Sight, record},
};
use crate::domain::{
    Timestamp,
    forge::{IssueEventKind, PullRequest, Review, ReviewState, SubjectState},
    ids::{IssueNumber, ReviewId, RunId, Subject},
    marker::{comment_marker, reviews_marked_in},
    messages,
    mirror::RepositoryMirror,
    run::{Run, RunState},
    trigger::{Trigger, TriggerIdentity, TriggerKind, TriggerSource, WithdrawnBy},
};

/// Records every review that asks for changes on a pull request of ours and that no row knows.
pub(super) fn step_review_sightings(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let Some(project) = index.project_key() else {
        return;
    };
    if index.project().is_none() || !index.identities_known() {
        return;
    }
    for review in &index.input.rows.reviews {
        let Ok(mirror) = index.repository(review.repository) else {
            continue;
        };
        let identity = identity(mirror, review);
        let run = identity.run_id(&index.input.installation);
        let counts = match review.state {
            ReviewState::ChangesRequested => true,
            // What was launched goes on, though the review was dismissed since.
            ReviewState::Dismissed => is_launched(index, run),
            _ => false,
        };
        if !counts || index.triggers.contains_key(&identity) {
            continue;
        }
        let subject = subject(review);
        let Some(owner) = owner(index, subject) else {
            continue;
        };
        let seen = Seen {
            identity,
            kind: TriggerKind {
                stage: owner.kind.stage.clone(),
                revise: true,
            },
            project,
            mirror,
            subject,
        };
        record(index, plan, &seen, sight(index, &seen, review));
    }
}

fn sight(index: &Index<'_>, seen: &Seen<'_>, review: &Review) -> Sight {
    let run = seen.identity.run_id(&index.input.installation);
    let occurred_at = review.submitted_at.unwrap_or_default();
    let on = Fact {
        identity: &seen.identity,
        subject: seen.subject,
        occurred_at,
    };
    Sight {
        actor: review.author.clone(),
        occurred_at,
        historical: review.id <= seen.mirror.binding_review
            && !seen.mirror.adopt_existing
            && !is_launched(index, run),
        withdrawn_by: withdrawn(index, &on),
        ..Sight::default()
    }
}

/// Whether a review that asks for changes, or did, names this run.
pub(super) fn names(index: &Index<'_>, run: RunId) -> bool {
    index.input.rows.reviews.iter().any(|review| {
        matches!(
            review.state,
            ReviewState::ChangesRequested | ReviewState::Dismissed
        ) && index
            .repositories
            .get(&review.repository)
            .is_some_and(|mirror| identity(mirror, review).run_id(&index.input.installation) == run)
    })
}

fn identity(mirror: &RepositoryMirror, review: &Review) -> TriggerIdentity {
    TriggerIdentity {
        forge: mirror.forge,
        repository: mirror.id(),
        source: TriggerSource::Review,
        source_id: review.id.to_string(),
    }
}

fn subject(review: &Review) -> Subject {
    Subject {
        repository: review.repository,
        number: review.number,
    }
}

/// The id of the review behind a trigger, where it is one.
pub(super) fn review_id(trigger: &TriggerIdentity) -> Option<ReviewId> {
    (trigger.source == TriggerSource::Review)
        .then(|| trigger.source_id.parse().ok())
        .flatten()
        .map(ReviewId)
}

/// The run that a pull request of ours is the work of: the newest.
fn owner<'a>(index: &Index<'a>, subject: Subject) -> Option<&'a Run> {
    let pull = index.pulls.get(&subject)?;
    if !index.is_ours(pull.author.as_ref()) || pull.head_repository != Some(pull.repository) {
        return None;
    }
    let runs = index.runs.values().copied().filter(|run| {
        run.repository == subject.repository && run.pull_request == Some(subject.number)
    });
    runs.max_by_key(|run| (run.created_at, run.id))
}

/// Whether a run got beyond the queue: its row says so, or its namespace does where a database
/// has forgotten it.
fn is_launched(index: &Index<'_>, run: RunId) -> bool {
    let row = index.runs.get(&run);
    row.is_some_and(|run| run.state != RunState::Pending) || !index.namespaces_of(&run).is_empty()
}

/// What is asked of a review's trigger, whether it has a row or not.
struct Fact<'a> {
    identity: &'a TriggerIdentity,
    subject: Subject,
    occurred_at: Timestamp,
}

impl<'a> From<&'a Trigger> for Fact<'a> {
    fn from(trigger: &'a Trigger) -> Self {
        Self {
            identity: &trigger.identity,
            subject: trigger.subject(),
            occurred_at: trigger.occurred_at,
        }
    }
}

/// What took a review back: its dismissal, before its run was launched; or that its pull
/// request was closed, merged or moved away since.
pub(super) fn withdrawn_by(index: &Index<'_>, trigger: &Trigger) -> Option<WithdrawnBy> {
    withdrawn(index, &trigger.into())
}

fn withdrawn(index: &Index<'_>, of: &Fact<'_>) -> Option<WithdrawnBy> {
    let id = review_id(of.identity)?;
    let ended = events(index, of.subject)
        .into_iter()
        .filter(|(at, _)| *at >= of.occurred_at)
        .find_map(|(_, by)| by);
    let reviews = &index.input.rows.reviews;
    let dismissed = || {
        let run = of.identity.run_id(&index.input.installation);
        let review = reviews
            .iter()
            .find(|review| review.repository == of.identity.repository && review.id == id)?;
        (review.state == ReviewState::Dismissed && !is_launched(index, run))
            .then_some(WithdrawnBy::Dismissed)
    };
    ended.or_else(dismissed)
}

/// When the pull request was closed, left or opened again, and what that takes back; in the
/// order in which it happened.
fn events(index: &Index<'_>, subject: Subject) -> Vec<(Timestamp, Option<WithdrawnBy>)> {
    let events = index.input.rows.events.iter();
    let mut events: Vec<_> = events
        .filter(|event| event.repository == subject.repository && event.number == subject.number)
        .collect();
    events.sort_by_key(|event| event.id);
    let ends = events.into_iter().filter_map(|event| {
        let by = match event.what {
            IssueEventKind::Closed | IssueEventKind::Merged => Some(WithdrawnBy::Closed {
                event: event.id,
                actor: event.actor.clone(),
            }),
            IssueEventKind::Transferred => Some(WithdrawnBy::Gone),
            IssueEventKind::Reopened => None,
            _ => return None,
        };
        Some((event.created_at, by))
    });
    ends.collect()
}

/// Whether a review came when its pull request was closed or merged already.
pub(super) fn came_too_late(index: &Index<'_>, trigger: &Trigger) -> bool {
    let closed = index
        .issues
        .get(&trigger.subject())
        .is_some_and(|issue| issue.state == SubjectState::Closed);
    let last = events(index, trigger.subject()).pop();
    review_id(&trigger.identity).is_some()
        && closed
        && last.is_some_and(|(at, by)| by.is_some() && at < trigger.occurred_at)
}

/// The launched revise that a review is part of: it knew the review when it was launched. One
/// that was read only afterwards is in no prompt, however old it is.
pub(super) fn answered_by<'a>(index: &Index<'a>, trigger: &Trigger) -> Option<&'a Run> {
    let id = review_id(&trigger.identity)?;
    let mut runs = index.runs.values().copied().filter(|run| {
        run.repository == trigger.identity.repository
            && run.trigger != trigger.identity
            && run
                .frozen
                .as_ref()
                .is_some_and(|frozen| frozen.revises == Some(trigger.number))
    });
    runs.find(|run| {
        let frozen = run.frozen.as_ref();
        frozen.is_some_and(|frozen| frozen.reviews.contains(&id))
    })
}

/// The reviews of a pull request that a revise knows at its launch.
pub(super) fn known(index: &Index<'_>, pull: Option<&PullRequest>) -> Vec<ReviewId> {
    let Some(pull) = pull else {
        return Vec::new();
    };
    let reviews = index.input.rows.reviews.iter();
    let of_pull = reviews.filter(|review| {
        review.repository == pull.repository
            && review.number == pull.number
            && review.state == ReviewState::ChangesRequested
    });
    let mut ids: Vec<ReviewId> = of_pull.map(|review| review.id).collect();
    ids.sort_unstable();
    ids
}

/// The newest review that an ended revise has answered, and on which pull request. Of a run
/// that was recovered without what its launch fixed, its comment says so still.
pub(super) fn answered(index: &Index<'_>, run: &Run) -> Option<(IssueNumber, ReviewId)> {
    if !run.state.is_terminal() {
        return None;
    }
    let own = review_id(&run.trigger);
    let frozen = run.frozen.as_ref();
    let number = frozen
        .and_then(|frozen| frozen.revises)
        .or_else(|| own.map(|_| run.number))?;
    let known = frozen.and_then(|frozen| frozen.reviews.iter().copied().max());
    let mark = comment_marker(&messages::status_comment_key(&run.id));
    let comments = index.input.rows.comments.iter().filter(|comment| {
        comment.repository == run.repository
            && index.is_ours(comment.author.as_ref())
            && comment.body.contains(&mark)
    });
    let kept = comments
        .flat_map(|comment| reviews_marked_in(&comment.body))
        .filter(|(on, _)| *on == number)
        .map(|(_, newest)| newest)
        .max();
    Some((number, known.max(own).max(kept)?))
}

/// Whether a comment of ours says that a run has answered the review: all that is left of it
/// where the database was lost.
pub(super) fn is_answered(index: &Index<'_>, trigger: &Trigger) -> bool {
    let Some(id) = review_id(&trigger.identity) else {
        return false;
    };
    index.input.rows.comments.iter().any(|comment| {
        comment.repository == trigger.identity.repository
            && index.is_ours(comment.author.as_ref())
            && reviews_marked_in(&comment.body)
                .into_iter()
                .any(|(number, newest)| number == trigger.number && id <= newest)
    })
}
