//! Repositories, permissions, variables.

use serde_json::{Value, json};

use super::super::world::{Permission, Repo, Variable, World};
use super::people::merged;
use super::{node_id, time};

/// The address templates every repository answer carries: (member, path below the repository).
const TEMPLATES: [(&str, &str); 37] = [
    ("archive_url", "{archive_format}{/ref}"),
    ("assignees_url", "assignees{/user}"),
    ("blobs_url", "git/blobs{/sha}"),
    ("branches_url", "branches{/branch}"),
    ("collaborators_url", "collaborators{/collaborator}"),
    ("comments_url", "comments{/number}"),
    ("commits_url", "commits{/sha}"),
    ("compare_url", "compare/{base}...{head}"),
    ("contents_url", "contents/{+path}"),
    ("contributors_url", "contributors"),
    ("deployments_url", "deployments"),
    ("downloads_url", "downloads"),
    ("events_url", "events"),
    ("forks_url", "forks"),
    ("git_commits_url", "git/commits{/sha}"),
    ("git_refs_url", "git/refs{/sha}"),
    ("git_tags_url", "git/tags{/sha}"),
    ("hooks_url", "hooks"),
    ("issue_comment_url", "issues/comments{/number}"),
    ("issue_events_url", "issues/events{/number}"),
    ("issues_url", "issues{/number}"),
    ("keys_url", "keys{/key_id}"),
    ("labels_url", "labels{/name}"),
    ("languages_url", "languages"),
    ("merges_url", "merges"),
    ("milestones_url", "milestones{/number}"),
    (
        "notifications_url",
        "notifications{?since,all,participating}",
    ),
    ("pulls_url", "pulls{/number}"),
    ("releases_url", "releases{/id}"),
    ("stargazers_url", "stargazers"),
    ("statuses_url", "statuses/{sha}"),
    ("subscribers_url", "subscribers"),
    ("subscription_url", "subscription"),
    ("tags_url", "tags"),
    ("teams_url", "teams"),
    ("trees_url", "git/trees{/sha}"),
    ("svn_url", ""),
];

impl World {
    pub(in super::super) fn repo_api_url(&self, repo: &Repo) -> String {
        format!("{}/api/v3/repos/{}", self.base, self.full_name(repo))
    }

    pub(in super::super) fn repo_html_url(&self, repo: &Repo) -> String {
        format!("{}/{}", self.base, self.full_name(repo))
    }

    /// A repository as lists and pull requests show it, with the viewer's permission.
    pub(in super::super) fn repo_json(&self, repo: &Repo, viewer: Permission) -> Value {
        let (url, html) = (self.repo_api_url(repo), self.repo_html_url(repo));
        let full_name = self.full_name(repo);
        let mut body = json!({
            "id": repo.id,
            "node_id": node_id("R", repo.id),
            "name": repo.name,
            "full_name": full_name,
            "private": repo.private,
            "owner": self.user_json(repo.owner),
            "html_url": html,
            "description": null,
            "fork": false,
            "url": url,
            "git_url": format!("git{}.git", html.trim_start_matches("http")),
            "ssh_url": format!("git@127.0.0.1:{full_name}.git"),
            "clone_url": format!("{html}.git"),
            "mirror_url": null,
            "homepage": null,
            "language": null,
            "license": null,
            "default_branch": repo.default_branch,
            "created_at": time(repo.created_at),
            "updated_at": time(repo.updated_at),
            "pushed_at": time(repo.pushed_at),
            "visibility": if repo.private { "private" } else { "public" },
            "permissions": permissions_json(viewer),
        });
        body = merged(body, counts_json(repo));
        for (member, below) in TEMPLATES {
            body[member] = match member {
                "svn_url" => json!(html),
                _ => json!(format!("{url}/{below}")),
            };
        }
        body
    }

    /// The long form, as `/repos/{owner}/{repo}` answers it.
    pub(in super::super) fn full_repo_json(&self, repo: &Repo, viewer: Permission) -> Value {
        let more = json!({ "network_count": 0, "subscribers_count": 0 });
        merged(self.repo_json(repo, viewer), more)
    }

    /// Someone's permission as the collaborator endpoint answers it.
    pub(in super::super) fn permission_json(&self, repo: &Repo, user: u64) -> Value {
        let permission = repo.permission_of(user);
        let role = json!({
            "permissions": permissions_json(permission),
            "role_name": permission.role_name(),
        });
        json!({
            "permission": permission.legacy_name(),
            "role_name": permission.role_name(),
            "user": merged(self.user_json(user), role),
        })
    }
}

/// The counters and switches nobody here turns.
fn counts_json(repo: &Repo) -> Value {
    let open = repo
        .issues
        .values()
        .filter(|issue| !issue.current().closed)
        .count();
    json!({
        "size": 0, "stargazers_count": 0, "watchers_count": 0, "watchers": 0,
        "forks_count": 0, "forks": 0, "open_issues_count": open, "open_issues": open,
        "has_issues": true, "has_projects": false, "has_downloads": true, "has_wiki": false,
        "has_pages": false, "has_discussions": false, "archived": repo.archived,
        "disabled": false, "allow_forking": true, "is_template": false,
        "web_commit_signoff_required": false, "topics": [],
    })
}

/// A permission as the five flags GitHub shows.
pub(in super::super) fn permissions_json(permission: Permission) -> Value {
    json!({
        "admin": permission >= Permission::Admin,
        "maintain": permission >= Permission::Maintain,
        "push": permission >= Permission::Write,
        "triage": permission >= Permission::Triage,
        "pull": permission >= Permission::Read,
    })
}

/// A repository's Actions variable.
pub(in super::super) fn variable_json(name: &str, variable: &Variable) -> Value {
    json!({
        "name": name,
        "value": variable.value,
        "created_at": time(variable.created_at),
        "updated_at": time(variable.updated_at),
    })
}
