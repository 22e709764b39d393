//! What a forge says, in the platform's words: the records that the forge port
//! returns, the mirror keeps and the planner reads.
//!
//! All times in these records are the forge's clock and are compared only with
//! each other; order comes from ids.

use serde::{Deserialize, Serialize};

use super::{
    Timestamp,
    ids::{
        BranchName, CommentId, CommitSha, EventId, IssueNumber, LabelName, RepositoryId,
        RepositoryName, ReviewId, UserId,
    },
};

/// Which forge an identity belongs to.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ForgeKind {
    /// GitHub.com or GitHub Enterprise Server.
    Github,
}

/// What kind of account acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// A person.
    User,
    /// A bot or app user.
    Bot,
    /// An organisation.
    Organization,
}

/// An account as it stands in a forge record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The immutable id, by which authority is judged.
    pub id: UserId,
    /// The login at the time of reading; for people to read only.
    pub login: String,
    /// Person, bot or organisation.
    pub kind: AccountKind,
}

/// Our own identities behind a credential: never entitled, and whose labels and
/// comments count as ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnIdentity {
    /// The account that our writes appear under.
    pub actor: Actor,
    /// The app's slug, where the credential is an app's.
    pub app_slug: Option<String>,
}

/// A repository as the forge describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRecord {
    /// The immutable id.
    pub id: RepositoryId,
    /// The present name.
    pub name: RepositoryName,
    /// The default branch.
    pub default_branch: BranchName,
    /// The commit at the default branch's head, where the repository has one and it was read.
    pub default_head: Option<CommitSha>,
    /// Archived repositories take no writes.
    pub archived: bool,
    /// The web address.
    pub html_url: String,
    /// The clone address over HTTP(S), without credentials.
    pub clone_url: String,
}

/// Whether an issue or pull request is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectState {
    /// Open.
    Open,
    /// Closed or merged.
    Closed,
    /// Definitely gone from this repository: deleted (404/410) or transferred away,
    /// read while the repository itself reads well.
    Gone,
}

/// One edit of a title or body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentEdit {
    /// When, by the forge's clock.
    pub at: Timestamp,
    /// Who, where the forge says.
    pub editor: Option<UserId>,
    /// Their login, where they are a person: by it the forge is asked for their rights.
    #[serde(default)]
    pub login: Option<String>,
}

/// What is known of the edits of a subject's title and body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum EditHistory {
    /// The forge gave the whole history; empty means never edited.
    Read {
        /// All edits, oldest first.
        edits: Vec<ContentEdit>,
    },
    /// Nobody asked for it since the subject moved: what was read is judged by nobody until then.
    Unread,
    /// The forge gives none; then any change since first sight counts as one by a stranger.
    Withheld,
}

/// An issue or a pull request's issue side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Its repository.
    pub repository: RepositoryId,
    /// Its number.
    pub number: IssueNumber,
    /// The opaque node id, for batched reads.
    pub node_id: String,
    /// The title as read.
    pub title: String,
    /// The body as read; empty where there is none.
    pub body: String,
    /// Open, closed or gone.
    pub state: SubjectState,
    /// Whether it is a pull request.
    pub is_pull_request: bool,
    /// Who opened it, unless the account is gone.
    pub author: Option<Actor>,
    /// The labels on it, in the forge's order.
    pub labels: Vec<LabelName>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
    /// Edits of title and body.
    pub edits: EditHistory,
    /// The web address.
    pub html_url: String,
}

/// What a repository-wide issue event says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum IssueEventKind {
    /// A label was put on.
    Labeled {
        /// Its name then.
        label: LabelName,
    },
    /// A label was taken off.
    Unlabeled {
        /// Its name then.
        label: LabelName,
    },
    /// The subject was closed.
    Closed,
    /// The subject was opened again.
    Reopened,
    /// The subject left for another repository.
    Transferred,
    /// The title changed.
    Renamed,
    /// The pull request was merged.
    Merged,
}

