//! The bookkeeping of a mirrored repository: its binding, its cursors and what is wrong with it.

use serde::{Deserialize, Serialize};

use super::{
    Timestamp,
    forge::{ForgeKind, OwnIdentity, RepositoryRecord},
    ids::{EventId, ProjectKey, RepositoryId, RepositoryName, ReviewId, UserId},
};

/// A bound repository as the mirror keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepositoryMirror {
    /// The forge.
    pub forge: ForgeKind,
    /// The project that binds it; one repository belongs to one project.
    pub project: ProjectKey,
    /// The name in the config at binding.
    pub configured_name: RepositoryName,
    /// What the forge said last. Its id is pinned by the first bind.
    pub record: RepositoryRecord,
    /// When it was bound (database clock).
    pub bound_at: Timestamp,
    /// The highest event id at binding: up to here everything is historical.
    pub binding_event: EventId,
    /// The highest review id at binding.
    pub binding_review: ReviewId,
    /// Whether triggers older than the binding count.
    pub adopt_existing: bool,
    /// Where reading goes on.
    pub cursors: MirrorCursors,
    /// Why the repository cannot be read now; `None` when the last read was whole.
    pub unknown: Option<String>,
    /// Whether a first whole read (issues, events, labels, pulls) is in.
    pub complete: bool,
    /// Whether the repository variable with the owning installation names us.
    pub owner_variable: OwnerVariable,
}

impl RepositoryMirror {
    /// The immutable id.
    pub fn id(&self) -> RepositoryId {
        self.record.id
    }
}

/// What the repository variable with the owning installation says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum OwnerVariable {
    /// Not read yet.
    Unread,
    /// Not there: ours to set.
    Absent,
    /// It names this installation.
    Ours,
    /// It names another installation: the repository is refused.
    Other {
        /// That installation.
        installation: String,
    },
    /// Our credential may not read variables.
    Forbidden,
}

/// What the variable holds: whose the repository is, and the marks of its first binding, so that
/// a lost database binds it again where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerMark {
    /// The installation, as it calls itself.
    pub installation: String,
    /// The highest event id at binding; zero where the variable does not say.
    pub binding_event: EventId,
    /// The highest review id at binding.
    pub binding_review: ReviewId,
}

impl OwnerMark {
    /// Reads a value: the installation, and after it the marks. People may have written the
    /// installation alone.
    pub fn parse(value: &str) -> Self {
        let mut words = value.split_whitespace();
        let installation = words.next().unwrap_or_default().to_owned();
        let mut mark = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        Self {
            installation,
            binding_event: EventId(mark()),
            binding_review: ReviewId(mark()),
        }
    }
}

impl std::fmt::Display for OwnerMark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (event, review) = (self.binding_event, self.binding_review);
        write!(f, "{} {event} {review}", self.installation)
    }
}

/// Where polling goes on. Every cursor moves in the transaction of what it read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorCursors {
    /// `updated_at` of the last issue read, ascending.
    pub issues_since: Option<Timestamp>,
    /// The highest issue event id known.
    pub last_event: Option<EventId>,
    /// `updated_at` of the last comment read, ascending.
    pub comments_since: Option<Timestamp>,
    /// What detection saw last: *differs*, not *newer*, means moved.
    pub detected: Option<Detected>,
    /// Page validators by path, each with the data it validates.
    pub etags: std::collections::BTreeMap<String, String>,
}

/// The fingerprint by which detection sees that a repository moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detected {
    /// Newest issue's update time and the total count.
    pub issues: (Option<Timestamp>, i64),
    /// Newest pull request's update time and the total count.
    pub pulls: (Option<Timestamp>, i64),
    /// The default branch's head.
    pub head: Option<String>,
}

/// A permission read for an actor of a live trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionRecord {
    /// The repository.
    pub repository: RepositoryId,
    /// The account.
    pub user: UserId,
    /// What it may do.
    pub permission: super::forge::Permission,
    /// When it was read (database clock); kept ten minutes.
    pub read_at: Timestamp,
}

/// A branch that a work item may use, as read at the forge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchHead {
    /// The repository.
    pub repository: RepositoryId,
    /// The branch.
    pub branch: super::ids::BranchName,
    /// Its head; `None` where there is no such branch.
    pub head: Option<super::ids::CommitSha>,
    /// Whether a run of ours made it: a push of ours created it.
    pub ours: bool,
}

/// The identities behind one of our credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRecord {
    /// The credential's name in the settings; never its value.
    pub credential: String,
    /// Who it is.
    pub identity: OwnIdentity,
}
