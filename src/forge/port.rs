//! The forge port: what the platform asks of a forge.
//!
//! It decides nothing and retries nothing. Records are the domain's.

use std::{collections::BTreeSet, fmt};

use async_trait::async_trait;
use secrecy::SecretString;

use super::{
    error::ForgeError,
    metrics::BudgetWindow,
    push::{PushOutcome, PushRef},
};
use crate::domain::{
    Timestamp,
    forge::{
        Comment, ForgeKind, Issue, IssueEvent, LabelRecord, Permission, PullRequest,
        RepositoryRecord, Review, VariableRecord,
    },
    ids::{
        BranchName, CommentId, CommitSha, EventId, IssueNumber, LabelName, RepositoryId,
        RepositoryName, Subject, UserId,
    },
    mirror::{Detected, IdentityRecord},
};

/// A call's answer.
pub type ForgeResult<T> = Result<T, ForgeError>;

/// A repository as calls name it: by the name the forge wants in its paths and
/// by the id that the caller pinned and that the records carry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepositoryRef {
    /// The immutable id.
    pub id: RepositoryId,
    /// The name under which it is asked for.
    pub name: RepositoryName,
}

impl fmt::Display for RepositoryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// What detection says of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detection {
    /// The id behind the name now.
    pub id: RepositoryId,
    /// The name it goes by now; another than asked for means renamed.
    pub name: RepositoryName,
    /// The default branch, where the repository has one.
    pub default_branch: Option<BranchName>,
    /// Whether it is archived.
    pub archived: bool,
    /// The fingerprint: *differs*, not *newer*, means moved.
    pub detected: Detected,
}

/// A part of a list that ascends by update time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SincePage<T> {
    /// What was read, oldest first.
    pub items: Vec<T>,
    /// Where to go on at once; `None` when the list is read to its end.
    pub go_on: Option<Timestamp>,
    /// The mark to store once the items are: a mark younger than some seconds
    /// is held back so that late comers are read again.
    pub cursor: Option<Timestamp>,
}

/// What the hot-set read says of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectRead {
    /// The issue or pull request with its edit history.
    pub issue: Issue,
    /// The opaque id of its newest label or state event, where the forge says.
    pub newest_event: Option<String>,
    /// The pull request, where it is one and was read with it.
    pub pull: Option<PullRequest>,
}

/// Which label and state events of a repository to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventsQuery {
    /// Read back to this known event; `None` where none is known.
    pub back_to: Option<EventId>,
    /// At most so many pages of 100 where none is known.
    pub max_pages: u32,
    /// Ask for the pages as they are now instead of having kept ones confirmed.
    pub anew: bool,
}

/// Label and state events of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventsRead {
    /// The events, newest first.
    pub events: Vec<IssueEvent>,
    /// The opaque ids of everything that was read on the way.
    pub node_ids: BTreeSet<String>,
}

/// What to read of one repository among many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedQuery {
    /// The repository.
    pub repository: RepositoryRef,
    /// Subjects that moved at or after this time are read; `None` reads none but the hot ones.
    pub since: Option<Timestamp>,
    /// Subjects that are read in any case, with their edit history.
    pub hot: Vec<HotSubject>,
    /// Branches whose heads are wanted.
    pub branches: Vec<BranchName>,
    /// Reads every open subject with one of these labels, and the label definitions.
    pub sweep: Vec<LabelName>,
}

/// A subject that is read every period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotSubject {
    /// Its number.
    pub number: IssueNumber,
    /// Its opaque id.
    pub node_id: String,
    /// Whether it is a pull request.
    pub is_pull_request: bool,
    /// The update time at which its conversation was read: with another it is read again.
    pub conversation_at: Option<Timestamp>,
}

/// What was read of one repository among many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MovedRead {
    /// Hot subjects, those that moved, and those that a sweep found.
    pub subjects: Vec<SubjectRead>,
    /// Hot subjects that do not seem to be in the repository any more: to be confirmed by
    /// [`Forge::issue`].
    pub left: Vec<IssueNumber>,
    /// The whole conversations of hot subjects that moved, comments on lines of a diff left out.
    pub conversations: Vec<(IssueNumber, Vec<Comment>)>,
    /// Hot subjects that moved and whose conversation is too long, or holds a command: to be read by
    /// [`Forge::comments`].
    pub long_conversations: Vec<IssueNumber>,
    /// Where the branches stand.
    pub branches: Vec<(BranchName, Option<CommitSha>)>,
    /// The label definitions, where they were wanted and all of them came.
    pub labels: Option<Vec<LabelRecord>>,
    /// Whether all subjects that moved since are among what was read; otherwise they are to be
    /// read by [`Forge::issues_since`].
    pub reaches_back: bool,
    /// The mark to store once the subjects are, as [`SincePage::cursor`].
    pub newest: Option<Timestamp>,
    /// Whether a sweep's subjects are all among what was read.
    pub swept: bool,
}

