//! Rows by what they are asked for beside their own key: built once a plan, so that no step
//! walks a list for each thing it looks at and planning grows no faster than the rows.

use std::collections::{BTreeMap, BTreeSet};

use super::index::group;
use crate::domain::{
    approval::Approval,
    fold::{FoldContext, Sighting, fold},
    forge::{IssueEvent, IssueEventKind, OwnIdentity, PullRequest},
    ids::{IssueNumber, LabelName, RepositoryId, RepositoryName, RunId, Subject, UserId},
    marker::runs_marked_in,
    mirror::{BranchHead, PermissionRecord, RepositoryMirror},
    run::Run,
    snapshot::StoreSnapshot,
    trigger::{Disposition, RefusalReason, Trigger},
};

/// Rows by what they are asked for.
pub(super) struct Lookup<'a> {
    /// Repositories by their folded names, in the config and at the forge: the lowest id.
    pub(super) by_name: BTreeMap<String, &'a RepositoryMirror>,
    /// Where branches stand.
    pub(super) branches: BTreeMap<(RepositoryId, &'a str), &'a BranchHead>,
    /// The run of each work item that is not finalised: the lowest id.
    pub(super) current: BTreeMap<Subject, &'a Run>,
    /// Runs by their work item, lowest id first.
    pub(super) runs: BTreeMap<Subject, Vec<&'a Run>>,
    /// Pull requests from branches of their own repository, by number.
    pub(super) pulls_by_head: BTreeMap<(RepositoryId, &'a str), Vec<&'a PullRequest>>,
    /// Our own pull requests by the run that they name: the lowest subject.
    pub(super) pulls_by_run: BTreeMap<RunId, &'a PullRequest>,
    /// The lowest work item of the runs that have a branch.
    pub(super) work_by_branch: BTreeMap<(RepositoryId, &'a str), IssueNumber>,
    /// The lowest work item of the runs that have a pull request.
    pub(super) work_by_pull: BTreeMap<Subject, IssueNumber>,
    /// Permissions read.
    pub(super) permissions: BTreeMap<(RepositoryId, UserId), Vec<&'a PermissionRecord>>,
    /// Triggers by the subject that carries them.
    pub(super) triggers: BTreeMap<Subject, Vec<&'a Trigger>>,
    /// What ended the subjects that approvals are about: closed, merged or transferred, in id
    /// order.
    pub(super) ends: BTreeMap<Subject, Vec<&'a IssueEvent>>,
    /// Triggers that had run their course before the database was restored.
    pub(super) consumed: Vec<&'a Trigger>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(rows: &'a StoreSnapshot, own: &[OwnIdentity]) -> Self {
        let mut runs: Vec<&Run> = rows.runs.iter().collect();
        runs.sort_by_key(|run| run.id);
        let mut pulls: Vec<&PullRequest> = rows.pulls.iter().collect();
        pulls.sort_by_key(|pull| (pull.repository, pull.number));
        let mut lookup = Self {
            by_name: BTreeMap::new(),
            branches: BTreeMap::new(),
            current: BTreeMap::new(),
            runs: BTreeMap::new(),
            pulls_by_head: BTreeMap::new(),
            pulls_by_run: BTreeMap::new(),
            work_by_branch: BTreeMap::new(),
            work_by_pull: BTreeMap::new(),
            permissions: group(&rows.permissions, |row| (row.repository, row.user)),
            triggers: group(&rows.triggers, Trigger::subject),
            ends: ends(rows),
            consumed: rows
                .triggers
                .iter()
                .filter(|row| row.disposition == Disposition::Refused(RefusalReason::Consumed))
                .collect(),
        };
        let mut repositories: Vec<&RepositoryMirror> = rows.repositories.iter().collect();
        repositories.sort_by_key(|row| row.id());
        for row in repositories {
            for name in [&row.configured_name, &row.record.name] {
                lookup.by_name.entry(folded(name)).or_insert(row);
            }
        }
        for row in &rows.branches {
            let key = (row.repository, row.branch.as_str());
            lookup.branches.entry(key).or_insert(row);
        }
        for run in runs {
            lookup.add_run(run);
        }
        for pull in pulls {
            lookup.add_pull(pull, own);
        }
        lookup
    }

    fn add_run(&mut self, run: &'a Run) {
        self.runs.entry(run.work_subject()).or_default().push(run);
        if run.finalized_at.is_none() {
            self.current.entry(run.work_subject()).or_insert(run);
        }
        if let Some(branch) = &run.branch {
            let key = (run.repository, branch.as_str());
            lower(self.work_by_branch.entry(key).or_insert(run.work_item), run);
        }
        if let Some(number) = run.pull_request {
            let subject = Subject {
                repository: run.repository,
                number,
            };
            lower(
                self.work_by_pull.entry(subject).or_insert(run.work_item),
                run,
            );
        }
    }

    fn add_pull(&mut self, pull: &'a PullRequest, own: &[OwnIdentity]) {
        if pull.head_repository != Some(pull.repository) {
            return;
        }
        let key = (pull.repository, pull.head.as_str());
        self.pulls_by_head.entry(key).or_default().push(pull);
        let author = pull.author.as_ref().map(|author| author.id);
        if own.iter().any(|own| Some(own.actor.id) == author) {
            for run in runs_marked_in(&pull.body) {
                self.pulls_by_run.entry(run).or_insert(pull);
            }
        }
    }
}

fn ends(rows: &StoreSnapshot) -> BTreeMap<Subject, Vec<&IssueEvent>> {
    let asked: BTreeSet<Subject> = rows.approvals.iter().map(Approval::subject).collect();
    let mut ends: BTreeMap<Subject, Vec<&IssueEvent>> = BTreeMap::new();
    if asked.is_empty() {
        return ends;
    }
    let ended = |event: &&IssueEvent| {
        matches!(
            event.what,
            IssueEventKind::Closed | IssueEventKind::Merged | IssueEventKind::Transferred
        )
    };
    for event in rows.events.iter().filter(ended) {
        let subject = Subject {
            repository: event.repository,
            number: event.number,
        };
        if asked.contains(&subject) {
            ends.entry(subject).or_default().push(event);
        }
    }
    for events in ends.values_mut() {
        events.sort_by_key(|event| event.id);
    }
    ends
}

/// The form by which names of repositories are compared.
pub(super) fn folded(name: &RepositoryName) -> String {
    name.to_string().to_lowercase()
}

fn lower(known: &mut IssueNumber, run: &Run) {
    *known = run.work_item.min(*known);
}

/// The fold of every subject's events.
pub(super) fn sightings<'a>(
    rows: &'a StoreSnapshot,
    own: &[OwnIdentity],
    labels: &BTreeMap<RepositoryId, BTreeSet<LabelName>>,
) -> BTreeMap<Subject, Vec<Sighting<'a>>> {
    let events = group(&rows.events, |row| Subject {
        repository: row.repository,
        number: row.number,
    });
    events
        .into_iter()
        .map(|(subject, events)| {
            let ctx = FoldContext {
                own,
                existing_labels: labels.get(&subject.repository),
            };
            (subject, fold(&events, ctx))
        })
        .collect()
}
