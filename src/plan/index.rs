//! The input, looked up instead of walked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use chrono::Duration;

use super::{
    disposition::waiting,
    input::{PlanInput, PlanSettings, Scope},
    lookup::{self, Lookup},
};
use crate::{
    cluster::snapshot::{NamespaceRow, RunRows},
    desired::model::{Desired, DesiredProject},
    domain::{
        Timestamp,
        approval::{Approval, ApprovalId},
        effect::Effect,
        fact::{Fact, RunFact},
        fold::Sighting,
        forge::{Actor, Issue, IssueEvent, OwnIdentity, PullRequest},
        ids::{
            AttemptNo, IssueNumber, LabelName, ProjectKey, RepositoryId, RepositoryName, RunId,
            Subject, UserId,
        },
        mirror::{BranchHead, OwnerVariable, PermissionRecord, RepositoryMirror},
        run::{Attempt, Environment, Run},
        snapshot::StoreSnapshot,
        trigger::{Trigger, TriggerIdentity, TriggerSource},
    },
    observed::model::Observed,
};

/// The input by key.
pub(super) struct Index<'a> {
    pub(super) input: &'a PlanInput,
    pub(super) own: Vec<OwnIdentity>,
    pub(super) repositories: BTreeMap<RepositoryId, &'a RepositoryMirror>,
    pub(super) issues: BTreeMap<Subject, &'a Issue>,
    /// The fold of each subject's events, in id order.
    pub(super) sightings: BTreeMap<Subject, Vec<Sighting<'a>>>,
    pub(super) labels: BTreeMap<RepositoryId, BTreeSet<LabelName>>,
    pub(super) pulls: BTreeMap<Subject, &'a PullRequest>,
    pub(super) triggers: BTreeMap<TriggerIdentity, &'a Trigger>,
    pub(super) runs: BTreeMap<RunId, &'a Run>,
    pub(super) attempts: BTreeMap<RunId, Vec<&'a Attempt>>,
    pub(super) environments: BTreeMap<RunId, &'a Environment>,
    pub(super) facts: BTreeMap<RunId, Vec<&'a RunFact>>,
    pub(super) approvals: BTreeMap<ApprovalId, &'a Approval>,
    pub(super) effects: BTreeMap<&'a str, &'a Effect>,
    /// What the cluster holds of each run; `None` where it is not known.
    pub(super) cluster: Option<BTreeMap<RunId, RunRows<'a>>>,
    /// What is asked for by something else than its own key.
    lookup: Lookup<'a>,
    /// Waiting triggers by work item.
    pub(super) waiting: BTreeMap<Subject, Vec<&'a Trigger>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(input: &'a PlanInput) -> Self {
        let rows = rows_of(input);
        let own: Vec<OwnIdentity> = rows
            .identities
            .iter()
            .map(|row| row.identity.clone())
            .collect();
        // One that was read whole may have none.
        let whole = rows.repositories.iter().filter(|row| row.complete);
        let mut labels: BTreeMap<RepositoryId, BTreeSet<LabelName>> =
            whole.map(|row| (row.id(), BTreeSet::new())).collect();
        // Collected whole: a set made of what is in order already compares each name once.
        for (id, rows) in group(&rows.labels, |row| row.repository) {
            let names = rows.into_iter().map(|row| row.label.name.clone());
            labels.insert(id, names.collect());
        }
        let mut index = Self {
            input,
            repositories: rows
                .repositories
                .iter()
                .map(|row| (row.id(), row))
                .collect(),
            issues: rows
                .issues
                .iter()
                .map(|row| {
                    (
                        Subject {
                            repository: row.repository,
                            number: row.number,
                        },
                        row,
                    )
                })
                .collect(),
            sightings: lookup::sightings(rows, &own, &labels),
            lookup: Lookup::new(rows, &own),
            own,
            labels,
            pulls: rows
                .pulls
                .iter()
                .map(|row| {
                    (
                        Subject {
                            repository: row.repository,
                            number: row.number,
                        },
                        row,
                    )
                })
                .collect(),
            triggers: rows
                .triggers
                .iter()
                .map(|row| (row.identity.clone(), row))
                .collect(),
            runs: rows.runs.iter().map(|row| (row.id, row)).collect(),
            attempts: group(&rows.attempts, |row| row.run),
            environments: environments(input),
            facts: group(&rows.facts, |row| row.run),
            approvals: rows.approvals.iter().map(|row| (row.id, row)).collect(),
            effects: rows
                .effects
                .iter()
                .map(|row| (row.key.0.as_str(), row))
                .collect(),
            cluster: input.cluster.known().map(|snapshot| {
                let runs = rows.runs.iter().map(|run| run.id);
                runs.map(|id| (id, snapshot.of_run(id.0))).collect()
            }),
            waiting: BTreeMap::new(),
        };
        index.waiting = waiting(&index);
        index
    }

    pub(super) fn now(&self) -> Timestamp {
        self.input.now
    }

    pub(super) fn settings(&self) -> &'a PlanSettings {
        &self.input.settings
    }

    pub(super) fn desired(&self) -> Option<&'a Desired> {
        self.input.desired.as_deref()
    }

    /// The project planned; orphans have none.
    pub(super) fn project_key(&self) -> Option<&'a ProjectKey> {
        match &self.input.scope {
            Scope::Project { project } => Some(project),
            Scope::Orphans => None,
        }
    }

    pub(super) fn project(&self) -> Option<&'a DesiredProject> {
        self.desired()?.project(self.project_key()?)
    }

    /// Whether anything is known of who we are: nobody is judged before.
    pub(super) fn identities_known(&self) -> bool {
        !self.own.is_empty()
    }

    /// A repository that may be acted on: bound, in the config, readable, ours.
    pub(super) fn repository(&self, id: RepositoryId) -> Result<&'a RepositoryMirror, String> {
        let Some(mirror) = self.repositories.get(&id).copied() else {
            return Err("the repository is not bound".to_owned());
        };
        if let Some(reason) = &mirror.unknown {
            return Err(format!(
                "repository {} is unknown: {reason}",
                mirror.record.name
            ));
        }
        if !mirror.complete {
            return Err(format!(
                "repository {} is not read whole yet",
                mirror.record.name
            ));
        }
        match &mirror.owner_variable {
            OwnerVariable::Other { installation } => Err(format!(
                "repository {} belongs to the other installation `{installation}`",
                mirror.record.name
            )),
            OwnerVariable::Unread => Err(format!(
                "the owner of repository {} is not read yet",
                mirror.record.name
            )),
            OwnerVariable::Absent | OwnerVariable::Ours | OwnerVariable::Forbidden => Ok(mirror),
        }
    }

    /// The repository of the lowest id that is called so, in the config or at the forge.
    pub(super) fn repository_named(&self, name: &RepositoryName) -> Option<&'a RepositoryMirror> {
        self.lookup.by_name.get(&lookup::folded(name)).copied()
    }

    /// Why nothing may be planned for the runs of a repository: after a restore its rows are
    /// older than the forge until it was read whole.
    pub(super) fn unread(&self, id: RepositoryId) -> Option<String> {
        let mirror = self.repositories.get(&id).filter(|row| !row.complete)?;
        Some(format!(
            "repository {} is not read whole yet",
            mirror.record.name
        ))
    }

    /// Whether an account is one of ours.
    pub(super) fn is_ours(&self, author: Option<&Actor>) -> bool {
        author.is_some_and(|author| self.own.iter().any(|own| own.actor.id == author.id))
    }

    /// Why it is not known whether a queued run has its workload already. Only a restored
    /// database can have forgotten a launch.
    pub(super) fn workload_unknown(&self) -> Option<String> {
        let restored = self.input.rows.restored_at.is_some();
        (restored && self.cluster.is_none()).then(|| self.cluster_unknown())
    }

    /// The labels that exist in a repository, where they were read.
    pub(super) fn existing_labels(&self, id: RepositoryId) -> Option<&BTreeSet<LabelName>> {
        self.labels.get(&id)
    }

    /// The fold of a subject's events.
    pub(super) fn sightings(&self, subject: Subject) -> &[Sighting<'a>] {
        self.sightings.get(&subject).map_or(&[], Vec::as_slice)
    }

    /// The sighting behind a label trigger.
    pub(super) fn sighting(&self, trigger: &Trigger) -> Option<&Sighting<'a>> {
        if trigger.identity.source != TriggerSource::Label {
            return None;
        }
        let id: i64 = trigger.identity.source_id.parse().ok()?;
        let sightings = self.sightings(trigger.subject());
        let at = sightings.binary_search_by_key(&id, |sighting| sighting.event.id.0);
        sightings.get(at.ok()?)
    }

    /// The newest attempt of a run.
    pub(super) fn attempt(&self, run: &RunId) -> Option<&'a Attempt> {
        self.attempts
            .get(run)?
            .iter()
            .max_by_key(|attempt| attempt.number)
            .copied()
    }

    /// What the cluster holds of a run; `None` where the cluster is not known.
    pub(super) fn in_cluster(&self, run: &RunId) -> Option<&RunRows<'a>> {
        self.cluster.as_ref()?.get(run)
    }

    /// The namespaces of a run that may have no row.
    pub(super) fn namespaces_of(&self, run: &RunId) -> Vec<&'a NamespaceRow> {
        let snapshot = self.input.cluster.known();
        snapshot.map_or_else(Vec::new, |snapshot| snapshot.of_run(run.0).namespaces)
    }

    /// Why the cluster is not known.
    pub(super) fn cluster_unknown(&self) -> String {
        match &self.input.cluster {
            Observed::Known { .. } => "the cluster is known".to_owned(),
            Observed::Unknown { reason } => format!("the cluster is unknown: {reason}"),
        }
    }

    pub(super) fn effect(&self, key: &str) -> Option<&'a Effect> {
        self.effects.get(key).copied()
    }

    /// Whether an effect was tried and nothing says that it is done. What shows it as done by now
    /// was ours or somebody else's: performing it once more finds out, and closes its row.
    pub(super) fn is_open(&self, key: &str) -> bool {
        self.effect(key)
            .is_some_and(|effect| effect.done_at.is_none())
    }

    /// Whether an effect was done so lately that the forge may still hide it from reads.
    pub(super) fn just_done(&self, key: &str) -> bool {
        let visible = Duration::seconds(self.settings().visibility_seconds);
        let done = self.effect(key).and_then(|effect| effect.done_at);
        done.is_some_and(|at| self.now() < at + visible)
    }

    /// Whether the cluster's present view may still lack what this effect made: it was
    /// called and the view is not proven to be younger.
    pub(super) fn may_be_hidden(&self, key: &str) -> bool {
        let Some(effect) = self.effect(key) else {
            return false;
        };
        let Some(called) = effect.done_at.max(effect.attempted_at) else {
            return false;
        };
        let seen = match &self.input.cluster {
            Observed::Known { at, .. } => *at,
            Observed::Unknown { .. } => return true,
        };
        seen <= called
            && self.now() < called + Duration::seconds(self.settings().visibility_seconds)
    }

    /// Whether the cluster's present view may still lack an attempt's Job. Unlike an
    /// environment it is applied once and never again, so that its call is over when it is done.
    pub(super) fn job_may_be_hidden(&self, key: &str) -> bool {
        let done = self.effect(key).and_then(|effect| effect.done_at);
        match (done, &self.input.cluster) {
            (Some(done), Observed::Known { at, .. }) => {
                *at <= done
                    && self.now() < done + Duration::seconds(self.settings().visibility_seconds)
            }
            _ => self.may_be_hidden(key),
        }
    }

    /// What is known of a branch.
    pub(super) fn branch(&self, repository: RepositoryId, name: &str) -> Option<&'a BranchHead> {
        self.lookup.branches.get(&(repository, name)).copied()
    }

    /// The result that a run's attempts handed in: the first one counts.
    pub(super) fn result_fact(&self, run: &RunId) -> Option<(&'a RunFact, AttemptNo)> {
        let facts = self.facts.get(run)?;
        facts
            .iter()
            .filter(|fact| matches!(fact.what, Fact::Result(_)))
            .min_by_key(|fact| fact.id)
            .map(|fact| (*fact, fact.attempt))
    }

    /// The run that is active on a work item, or pending for it.
    pub(super) fn current_run(&self, work_item: Subject) -> Option<&'a Run> {
        self.lookup.current.get(&work_item).copied()
    }

    /// All pull requests whose head is a branch of the repository itself.
    pub(super) fn pulls_of_branch(
        &self,
        repository: RepositoryId,
        branch: &str,
    ) -> Vec<&'a PullRequest> {
        let found = self.lookup.pulls_by_head.get(&(repository, branch));
        found.cloned().unwrap_or_default()
    }

    /// The pull request of ours that names a run, in any state.
    pub(super) fn pull_naming(&self, run: &RunId) -> Option<&'a PullRequest> {
        self.lookup.pulls_by_run.get(run).copied()
    }

    /// The permissions read for an account, oldest row first.
    pub(super) fn permissions(
        &self,
        repository: RepositoryId,
        user: UserId,
    ) -> &[&'a PermissionRecord] {
        let found = self.lookup.permissions.get(&(repository, user));
        found.map_or(&[], Vec::as_slice)
    }

    /// The runs of a work item, by id.
    pub(super) fn runs_on(&self, work_item: Subject) -> &[&'a Run] {
        let found = self.lookup.runs.get(&work_item);
        found.map_or(&[], Vec::as_slice)
    }

    /// What ended a subject that approvals are about, in id order.
    pub(super) fn ends_of(&self, subject: Subject) -> &[&'a IssueEvent] {
        self.lookup.ends.get(&subject).map_or(&[], Vec::as_slice)
    }

    /// Triggers that had run their course before the database was restored.
    pub(super) fn consumed(&self) -> &[&'a Trigger] {
        &self.lookup.consumed
    }

    /// The triggers that a label of a subject has made.
    pub(super) fn triggers_on(&self, subject: Subject) -> &[&'a Trigger] {
        self.lookup
            .triggers
            .get(&subject)
            .map_or(&[], Vec::as_slice)
    }

    /// The work item of an issue or pull request: a pull request belongs to the issue of
    /// the run that owns its branch.
    pub(super) fn work_item(&self, subject: Subject) -> IssueNumber {
        let Some(pull) = self.pulls.get(&subject) else {
            return subject.number;
        };
        let own_branch = pull.head_repository == Some(subject.repository);
        let by_branch = (subject.repository, pull.head.as_str());
        let by_branch = self.lookup.work_by_branch.get(&by_branch);
        let by_pull = self.lookup.work_by_pull.get(&subject);
        by_branch
            .filter(|_| own_branch)
            .into_iter()
            .chain(by_pull)
            .min()
            .copied()
            .unwrap_or(subject.number)
    }
}

/// The rows that a plan looks at. Where every namespace of ours has its run there are no orphans
/// to be judged by them.
fn rows_of(input: &PlanInput) -> &StoreSnapshot {
    static NONE: LazyLock<StoreSnapshot> = LazyLock::new(StoreSnapshot::default);
    let explained = || {
        let known = environments(input);
        let snapshot = input.cluster.known();
        let mut namespaces = snapshot.iter().flat_map(|snapshot| &snapshot.namespaces);
        namespaces.all(|row| {
            let run = row.owner.run.map(RunId);
            run.is_some_and(|run| known.contains_key(&run))
        })
    };
    if input.scope == Scope::Orphans && explained() {
        return &NONE;
    }
    &input.rows
}

fn environments(input: &PlanInput) -> BTreeMap<RunId, &Environment> {
    let rows = input.rows.environments.iter();
    rows.map(|row| (row.run, row)).collect()
}

pub(super) fn group<T, K: Ord>(rows: &[T], key: impl Fn(&T) -> K) -> BTreeMap<K, Vec<&T>> {
    let mut groups: BTreeMap<K, Vec<&T>> = BTreeMap::new();
    for row in rows {
        groups.entry(key(row)).or_default().push(row);
    }
    groups
}
