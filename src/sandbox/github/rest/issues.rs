//! Issues: list, read, open, change.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::call::{Access, Call, Need, Route, Scope};
use super::super::change::NewIssue;
use super::super::reply::{Answer, Reply};
use super::super::views::comment_count;
use super::super::world::{Departed, Issue, Permission, Repo, StateReason};

const READ: Need = Need::Repo(Scope::Issues, Access::Read, Permission::Read);
const WRITE: Need = Need::Repo(Scope::Issues, Access::Write, Permission::Read);

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/issues",
        need: READ,
        run: list,
    },
    Route {
        method: "POST",
        path: "/repos/{owner}/{repo}/issues",
        need: WRITE,
        run: open,
    },
    Route {
        method: "GET",
        path: "/repos/{owner}/{repo}/issues/{issue_number}",
        need: READ,
        run: get,
    },
    Route {
        method: "PATCH",
        path: "/repos/{owner}/{repo}/issues/{issue_number}",
        need: WRITE,
        run: change,
    },
];

/// Reads a `since` parameter.
pub(super) fn since(call: &Call<'_>) -> Result<Option<DateTime<Utc>>, Reply> {
    let Some(text) = call.query("since") else {
        return Ok(None);
    };
    match DateTime::parse_from_rfc3339(text) {
        Ok(at) => Ok(Some(at.with_timezone(&Utc))),
        Err(_) => Err(Reply::invalid("Issue", "since", "invalid", None)),
    }
}

/// The issue a path names: here, moved elsewhere (301), deleted (410) or unknown.
pub(super) fn present(call: &Call<'_>) -> Result<u64, Reply> {
    let number = call.number("issue_number")?;
    let repo = call.repo()?;
    match repo.departed.get(&number) {
        Some(Departed::Transferred { repo, number }) => {
            let moved = call.world.repos.get(repo).ok_or_else(Reply::not_found)?;
            let url = format!("{}/issues/{number}", call.world.repo_api_url(moved));
            Err(Reply::moved(&url))
        }
        Some(Departed::Deleted) => Err(Reply::error(410, "This issue was deleted")),
        None if repo.issues.contains_key(&number) => Ok(number),
        None => Err(Reply::not_found()),
    }
}

fn matches_labels(repo: &Repo, issue: &Issue, wanted: &str) -> bool {
    let mut names = wanted
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names.all(|name| {
        repo.label_named(name)
            .is_some_and(|label| issue.labels.contains(&label.id))
    })
}

fn list(call: &mut Call<'_>) -> Answer {
    let (now, since) = (call.world.seen_now(), since(call)?);
    let repo = call.repo()?;
    let state = call.query("state").unwrap_or("open");
    let labels = call.query("labels").unwrap_or("");
    let seen = repo.issues.values().filter_map(|issue| issue.seen(now));
    let mut issues: Vec<&Issue> = seen
        .filter(|issue| state == "all" || issue.state_name() == state)
        .filter(|issue| since.is_none_or(|since| issue.updated_at.timestamp() >= since.timestamp()))
        .filter(|issue| matches_labels(repo, issue, labels))
        .collect();
    match call.query("sort").unwrap_or("created") {
        "updated" => issues.sort_by_key(|issue| (issue.updated_at, issue.number)),
        "comments" => issues.sort_by_key(|issue| comment_count(repo, issue.number)),
        _ => issues.sort_by_key(|issue| issue.number),
    }
    if call.query("direction") != Some("asc") {
        issues.reverse();
    }
    Ok(call.list(issues, |issue| call.world.issue_json(repo, issue)))
}

fn get(call: &mut Call<'_>) -> Answer {
    let number = present(call)?;
    let repo = call.repo()?;
    let issue = repo
        .issues
        .get(&number)
        .and_then(|issue| issue.seen(call.world.seen_now()));
    let issue = issue.ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(call.world.issue_json(repo, issue)))
}

fn answer(call: &Call<'_>, number: u64, status: u16) -> Answer {
    let issue = call.world.issue(call.repo, number)?;
    Ok(Reply::json(
        status,
        call.world.issue_json(call.repo()?, issue),
    ))
}

/// The label names of a body: texts or objects with a name.
pub(super) fn label_names(value: Option<&Value>) -> Option<Vec<String>> {
    let labels = value?.as_array()?.iter();
    let name = |label: &Value| {
        label
            .as_str()
            .or_else(|| label.get("name")?.as_str())
            .map(str::to_owned)
    };
    Some(labels.filter_map(name).collect())
}

fn open(call: &mut Call<'_>) -> Answer {
    let title = call.required_text("title")?;
    if title.trim().is_empty() {
        return Err(Reply::invalid("Issue", "title", "missing_field", None));
    }
    let may_label = call.permission() >= Permission::Triage;
    let labels = label_names(call.body.get("labels")).filter(|_| may_label);
    let new = NewIssue {
        title,
        body: call.text("body")?,
        labels: labels.unwrap_or_default(),
        pull: None,
    };
    let actor = call.actor();
    let number = call.world.open_issue(call.repo, new, actor)?;
    answer(call, number, 201)
}

fn change(call: &mut Call<'_>) -> Answer {
    let number = present(call)?;
    let (repo, actor) = (call.repo, call.actor());
    if call.world.issue(repo, number)?.author != actor.user {
        call.need_role(Permission::Triage)?;
    }
    if let Some(title) = call.text("title")? {
        call.world.rename_issue(repo, number, &title, actor)?;
    }
    if let Some(body) = call.text("body")? {
        call.world.edit_body(repo, number, &body, actor)?;
    }
    if let Some(labels) = label_names(call.body.get("labels")) {
        call.need_role(Permission::Triage)?;
        call.world.set_labels(repo, number, &labels, actor)?;
    }
    let reason = match call.text("state_reason")?.as_deref() {
        Some("not_planned") => StateReason::NotPlanned,
        _ => StateReason::Completed,
    };
    match call.text("state")?.as_deref() {
        Some("closed") => call.world.close_issue(repo, number, reason, actor)?,
        Some("open") => call.world.reopen_issue(repo, number, actor)?,
        Some(_) => return Err(Reply::invalid("Issue", "state", "invalid", None)),
        None => {}
    }
    answer(call, number, 200)
}

/// Sorts newest first by a key.
pub(super) fn newest_first<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    items.sort_by_key(|item| Reverse(key(item)));
}
