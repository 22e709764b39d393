//! Pull requests and reviews.

use serde_json::{Value, json};

use super::super::world::{Issue, Permission, Pull, Repo, Review, ReviewComment, World};
use super::issues::{association, comment_count};
use super::people::merged;
use super::{maybe_time, node_id, time};

/// The numbers a single pull request's answer adds to the list form.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct PullSize {
    pub commits: usize,
    pub additions: usize,
    pub deletions: usize,
    pub changed_files: usize,
}

impl World {
    fn side_json(&self, repo: &Repo, branch: &str, sha: &str, viewer: Permission) -> Value {
        let owner = self.user_or_ghost(repo.owner).login;
        json!({
            "label": format!("{owner}:{branch}"),
            "ref": branch,
            "sha": sha,
            "user": self.user_json(repo.owner),
            "repo": self.repo_json(repo, viewer),
        })
    }

    /// A pull request as lists show it.
    pub(in super::super) fn pull_json(
        &self,
        repo: &Repo,
        issue: &Issue,
        pull: &Pull,
        viewer: Permission,
    ) -> Value {
        let repo_url = self.repo_api_url(repo);
        let url = format!("{repo_url}/pulls/{}", issue.number);
        let issue_url = format!("{repo_url}/issues/{}", issue.number);
        let html = self.issue_html_url(repo, issue);
        let statuses = format!("{repo_url}/statuses/{}", pull.head_sha);
        json!({
            "url": url,
            "id": pull.id,
            "node_id": node_id("PR", issue.id),
            "html_url": html,
            "diff_url": format!("{html}.diff"),
            "patch_url": format!("{html}.patch"),
            "issue_url": issue_url,
            "number": issue.number,
            "state": issue.state_name(),
            "locked": false,
            "title": issue.title,
            "user": self.user_json(issue.author),
            "body": issue.body,
            "created_at": time(issue.created_at),
            "updated_at": time(issue.updated_at),
            "closed_at": maybe_time(issue.closed_at),
            "merged_at": maybe_time(pull.merged_at),
            "merge_commit_sha": pull.merge_commit,
            "assignee": null,
            "assignees": [],
            "requested_reviewers": [],
            "requested_teams": [],
            "labels": self.labels_json(repo, issue),
            "milestone": null,
            "draft": pull.draft,
            "commits_url": format!("{url}/commits"),
            "review_comments_url": format!("{url}/comments"),
            "review_comment_url": format!("{repo_url}/pulls/comments{{/number}}"),
            "comments_url": format!("{issue_url}/comments"),
            "statuses_url": statuses,
            "head": self.side_json(repo, &pull.head_ref, &pull.head_sha, viewer),
            "base": self.side_json(repo, &pull.base_ref, &pull.base_sha, viewer),
            "_links": links_json(&repo_url, issue.number, &html, &pull.head_sha),
            "author_association": association(repo, issue.author),
            "auto_merge": null,
            "active_lock_reason": null,
        })
    }

    /// A single pull request's answer.
    pub(in super::super) fn full_pull_json(
        &self,
        repo: &Repo,
        issue: &Issue,
        pull: &Pull,
        viewer: Permission,
        size: PullSize,
    ) -> Value {
        let lines = repo
            .review_comments
            .iter()
            .filter(|comment| comment.number == issue.number);
        let more = json!({
            "merged": pull.merged_at.is_some(),
            "mergeable": (!issue.closed).then_some(true),
            "rebaseable": (!issue.closed).then_some(true),
            "mergeable_state": if issue.closed { "unknown" } else { "clean" },
            "merged_by": pull.merged_by.map(|user| self.user_json(user)),
            "comments": comment_count(repo, issue.number),
            "review_comments": lines.count(),
            "maintainer_can_modify": false,
            "commits": size.commits,
            "additions": size.additions,
            "deletions": size.deletions,
            "changed_files": size.changed_files,
        });
        merged(self.pull_json(repo, issue, pull, viewer), more)
    }

    pub(in super::super) fn review_json(&self, repo: &Repo, review: &Review) -> Value {
        let pull_url = format!("{}/pulls/{}", self.repo_api_url(repo), review.number);
        let html = format!(
            "{}/pull/{}#pullrequestreview-{}",
            self.repo_html_url(repo),
            review.number,
            review.id
        );
        json!({
            "id": review.id,
            "node_id": node_id("PRR", review.id),
            "user": self.user_json(review.author),
            "body": review.body,
            "state": review.state.name(),
            "html_url": html,
            "pull_request_url": pull_url,
            "_links": { "html": { "href": html }, "pull_request": { "href": pull_url } },
            "submitted_at": time(review.submitted_at),
            "commit_id": review.commit,
            "author_association": association(repo, review.author),
        })
    }

    pub(in super::super) fn review_comment_json(
        &self,
        repo: &Repo,
        comment: &ReviewComment,
    ) -> Value {
        let url = format!("{}/pulls/comments/{}", self.repo_api_url(repo), comment.id);
        let pull_url = format!("{}/pulls/{}", self.repo_api_url(repo), comment.number);
        let html = format!(
            "{}/pull/{}#discussion_r{}",
            self.repo_html_url(repo),
            comment.number,
            comment.id
        );
        json!({
            "url": url,
            "pull_request_review_id": comment.review,
            "id": comment.id,
            "node_id": node_id("PRRC", comment.id),
            "diff_hunk": "@@ -1 +1 @@",
            "path": comment.path,
            "commit_id": comment.commit,
            "original_commit_id": comment.commit,
            "user": self.user_json(comment.author),
            "body": comment.body,
            "created_at": time(comment.created_at),
            "updated_at": time(comment.created_at),
            "html_url": html,
            "pull_request_url": pull_url,
            "author_association": association(repo, comment.author),
            "_links": {
                "self": { "href": url },
                "html": { "href": html },
                "pull_request": { "href": pull_url },
            },
            "line": comment.line,
            "original_line": comment.line,
            "start_line": null,
            "original_start_line": null,
            "start_side": null,
            "side": "RIGHT",
            "subject_type": "line",
        })
    }
}

fn links_json(repo_url: &str, number: u64, html: &str, head: &str) -> Value {
    let url = format!("{repo_url}/pulls/{number}");
    let issue = format!("{repo_url}/issues/{number}");
    json!({
        "self": { "href": url },
        "html": { "href": html },
        "issue": { "href": issue },
        "comments": { "href": format!("{issue}/comments") },
        "review_comments": { "href": format!("{url}/comments") },
        "review_comment": { "href": format!("{repo_url}/pulls/comments{{/number}}") },
        "commits": { "href": format!("{url}/commits") },
        "statuses": { "href": format!("{repo_url}/statuses/{head}") },
    })
}
