//! GitHub's REST records as far as they are read, and what they become.
//!
//! Unknown fields and unknown values of open lists are passed over; a missing
//! field that the documentation promises is an error.

use serde::Deserialize;

use crate::{
    domain::{
        Timestamp,
        forge::{
            AccountKind, Actor, Comment, CommentPlace, EditHistory, Issue, IssueEvent,
            IssueEventKind, LabelRecord, Permission, PullRequest, RepositoryRecord, Review,
            ReviewState, SubjectState, VariableRecord,
        },
        ids::{
            BranchName, CommentId, CommitSha, EventId, IssueNumber, LabelName, RepositoryId,
            RepositoryName, ReviewId, UserId,
        },
    },
    forge::BudgetLeft,
};

#[derive(Debug, Clone, Deserialize)]
pub(super) struct WireUser {
    pub(super) id: i64,
    pub(super) login: String,
    #[serde(rename = "type", default)]
    kind: String,
}

impl From<WireUser> for Actor {
    fn from(user: WireUser) -> Self {
        Self {
            id: UserId(user.id),
            kind: account_kind(&user.kind),
            login: user.login,
        }
    }
}

/// GitHub's account types; anything that is no person counts as a bot.
pub(super) fn account_kind(name: &str) -> AccountKind {
    match name {
        "User" => AccountKind::User,
        "Organization" => AccountKind::Organization,
        _ => AccountKind::Bot,
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct WireRepository {
    id: i64,
    name: String,
    owner: WireUser,
    default_branch: String,
    #[serde(default)]
    archived: bool,
    html_url: String,
    clone_url: String,
}

impl From<WireRepository> for RepositoryRecord {
    fn from(it: WireRepository) -> Self {
        Self {
            id: RepositoryId(it.id),
            name: RepositoryName {
                owner: it.owner.login,
                name: it.name,
            },
            default_branch: BranchName::new(it.default_branch),
            default_head: None,
            archived: it.archived,
            html_url: it.html_url,
            clone_url: it.clone_url,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum WireLabelOf {
    Text(String),
    Record { name: Option<String> },
}

#[derive(Debug, Deserialize)]
pub(super) struct WireIssue {
    node_id: String,
    number: i64,
    title: String,
    body: Option<String>,
    state: String,
    pull_request: Option<serde::de::IgnoredAny>,
    user: Option<WireUser>,
    labels: Vec<WireLabelOf>,
    created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    html_url: String,
}

impl WireIssue {
    pub(super) fn record(self, repository: RepositoryId) -> Issue {
        let names = self.labels.into_iter().filter_map(|label| match label {
            WireLabelOf::Text(name) => Some(name),
            WireLabelOf::Record { name } => name,
        });
        Issue {
            repository,
            number: IssueNumber(self.number),
            node_id: self.node_id,
            title: self.title,
            body: self.body.unwrap_or_default(),
            state: subject_state(&self.state),
            is_pull_request: self.pull_request.is_some(),
            author: self.user.map(Actor::from),
            labels: names.map(LabelName::new).collect(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            edits: EditHistory::Unread,
            html_url: self.html_url,
        }
    }
}

pub(super) fn subject_state(name: &str) -> SubjectState {
    if name.eq_ignore_ascii_case("open") {
        SubjectState::Open
    } else {
        SubjectState::Closed
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct WireEvent {
    pub(super) id: i64,
    pub(super) node_id: Option<String>,
    event: String,
    actor: Option<WireUser>,
    label: Option<WireLabelName>,
    performed_via_github_app: Option<WireApp>,
    created_at: Timestamp,
    issue: Option<WireNumber>,
}

#[derive(Debug, Deserialize)]
struct WireLabelName {
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireApp {
    pub(super) slug: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireNumber {
    number: i64,
}

impl WireEvent {
    /// The event, if it is one of label or state.
    pub(super) fn record(self, repository: RepositoryId) -> Option<IssueEvent> {
        let label = || Some(LabelName::new(self.label.as_ref()?.name.clone()?));
        let what = match self.event.as_str() {
            "labeled" => IssueEventKind::Labeled { label: label()? },
            "unlabeled" => IssueEventKind::Unlabeled { label: label()? },
            "closed" => IssueEventKind::Closed,
            "reopened" => IssueEventKind::Reopened,
            "transferred" => IssueEventKind::Transferred,
            "renamed" => IssueEventKind::Renamed,
            "merged" => IssueEventKind::Merged,
            _ => return None,
        };
        Some(IssueEvent {
            id: EventId(self.id),
            repository,
            number: IssueNumber(self.issue.as_ref()?.number),
            what,
            actor: self.actor.map(Actor::from),
            via_app: self.performed_via_github_app.and_then(|app| app.slug),
            created_at: self.created_at,
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct WireLabel {
    name: String,
    color: String,
    description: Option<String>,
}

impl From<WireLabel> for LabelRecord {
    fn from(label: WireLabel) -> Self {
        Self {
            name: LabelName::new(label.name),
            colour: label.color,
            description: label.description.unwrap_or_default(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct WireEnd {
    #[serde(rename = "ref")]
    branch: String,
    sha: String,
    repo: Option<WireId>,
}

#[derive(Debug, Deserialize)]
struct WireId {
    id: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct WirePull {
    number: i64,
    title: String,
    body: Option<String>,
    state: String,
    merged_at: Option<Timestamp>,
    user: Option<WireUser>,
    head: WireEnd,
    base: WireEnd,
    html_url: String,
    pub(super) updated_at: Timestamp,
}

impl WirePull {
    pub(super) fn record(self, repository: RepositoryId) -> PullRequest {
        PullRequest {
            repository: self
                .base
                .repo
                .map_or(repository, |repo| RepositoryId(repo.id)),
            number: IssueNumber(self.number),
            title: self.title,
            body: self.body.unwrap_or_default(),
            state: subject_state(&self.state),
            merged: self.merged_at.is_some(),
            author: self.user.map(Actor::from),
            head: BranchName::new(self.head.branch),
            head_repository: self.head.repo.map(|repo| RepositoryId(repo.id)),
            head_sha: CommitSha::new(self.head.sha),
            base: BranchName::new(self.base.branch),
            html_url: self.html_url,
            updated_at: self.updated_at,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct WireReview {
    id: i64,
    user: Option<WireUser>,
    state: String,
    #[serde(default)]
    body: Option<String>,
    commit_id: Option<String>,
    submitted_at: Option<Timestamp>,
}

impl WireReview {
    pub(super) fn record(self, repository: RepositoryId, number: IssueNumber) -> Option<Review> {
        Some(Review {
            id: ReviewId(self.id),
            repository,
            number,
            author: self.user.map(Actor::from),
            state: self.state.to_lowercase().parse::<ReviewState>().ok()?,
            body: self.body.unwrap_or_default(),
            commit: self.commit_id.map(CommitSha::new),
            submitted_at: self.submitted_at,
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct WireComment {
    id: i64,
    user: Option<WireUser>,
    body: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    issue_url: Option<String>,
    path: Option<String>,
    line: Option<i64>,
    performed_via_github_app: Option<WireApp>,
}

impl WireComment {
    /// The comment; `on` names its subject where the record does not.
    pub(super) fn record(
        self,
        repository: RepositoryId,
        on: Option<IssueNumber>,
    ) -> Option<Comment> {
        let named = || {
            let tail = self.issue_url.as_ref()?.rsplit('/').next()?;
            tail.parse().ok().map(IssueNumber)
        };
        Some(Comment {
            id: CommentId(self.id),
            repository,
            number: on.or_else(named)?,
            author: self.user.map(Actor::from),
            body: self.body.unwrap_or_default(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            place: self.path.map(|path| CommentPlace {
                path,
                line: self.line,
                resolved: false,
            }),
            via_app: self.performed_via_github_app.and_then(|app| app.slug),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct WirePermission {
    permission: String,
    role_name: Option<String>,
    pub(super) user: Option<WireUser>,
}

impl WirePermission {
    /// The rights; a custom role counts as the base role GitHub names beside it.
    pub(super) fn record(&self) -> Permission {
        let named = |name: &str| name.parse::<Permission>().ok();
        let role = self.role_name.as_deref().and_then(named);
        role.or_else(|| named(&self.permission))
            .unwrap_or(Permission::None)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct WireVariable {
    name: String,
    pub(super) value: String,
}

impl From<WireVariable> for VariableRecord {
    fn from(variable: WireVariable) -> Self {
        Self {
            name: variable.name,
            value: variable.value,
        }
    }
}

/// A page of a repository's variables.
#[derive(Debug, Deserialize)]
pub(super) struct WireVariables {
    pub(super) variables: Vec<WireVariable>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireRef {
    pub(super) object: WireObject,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireObject {
    pub(super) sha: String,
}

/// What `/rate_limit` says.
#[derive(Debug, Deserialize)]
pub(super) struct WireBudgets {
    pub(super) resources: WireResources,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireResources {
    pub(super) core: Option<WireBudget>,
    pub(super) graphql: Option<WireBudget>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireBudget {
    limit: u64,
    remaining: u64,
    reset: i64,
}

impl From<WireBudget> for BudgetLeft {
    fn from(wire: WireBudget) -> Self {
        Self {
            limit: wire.limit,
            remaining: wire.remaining,
            reset_epoch_seconds: wire.reset,
        }
    }
}