/// Which pull requests to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullFilter {
    /// Those whose head is this branch of the same repository, in all states.
    Head(BranchName),
    /// Those that moved at or after this time, newest first; `None` for all.
    Since(Option<Timestamp>),
}

/// Which comments to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommentFilter {
    /// All on one subject.
    On(IssueNumber),
    /// All of the repository since a time, ascending by update time.
    Since(Option<Timestamp>),
}

/// Whose rights to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The immutable id, which the answer must carry.
    pub id: UserId,
    /// The login at last sight, by which the forge is asked.
    pub login: String,
}

/// A pull request to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPull {
    /// The head branch, of the same repository.
    pub head: BranchName,
    /// The base branch.
    pub base: BranchName,
    /// The title.
    pub title: String,
    /// The body.
    pub body: String,
    /// Whether to open it as a draft.
    pub draft: bool,
}

/// What to set on a pull request; `None` leaves a field alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullEdit {
    /// The title.
    pub title: Option<String>,
    /// The body.
    pub body: Option<String>,
    /// The base branch.
    pub base: Option<BranchName>,
}

/// A name and a secret for Git over HTTP.
#[derive(Debug, Clone)]
pub struct GitCredentials {
    /// The user name.
    pub username: String,
    /// The secret.
    pub password: SecretString,
}

/// A forge, as far as the platform needs one.
///
/// *Guarantees*: lists are whole or an error, never a part; redirects are
/// reported and never followed; changing calls ask the write gate right before
/// they are sent and are sent once.
///
/// *Caveats*: a changing call that failed with `maybe_applied` may have taken
/// effect: look it up by its natural key before doing it again.
#[async_trait]
pub trait Forge: Send + Sync + fmt::Debug {
    /// Which forge this is.
    fn kind(&self) -> ForgeKind;

    /// What is left of our credential's budgets by what the forge said last; nothing where it
    /// grants without limit.
    fn budget(&self) -> Vec<BudgetWindow>;

    /// Asks what is left, which costs nothing.
    async fn ask_budget(&self) -> ForgeResult<Vec<BudgetWindow>>;

    /// Who our writes appear as.
    async fn identity(&self) -> ForgeResult<IdentityRecord>;

    /// Reads one repository. A renamed one is `Moved`.
    async fn repository(&self, name: &RepositoryName) -> ForgeResult<RepositoryRecord>;

    /// Asks which repositories moved: one answer per name, in order. The outer
    /// error means that nothing was learnt of any.
    async fn detect(&self, names: &[RepositoryName]) -> ForgeResult<Vec<ForgeResult<Detection>>>;

    /// Reads issues and pull requests that moved at or after a time.
    async fn issues_since(
        &self,
        repository: &RepositoryRef,
        since: Option<Timestamp>,
    ) -> ForgeResult<SincePage<Issue>>;

    /// Reads open issues with a label: the sweep.
    async fn issues_with_label(
        &self,
        repository: &RepositoryRef,
        label: &LabelName,
    ) -> ForgeResult<Vec<Issue>>;

    /// Reads subjects by number and node id, one answer each, in order; `None`
    /// for one that is not in this repository any more, which is to be
    /// confirmed by [`Forge::issue`].
    async fn subjects(
        &self,
        repository: &RepositoryRef,
        subjects: &[(IssueNumber, String)],
    ) -> ForgeResult<Vec<Option<SubjectRead>>>;

    /// Reads what moved in many repositories with few requests: one answer per query, in order.
    /// The outer error means that nothing was learnt of any. `None` where the forge cannot do
    /// that: each repository is to be read by itself.
    async fn moved(
        &self,
        queries: &[MovedQuery],
    ) -> ForgeResult<Option<Vec<ForgeResult<MovedRead>>>>;

    /// Reads one issue. `NotFound` and `Gone` are definite; `Moved` means transferred.
    async fn issue(&self, repository: &RepositoryRef, number: IssueNumber) -> ForgeResult<Issue>;

    /// The highest event id there is.
    async fn newest_event(&self, repository: &RepositoryRef) -> ForgeResult<Option<EventId>>;

    /// Reads label and state events newest first. Events beside the known one that were read on
    /// the way are included.
    async fn issue_events(
        &self,
        repository: &RepositoryRef,
        query: EventsQuery,
    ) -> ForgeResult<EventsRead>;

    /// Reads the label definitions.
    async fn labels(&self, repository: &RepositoryRef) -> ForgeResult<Vec<LabelRecord>>;

    /// Lists pull requests.
    async fn pulls(
        &self,
        repository: &RepositoryRef,
        filter: &PullFilter,
    ) -> ForgeResult<Vec<PullRequest>>;

