//! Commits, refs, branches, changed files.

use chrono::DateTime;
use serde_json::{Value, json};

use super::super::store::{CommitFacts, Comparison, FileChange};
use super::super::world::{Repo, World};
use super::{escaped, node_id, time};

impl World {
    pub(in super::super) fn commit_json(&self, repo: &Repo, commit: &CommitFacts) -> Value {
        let (url, html) = (self.repo_api_url(repo), self.repo_html_url(repo));
        let at = DateTime::from_timestamp(commit.at_seconds, 0).unwrap_or_default();
        let person = json!({ "name": commit.author, "email": commit.email, "date": time(at) });
        let account = self
            .user_named(&commit.author)
            .map(|user| self.user_json(user.id));
        let parents = commit.parents.iter().map(|sha| {
            json!({
                "sha": sha,
                "url": format!("{url}/commits/{sha}"),
                "html_url": format!("{html}/commit/{sha}"),
            })
        });
        json!({
            "sha": commit.sha,
            "node_id": format!("C_{}", commit.sha),
            "commit": {
                "author": person,
                "committer": person,
                "message": commit.message,
                "tree": { "sha": commit.tree, "url": format!("{url}/git/trees/{}", commit.tree) },
                "url": format!("{url}/git/commits/{}", commit.sha),
                "comment_count": 0,
                "verification": {
                    "verified": false, "reason": "unsigned", "signature": null,
                    "payload": null, "verified_at": null,
                },
            },
            "url": format!("{url}/commits/{}", commit.sha),
            "html_url": format!("{html}/commit/{}", commit.sha),
            "comments_url": format!("{url}/commits/{}/comments", commit.sha),
            "author": account,
            "committer": account,
            "parents": parents.collect::<Vec<_>>(),
        })
    }

    pub(in super::super) fn file_json(&self, repo: &Repo, file: &FileChange, head: &str) -> Value {
        let (url, html) = (self.repo_api_url(repo), self.repo_html_url(repo));
        let name: Vec<String> = file.name.split('/').map(escaped).collect();
        let name = name.join("/");
        json!({
            "sha": file.blob,
            "filename": file.name,
            "status": file.status,
            "additions": file.additions,
            "deletions": file.deletions,
            "changes": file.additions + file.deletions,
            "blob_url": format!("{html}/blob/{head}/{name}"),
            "raw_url": format!("{html}/raw/{head}/{name}"),
            "contents_url": format!("{url}/contents/{name}?ref={head}"),
            "patch": file.patch,
        })
    }

    pub(in super::super) fn compare_json(
        &self,
        repo: &Repo,
        basehead: &str,
        found: &Comparison,
    ) -> Value {
        let url = format!("{}/compare/{basehead}", self.repo_api_url(repo));
        let html = format!("{}/compare/{basehead}", self.repo_html_url(repo));
        let head = found
            .ahead
            .last()
            .map_or(&found.merge_base.sha, |commit| &commit.sha);
        let status = match (found.ahead.len(), found.behind) {
            (0, 0) => "identical",
            (0, _) => "behind",
            (_, 0) => "ahead",
            _ => "diverged",
        };
        let commits = found
            .ahead
            .iter()
            .map(|commit| self.commit_json(repo, commit));
        let files = found
            .files
            .iter()
            .map(|file| self.file_json(repo, file, head));
        json!({
            "url": url,
            "html_url": html,
            "permalink_url": html,
            "diff_url": format!("{html}.diff"),
            "patch_url": format!("{html}.patch"),
            "base_commit": self.commit_json(repo, &found.base),
            "merge_base_commit": self.commit_json(repo, &found.merge_base),
            "status": status,
            "ahead_by": found.ahead.len(),
            "behind_by": found.behind,
            "total_commits": found.ahead.len(),
            "commits": commits.collect::<Vec<_>>(),
            "files": files.collect::<Vec<_>>(),
        })
    }

    /// A ref; `name` in full, such as `refs/heads/main`.
    pub(in super::super) fn ref_json(&self, repo: &Repo, name: &str, sha: &str) -> Value {
        let url = self.repo_api_url(repo);
        json!({
            "ref": name,
            "node_id": node_id("REF", repo.id),
            "url": format!("{url}/git/{name}"),
            "object": { "type": "commit", "sha": sha, "url": format!("{url}/git/commits/{sha}") },
        })
    }

    pub(in super::super) fn branch_json(
        &self,
        repo: &Repo,
        name: &str,
        commit: &CommitFacts,
    ) -> Value {
        let url = format!("{}/branches/{name}", self.repo_api_url(repo));
        json!({
            "name": name,
            "commit": self.commit_json(repo, commit),
            "_links": { "self": url, "html": format!("{}/tree/{name}", self.repo_html_url(repo)) },
            "protected": false,
            "protection": {
                "enabled": false,
                "required_status_checks": { "enforcement_level": "off", "contexts": [], "checks": [] },
            },
            "protection_url": format!("{url}/protection"),
        })
    }
}
