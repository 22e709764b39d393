//! The control endpoint: people's actions and the model's state for another process.
//!
//! `POST /_model/actions` takes one [`Action`] as JSON, `GET /_model/state` answers what a timeline
//! needs, `GET /_model/counters` counters and writes, `POST` and `DELETE /_model/faults` switch faults.
//! All ask for the control secret as bearer; none counts as traffic.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::auth::credential;
use super::change::{Changed, ModelError, NewIssue};
use super::lag::Versioned;
use super::reply::Reply;
use super::server::{Asked, Shared};
use super::views::{maybe_time, time};
use super::world::{Actor, Issue, Repo, ReviewState, StateReason, World};

/// Something a person does, as another process asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Opens an issue.
    Open {
        /// `owner/name`.
        repo: String,
        /// Who does it.
        login: String,
        /// The issue's title.
        title: String,
        /// The issue's text.
        body: String,
        /// Its labels.
        labels: Vec<String>,
    },
    /// Puts a label on.
    Label {
        /// `owner/name`.
        repo: String,
        /// Who does it.
        login: String,
        /// Issue or pull request.
        number: u64,
        /// The label's name.
        label: String,
    },
    /// Takes a label off.
    Unlabel {
        /// `owner/name`.
        repo: String,
        /// Who does it.
        login: String,
        /// Issue or pull request.
        number: u64,
        /// The label's name.
        label: String,
    },
    /// Comments.
    Comment {
        /// `owner/name`.
        repo: String,
        /// Who does it.
        login: String,
        /// Issue or pull request.
        number: u64,
        /// The comment's text.
        body: String,
    },
    /// Reviews a pull request.
    Review {
        /// `owner/name`.
        repo: String,
        /// Who does it.
        login: String,
        /// The pull request.
        number: u64,
        /// What the review says.
        state: ReviewState,
        /// The review's text.
        body: String,
    },
    /// Closes an issue or pull request.
    Close {
        /// `owner/name`.
        repo: String,
        /// Who does it.
        login: String,
        /// Issue or pull request.
        number: u64,
    },
    /// Reopens an issue or pull request.
    Reopen {
        /// `owner/name`.
        repo: String,
        /// Who does it.
        login: String,
        /// Issue or pull request.
        number: u64,
    },
    /// Merges a pull request.
    Merge {
        /// `owner/name`.
        repo: String,
        /// Who does it.
        login: String,
        /// The pull request.
        number: u64,
    },
}

impl Action {
    fn scene(&self) -> (&str, &str) {
        match self {
            Self::Open { repo, login, .. }
            | Self::Label { repo, login, .. }
            | Self::Unlabel { repo, login, .. }
            | Self::Comment { repo, login, .. }
            | Self::Review { repo, login, .. }
            | Self::Close { repo, login, .. }
            | Self::Reopen { repo, login, .. }
            | Self::Merge { repo, login, .. } => (repo, login),
        }
    }

    /// Applies the action; answers what came into being.
    fn apply(self, world: &mut World) -> Changed<Value> {
        let (repo, login) = self.scene();
        let (repo, actor) = (world.repo_id(repo)?, world.acting(login)?);
        match self {
            Self::Open {
                title,
                body,
                labels,
                ..
            } => {
                let new = NewIssue {
                    title,
                    body: Some(body),
                    labels,
                    pull: None,
                };
                let number = world.open_issue(repo, new, actor)?;
                return Ok(json!({ "number": number }));
            }
            Self::Comment { number, body, .. } => {
                let id = world.add_comment(repo, number, &body, actor)?;
                return Ok(json!({ "id": id }));
            }
            Self::Review {
                number,
                state,
                body,
                ..
            } => {
                let id = world.add_review(repo, number, state, &body, Vec::new(), actor)?;
                return Ok(json!({ "id": id }));
            }
            other => other.apply_plain(world, repo, actor)?,
        }
        Ok(json!({}))
    }

    fn apply_plain(self, world: &mut World, repo: u64, actor: Actor) -> Changed {
        match self {
            Self::Label { number, label, .. } => {
                world.issue(repo, number)?;
                world.add_labels(repo, number, &[label], actor)
            }
            Self::Unlabel { number, label, .. } => world.remove_label(repo, number, &label, actor),
            Self::Close { number, .. } => {
                world.close_issue(repo, number, StateReason::Completed, actor)
            }
            Self::Reopen { number, .. } => world.reopen_issue(repo, number, actor),
            Self::Merge { number, .. } => world.merge_pull(repo, number, actor).map(|_| ()),
            Self::Open { .. } | Self::Comment { .. } | Self::Review { .. } => Ok(()),
        }
    }
}

