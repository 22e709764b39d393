//! All rows that a pass may need, read in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Timestamp,
    approval::{Approval, ApprovalId, DecisionFact},
    effect::Effect,
    fact::{PushOutcome, RunFact},
    forge::{Comment, Issue, IssueEvent, LabelRecord, PullRequest, Review, VariableRecord},
    ids::{ProjectKey, RepositoryId, RunId, SlotNo},
    mirror::{BranchHead, IdentityRecord, PermissionRecord, RepositoryMirror},
    run::{Attempt, Environment, Run},
    trigger::Trigger,
};

/// A project's slot. Slots exist as rows only while they are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRow {
    /// The project.
    pub project: ProjectKey,
    /// Its index, from 1.
    pub slot: SlotNo,
    /// Who holds it.
    pub run: RunId,
    /// Since when (database clock).
    pub leased_at: Timestamp,
}

/// A label defined in a repository, as the mirror has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryLabel {
    /// The repository.
    pub repository: RepositoryId,
    /// The label.
    #[serde(flatten)]
    pub label: LabelRecord,
    /// Whether a read has shown it: what we have just written may be gone again by now.
    #[serde(default = "yes")]
    pub is_confirmed: bool,
}

const fn yes() -> bool {
    true
}

/// A variable of a repository that is the platform's by name, as the mirror has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryVariable {
    /// The repository.
    pub repository: RepositoryId,
    /// The variable.
    #[serde(flatten)]
    pub variable: VariableRecord,
}

/// What became of a push fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushOutcomeRow {
    /// The fact.
    pub fact: i64,
    /// Its run.
    pub run: RunId,
    /// The outcome.
    pub outcome: PushOutcome,
}

/// Rows that can matter to a pass: of hot subjects (open, or with an unsettled
/// trigger, or a run that is not finalised, or an environment that is not gone),
/// and of finished runs whose pull request is still open. Every list is in the
/// order of its key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreSnapshot {
    /// The database clock at the start of the transaction.
    pub now: Timestamp,
    /// When the database was last found to be restored: older rows may lag behind the world.
    #[serde(default)]
    pub restored_at: Option<Timestamp>,
    /// Bound repositories.
    pub repositories: Vec<RepositoryMirror>,
    /// Who we are, per credential.
    pub identities: Vec<IdentityRecord>,
    /// Permissions read.
    pub permissions: Vec<PermissionRecord>,
    /// Issues and the issue side of pull requests.
    pub issues: Vec<Issue>,
    /// Label and state events of those.
    pub events: Vec<IssueEvent>,
    /// The labels that exist.
    pub labels: Vec<RepositoryLabel>,
    /// The variables that are ours by name.
    #[serde(default)]
    pub variables: Vec<RepositoryVariable>,
    /// Pull requests.
    pub pulls: Vec<PullRequest>,
    /// Their reviews.
    pub reviews: Vec<Review>,
    /// Comments.
    pub comments: Vec<Comment>,
    /// Branches of work items with live triggers or runs.
    pub branches: Vec<BranchHead>,
    /// Triggers.
    pub triggers: Vec<Trigger>,
    /// Runs.
    pub runs: Vec<Run>,
    /// Attempts.
    pub attempts: Vec<Attempt>,
    /// Environments.
    pub environments: Vec<Environment>,
    /// Slots held.
    pub slots: Vec<SlotRow>,
    /// The ledger's rows of those runs, and every row that is not done.
    pub effects: Vec<Effect>,
    /// Facts of runs that have not ended; heartbeats are folded into the attempts.
    pub facts: Vec<RunFact>,
    /// What became of pushes of those runs.
    pub push_outcomes: Vec<PushOutcomeRow>,
    /// Approvals: of hot subjects, and every one that is not settled.
    #[serde(default)]
    pub approvals: Vec<Approval>,
    /// Decisions that came in for those that wait for one.
    #[serde(default)]
    pub decisions: Vec<DecisionFact>,
}

