//! The model's state: users, tokens, apps and repositories with everything in them.
//!
//! Plain data and look-ups. What changes it is in `change` (issues, labels, comments) and `pulls`
//! (pull requests, reviews); what turns it into GitHub's JSON is in `views`.
//! Ids are global and ascend, as on GitHub: a later thing has a greater id, whatever its kind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::lag::{Lag, Seeded, SeenAt, Stream, Versioned, milliseconds};

/// What someone may do in a repository, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// No access: a private repository is not found.
    None,
    /// May read, comment and open issues.
    Read,
    /// May also label, close and reopen.
    Triage,
    /// May also push and edit what others wrote.
    Write,
    /// May also manage the repository without its dangerous settings.
    Maintain,
    /// May do everything.
    Admin,
}

impl Permission {
    /// GitHub's name of the role.
    pub const fn role_name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Triage => "triage",
            Self::Write => "write",
            Self::Maintain => "maintain",
            Self::Admin => "admin",
        }
    }

    /// GitHub's older, coarser name: triage reads, maintain writes.
    pub const fn legacy_name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read | Self::Triage => "read",
            Self::Write | Self::Maintain => "write",
            Self::Admin => "admin",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UserKind {
    User,
    Organization,
    Bot,
}

#[derive(Debug, Clone)]
pub(super) struct User {
    pub id: u64,
    pub login: String,
    pub kind: UserKind,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone)]
pub(super) struct App {
    pub id: u64,
    pub slug: String,
    pub bot: u64,
    pub owner: u64,
    pub installation: u64,
    /// None: every repository of the account.
    pub repositories: Option<BTreeSet<u64>>,
    pub permissions: BTreeMap<String, String>,
    pub created_at: DateTime<Utc>,
    pub suspended: bool,
}