impl super::GitHubModel {
    /// Applies an action as the control endpoint does; answers what came into being.
    pub fn apply_action(&self, action: Action) -> Result<Value, ModelError> {
        action.apply(&mut self.shared.lock().world)
    }

    /// The state as the control endpoint answers it.
    pub fn state_json(&self) -> Value {
        state_json(&self.shared.lock().world)
    }

    /// The text of a file at the head of a branch.
    pub fn file_on(&self, repo: &str, branch: &str, path: &str) -> Option<String> {
        let state = self.shared.lock();
        let id = state.world.repo_id(repo).ok()?;
        let repository = git2::Repository::open(&state.world.repo(id).ok()?.path).ok()?;
        let head = repository
            .find_branch(branch, git2::BranchType::Local)
            .ok()?;
        let tree = head.get().peel_to_tree().ok()?;
        let file = tree.get_path(std::path::Path::new(path)).ok()?;
        let blob = file.to_object(&repository).ok()?;
        String::from_utf8(blob.as_blob()?.content().to_vec()).ok()
    }
}

pub(super) fn answer(shared: &Shared, asked: &Asked) -> Reply {
    let given = asked.header("authorization").and_then(credential);
    if given.as_deref() != Some(shared.control_secret.as_str()) {
        return Reply::error(401, "Bad credentials");
    }
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/_model/state") => Reply::ok(state_json(&shared.lock().world)),
        ("POST", "/_model/actions") => act(shared, asked),
        ("GET", "/_model/counters") => {
            let state = shared.lock();
            Reply::ok(json!({ "counters": state.journal.counters, "writes": state.journal.writes }))
        }
        ("POST", "/_model/faults") => match serde_json::from_slice(&asked.body) {
            Ok(rule) => {
                shared.lock().faults.rules.push(rule);
                Reply::ok(json!({}))
            }
            Err(error) => Reply::error(400, &error.to_string()),
        },
        ("DELETE", "/_model/faults") => {
            shared.lock().faults.rules.clear();
            Reply::no_content()
        }
        _ => Reply::not_found(),
    }
}

fn act(shared: &Shared, asked: &Asked) -> Reply {
    let action: Action = match serde_json::from_slice(&asked.body) {
        Ok(action) => action,
        Err(error) => return Reply::error(400, &error.to_string()),
    };
    match action.apply(&mut shared.lock().world) {
        Ok(made) => Reply::ok(made),
        Err(ModelError::NotFound(what)) => Reply::error(404, &format!("{what} not found")),
        Err(error) => error.into(),
    }
}

/// Issues, pull requests and comments of every repository, without lag.
fn state_json(world: &World) -> Value {
    let repos = world.repos.values().map(|repo| {
        let issues = repo
            .issues
            .values()
            .map(|issue| issue_json(world, repo, issue.current()));
        json!({
            "id": repo.id,
            "name": world.full_name(repo),
            "issues": issues.collect::<Vec<_>>(),
        })
    });
    json!({ "now": time(world.now()), "repositories": repos.collect::<Vec<_>>() })
}

fn issue_json(world: &World, repo: &Repo, issue: &Issue) -> Value {
    let labels = issue
        .labels
        .iter()
        .filter_map(|id| repo.labels.get(id))
        .map(|label| &label.name);
    let comments = repo.comments.values().map(Versioned::current);
    let comments = comments.filter(|comment| comment.number == issue.number && !comment.deleted);
    let comments = comments.map(|comment| {
        json!({
            "id": comment.id,
            "author": world.user_or_ghost(comment.author).login,
            "body": comment.body,
            "created_at": time(comment.created_at),
            "updated_at": time(comment.updated_at),
        })
    });
    let reviews = repo
        .reviews
        .iter()
        .filter(|review| review.number == issue.number);
    let reviews = reviews.map(|review| {
        json!({
            "id": review.id,
            "author": world.user_or_ghost(review.author).login,
            "state": review.state.name(),
            "body": review.body,
        })
    });
    let pull = issue.pull.as_ref().map(|pull| {
        json!({
            "head": pull.head_ref,
            "head_sha": pull.head_sha,
            "base": pull.base_ref,
            "merged_at": maybe_time(pull.merged_at),
            "reviews": reviews.collect::<Vec<_>>(),
        })
    });
    json!({
        "number": issue.number,
        "url": world.issue_html_url(repo, issue),
        "title": issue.title,
        "body": issue.body,
        "author": world.user_or_ghost(issue.author).login,
        "state": issue.state_name(),
        "labels": labels.collect::<Vec<_>>(),
        "comments": comments.collect::<Vec<_>>(),
        "pull": pull,
    })
}
