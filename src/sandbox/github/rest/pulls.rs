//! Pull requests: list, read, open, change, their files and commits.

use serde_json::Value;

use super::super::call::{Access, Call, Need, Route, Scope};
use super::super::pulls::NewPull;
use super::super::reply::{Answer, Reply};
use super::super::store::{self, Comparison};
use super::super::views::PullSize;
use super::super::world::{Issue, Permission, Pull, StateReason};

const READ: Need = Need::Repo(Scope::Pulls, Access::Read, Permission::Read);
const WRITE: Need = Need::Repo(Scope::Pulls, Access::Write, Permission::Read);
const ALL: &str = "/repos/{owner}/{repo}/pulls";
const ONE: &str = "/repos/{owner}/{repo}/pulls/{pull_number}";

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: ALL,
        need: READ,
        run: list,
    },
    Route {
        method: "POST",
        path: ALL,
        need: WRITE,
        run: open,
    },
    Route {
        method: "GET",
        path: ONE,
        need: READ,
        run: get,
    },
    Route {
        method: "PATCH",
        path: ONE,
        need: WRITE,
        run: change,
    },
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/pulls/{pull_number}/files",
        need: READ,
        run: files,
    },
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/pulls/{pull_number}/commits",
        need: READ,
        run: commits,
    },
];

fn list(call: &mut Call<'_>) -> Answer {
    let now = call.world.seen_now();
    let repo = call.repo()?;
    let owner = call.world.user_or_ghost(repo.owner).login;
    let state = call.query("state").unwrap_or("open");
    let head = |pull: &Pull| {
        call.query("head")
            .is_none_or(|head| head == format!("{owner}:{}", pull.head_ref))
    };
    let base = |pull: &Pull| call.query("base").is_none_or(|base| base == pull.base_ref);
    let seen = repo
        .issues
        .values()
        .filter_map(|issue| issue.seen_in_pulls(now));
    let mut pulls: Vec<(&Issue, &Pull)> = seen
        .filter_map(|issue| Some((issue, issue.pull.as_ref()?)))
        .filter(|(issue, _)| state == "all" || issue.state_name() == state)
        .filter(|(_, pull)| head(pull) && base(pull))
        .collect();
    let sort = call.query("sort").unwrap_or("created");
    pulls.sort_by_key(|(issue, _)| match sort {
        "updated" => (issue.updated_at, issue.number),
        _ => (issue.created_at, issue.number),
    });
    let default = if sort == "created" { "desc" } else { "asc" };
    if call.query("direction").unwrap_or(default) == "desc" {
        pulls.reverse();
    }
    let permission = call.permission();
    Ok(call.list(pulls, |(issue, pull)| {
        call.world.pull_json(repo, issue, pull, permission)
    }))
}

fn comparison(call: &Call<'_>, pull: &Pull) -> Result<Comparison, Reply> {
    Ok(store::compare(
        &call.repo()?.path,
        &pull.base_sha,
        &pull.head_sha,
    )?)
}

fn answer(call: &Call<'_>, number: u64, status: u16) -> Answer {
    let issue = call.world.issue(call.repo, number)?;
    let pull = call.world.pull(call.repo, number)?;
    let found = comparison(call, pull)?;
    let size = PullSize {
        commits: found.ahead.len(),
        additions: found.files.iter().map(|file| file.additions).sum(),
        deletions: found.files.iter().map(|file| file.deletions).sum(),
        changed_files: found.files.len(),
    };
    let body = call
        .world
        .full_pull_json(call.repo()?, issue, pull, call.permission(), size);
    Ok(Reply::json(status, body))
}

fn get(call: &mut Call<'_>) -> Answer {
    answer(call, call.number("pull_number")?, 200)
}

/// A head as `branch` or `owner:branch`; heads in forks are unknown here.
fn head_branch(call: &Call<'_>, head: &str) -> Result<String, Reply> {
    let Some((owner, branch)) = head.split_once(':') else {
        return Ok(head.to_owned());
    };
    let ours = call.world.user_or_ghost(call.repo()?.owner).login;
    if owner.eq_ignore_ascii_case(&ours) {
        return Ok(branch.to_owned());
    }
    Err(Reply::invalid("PullRequest", "head", "invalid", None))
}

