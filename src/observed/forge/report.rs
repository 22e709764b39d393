//! What a poll takes and what it reports.

use std::time::Duration;

use crate::{
    domain::{
        ids::{BranchName, LabelName, ProjectKey, RepositoryId, RepositoryName, Subject},
        mirror::OwnerVariable,
    },
    forge::Account,
};

/// A repository that the config binds to a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryBinding {
    /// The project.
    pub project: ProjectKey,
    /// The name in the config.
    pub name: RepositoryName,
    /// Whether triggers older than the first bind count.
    pub adopt_existing: bool,
}

/// What one poll is to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PollRequest {
    /// Every bound repository.
    pub bound: Vec<RepositoryBinding>,
    /// Subjects with a live trigger, run or approval.
    pub hot: Vec<Subject>,
    /// Actors of live triggers whose rights are wanted.
    pub actors: Vec<(RepositoryId, Account)>,
    /// Branches that work items use or may use.
    pub branches: Vec<(RepositoryId, BranchName)>,
    /// The labels the sweep looks for: the catalogue's triggers.
    pub sweep_labels: Vec<LabelName>,
    /// The label of discussions: where it is, each comment may start a run.
    pub discussed: Option<LabelName>,
}

/// What became of one repository in a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepositoryOutcome {
    /// It was read, as far as it had moved.
    Read {
        /// How many rows of the mirror changed.
        rows: u64,
    },
    /// Nothing moved.
    Unchanged,
    /// It could not be read; nothing moved in the mirror.
    Unknown {
        /// Why, for people.
        reason: String,
    },
    /// The binding is refused: nothing is read or written there.
    Refused {
        /// Why, for people.
        reason: String,
    },
}

/// One repository's line of a poll's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryReport {
    /// The binding.
    pub binding: RepositoryBinding,
    /// The pinned id, where it is bound.
    pub id: Option<RepositoryId>,
    /// What became of it.
    pub outcome: RepositoryOutcome,
    /// What the variable with the owning installation says.
    pub owner_variable: OwnerVariable,
    /// Things to tell people that stop nothing, such as "renamed, change the config".
    pub notes: Vec<String>,
}

/// What a poll came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PollReport {
    /// One line per bound repository, in the request's order.
    pub repositories: Vec<RepositoryReport>,
    /// Why our own identities are not known, if they are not.
    pub identity_unknown: Option<String>,
}

impl PollReport {
    /// Whether any row was handed to the mirror: a reason for a pass.
    pub fn moved(&self) -> bool {
        self.repositories
            .iter()
            .any(|line| matches!(line.outcome, RepositoryOutcome::Read { rows } if rows > 0))
    }
}

/// The constants of polling; production's by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollSettings {
    /// How long the forge may hide what it already accepted: so long after a
    /// move a repository is read every period.
    pub visibility: Duration,
    /// How long a read permission counts.
    pub permission_age: Duration,
    /// How often the sweep by label runs.
    pub sweep_every: Duration,
    /// How often the variable with the owning installation is read.
    pub owner_variable_every: Duration,
    /// How many repositories are read at once.
    pub concurrency: usize,
    /// The longest one repository may take in one poll.
    pub repository_timeout: Duration,
    /// Pages of issues read in one poll; the next one goes on.
    pub issue_pages: usize,
    /// The variable that names the owning installation.
    pub owner_variable_name: String,
    /// Event pages read at the first bind where `adoptExisting` is off.
    pub first_event_pages: u32,
}

impl Default for PollSettings {
    fn default() -> Self {
        Self {
            visibility: Duration::from_mins(1),
            // DESIGN §3: rights are kept ten minutes.
            permission_age: Duration::from_mins(10),
            sweep_every: Duration::from_mins(15),
            // Only a restore or a takeover changes it, and it is one request a repository.
            owner_variable_every: Duration::from_hours(6),
            concurrency: 8,
            repository_timeout: Duration::from_mins(2),
            issue_pages: 20,
            owner_variable_name: "CODEXK8S_INSTALLATION".to_owned(),
            first_event_pages: 10,
        }
    }
}
