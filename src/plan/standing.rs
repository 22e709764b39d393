//! Standing orders: stages that the config asks for by the clock or by a push, on an issue that
//! is there for it.
//!
//! Each tick, and each head of the default branch that is seen, is a trigger without a label.
//! Nobody looks at the issue when it comes, as who puts a label on does. So the config must still
//! say it when the run starts, and the issue's whole text must be by members.

use chrono::SecondsFormat;

use super::{
    builder::PlanBuilder,
    index::Index,
    sighting::{Seen, Sight, has_namespace, record},
};
use crate::{
    desired::model::{DesiredProject, DesiredRepository, ObjectName, ScheduleSpec},
    domain::{
        Timestamp,
        forge::{IssueEventKind, SubjectState},
        ids::{IssueNumber, ProjectKey, StageKind, Subject},
        mirror::RepositoryMirror,
        report::ReportState,
        trigger::{
            RefusalReason, Trigger, TriggerIdentity, TriggerKind, TriggerSource, WithdrawnBy,
        },
    },
};

/// Records what is due by the clock and what was pushed, where no row knows it.
pub(super) fn step_standing(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let (Some(key), Some(project)) = (index.project_key(), index.project()) else {
        return;
    };
    for (name, schedule) in &project.schedules {
        step_schedule(index, plan, (key, project), (name, schedule));
    }
    for repository in project.repositories.values() {
        for push in &repository.on_push {
            let order = Order {
                key,
                repository,
                issue: push.issue,
                stage: &push.stage,
            };
            step_push(index, plan, &order);
        }
    }
}

/// What is asked for, and where.
struct Order<'a> {
    key: &'a ProjectKey,
    repository: &'a DesiredRepository,
    issue: IssueNumber,
    stage: &'a StageKind,
}

impl<'a> Order<'a> {
    /// The repository, where it can be acted on and the issue there is open.
    fn place(&self, index: &Index<'a>) -> Result<&'a RepositoryMirror, String> {
        let mirror = index.repository_named(&self.repository.name);
        let mirror = mirror.ok_or_else(|| "the repository is not bound".to_owned())?;
        index.repository(mirror.id())?;
        match index.issues.get(&self.subject(mirror)) {
            None => Err(format!("issue #{} is not read", self.issue)),
            Some(issue) if issue.state != SubjectState::Open => {
                Err(format!("issue #{} is not open", self.issue))
            }
            Some(_) => Ok(mirror),
        }
    }

    fn subject(&self, mirror: &RepositoryMirror) -> Subject {
        Subject {
            repository: mirror.id(),
            number: self.issue,
        }
    }

    fn seen(
        &self,
        mirror: &'a RepositoryMirror,
        source: TriggerSource,
        source_id: String,
    ) -> Seen<'a> {
        Seen {
            identity: TriggerIdentity {
                forge: mirror.forge,
                repository: mirror.id(),
                source,
                source_id,
            },
            kind: TriggerKind {
                stage: self.stage.clone(),
                revise: false,
            },
            project: self.key,
            mirror,
            subject: self.subject(mirror),
        }
    }
}

fn step_schedule(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    (key, project): (&ProjectKey, &DesiredProject),
    (name, schedule): (&ObjectName, &ScheduleSpec),
) {
    let mut say = |state, reason| {
        plan.report_other(format!("schedule/{name}"), None, state, reason);
    };
    if schedule.suspend {
        say(ReportState::Waiting, "it is suspended".to_owned());
        return;
    }
    let Some(repository) = project.repositories.get(&schedule.repository) else {
        return;
    };
    let order = Order {
        key,
        repository,
        issue: schedule.issue,
        stage: &schedule.stage,
    };
    let mirror = match order.place(index) {
        Ok(mirror) => mirror,
        Err(why) => {
            say(ReportState::Waiting, format!("no tick counts: {why}"));
            return;
        }
    };
    let next = schedule.next_tick(index.now());
    let next = next.map_or_else(|| "never".to_owned(), in_words);
    say(ReportState::Waiting, format!("next at {next}"));
    let Some(tick) = schedule.last_tick(index.now()) else {
        return;
    };
    let source_id = format!("{}{}", prefix(name), in_words(tick));
    let seen = order.seen(mirror, TriggerSource::Schedule, source_id);
    if !index.triggers.contains_key(&seen.identity) {
        let sight = Sight {
            occurred_at: tick,
            ..Sight::default()
        };
        record(index, plan, &seen, sight);
    }
}

