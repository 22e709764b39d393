//! GitHub.com and GitHub Enterprise Server through octocrab.
//!
//! ```text
//!  Forge ─► reads · writes · graphql ─► client: budget, conditional request ─► octocrab
//!      └──► push (smart HTTP) ───────────────────────────────┐    (tokens, App)  │
//!                                                            └─► reqwest ◄─ transport
//! ```
//!
//! One [`GithubForge`] is one credential: its budget and its kept pages are its
//! own. Octocrab makes the requests and renews an App's tokens; its retry,
//! cache and redirects are not used: the first repeats POSTs, the second keeps
//! half-read pages and knows no credentials, the third hides a rename.

mod batches;
mod budget;
mod client;
mod graphql;
mod moved;
mod pages;
mod paths;
pub mod price;
mod push;
mod reads;
mod settings;
mod subjects;
mod threads;
mod transport;
mod wire;
mod writes;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;

pub use self::settings::{GithubCredential, GithubSettings, PauseClock};
use self::{client::Client, subjects::Wanted};
use super::{
    Account, BudgetWindow, CommentFilter, Detection, EventsQuery, EventsRead, Forge,
    ForgeErrorKind, ForgeMetrics, ForgeResult, GitCredentials, MovedQuery, MovedRead, NewPull,
    PullEdit, PullFilter, PushOutcome, PushRef, RepositoryRef, SincePage, SubjectRead, WriteGate,
};
use crate::domain::{
    Timestamp,
    forge::{
        Comment, EditHistory, ForgeKind, Issue, LabelRecord, Permission, PullRequest,
        RepositoryRecord, Review, VariableRecord,
    },
    ids::{
        BranchName, CommentId, CommitSha, EventId, IssueNumber, LabelName, RepositoryName, Subject,
    },
    mirror::{Detected, IdentityRecord},
};

/// A GitHub as one credential sees it.
#[derive(Debug)]
pub struct GithubForge {
    client: Client,
    /// Set once a server without GraphQL was met: from then on REST is asked.
    without_graphql: AtomicBool,
}

impl GithubForge {
    /// Builds the adapter inside a tokio runtime; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// A key, a CA bundle or a proxy that cannot be used, in words for people.
    pub fn new(
        settings: GithubSettings,
        gate: Arc<dyn WriteGate>,
        metrics: Arc<ForgeMetrics>,
    ) -> Result<Self, String> {
        Ok(Self {
            client: Client::new(settings, gate, metrics)?,
            without_graphql: AtomicBool::new(false),
        })
    }

    /// The counters of this forge.
    pub fn metrics(&self) -> &Arc<ForgeMetrics> {
        &self.client.metrics
    }

    fn has_graphql(&self) -> bool {
        !self.without_graphql.load(Ordering::Relaxed)
    }

    /// Notes that the server answered a query with "no such address".
    fn note_graphql_missing(&self) {
        if !self.without_graphql.swap(true, Ordering::Relaxed) {
            tracing::warn!("the forge has no GraphQL: repositories are asked one by one");
        }
    }

    /// Detection where GraphQL is missing: conditional requests, one repository each.
    async fn detect_by_rest(&self, name: &RepositoryName) -> ForgeResult<Detection> {
        let record = self.read_repository(name).await?;
        let repository = RepositoryRef {
            id: record.id,
            name: record.name.clone(),
        };
        let newest = self.read_newest_updates(&repository).await?;
        Ok(Detection {
            id: record.id,
            name: record.name,
            default_branch: Some(record.default_branch.clone()),
            archived: record.archived,
            detected: Detected {
                issues: newest,
                pulls: (None, 0),
                head: self
                    .read_ref(&repository, &record.default_branch)
                    .await?
                    .map(|sha| sha.as_str().to_owned()),
            },
        })
    }
}

#[async_trait]
impl Forge for GithubForge {
    fn kind(&self) -> ForgeKind {
        ForgeKind::Github
    }

    fn budget(&self) -> Vec<BudgetWindow> {
        self.client.windows()
    }

    async fn ask_budget(&self) -> ForgeResult<Vec<BudgetWindow>> {
        self.read_budget().await?;
        Ok(self.client.windows())
    }

    async fn identity(&self) -> ForgeResult<IdentityRecord> {
        self.read_identity().await
    }

    async fn repository(&self, name: &RepositoryName) -> ForgeResult<RepositoryRecord> {
        self.read_repository(name).await
    }

    async fn detect(&self, names: &[RepositoryName]) -> ForgeResult<Vec<ForgeResult<Detection>>> {
        Ok(self.detect_all(names).await)
    }

    async fn issues_since(
        &self,
        repository: &RepositoryRef,
        since: Option<Timestamp>,
    ) -> ForgeResult<SincePage<Issue>> {
        self.read_issues_since(repository, since).await
    }

    async fn issues_with_label(
        &self,
        repository: &RepositoryRef,
        label: &LabelName,
    ) -> ForgeResult<Vec<Issue>> {
        self.read_issues_with_label(repository, label).await
    }

