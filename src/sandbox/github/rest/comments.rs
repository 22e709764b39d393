//! Issue comments.

use super::super::call::{Access, Call, Need, Route, Scope};
use super::super::reply::{Answer, Reply};
use super::super::world::{Comment, Permission};
use super::issues::{present, since};

const READ: Need = Need::Repo(Scope::Issues, Access::Read, Permission::Read);
const WRITE: Need = Need::Repo(Scope::Issues, Access::Write, Permission::Read);
const OF_REPO: &str = "/repos/{owner}/{repo}/issues/comments";
const ONE: &str = "/repos/{owner}/{repo}/issues/comments/{comment_id}";
const OF_ISSUE: &str = "/repos/{owner}/{repo}/issues/{issue_number}/comments";

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: OF_REPO,
        need: READ,
        run: list,
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
        method: "DELETE",
        path: ONE,
        need: WRITE,
        run: delete,
    },
    Route {
        method: "GET",
        path: OF_ISSUE,
        need: READ,
        run: list_of_issue,
    },
    Route {
        method: "POST",
        path: OF_ISSUE,
        need: WRITE,
        run: create,
    },
];

/// GitHub's limit of a comment's text.
const LONGEST_BODY: usize = 65_536;

fn seen<'c>(call: &'c Call<'_>) -> Result<Vec<&'c Comment>, Reply> {
    let (now, since) = (call.world.seen_now(), since(call)?);
    let comments = call
        .repo()?
        .comments
        .values()
        .filter_map(|comment| comment.seen(now));
    let late = |comment: &&Comment| {
        since.is_none_or(|since| comment.updated_at.timestamp() >= since.timestamp())
    };
    Ok(comments
        .filter(|comment| !comment.deleted)
        .filter(late)
        .collect())
}

fn list(call: &mut Call<'_>) -> Answer {
    let mut comments = seen(call)?;
    if call.query("sort") == Some("updated") {
        comments.sort_by_key(|comment| (comment.updated_at, comment.id));
    }
    if call.query("sort").is_some() && call.query("direction") == Some("desc") {
        comments.reverse();
    }
    let repo = call.repo()?;
    Ok(call.list(comments, |comment| call.world.comment_json(repo, comment)))
}

fn list_of_issue(call: &mut Call<'_>) -> Answer {
    let number = present(call)?;
    let mut comments = seen(call)?;
    comments.retain(|comment| comment.number == number);
    let repo = call.repo()?;
    Ok(call.list(comments, |comment| call.world.comment_json(repo, comment)))
}

fn answer(call: &Call<'_>, id: u64, status: u16) -> Answer {
    let comment = call.world.comment(call.repo, id)?;
    Ok(Reply::json(
        status,
        call.world.comment_json(call.repo()?, comment),
    ))
}

fn get(call: &mut Call<'_>) -> Answer {
    answer(call, call.number("comment_id")?, 200)
}

fn body(call: &Call<'_>) -> Result<String, Reply> {
    let body = call.required_text("body")?;
    if body.trim().is_empty() {
        return Err(Reply::invalid(
            "IssueComment",
            "body",
            "custom",
            Some("body cannot be blank"),
        ));
    }
    if body.chars().count() > LONGEST_BODY {
        let message = "body is too long (maximum is 65536 characters)";
        return Err(Reply::invalid(
            "IssueComment",
            "body",
            "custom",
            Some(message),
        ));
    }
    Ok(body)
}

fn create(call: &mut Call<'_>) -> Answer {
    let (number, body, actor) = (present(call)?, body(call)?, call.actor());
    let id = call.world.add_comment(call.repo, number, &body, actor)?;
    answer(call, id, 201)
}

/// A comment may be changed by its author and by those who may write.
fn may_change(call: &Call<'_>, id: u64) -> Result<(), Reply> {
    if call.world.comment(call.repo, id)?.author == call.actor().user {
        return Ok(());
    }
    call.need_role(Permission::Write)
}

fn change(call: &mut Call<'_>) -> Answer {
    let (id, body, actor) = (call.number("comment_id")?, body(call)?, call.actor());
    may_change(call, id)?;
    call.world.edit_comment(call.repo, id, &body, actor)?;
    answer(call, id, 200)
}

fn delete(call: &mut Call<'_>) -> Answer {
    let id = call.number("comment_id")?;
    may_change(call, id)?;
    call.world.delete_comment(call.repo, id)?;
    Ok(Reply::no_content())
}
