//! Pushes: what is asked of the forge, and what it came to.

use bytes::Bytes;

use crate::domain::ids::{BranchName, CommitSha};

/// A push of stored commits to one branch.
#[derive(Debug, Clone)]
pub struct PushRef {
    /// The branch.
    pub branch: BranchName,
    /// The commit it must stand on; `None` when it must not exist.
    pub expected_old: Option<CommitSha>,
    /// The commit it shall stand on.
    pub new: CommitSha,
    /// The pack that carries what the forge lacks.
    pub pack: Bytes,
}

/// What a push came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushOutcome {
    /// The branch stands on the new commit.
    Updated,
    /// It did so before anything was sent.
    AlreadyThere,
    /// The branch stands elsewhere than expected: nothing was changed.
    Stale {
        /// Where it stands; `None` when it does not exist.
        found: Option<CommitSha>,
    },
    /// The forge refuses the update for good: a rule, a hook, a bad pack.
    Refused {
        /// In the forge's words.
        reason: String,
    },
}
