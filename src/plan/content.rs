//! What actions carry: comments, pull requests, and changes of a run's row.

use serde::{Deserialize, Serialize};

use crate::domain::{
    fact::ResultRecord,
    ids::{BranchName, CommitSha, IssueNumber, RepositoryName, Subject},
    run::Outcome,
};

/// A comment to be written or edited in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentContent {
    /// Where.
    pub subject: Subject,
    /// The repository's name.
    pub repository: RepositoryName,
    /// The mark by which it is found again; part of the body.
    pub marker: String,
    /// The whole text.
    pub body: String,
}

/// A pull request to be opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequestContent {
    /// The repository's name.
    pub repository: RepositoryName,
    /// The head branch: the run's.
    pub head: BranchName,
    /// The base branch.
    pub base: BranchName,
    /// The title.
    pub title: String,
    /// The body, with the run's mark.
    pub body: String,
}

/// A change of a run's row beside its state; absent fields stay.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunChange {
    /// How it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Seconds of work allowed from now on; sets `timeout_at` when it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i64>,
    /// The accepted result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultRecord>,
    /// The head of its branch, where the forge showed it to be what the run's result names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_head: Option<CommitSha>,
    /// The pull request found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<IssueNumber>,
    /// Why it is held in the queue; `Some(None)` lets it go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Option<String>>,
}