/// Whose credential a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Principal {
    /// A user's token; `app` when an app holds it on the user's behalf.
    User { user: u64, app: Option<u64> },
    /// An installation token: acts as the app's bot.
    Installation { app: u64 },
    /// An app's own JWT: may ask for its installations and nothing else.
    App { app: u64 },
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub principal: Principal,
    /// None: all the principal may see.
    pub repositories: Option<BTreeSet<u64>>,
    /// None: everything its owner may do (a classic token).
    pub permissions: Option<BTreeMap<String, String>>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Who does something: the user shown as actor, and the app it went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Actor {
    pub user: u64,
    pub app: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Label {
    pub id: u64,
    pub name: String,
    pub color: String,
    pub description: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateReason {
    Completed,
    NotPlanned,
    Reopened,
}

/// One change of a body or comment, as GitHub's edit history shows it.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    pub id: u64,
    pub at: DateTime<Utc>,
    pub editor: u64,
    /// The text after this edit.
    pub text: String,
}

/// The part an issue has when it is a pull request.
#[derive(Debug, Clone)]
pub(super) struct Pull {
    pub id: u64,
    pub head_ref: String,
    pub head_sha: String,
    pub base_ref: String,
    pub base_sha: String,
    pub draft: bool,
    pub merged_at: Option<DateTime<Utc>>,
    pub merged_by: Option<u64>,
    pub merge_commit: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Issue {
    pub id: u64,
    pub number: u64,
    pub title: String,
    pub body: Option<String>,
    pub closed: bool,
    pub state_reason: Option<StateReason>,
    pub author: u64,
    pub via_app: Option<u64>,
    /// Label ids in the order they were put on.
    pub labels: Vec<u64>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
    pub closed_by: Option<u64>,
    pub edits: Vec<Edit>,
    pub pull: Option<Pull>,
}

#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub id: u64,
    pub number: u64,
    pub author: u64,
    pub via_app: Option<u64>,
    pub body: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub edits: Vec<Edit>,
    pub deleted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EventKind {
    Labeled { name: String, color: String },
    Unlabeled { name: String, color: String },
    Closed,
    Reopened,
    Renamed { from: String, to: String },
    Transferred,
    Merged { commit: String },
    HeadRefDeleted,
    HeadRefForcePushed { commit: String },
}

impl EventKind {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Labeled { .. } => "labeled",
            Self::Unlabeled { .. } => "unlabeled",
            Self::Closed => "closed",
            Self::Reopened => "reopened",
            Self::Renamed { .. } => "renamed",
            Self::Transferred => "transferred",
            Self::Merged { .. } => "merged",
            Self::HeadRefDeleted => "head_ref_deleted",
            Self::HeadRefForcePushed { .. } => "head_ref_force_pushed",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Event {
    pub id: u64,
    pub number: u64,
    pub kind: EventKind,
    pub actor: Actor,
    pub created_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
}

/// What a review says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReviewState {
    /// Go ahead.
    Approved,
    /// Not like this.
    ChangesRequested,
    /// Only words.
    Commented,
    /// Taken back by someone who may.
    Dismissed,
}

impl ReviewState {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Approved => "APPROVED",
            Self::ChangesRequested => "CHANGES_REQUESTED",
            Self::Commented => "COMMENTED",
            Self::Dismissed => "DISMISSED",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Review {
    pub id: u64,
    pub number: u64,
    pub author: u64,
    pub body: String,
    pub state: ReviewState,
    pub commit: String,
    pub submitted_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
}

#[derive(Debug, Clone)]
pub(super) struct ReviewComment {
    pub id: u64,
    pub review: u64,
    pub number: u64,
    pub author: u64,
    pub path: String,
    pub line: u64,
    pub body: String,
    pub commit: String,
    /// Whether somebody has resolved the thread that it began.
    pub resolved: bool,
    pub created_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
}

#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub value: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Where an issue went that is no longer here.
#[derive(Debug, Clone)]
pub(super) enum Departed {
    Transferred { repo: u64, number: u64 },
    Deleted,
}

#[derive(Debug, Clone)]
pub(super) struct Repo {
    pub id: u64,
    pub owner: u64,
    pub name: String,
    pub private: bool,
    pub default_branch: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub pushed_at: DateTime<Utc>,
    pub path: PathBuf,
    pub permissions: BTreeMap<u64, Permission>,
    pub labels: BTreeMap<u64, Label>,
    pub issues: BTreeMap<u64, Versioned<Issue>>,
    pub comments: BTreeMap<u64, Versioned<Comment>>,
    pub events: Vec<Event>,
    pub reviews: Vec<Review>,
    pub review_comments: Vec<ReviewComment>,
    pub variables: BTreeMap<String, Variable>,
    pub departed: BTreeMap<u64, Departed>,
    pub next_number: u64,
    pub archived: bool,
}

impl Repo {
    pub(super) fn label_named(&self, name: &str) -> Option<&Label> {
        self.labels
            .values()
            .find(|label| label.name.eq_ignore_ascii_case(name))
    }

    /// The permission of a user: what was set, or read where everyone may look.
    pub(super) fn permission_of(&self, user: u64) -> Permission {
        let public = if self.private {
            Permission::None
        } else {
            Permission::Read
        };
        self.permissions.get(&user).copied().unwrap_or(public)
    }
}

/// Everything the model knows.
#[derive(Debug)]
pub(super) struct World {
    pub base: String,
    pub dir: PathBuf,
    pub offset: TimeDelta,
    pub lag: Lag,
    /// How much older than usual the read in hand is, by a fault.
    pub stale_by: TimeDelta,
    pub seeded: Seeded,
    pub users: BTreeMap<u64, User>,
    pub apps: BTreeMap<u64, App>,
    pub tokens: BTreeMap<String, Token>,
    pub repos: BTreeMap<u64, Repo>,
    /// Lower-case former names of renamed and transferred repositories.
    pub former_names: BTreeMap<String, u64>,
    last_id: u64,
    streams: BTreeMap<(u64, Stream), DateTime<Utc>>,
}

impl World {
    pub(super) fn new(base: String, dir: PathBuf, seed: u64, lag: Lag) -> Self {
        Self {
            base,
            dir,
            offset: TimeDelta::zero(),
            lag,
            stale_by: TimeDelta::zero(),
            seeded: Seeded::new(seed),
            users: BTreeMap::new(),
            apps: BTreeMap::new(),
            tokens: BTreeMap::new(),
            repos: BTreeMap::new(),
            former_names: BTreeMap::new(),
            last_id: 1_000,
            streams: BTreeMap::new(),
        }
    }

    /// The model's time: the system's, plus what a test has added.
    pub(super) fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.offset
    }

    /// The moment whose state readers are shown: now, or earlier by a fault.
    pub(super) fn seen_now(&self) -> DateTime<Utc> {
        self.now() - self.stale_by
    }

    pub(super) fn take_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// When readers of a repository's stream see what is written now; never before earlier writes.
    pub(super) fn seen_at(&mut self, repo: u64, stream: Stream) -> DateTime<Utc> {
        let greatest = self.lag.greatest(stream);
        let drawn = self.now() + milliseconds(self.seeded.up_to(greatest));
        let latest = self.streams.entry((repo, stream)).or_insert(drawn);
        *latest = drawn.max(*latest);
        *latest
    }

    /// The same for an issue, which issue and pull-request lists show at different times.
    pub(super) fn issue_seen_at(&mut self, repo: u64) -> SeenAt {
        SeenAt {
            own: self.seen_at(repo, Stream::Labels),
            pulls: self.seen_at(repo, Stream::Pulls),
        }
    }

    pub(super) fn comment_seen_at(&mut self, repo: u64) -> SeenAt {
        let own = self.seen_at(repo, Stream::Comments);
        SeenAt { own, pulls: own }
    }

    pub(super) fn user_named(&self, login: &str) -> Option<&User> {
        self.users
            .values()
            .find(|user| user.login.eq_ignore_ascii_case(login))
    }

    pub(super) fn full_name(&self, repo: &Repo) -> String {
        let owner = self
            .users
            .get(&repo.owner)
            .map_or("ghost", |owner| owner.login.as_str());
        format!("{owner}/{}", repo.name)
    }

    /// The repository that has this name now.
    pub(super) fn repo_named(&self, full_name: &str) -> Option<&Repo> {
        self.repos
            .values()
            .find(|repo| self.full_name(repo).eq_ignore_ascii_case(full_name))
    }

    /// The repository that had this name and left it to nobody else.
    pub(super) fn repo_formerly(&self, full_name: &str) -> Option<&Repo> {
        let id = self.former_names.get(&full_name.to_ascii_lowercase())?;
        self.repos.get(id)
    }

    pub(super) fn actor_of(&self, principal: Principal) -> Actor {
        match principal {
            Principal::User { user, app } => Actor { user, app },
            Principal::Installation { app } | Principal::App { app } => Actor {
                user: self.apps.get(&app).map_or(0, |known| known.bot),
                app: Some(app),
            },
        }
    }
}