/// A head that stood there when the order came is nobody's push: the first one seen is history.
fn step_push(index: &Index<'_>, plan: &mut PlanBuilder<'_>, order: &Order<'_>) {
    let place = order.place(index);
    let head = |mirror: &RepositoryMirror| mirror.record.default_head.clone();
    let found = place.and_then(|mirror| {
        let head = head(mirror).ok_or_else(|| "the default branch is not read".to_owned())?;
        Ok((mirror, head))
    });
    let candidate = format!("push/{}#{}", order.repository.name, order.issue);
    let (mirror, head) = match found {
        Ok(found) => found,
        Err(why) => {
            let reason = format!("no push counts: {why}");
            plan.report_other(candidate, None, ReportState::Waiting, reason);
            return;
        }
    };
    let reason = format!("waits for a push after {head}");
    plan.report_other(candidate, None, ReportState::Waiting, reason);
    let source_id = format!("{head}@{}", order.issue);
    let seen = order.seen(mirror, TriggerSource::Push, source_id);
    if index.triggers.contains_key(&seen.identity) {
        return;
    }
    let mut known = index.triggers_on(seen.subject).iter();
    let sight = Sight {
        occurred_at: index.now(),
        historical: !known.any(|row| row.identity.source == TriggerSource::Push)
            && !has_namespace(index, &seen),
        ..Sight::default()
    };
    record(index, plan, &seen, sight);
}

fn in_words(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What the source ids of a schedule's ticks begin with.
fn prefix(name: &ObjectName) -> String {
    format!("{name}@")
}

/// Whether a trigger comes from a standing order.
pub(super) fn is_standing(trigger: &TriggerIdentity) -> bool {
    matches!(
        trigger.source,
        TriggerSource::Schedule | TriggerSource::Push
    )
}

/// Why a standing order's trigger may not start, if so: the config no longer says it.
pub(super) fn refused(
    project: &DesiredProject,
    index: &Index<'_>,
    of: &Trigger,
) -> Option<RefusalReason> {
    let mirror = index.repositories.get(&of.identity.repository)?;
    let is_here = |row: &DesiredRepository| row.name == mirror.configured_name;
    let is_asked = |issue: IssueNumber, stage: &StageKind| {
        issue == of.number && *stage == of.kind.stage && !of.kind.revise
    };
    let by_clock = || {
        project.schedules.iter().any(|(name, schedule)| {
            let repository = project.repositories.get(&schedule.repository);
            !schedule.suspend
                && repository.is_some_and(is_here)
                && is_asked(schedule.issue, &schedule.stage)
                && of.identity.source_id.starts_with(&prefix(name))
        })
    };
    let by_push = || {
        let mut here = project.repositories.values().filter(|row| is_here(row));
        here.any(|row| {
            row.on_push
                .iter()
                .any(|push| is_asked(push.issue, &push.stage))
        })
    };
    let stands = if of.identity.source == TriggerSource::Schedule {
        by_clock()
    } else {
        by_push()
    };
    (!stands).then_some(RefusalReason::NotConfigured)
}

/// What takes a standing order's trigger back: that its issue is closed.
pub(super) fn closed(index: &Index<'_>, trigger: &Trigger) -> Option<WithdrawnBy> {
    let subject = trigger.subject();
    let is_closed = || {
        let issue = index.issues.get(&subject);
        issue.is_some_and(|issue| issue.state == SubjectState::Closed)
    };
    if !is_standing(&trigger.identity) || !is_closed() {
        return None;
    }
    let events = index.input.rows.events.iter().filter(|event| {
        event.repository == subject.repository
            && event.number == subject.number
            && matches!(event.what, IssueEventKind::Closed | IssueEventKind::Merged)
    });
    let last = events.max_by_key(|event| event.id)?;
    Some(WithdrawnBy::Closed {
        event: last.id,
        actor: last.actor.clone(),
    })
}
