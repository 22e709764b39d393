//! Issues, labels, comments, events.

use serde_json::{Value, json};

use super::super::world::{
    Comment, Event, EventKind, Issue, Label, Permission, Repo, StateReason, World,
};
use super::{escaped, maybe_time, node_id, time};

impl StateReason {
    const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::NotPlanned => "not_planned",
            Self::Reopened => "reopened",
        }
    }
}

/// What GitHub calls an author's relation to the repository.
pub(in super::super) fn association(repo: &Repo, user: u64) -> &'static str {
    match repo.permissions.get(&user) {
        _ if repo.owner == user => "OWNER",
        Some(permission) if *permission >= Permission::Write => "MEMBER",
        Some(permission) if *permission >= Permission::Read => "COLLABORATOR",
        _ => "NONE",
    }
}

/// How many comments an issue has.
pub(in super::super) fn comment_count(repo: &Repo, number: u64) -> usize {
    let comments = repo
        .comments
        .values()
        .map(super::super::lag::Versioned::current);
    comments
        .filter(|comment| comment.number == number && !comment.deleted)
        .count()
}

impl Issue {
    pub(in super::super) const fn state_name(&self) -> &'static str {
        if self.closed { "closed" } else { "open" }
    }
}

impl World {
    pub(in super::super) fn issue_html_url(&self, repo: &Repo, issue: &Issue) -> String {
        let kind = if issue.pull.is_some() {
            "pull"
        } else {
            "issues"
        };
        format!("{}/{kind}/{}", self.repo_html_url(repo), issue.number)
    }

    pub(in super::super) fn label_json(&self, repo: &Repo, label: &Label) -> Value {
        json!({
            "id": label.id,
            "node_id": node_id("LA", label.id),
            "url": format!("{}/labels/{}", self.repo_api_url(repo), escaped(&label.name)),
            "name": label.name,
            "color": label.color,
            "default": false,
            "description": label.description,
        })
    }

    pub(in super::super) fn labels_json(&self, repo: &Repo, issue: &Issue) -> Vec<Value> {
        let labels = issue.labels.iter().filter_map(|id| repo.labels.get(id));
        labels.map(|label| self.label_json(repo, label)).collect()
    }

    pub(in super::super) fn issue_json(&self, repo: &Repo, issue: &Issue) -> Value {
        let repo_url = self.repo_api_url(repo);
        let url = format!("{repo_url}/issues/{}", issue.number);
        let kind = if issue.pull.is_some() { "PR" } else { "I" };
        let mut body = json!({
            "url": url,
            "repository_url": repo_url,
            "labels_url": format!("{url}/labels{{/name}}"),
            "comments_url": format!("{url}/comments"),
            "events_url": format!("{url}/events"),
            "html_url": self.issue_html_url(repo, issue),
            "id": issue.id,
            "node_id": node_id(kind, issue.id),
            "number": issue.number,
            "title": issue.title,
            "user": self.user_json(issue.author),
            "labels": self.labels_json(repo, issue),
            "state": issue.state_name(),
            "state_reason": issue.state_reason.map(StateReason::name),
            "locked": false,
            "assignee": null,
            "assignees": [],
            "milestone": null,
            "comments": comment_count(repo, issue.number),
            "created_at": time(issue.created_at),
            "updated_at": time(issue.updated_at),
            "closed_at": maybe_time(issue.closed_at),
            "closed_by": issue.closed_by.map(|user| self.user_json(user)),
            "author_association": association(repo, issue.author),
            "active_lock_reason": null,
            "body": issue.body,
        });
        body["reactions"] = reactions(&url);
        body["timeline_url"] = json!(format!("{url}/timeline"));
        body["performed_via_github_app"] = self.via_app_json(issue.via_app);
        if let Some(pull) = &issue.pull {
            let html = self.issue_html_url(repo, issue);
            body["draft"] = json!(pull.draft);
            body["pull_request"] = json!({
                "url": format!("{repo_url}/pulls/{}", issue.number),
                "html_url": html,
                "diff_url": format!("{html}.diff"),
                "patch_url": format!("{html}.patch"),
                "merged_at": maybe_time(pull.merged_at),
            });
        }
        body
    }

    pub(in super::super) fn comment_json(&self, repo: &Repo, comment: &Comment) -> Value {
        let repo_url = self.repo_api_url(repo);
        let url = format!("{repo_url}/issues/comments/{}", comment.id);
        let issue = repo
            .issues
            .get(&comment.number)
            .map(super::super::lag::Versioned::current);
        let html = issue.map_or_else(String::new, |issue| self.issue_html_url(repo, issue));
        json!({
            "url": url,
            "html_url": format!("{html}#issuecomment-{}", comment.id),
            "issue_url": format!("{repo_url}/issues/{}", comment.number),
            "id": comment.id,
            "node_id": node_id("IC", comment.id),
            "user": self.user_json(comment.author),
            "created_at": time(comment.created_at),
            "updated_at": time(comment.updated_at),
            "author_association": association(repo, comment.author),
            "body": comment.body,
            "reactions": reactions(&url),
            "performed_via_github_app": self.via_app_json(comment.via_app),
        })
    }

    /// An event; the repository-wide list also carries the issue it belongs to.
    pub(in super::super) fn event_json(
        &self,
        repo: &Repo,
        event: &Event,
        issue: Option<&Issue>,
    ) -> Value {
        let repo_url = self.repo_api_url(repo);
        let mut body = json!({
            "id": event.id,
            "node_id": node_id(event.kind.node_prefix(), event.id),
            "url": format!("{repo_url}/issues/events/{}", event.id),
            "actor": self.user_json(event.actor.user),
            "event": event.kind.name(),
            "commit_id": null,
            "commit_url": null,
            "created_at": time(event.created_at),
            "performed_via_github_app": self.via_app_json(event.actor.app),
        });
        match &event.kind {
            EventKind::Labeled { name, color } | EventKind::Unlabeled { name, color } => {
                body["label"] = json!({ "name": name, "color": color });
            }
            EventKind::Renamed { from, to } => body["rename"] = json!({ "from": from, "to": to }),
            EventKind::Merged { commit } | EventKind::HeadRefForcePushed { commit } => {
                body["commit_id"] = json!(commit);
                body["commit_url"] = json!(format!("{repo_url}/commits/{commit}"));
            }
            EventKind::Closed => body["state_reason"] = Value::Null,
            EventKind::Reopened | EventKind::Transferred | EventKind::HeadRefDeleted => {}
        }
        if let Some(issue) = issue {
            body["issue"] = self.issue_json(repo, issue);
        }
        body
    }
}

impl EventKind {
    /// How node ids of this kind of event begin.
    pub(in super::super) const fn node_prefix(&self) -> &'static str {
        match self {
            Self::Labeled { .. } => "LE",
            Self::Unlabeled { .. } => "UNLE",
            Self::Closed => "CE",
            Self::Reopened => "REE",
            Self::Renamed { .. } => "RTE",
            Self::Transferred => "TRE",
            Self::Merged { .. } => "ME",
            Self::HeadRefDeleted => "HRDE",
            Self::HeadRefForcePushed { .. } => "HRFPE",
        }
    }
}

fn reactions(url: &str) -> Value {
    json!({
        "url": format!("{url}/reactions"),
        "total_count": 0, "+1": 0, "-1": 0, "laugh": 0, "hooray": 0,
        "confused": 0, "heart": 0, "rocket": 0, "eyes": 0,
    })
}
