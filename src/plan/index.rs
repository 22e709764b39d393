//! The input, looked up instead of walked.

use std::{cell::OnceCell, collections::BTreeMap, sync::LazyLock};

use chrono::Duration;

use super::{
    disposition::waiting,
    input::{PlanInput, PlanSettings, Scope, is_explained},
    lookup::{self, Groups, Lookup, Table, groups, table},
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
        forge::{Actor, Issue, IssueEvent, LabelRecord, OwnIdentity, PullRequest},
        ids::{
            AttemptNo, IssueNumber, ProjectKey, RepositoryId, RepositoryName, RunId, Subject,
            UserId,
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
    pub(super) repositories: Table<RepositoryId, &'a RepositoryMirror>,
    pub(super) issues: Table<Subject, &'a Issue>,
    /// The fold of each subject's events, in id order.
    pub(super) sightings: Groups<Subject, Sighting<'a>>,
    pub(super) labels: Groups<RepositoryId, &'a LabelRecord>,
    pub(super) pulls: Table<Subject, &'a PullRequest>,
    pub(super) triggers: Table<&'a TriggerIdentity, &'a Trigger>,
    pub(super) runs: Table<RunId, &'a Run>,
    pub(super) attempts: Groups<RunId, &'a Attempt>,
    pub(super) environments: Table<RunId, &'a Environment>,
    pub(super) facts: Groups<RunId, &'a RunFact>,
    pub(super) approvals: Table<ApprovalId, &'a Approval>,
    pub(super) effects: Table<&'a str, &'a Effect>,
    /// What the cluster holds of each run; `None` where it is not known.
    pub(super) cluster: Option<Table<RunId, RunRows<'a>>>,
    /// What is asked for by something else than its own key.
    lookup: Lookup<'a>,
    /// Our own pull requests by the run that they name, once somebody asks: every text is searched.
    pulls_by_run: OnceCell<Table<RunId, Subject>>,
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
        let repositories = table(&rows.repositories, RepositoryMirror::id);
        let labels = rows.labels.iter().map(|row| (row.repository, &row.label));
        let labels = Groups::new(labels);
        let runs = table(&rows.runs, |row| row.id);
        let pulls = table(&rows.pulls, |row| Subject {
            repository: row.repository,
            number: row.number,
        });
        let mut index = Self {
            input,
            issues: table(&rows.issues, |row| Subject {
                repository: row.repository,
                number: row.number,
            }),
            sightings: lookup::sightings(rows, &own, |id| existing(&repositories, &labels, id)),
            lookup: Lookup::new(rows, &runs, &pulls),
            pulls_by_run: OnceCell::new(),
            own,
            repositories,
            labels,
            pulls,
            triggers: table(&rows.triggers, |row| &row.identity),
            attempts: groups(&rows.attempts, |row| row.run),
            environments: table(&input.rows.environments, |row| row.run),
            facts: groups(&rows.facts, |row| row.run),
            approvals: table(&rows.approvals, |row| row.id),
            effects: table(&rows.effects, |row| row.key.0.as_str()),
            cluster: input.cluster.known().map(|snapshot| {
                let runs = runs.values();
                Table::new(runs.map(|run| (run.id, snapshot.of_run(run.id.0))))
            }),
            runs,
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
        self.lookup.by_name.get(name).copied()
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
    pub(super) fn existing_labels(&self, id: RepositoryId) -> Option<&[&'a LabelRecord]> {
        existing(&self.repositories, &self.labels, id)
    }

    /// The fold of a subject's events.
    pub(super) fn sightings(&self, subject: Subject) -> &[Sighting<'a>] {
        self.sightings.all(&subject)
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
        let facts = self.facts.get(run)?.iter();
        facts
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
        self.lookup
            .pulls_by_head
            .all(&(repository, branch))
            .to_vec()
    }

    /// The pull request of ours that names a run, in any state.
    pub(super) fn pull_naming(&self, run: &RunId) -> Option<&'a PullRequest> {
        let by_run = || lookup::pulls_by_run(&self.pulls, &self.own);
        let subject = self.pulls_by_run.get_or_init(by_run).get(run)?;
        self.pulls.get(subject).copied()
    }

    /// The permissions read for an account, oldest row first.
    pub(super) fn permissions(
        &self,
        repository: RepositoryId,
        user: UserId,
    ) -> &[&'a PermissionRecord] {
        self.lookup.permissions.all(&(repository, user))
    }

    /// The runs of a work item, by id.
    pub(super) fn runs_on(&self, work_item: Subject) -> &[&'a Run] {
        self.lookup.runs.all(&work_item)
    }

    /// What ended a subject that approvals are about, in id order.
    pub(super) fn ends_of(&self, subject: Subject) -> &[&'a IssueEvent] {
        self.lookup.ends.all(&subject)
    }

    /// Triggers that had run their course before the database was restored.
    pub(super) fn consumed(&self) -> &[&'a Trigger] {
        &self.lookup.consumed
    }

    /// The triggers that a label of a subject has made.
    pub(super) fn triggers_on(&self, subject: Subject) -> &[&'a Trigger] {
        self.lookup.triggers.all(&subject)
    }

    /// The work item of an issue or pull request: a pull request belongs to the issue of
    /// the run that owns its branch.
    pub(super) fn work_item(&self, subject: Subject) -> IssueNumber {
        let Some(pull) = self.pulls.get(&subject) else {
            return subject.number;
        };
        let own_branch = pull.head_repository == Some(subject.repository);
        let by_branch = (subject.repository, pull.head.as_str());
        let by_branch = self.lookup.work_by_branch.all(&by_branch).iter();
        by_branch
            .filter(|_| own_branch)
            .chain(self.lookup.work_by_pull.all(&subject))
            .min()
            .copied()
            .unwrap_or(subject.number)
    }
}

/// The rows that a plan looks at. Where every namespace of ours has its run there are no orphans
/// to be judged by them.
fn rows_of(input: &PlanInput) -> &StoreSnapshot {
    static NONE: LazyLock<StoreSnapshot> = LazyLock::new(StoreSnapshot::default);
    if input.scope == Scope::Orphans && is_explained(&input.rows, &input.cluster) {
        return &NONE;
    }
    &input.rows
}

/// The labels that exist in a repository. One that was read whole may have none.
fn existing<'t, 'a>(
    repositories: &Table<RepositoryId, &RepositoryMirror>,
    labels: &'t Groups<RepositoryId, &'a LabelRecord>,
    id: RepositoryId,
) -> Option<&'t [&'a LabelRecord]> {
    let whole = || repositories.get(&id).filter(|row| row.complete);
    labels
        .get(&id)
        .or_else(|| whole().map(|_| <&[_]>::default()))
}
