//! Rows by what they are asked for beside their own key: built once a plan, so that no step
//! walks a list for each thing it looks at and planning grows no faster than the rows.

mod table;

use std::collections::BTreeSet;

pub(super) use self::table::{Groups, Table, groups, table};
use crate::domain::{
    approval::Approval,
    fold::{FoldContext, Sighting, fold},
    forge::{IssueEvent, IssueEventKind, LabelRecord, OwnIdentity, PullRequest},
    ids::{IssueNumber, RepositoryId, RepositoryName, RunId, Subject, UserId},
    marker::runs_marked_in,
    mirror::{BranchHead, PermissionRecord, RepositoryMirror},
    run::Run,
    snapshot::StoreSnapshot,
    trigger::{Disposition, RefusalReason, Trigger},
};

/// Rows by what they are asked for.
pub(super) struct Lookup<'a> {
    /// Repositories by their names, in the config and at the forge: the lowest id.
    pub(super) by_name: Table<&'a RepositoryName, &'a RepositoryMirror>,
    /// Where branches stand.
    pub(super) branches: Table<(RepositoryId, &'a str), &'a BranchHead>,
    /// The run of each work item that is not finalised: the lowest id.
    pub(super) current: Table<Subject, &'a Run>,
    /// Runs by their work item, lowest id first.
    pub(super) runs: Groups<Subject, &'a Run>,
    /// Pull requests from branches of their own repository, by number.
    pub(super) pulls_by_head: Groups<(RepositoryId, &'a str), &'a PullRequest>,
    /// The work items of the runs that have a branch.
    pub(super) work_by_branch: Groups<(RepositoryId, &'a str), IssueNumber>,
    /// The work items of the runs that have a pull request.
    pub(super) work_by_pull: Groups<Subject, IssueNumber>,
    /// Permissions read.
    pub(super) permissions: Groups<(RepositoryId, UserId), &'a PermissionRecord>,
    /// Triggers by the subject that carries them.
    pub(super) triggers: Groups<Subject, &'a Trigger>,
    /// What ended the subjects that approvals are about: closed, merged or transferred, in id
    /// order.
    pub(super) ends: Groups<Subject, &'a IssueEvent>,
    /// Triggers that had run their course before the database was restored.
    pub(super) consumed: Vec<&'a Trigger>,
}

impl<'a> Lookup<'a> {
    /// Takes runs and pull requests by their own keys, which order those of one key here.
    pub(super) fn new(
        rows: &'a StoreSnapshot,
        runs: &Table<RunId, &'a Run>,
        pulls: &Table<Subject, &'a PullRequest>,
    ) -> Self {
        let runs = || runs.values().copied();
        let current = runs().filter(|run| run.finalized_at.is_none());
        let pulls = pulls.values().copied().filter(|pull| is_of_own(pull));
        Self {
            by_name: by_name(rows),
            branches: table(&rows.branches, |row| (row.repository, row.branch.as_str())),
            current: Table::new(current.map(|run| (run.work_subject(), run))),
            runs: Groups::new(runs().map(|run| (run.work_subject(), run))),
            pulls_by_head: Groups::new(
                pulls.map(|pull| ((pull.repository, pull.head.as_str()), pull)),
            ),
            work_by_branch: Groups::new(runs().filter_map(|run| {
                let branch = run.branch.as_ref()?;
                Some(((run.repository, branch.as_str()), run.work_item))
            })),
            work_by_pull: Groups::new(runs().filter_map(|run| {
                let subject = Subject {
                    repository: run.repository,
                    number: run.pull_request?,
                };
                Some((subject, run.work_item))
            })),
            permissions: groups(&rows.permissions, |row| (row.repository, row.user)),
            triggers: groups(&rows.triggers, Trigger::subject),
            ends: ends(rows),
            consumed: rows
                .triggers
                .iter()
                .filter(|row| row.disposition == Disposition::Refused(RefusalReason::Consumed))
                .collect(),
        }
    }
}

/// Whether the branch of a pull request is of the repository itself.
fn is_of_own(pull: &PullRequest) -> bool {
    pull.head_repository == Some(pull.repository)
}

/// Our own pull requests by the run that they name: the lowest subject.
pub(super) fn pulls_by_run(
    pulls: &Table<Subject, &PullRequest>,
    own: &[OwnIdentity],
) -> Table<RunId, Subject> {
    let by_us = pulls.iter().filter(|(_, pull)| {
        let author = pull.author.as_ref().map(|author| author.id);
        is_of_own(pull) && own.iter().any(|own| Some(own.actor.id) == author)
    });
    Table::new(by_us.flat_map(|(subject, pull)| {
        let runs = runs_marked_in(&pull.body).into_iter();
        runs.map(|run| (run, *subject))
    }))
}

fn by_name(rows: &StoreSnapshot) -> Table<&RepositoryName, &RepositoryMirror> {
    let mut repositories: Vec<&RepositoryMirror> = rows.repositories.iter().collect();
    repositories.sort_by_key(|row| row.id());
    let named = repositories.into_iter();
    Table::new(named.flat_map(|row| [(&row.configured_name, row), (&row.record.name, row)]))
}

fn ends(rows: &StoreSnapshot) -> Groups<Subject, &IssueEvent> {
    let asked: BTreeSet<Subject> = rows.approvals.iter().map(Approval::subject).collect();
    if asked.is_empty() {
        return Groups::new([]);
    }
    let ended = |event: &&IssueEvent| {
        matches!(
            event.what,
            IssueEventKind::Closed | IssueEventKind::Merged | IssueEventKind::Transferred
        ) && asked.contains(&subject(event))
    };
    let mut events: Vec<&IssueEvent> = rows.events.iter().filter(ended).collect();
    events.sort_by_key(|event| event.id);
    Groups::new(events.into_iter().map(|event| (subject(event), event)))
}

fn subject(event: &IssueEvent) -> Subject {
    Subject {
        repository: event.repository,
        number: event.number,
    }
}

/// The fold of every subject's events.
pub(super) fn sightings<'a, 'l>(
    rows: &'a StoreSnapshot,
    own: &[OwnIdentity],
    labels: impl Fn(RepositoryId) -> Option<&'l [&'l LabelRecord]>,
) -> Groups<Subject, Sighting<'a>> {
    let unconfirmed = rows.labels.iter().filter(|row| !row.is_confirmed);
    let unconfirmed = Groups::new(unconfirmed.map(|row| (row.repository, &row.label.name)));
    groups(&rows.events, subject).map(|subject, events, sightings| {
        let ctx = FoldContext {
            own,
            existing_labels: labels(subject.repository),
            unconfirmed: unconfirmed.all(&subject.repository),
        };
        sightings.extend(fold(events, ctx));
    })
}