    /// Reads one pull request.
    async fn pull(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> ForgeResult<PullRequest>;

    /// Reads a pull request's reviews, oldest first.
    async fn reviews(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> ForgeResult<Vec<Review>>;

    /// Lists comments of the conversation.
    async fn comments(
        &self,
        repository: &RepositoryRef,
        filter: CommentFilter,
    ) -> ForgeResult<Vec<Comment>>;

    /// Reads a pull request's comments on lines of its diff.
    async fn review_comments(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> ForgeResult<Vec<Comment>>;

    /// Reads what an account may do. An account that is gone or is another one
    /// by now may do nothing.
    async fn permission(
        &self,
        repository: &RepositoryRef,
        account: &Account,
    ) -> ForgeResult<Permission>;

    /// Reads a repository variable; `None` where it is not set.
    async fn variable(&self, repository: &RepositoryRef, name: &str)
    -> ForgeResult<Option<String>>;

    /// Lists a repository's variables.
    async fn variables(&self, repository: &RepositoryRef) -> ForgeResult<Vec<VariableRecord>>;

    /// Where a branch stands; `None` where it does not exist.
    async fn ref_head(
        &self,
        repository: &RepositoryRef,
        branch: &BranchName,
    ) -> ForgeResult<Option<CommitSha>>;

    /// Finds the comments with a marker by one of these authors, lowest id first.
    async fn find_comments(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        marker: &str,
        authors: &[UserId],
    ) -> ForgeResult<Vec<Comment>> {
        let mut found: Vec<Comment> = self
            .comments(repository, CommentFilter::On(number))
            .await?
            .into_iter()
            .filter(|comment| comment.body.contains(marker))
            .filter(|comment| {
                let author = comment.author.as_ref();
                author.is_some_and(|author| authors.contains(&author.id))
            })
            .collect();
        found.sort_by_key(|comment| comment.id);
        Ok(found)
    }

    /// Finds the pull requests from a branch, in all states, lowest number first.
    async fn find_pulls_by_head(
        &self,
        repository: &RepositoryRef,
        branch: &BranchName,
    ) -> ForgeResult<Vec<PullRequest>> {
        let filter = PullFilter::Head(branch.clone());
        let mut found = self.pulls(repository, &filter).await?;
        found.sort_by_key(|pull| pull.number);
        Ok(found)
    }

    /// Puts labels on; those already there stay.
    async fn add_labels(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        labels: &[LabelName],
    ) -> ForgeResult<()>;

    /// Takes a label off; one that is not there is fine.
    async fn remove_label(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        label: &LabelName,
    ) -> ForgeResult<()>;

    /// Makes sure that a label is defined; an existing one is left as it is. Answers what
    /// stands there.
    async fn define_label(
        &self,
        repository: &RepositoryRef,
        label: &LabelRecord,
    ) -> ForgeResult<LabelRecord>;

    /// Gives an existing label its colour and description; one that is not there is an error.
    /// Answers what stands there.
    async fn change_label(
        &self,
        repository: &RepositoryRef,
        label: &LabelRecord,
    ) -> ForgeResult<LabelRecord>;

    /// Writes a comment.
    async fn create_comment(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        body: &str,
    ) -> ForgeResult<Comment>;

    /// Changes a comment's text.
    async fn edit_comment(
        &self,
        repository: &RepositoryRef,
        subject: Subject,
        comment: CommentId,
        body: &str,
    ) -> ForgeResult<Comment>;

    /// Deletes a comment; one that is gone is fine.
    async fn delete_comment(
        &self,
        repository: &RepositoryRef,
        comment: CommentId,
    ) -> ForgeResult<()>;

    /// Opens a pull request.
    async fn create_pull(
        &self,
        repository: &RepositoryRef,
        pull: &NewPull,
    ) -> ForgeResult<PullRequest>;

    /// Changes a pull request.
    async fn edit_pull(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        edit: &PullEdit,
    ) -> ForgeResult<PullRequest>;

    /// Sets a repository variable, creating it where it is absent; one that holds the value is
    /// left alone.
    async fn set_variable(
        &self,
        repository: &RepositoryRef,
        name: &str,
        value: &str,
    ) -> ForgeResult<()>;

    /// Pushes stored commits to one branch, if it stands where it is expected to.
    async fn push_ref(
        &self,
        repository: &RepositoryRef,
        push: &PushRef,
    ) -> ForgeResult<PushOutcome>;

    /// The clone address over HTTP(S), without credentials.
    fn clone_url(&self, name: &RepositoryName) -> String;

    /// Name and secret for Git over HTTP with this forge's credential.
    async fn git_credentials(&self) -> ForgeResult<GitCredentials>;
}