impl StoreSnapshot {
    /// The rows of each of these projects, dealt out in one walk. What concerns no one project
    /// alone, such as who we are, is in each; rows of no project asked for are dropped.
    #[must_use]
    pub fn by_project(
        self,
        projects: impl IntoIterator<Item = ProjectKey>,
    ) -> BTreeMap<ProjectKey, Self> {
        let part = Self {
            now: self.now,
            restored_at: self.restored_at,
            identities: self.identities.clone(),
            ..Self::default()
        };
        let projects = projects.into_iter().map(|project| (project, part.clone()));
        let mut parts = projects.collect();
        let owners = Owners::of(&self);
        owners.deal(self, &mut parts);
        parts
    }
}

/// Which project a row is of.
struct Owners {
    of_repository: BTreeMap<RepositoryId, ProjectKey>,
    of_run: BTreeMap<RunId, ProjectKey>,
    of_approval: BTreeMap<ApprovalId, ProjectKey>,
    /// Every project with rows about a repository.
    about: BTreeMap<RepositoryId, BTreeSet<ProjectKey>>,
}

impl Owners {
    fn of(all: &StoreSnapshot) -> Self {
        let bound = all.repositories.iter().map(|row| (row.id(), &row.project));
        let runs = all.runs.iter().map(|row| (row.repository, &row.project));
        let triggers = all.triggers.iter();
        let triggers = triggers.map(|row| (row.identity.repository, &row.project));
        let approvals = all.approvals.iter();
        let approvals = approvals.map(|row| (row.repository, &row.project));
        let rows = bound.chain(runs).chain(triggers).chain(approvals);
        let mut about: BTreeMap<RepositoryId, BTreeSet<ProjectKey>> = BTreeMap::new();
        for (repository, project) in rows {
            let projects = about.entry(repository).or_default();
            if !projects.contains(project) {
                projects.insert(project.clone());
            }
        }
        Self {
            of_repository: keyed(&all.repositories, |row| (row.id(), row.project.clone())),
            of_run: keyed(&all.runs, |row| (row.id, row.project.clone())),
            of_approval: keyed(&all.approvals, |row| (row.id, row.project.clone())),
            about,
        }
    }

    /// Each list into the same one of a part.
    fn deal(&self, all: StoreSnapshot, parts: &mut BTreeMap<ProjectKey, StoreSnapshot>) {
        macro_rules! deal {
            ($row:ident => $project:expr => $($list:ident),+) => {
                $(for $row in all.$list {
                    if let Some(part) = $project.and_then(|project| parts.get_mut(project)) {
                        part.$list.push($row);
                    }
                })+
            };
        }
        deal!(row => Some(&row.project) => repositories, triggers, runs, slots, approvals);
        deal!(row => self.of_approval.get(&row.approval) => decisions);
        deal!(row => self.of_run.get(&row.run) => attempts, environments, facts, push_outcomes);
        deal!(row => self.of_repository.get(&row.repository) => permissions, issues, events,
            labels, variables, pulls, reviews, comments, branches);
        self.deal_effects(all.effects, parts);
    }

    /// An effect is its run's project's, or that of every project with rows about the repository
    /// that it names. One that names neither may concern any.
    fn deal_effects(&self, effects: Vec<Effect>, parts: &mut BTreeMap<ProjectKey, StoreSnapshot>) {
        for effect in effects {
            if let Some(project) = effect.run.and_then(|run| self.of_run.get(&run)) {
                if let Some(part) = parts.get_mut(project) {
                    part.effects.push(effect);
                }
                continue;
            }
            let repository = effect.key.repository();
            let about = repository.and_then(|repository| self.about.get(&repository));
            for (project, part) in parts.iter_mut() {
                if about.is_none_or(|projects| projects.contains(project)) {
                    part.effects.push(effect.clone());
                }
            }
        }
    }
}

fn keyed<T, K: Ord, V>(rows: &[T], of: impl Fn(&T) -> (K, V)) -> BTreeMap<K, V> {
    rows.iter().map(of).collect()
}