fn open(call: &mut Call<'_>) -> Answer {
    let title = call.required_text("title")?;
    let (head, base) = (call.required_text("head")?, call.required_text("base")?);
    let branch = head_branch(call, &head)?;
    let path = call.repo()?.path.clone();
    let Some(base_sha) = store::branch(&path, &base) else {
        return Err(Reply::invalid("PullRequest", "base", "invalid", None));
    };
    let Some(head_sha) = store::branch(&path, &branch) else {
        return Err(Reply::invalid("PullRequest", "head", "invalid", None));
    };
    if call.world.open_pull(call.repo, &branch, &base).is_some() {
        let owner = call.world.user_or_ghost(call.repo()?.owner).login;
        let message = format!("A pull request already exists for {owner}:{branch}.");
        return Err(Reply::invalid("PullRequest", "", "custom", Some(&message)));
    }
    if store::is_ancestor(&path, &head_sha, &base_sha) {
        let message = format!("No commits between {base} and {branch}");
        return Err(Reply::invalid("PullRequest", "", "custom", Some(&message)));
    }
    let draft = call
        .body
        .get("draft")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let new = NewPull {
        title,
        body: call.text("body")?,
        head: branch,
        base,
        draft,
    };
    let actor = call.actor();
    let number = call.world.create_pull(call.repo, new, actor)?;
    answer(call, number, 201)
}

fn change(call: &mut Call<'_>) -> Answer {
    let (number, repo, actor) = (call.number("pull_number")?, call.repo, call.actor());
    call.world.pull(repo, number)?;
    if call.world.issue(repo, number)?.author != actor.user {
        call.need_role(Permission::Write)?;
    }
    if let Some(title) = call.text("title")? {
        call.world.rename_issue(repo, number, &title, actor)?;
    }
    if let Some(body) = call.text("body")? {
        call.world.edit_body(repo, number, &body, actor)?;
    }
    if let Some(base) = call.text("base")? {
        let Some(sha) = store::branch(&call.repo()?.path, &base) else {
            return Err(Reply::invalid("PullRequest", "base", "invalid", None));
        };
        let pull = call.world.edit_pull(repo, number)?;
        (pull.base_ref, pull.base_sha) = (base, sha);
    }
    match call.text("state")?.as_deref() {
        Some("closed") => call
            .world
            .close_issue(repo, number, StateReason::Completed, actor)?,
        Some("open") => reopen(call, number)?,
        Some(_) => return Err(Reply::invalid("PullRequest", "state", "invalid", None)),
        None => {}
    }
    answer(call, number, 200)
}

fn reopen(call: &mut Call<'_>, number: u64) -> Result<(), Reply> {
    let pull = call.world.pull(call.repo, number)?;
    let message = if pull.merged_at.is_some() {
        Some("state cannot be changed. The pull request cannot be reopened.".to_owned())
    } else if store::branch(&call.repo()?.path, &pull.head_ref).is_none() {
        Some(format!(
            "state cannot be changed. The {} branch has been deleted.",
            pull.head_ref
        ))
    } else {
        None
    };
    if let Some(message) = message {
        return Err(Reply::invalid(
            "PullRequest",
            "state",
            "invalid",
            Some(&message),
        ));
    }
    let actor = call.actor();
    Ok(call.world.reopen_issue(call.repo, number, actor)?)
}

fn files(call: &mut Call<'_>) -> Answer {
    let pull = call.world.pull(call.repo, call.number("pull_number")?)?;
    let found = comparison(call, pull)?;
    let (repo, head) = (call.repo()?, &pull.head_sha);
    Ok(call.list(found.files, |file| call.world.file_json(repo, &file, head)))
}

fn commits(call: &mut Call<'_>) -> Answer {
    let pull = call.world.pull(call.repo, call.number("pull_number")?)?;
    let found = comparison(call, pull)?;
    let repo = call.repo()?;
    Ok(call.list(found.ahead, |commit| call.world.commit_json(repo, &commit)))
}