    async fn subjects(
        &self,
        repository: &RepositoryRef,
        subjects: &[(IssueNumber, String)],
    ) -> ForgeResult<Vec<Option<SubjectRead>>> {
        if self.has_graphql() {
            let wanted: Vec<Wanted> = subjects
                .iter()
                .map(|(_, id)| Wanted {
                    node_id: id.clone(),
                    repository: repository.id,
                    is_pull_request: None,
                    history: true,
                })
                .collect();
            match self.read_subjects(&wanted).await {
                Err(error) if error.kind == ForgeErrorKind::NotFound => {
                    self.note_graphql_missing();
                }
                answer => return answer?.into_iter().collect(),
            }
        }
        let mut reads = Vec::with_capacity(subjects.len());
        for (number, _) in subjects {
            reads.push(match self.read_issue(repository, *number).await {
                Ok(issue) => Some(SubjectRead {
                    // REST tells nothing of edits, and there is nothing else to ask.
                    issue: Issue {
                        edits: EditHistory::Withheld,
                        ..issue
                    },
                    newest_event: None,
                    pull: None,
                }),
                Err(error) if error.says_subject_left() => None,
                Err(error) => return Err(error),
            });
        }
        Ok(reads)
    }

    async fn moved(
        &self,
        queries: &[MovedQuery],
    ) -> ForgeResult<Option<Vec<ForgeResult<MovedRead>>>> {
        if !self.has_graphql() {
            return Ok(None);
        }
        match self.read_moved(queries).await {
            Err(error) if error.kind == ForgeErrorKind::NotFound => {
                self.note_graphql_missing();
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }

    async fn issue(&self, repository: &RepositoryRef, number: IssueNumber) -> ForgeResult<Issue> {
        self.read_issue(repository, number).await
    }

    async fn newest_event(&self, repository: &RepositoryRef) -> ForgeResult<Option<EventId>> {
        self.read_newest_event(repository).await
    }

    async fn issue_events(
        &self,
        repository: &RepositoryRef,
        query: EventsQuery,
    ) -> ForgeResult<EventsRead> {
        self.read_events(repository, query).await
    }

    async fn labels(&self, repository: &RepositoryRef) -> ForgeResult<Vec<LabelRecord>> {
        self.read_labels(repository).await
    }

    async fn pulls(
        &self,
        repository: &RepositoryRef,
        filter: &PullFilter,
    ) -> ForgeResult<Vec<PullRequest>> {
        self.read_pulls(repository, filter).await
    }

    async fn pull(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> ForgeResult<PullRequest> {
        self.read_pull(repository, number).await
    }

    async fn reviews(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> ForgeResult<Vec<Review>> {
        self.read_reviews(repository, number).await
    }

    async fn comments(
        &self,
        repository: &RepositoryRef,
        filter: CommentFilter,
    ) -> ForgeResult<Vec<Comment>> {
        self.read_comments(repository, filter).await
    }

    async fn review_comments(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> ForgeResult<Vec<Comment>> {
        self.read_review_comments(repository, number).await
    }

    async fn permission(
        &self,
        repository: &RepositoryRef,
        account: &Account,
    ) -> ForgeResult<Permission> {
        self.read_permission(repository, account).await
    }

    async fn variable(
        &self,
        repository: &RepositoryRef,
        name: &str,
    ) -> ForgeResult<Option<String>> {
        self.read_variable(repository, name).await
    }

    async fn variables(&self, repository: &RepositoryRef) -> ForgeResult<Vec<VariableRecord>> {
        self.read_variables(repository).await
    }

    async fn ref_head(
        &self,
        repository: &RepositoryRef,
        branch: &BranchName,
    ) -> ForgeResult<Option<CommitSha>> {
        self.read_ref(repository, branch).await
    }

    async fn add_labels(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        labels: &[LabelName],
    ) -> ForgeResult<()> {
        self.put_labels(repository, number, labels).await
    }

    async fn remove_label(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        label: &LabelName,
    ) -> ForgeResult<()> {
        self.take_label(repository, number, label).await
    }

    async fn define_label(
        &self,
        repository: &RepositoryRef,
        label: &LabelRecord,
    ) -> ForgeResult<LabelRecord> {
        self.make_label(repository, label).await
    }

    async fn change_label(
        &self,
        repository: &RepositoryRef,
        label: &LabelRecord,
    ) -> ForgeResult<LabelRecord> {
        self.patch_label(repository, label).await
    }

    async fn create_comment(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        body: &str,
    ) -> ForgeResult<Comment> {
        self.post_comment(repository, number, body).await
    }

    async fn edit_comment(
        &self,
        repository: &RepositoryRef,
        subject: Subject,
        comment: CommentId,
        body: &str,
    ) -> ForgeResult<Comment> {
        self.patch_comment(repository, subject.number, comment, body)
            .await
    }

    async fn delete_comment(
        &self,
        repository: &RepositoryRef,
        comment: CommentId,
    ) -> ForgeResult<()> {
        self.drop_comment(repository, comment).await
    }

    async fn create_pull(
        &self,
        repository: &RepositoryRef,
        pull: &NewPull,
    ) -> ForgeResult<PullRequest> {
        self.open_pull(repository, pull).await
    }

    async fn edit_pull(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        edit: &PullEdit,
    ) -> ForgeResult<PullRequest> {
        self.patch_pull(repository, number, edit).await
    }

    async fn set_variable(
        &self,
        repository: &RepositoryRef,
        name: &str,
        value: &str,
    ) -> ForgeResult<()> {
        self.put_variable(repository, name, value).await
    }

    async fn push_ref(
        &self,
        repository: &RepositoryRef,
        push: &PushRef,
    ) -> ForgeResult<PushOutcome> {
        self.push(repository, push).await
    }

    fn clone_url(&self, name: &RepositoryName) -> String {
        format!("{}/{name}.git", self.client.settings.web_base())
    }

    async fn git_credentials(&self) -> ForgeResult<GitCredentials> {
        Ok(GitCredentials {
            username: "x-access-token".to_owned(),
            password: self.client.git_token().await?,
        })
    }
}
