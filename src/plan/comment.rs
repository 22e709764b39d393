//! Comments and pull request texts: what people read, rendered from rows.
//!
//! A comment is an upsert under its key: it is planned again when its text
//! differs, and never while the run is in motion, so that a run that goes
//! through in seconds is not commented on at every step.

use serde_json::json;

use super::{
    action::{ActionKind, CommentContent},
    builder::{Ensure, PlanBuilder},
    discussion,
    disposition::label_of,
    event,
    index::Index,
    review,
    sighting::withdrawn_by,
};
use crate::domain::{
    event::{EventActor, EventKind, NewEvent},
    fact::ResultRecord,
    forge::SubjectState,
    ids::{Locale, Subject},
    marker::{comment_marker, reviews_marker},
    messages::{
        self, Leaves, Phase, PullRequestBody, RefusalComment, StatusComment, StopCause,
        TimelineEntry, TimelineStep,
    },
    run::{Environment, FrozenRun, Outcome, Run, RunState},
    trigger::{Disposition, Trigger, TriggerKind, WithdrawnBy},
};

/// How often a comment is tried that a run can do without.
const MOST_ATTEMPTS: i32 = 3;

/// Whether a one-time answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commented {
    /// Not yet.
    Open,
    /// It is, or there is none to write.
    Done,
}

/// Keeps the status comments of runs at rest.
pub(super) fn step_comments(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for run in index.runs.values() {
        let at_rest = matches!(
            run.state,
            RunState::Pending
                | RunState::Running
                | RunState::WaitingMcp
                | RunState::WaitingOwnerReview
        );
        let readable = index.repository(run.repository).is_ok();
        if at_rest && readable && !plan.acts_on(&run.id) {
            status(index, plan, run);
        }
    }
}

/// The status comment of a run.
pub(super) fn status(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) -> Ensure {
    say(index, plan, run, &status_text(index, run))
}

/// The last word of a run's status comment: its workspace is gone, by our hand or another's.
///
/// A forge that takes no comment there any more keeps nothing from being put in order.
pub(super) fn cleaned(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    environment: &Environment,
) -> Ensure {
    let mut text = status_text(index, run);
    text.timeline.push(TimelineEntry {
        at: environment.deleting_at,
        step: TimelineStep::Cleaned,
    });
    let found = say(index, plan, run, &text);
    let key = messages::status_comment_key(&run.id);
    give_up(index, &key, found)
}

fn say(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run, text: &StatusComment) -> Ensure {
    let body = messages::status_comment(text, &locale(index, run.frozen.as_ref()));
    // The text is over; the mark is for a database that has lost the run.
    let body = match review::answered(index, run) {
        Some((pull, newest)) => format!("{body}{}\n", reviews_marker(pull, newest)),
        None => body,
    };
    let key = messages::status_comment_key(&run.id);
    let event = event::of_run(
        run,
        EventKind::CommentUpserted,
        json!({ "state": run.state }),
    );
    upsert(
        index,
        plan,
        Upsert {
            key: &key,
            run: Some(run),
            subject: run.subject(),
            body,
            event,
        },
    )
}

/// The comment that shows what there is to learn from a run, on its pull request. After so many
/// attempts nothing waits for it any more: a run does not hang on it.
pub(super) fn learning(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) -> Ensure {
    let explanations = run
        .result
        .as_ref()
        .map(|result| &result.answer.explanations);
    let explanations = explanations.filter(|said| {
        let asked = run.frozen.as_ref().is_some_and(|frozen| frozen.learning);
        asked && run.state == RunState::Succeeded && !said.is_empty()
    });
    let Some(explanations) = explanations else {
        return Ensure::NotNeeded;
    };
    let key = messages::learning_comment_key(&run.id);
    let found = upsert(
        index,
        plan,
        Upsert {
            key: &key,
            run: Some(run),
            subject: Subject {
                repository: run.repository,
                number: run.pull_request.unwrap_or(run.work_item),
            },
            body: messages::learning_comment(
                &run.id,
                explanations,
                &locale(index, run.frozen.as_ref()),
            ),
            event: event::of_run(
                run,
                EventKind::CommentUpserted,
                json!({ "explanations": explanations.len() }),
            ),
        },
    );
    give_up(index, &key, found)
}