/// A label or state event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueEvent {
    /// Its id; ids grow with time inside one forge.
    pub id: EventId,
    /// The repository.
    pub repository: RepositoryId,
    /// The issue or pull request.
    pub number: IssueNumber,
    /// What happened.
    pub what: IssueEventKind,
    /// Who did it, unless the account is gone.
    pub actor: Option<Actor>,
    /// The slug of the app through which it was done, if any.
    pub via_app: Option<String>,
    /// When, by the forge's clock.
    pub created_at: Timestamp,
}

/// A label defined in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelRecord {
    /// Its name.
    pub name: LabelName,
    /// Six hexadecimal digits.
    pub colour: String,
    /// Its description; empty where there is none.
    pub description: String,
}

impl LabelRecord {
    /// The label of this name among those of a repository. Nearly always it is written as it is
    /// asked for, and found without comparing letters of either case.
    pub fn find<'a>(labels: &[&'a Self], name: &LabelName) -> Option<&'a Self> {
        let exact = labels.iter().position(|label| label.is_called(name));
        exact
            .or_else(|| labels.iter().position(|label| label.name == *name))
            .map(|at| labels[at])
    }

    /// Whether it is called exactly so, letter by letter.
    pub fn is_called(&self, name: &LabelName) -> bool {
        self.name.as_str() == name.as_str()
    }
}

/// A variable of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableRecord {
    /// Its name, in capitals.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// Its base repository.
    pub repository: RepositoryId,
    /// Its number.
    pub number: IssueNumber,
    /// The title.
    pub title: String,
    /// The body; empty where there is none.
    pub body: String,
    /// Open or closed.
    pub state: SubjectState,
    /// Whether it was merged.
    pub merged: bool,
    /// Who opened it.
    pub author: Option<Actor>,
    /// The head branch.
    pub head: BranchName,
    /// The head's repository; `None` where that is gone.
    pub head_repository: Option<RepositoryId>,
    /// The commit at the head.
    pub head_sha: CommitSha,
    /// The base branch.
    pub base: BranchName,
    /// The web address.
    pub html_url: String,
    /// When it last moved.
    pub updated_at: Timestamp,
}

/// What a review asks for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ReviewState {
    /// Approved.
    Approved,
    /// Changes requested.
    ChangesRequested,
    /// Comments only.
    Commented,
    /// Withdrawn by someone.
    Dismissed,
    /// Not yet handed in.
    Pending,
}

/// A pull request review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Its id.
    pub id: ReviewId,
    /// The repository.
    pub repository: RepositoryId,
    /// The pull request.
    pub number: IssueNumber,
    /// Who gave it.
    pub author: Option<Actor>,
    /// What it asks for.
    pub state: ReviewState,
    /// Its text; empty where there is none.
    pub body: String,
    /// The commit that was reviewed.
    pub commit: Option<CommitSha>,
    /// When it was handed in.
    pub submitted_at: Option<Timestamp>,
}

/// A comment on an issue or pull request, or on a line of a diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// Its id.
    pub id: CommentId,
    /// The repository.
    pub repository: RepositoryId,
    /// The issue or pull request it stands on.
    pub number: IssueNumber,
    /// Who wrote it.
    pub author: Option<Actor>,
    /// The text.
    pub body: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it last changed; equal to `created_at` when it never did.
    pub updated_at: Timestamp,
    /// The file and line, for a comment on a diff.
    pub place: Option<CommentPlace>,
    /// The slug of the app through which it was written, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via_app: Option<String>,
}

impl Comment {
    /// Whether the text was ever edited.
    pub fn was_edited(&self) -> bool {
        self.updated_at != self.created_at
    }
}

/// Where in a diff a comment stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentPlace {
    /// The file's path in the repository.
    pub path: String,
    /// The line, where the forge still knows it.
    pub line: Option<i64>,
    /// Whether somebody has settled what it says: its thread is resolved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resolved: bool,
}

/// What an account may do in a repository, weakest first.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Permission {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Triage (labels and states).
    Triage,
    /// Write.
    Write,
    /// Maintain.
    Maintain,
    /// Admin.
    Admin,
}
