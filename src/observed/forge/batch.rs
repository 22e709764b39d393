//! What a poll hands to the mirror: one batch is one transaction, so that a
//! cursor never moves without the rows it vouches for.

use std::fmt;

use async_trait::async_trait;

use crate::domain::{
    Timestamp,
    forge::{Comment, Issue, IssueEvent, LabelRecord, PullRequest, Review, VariableRecord},
    ids::{IssueNumber, RepositoryId},
    mirror::{BranchHead, IdentityRecord, PermissionRecord, RepositoryMirror},
};

/// Everything that one step of a poll read of one repository.
///
/// *Guarantees*: applied as a whole or not at all. Rows equal to what is there
/// are not written. `None` and empty lists say nothing about what they leave out.
#[derive(Debug, Clone, PartialEq)]
pub struct MirrorBatch {
    /// When the read began (the store's clock): what we wrote ourselves since
    /// then is not displaced by it.
    pub read_began_at: Timestamp,
    /// The bookkeeping row with its cursors; written where it differs.
    pub mirror: Option<RepositoryMirror>,
    /// Issues to insert or update.
    pub issues: Vec<Issue>,
    /// Issues that are definitely gone from the repository.
    pub gone: Vec<(RepositoryId, IssueNumber)>,
    /// Events to insert; known ids are left alone.
    pub events: Vec<IssueEvent>,
    /// The label definitions: the whole list, in place of the old one.
    pub labels: Option<(RepositoryId, Vec<LabelRecord>)>,
    /// The variables that are ours by name: the whole list, in place of the old one.
    pub variables: Option<(RepositoryId, Vec<VariableRecord>)>,
    /// Pull requests to insert or update.
    pub pulls: Vec<PullRequest>,
    /// Reviews to insert or update.
    pub reviews: Vec<Review>,
    /// The whole conversation of single subjects, in place of the old one:
    /// comments that are not in it were deleted.
    pub conversations: Vec<Conversation>,
    /// Where branches stand.
    pub branches: Vec<BranchHead>,
    /// Rights that were read.
    pub permissions: Vec<PermissionRecord>,
    /// Our own identities.
    pub identities: Vec<IdentityRecord>,
}

impl MirrorBatch {
    /// An empty batch of a read begun then.
    pub fn begun_at(read_began_at: Timestamp) -> Self {
        Self {
            read_began_at,
            mirror: None,
            issues: Vec::new(),
            gone: Vec::new(),
            events: Vec::new(),
            labels: None,
            variables: None,
            pulls: Vec::new(),
            reviews: Vec::new(),
            conversations: Vec::new(),
            branches: Vec::new(),
            permissions: Vec::new(),
            identities: Vec::new(),
        }
    }
}

/// All comments of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The repository.
    pub repository: RepositoryId,
    /// The issue or pull request.
    pub number: IssueNumber,
    /// Every comment there is.
    pub comments: Vec<Comment>,
}

/// The mirror as a poll needs it. The store implements it with the holder's
/// transactions; errors are for people and for the report.
#[async_trait]
pub trait MirrorStore: Send + Sync + fmt::Debug {
    /// The store's clock.
    async fn now(&self) -> Result<Timestamp, MirrorError>;

    /// All bookkeeping rows.
    async fn mirrors(&self) -> Result<Vec<RepositoryMirror>, MirrorError>;

    /// The mirrored issues with these numbers.
    async fn issues(
        &self,
        repository: RepositoryId,
        numbers: &[IssueNumber],
    ) -> Result<Vec<Issue>, MirrorError>;

    /// Writes a batch in one transaction; answers how many rows it wrote.
    async fn commit(&self, batch: MirrorBatch) -> Result<u64, MirrorError>;

    /// Notes why a bound repository cannot be read. Moves no cursor; a batch
    /// whose row says `unknown: None` ends it.
    async fn mark_unknown(&self, repository: RepositoryId, reason: &str)
    -> Result<(), MirrorError>;
}

/// The mirror could not be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing}: {message}")]
pub struct MirrorError {
    /// What was tried.
    pub doing: &'static str,
    /// Why it failed.
    pub message: String,
}