/// A comment that failed so often is nothing to wait for any more.
fn give_up(index: &Index<'_>, key: &str, found: Ensure) -> Ensure {
    let effect = index.effect(&format!("comment/{key}"));
    let tried = effect.map_or(0, |effect| effect.attempts);
    match found {
        Ensure::Backoff(_) if tried >= MOST_ATTEMPTS => Ensure::NotNeeded,
        found => found,
    }
}

fn status_text(index: &Index<'_>, run: &Run) -> StatusComment {
    let frozen = run.frozen.as_ref();
    let revise = TriggerKind {
        stage: run.kind.stage.clone(),
        revise: true,
    };
    let leaves = match frozen {
        _ if discussion::is_discussion(index, &run.kind) => Leaves::Reply,
        Some(frozen) if !frozen.changes_files() => Leaves::Words,
        _ => Leaves::Changes,
    };
    let revise_label = index
        .desired()
        .and_then(|desired| desired.labels.trigger_for(&revise))
        .map(|label| label.name.clone());
    StatusComment {
        run: run.id,
        label: run.label.clone(),
        start_label: run.label.is_none().then(|| label_of(index, &run.kind)),
        revise_label,
        agent: frozen.map(|frozen| frozen.agent.clone()),
        model: frozen.and_then(|frozen| frozen.model.clone()),
        reasoning: frozen.and_then(|frozen| frozen.reasoning.clone()),
        runtime_mode: frozen
            .map(|frozen| frozen.runtime_mode.clone())
            .filter(|mode| !mode.is_empty()),
        namespace: frozen.map(|frozen| frozen.namespace.clone()),
        branch: run.branch.clone(),
        pull_request: run.pull_request,
        leaves,
        phase: phase(index, run),
        asked: frozen
            .map(|frozen| frozen.asked.clone())
            .unwrap_or_default(),
        timeline: timeline(index, run),
    }
}

fn phase(index: &Index<'_>, run: &Run) -> Phase {
    let reason = || run.reason.clone().unwrap_or_default();
    let answer = || run.result.as_ref().map(|result| result.answer.clone());
    match run.state {
        RunState::Pending => match &run.held {
            Some(reason) => Phase::Held {
                reason: reason.clone(),
            },
            None => Phase::Queued,
        },
        RunState::Preparing => Phase::Starting,
        RunState::Running => Phase::Running,
        RunState::WaitingMcp | RunState::WaitingOwnerReview => Phase::Waiting,
        RunState::Stopping => Phase::Stopping {
            cause: (run.outcome == Some(Outcome::Cancelled)).then(|| cause(index, run)),
        },
        RunState::Succeeded => Phase::Succeeded { answer: answer() },
        RunState::Failed => Phase::Failed {
            reason: reason(),
            answer: answer(),
        },
        RunState::TimedOut => Phase::TimedOut,
        RunState::Cancelled => Phase::Cancelled {
            cause: cause(index, run),
        },
        RunState::Rejected => Phase::Rejected { reason: reason() },
    }
}

fn cause(index: &Index<'_>, run: &Run) -> StopCause {
    let trigger = index.triggers.get(&run.trigger);
    match trigger.and_then(|trigger| withdrawn_by(index, trigger)) {
        Some(WithdrawnBy::Unlabeled { .. }) => StopCause::LabelRemoved,
        Some(WithdrawnBy::Closed { .. } | WithdrawnBy::Gone) => StopCause::Closed,
        Some(WithdrawnBy::Dismissed) | None => StopCause::Other,
    }
}

fn timeline(index: &Index<'_>, run: &Run) -> Vec<TimelineEntry> {
    let attempts = index.attempts.get(&run.id).into_iter().flatten();
    let further = attempts.filter(|attempt| attempt.number.0 > 1);
    let further = further.map(|attempt| {
        let step = TimelineStep::Attempt(attempt.number.0);
        (Some(attempt.created_at), step)
    });
    let steps = [
        (Some(run.created_at), TimelineStep::Queued),
        (run.preparing_at, TimelineStep::Started),
    ];
    let steps = steps.into_iter().chain(further);
    steps
        .chain([(run.finished_at, TimelineStep::Finished)])
        .filter(|(at, _)| at.is_some())
        .map(|(at, step)| TimelineEntry { at, step })
        .collect()
}

