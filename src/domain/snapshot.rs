//! All rows that a pass may need, read in one transaction.

use serde::{Deserialize, Serialize};

use super::{
    Timestamp,
    approval::{Approval, DecisionFact},
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
    /// The rows of one project.
    #[must_use]
    pub fn of_project(&self, project: &ProjectKey) -> Self {
        let repositories: Vec<_> = self
            .repositories
            .iter()
            .filter(|row| row.project == *project)
            .cloned()
            .collect();
        let bound: std::collections::BTreeSet<_> =
            repositories.iter().map(RepositoryMirror::id).collect();
        let runs: Vec<_> = self
            .runs
            .iter()
            .filter(|run| run.project == *project)
            .cloned()
            .collect();
        let ids: std::collections::BTreeSet<_> = runs.iter().map(|run| run.id).collect();
        Self {
            now: self.now,
            restored_at: self.restored_at,
            identities: self.identities.clone(),
            permissions: keep(&self.permissions, |row| bound.contains(&row.repository)),
            issues: keep(&self.issues, |row| bound.contains(&row.repository)),
            events: keep(&self.events, |row| bound.contains(&row.repository)),
            labels: keep(&self.labels, |row| bound.contains(&row.repository)),
            variables: keep(&self.variables, |row| bound.contains(&row.repository)),
            pulls: keep(&self.pulls, |row| bound.contains(&row.repository)),
            reviews: keep(&self.reviews, |row| bound.contains(&row.repository)),
            comments: keep(&self.comments, |row| bound.contains(&row.repository)),
            branches: keep(&self.branches, |row| bound.contains(&row.repository)),
            triggers: keep(&self.triggers, |row| row.project == *project),
            attempts: keep(&self.attempts, |row| ids.contains(&row.run)),
            environments: keep(&self.environments, |row| ids.contains(&row.run)),
            slots: keep(&self.slots, |row| row.project == *project),
            effects: self.effects.clone(),
            facts: keep(&self.facts, |row| ids.contains(&row.run)),
            push_outcomes: keep(&self.push_outcomes, |row| ids.contains(&row.run)),
            decisions: keep(&self.decisions, |row| {
                let mut of = self.approvals.iter();
                of.any(|of| of.id == row.approval && of.project == *project)
            }),
            approvals: keep(&self.approvals, |row| row.project == *project),
            runs,
            repositories,
        }
    }
}

fn keep<T: Clone>(rows: &[T], wanted: impl Fn(&T) -> bool) -> Vec<T> {
    rows.iter().filter(|row| wanted(row)).cloned().collect()
}