pub(super) fn locale(index: &Index<'_>, frozen: Option<&FrozenRun>) -> Locale {
    if let Some(frozen) = frozen {
        return frozen.locale.clone();
    }
    match (index.desired(), index.project_key()) {
        (Some(desired), Some(project)) => desired.locale(project).clone(),
        _ => Locale::from("en"),
    }
}

/// The answer to a refused trigger.
pub(super) fn refusal(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    trigger: &Trigger,
) -> Commented {
    let Disposition::Refused(reason) = &trigger.disposition else {
        return Commented::Done;
    };
    let comment = RefusalComment {
        trigger: trigger.identity.clone(),
        number: trigger.number,
        label: trigger
            .label
            .clone()
            .unwrap_or_else(|| label_of(index, &trigger.kind)),
        reason: reason.clone(),
    };
    let Some((key, body)) = messages::refusal_comment(&comment, &locale(index, None)) else {
        return Commented::Done;
    };
    let Some(content) = content(index, trigger.subject(), &key, body) else {
        return Commented::Done;
    };
    let event = event::of_trigger(
        trigger,
        EventKind::CommentUpserted,
        EventActor::System,
        "answered a refused trigger",
    );
    let found = plan.ensure_ever(
        format!("comment/{key}"),
        None,
        ActionKind::UpsertComment { content, event },
    );
    match found {
        Ensure::NotNeeded => Commented::Done,
        Ensure::Added | Ensure::Backoff(_) | Ensure::Held => Commented::Open,
    }
}

pub(super) struct Upsert<'a> {
    pub(super) key: &'a str,
    pub(super) run: Option<&'a Run>,
    pub(super) subject: Subject,
    pub(super) body: String,
    pub(super) event: NewEvent,
}

pub(super) fn upsert(index: &Index<'_>, plan: &mut PlanBuilder<'_>, upsert: Upsert<'_>) -> Ensure {
    let Some(content) = content(index, upsert.subject, upsert.key, upsert.body) else {
        return Ensure::NotNeeded;
    };
    plan.ensure_once(
        format!("comment/{}", upsert.key),
        upsert.run.map(|run| run.id),
        ActionKind::UpsertComment {
            content,
            event: upsert.event,
        },
    )
}

/// The comment's content, unless its subject or repository is not there to carry it.
pub(super) fn content(
    index: &Index<'_>,
    subject: Subject,
    key: &str,
    body: String,
) -> Option<CommentContent> {
    let gone = index
        .issues
        .get(&subject)
        .is_some_and(|issue| issue.state == SubjectState::Gone);
    let mirror = index
        .repositories
        .get(&subject.repository)
        .filter(|_| !gone)?;
    Some(CommentContent {
        subject,
        repository: mirror.record.name.clone(),
        marker: comment_marker(key),
        body,
    })
}

/// The title of a run's pull request.
pub(super) fn pull_request_title(run: &Run, frozen: &FrozenRun, result: &ResultRecord) -> String {
    messages::pull_request_title(
        result.answer.title.as_deref(),
        &frozen.issue_title,
        run.work_item,
        &frozen.locale,
    )
}

/// The body of a run's pull request, with its mark.
pub(super) fn pull_request_body(run: &Run, frozen: &FrozenRun, result: &ResultRecord) -> String {
    let body = PullRequestBody {
        run: run.id,
        issue: run.work_item,
        closes_issue: frozen.closes_issue,
        label: run.label.clone(),
        agent: frozen.agent.clone(),
        model: frozen.model.clone(),
        config_sha: frozen.config_sha.clone(),
        answer: result.answer.clone(),
        asked: frozen.asked.clone(),
    };
    messages::pull_request_body(&body, &frozen.locale)
}
