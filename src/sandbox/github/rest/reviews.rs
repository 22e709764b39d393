//! Reviews of pull requests and their line comments.

use serde_json::Value;

use super::super::call::{Access, Call, Need, Route, Scope};
use super::super::pulls::Remark;
use super::super::reply::{Answer, Reply};
use super::super::world::{Permission, Review, ReviewComment, ReviewState};

const READ: Need = Need::Repo(Scope::Pulls, Access::Read, Permission::Read);
const WRITE: Need = Need::Repo(Scope::Pulls, Access::Write, Permission::Read);
const REVIEWS: &str = "/repos/{owner}/{repo}/pulls/{pull_number}/reviews";
const COMMENTS: &str = "/repos/{owner}/{repo}/pulls/{pull_number}/comments";

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: REVIEWS,
        need: READ,
        run: list,
    },
    Route {
        method: "POST",
        path: REVIEWS,
        need: WRITE,
        run: create,
    },
    Route {
        method: "GET",
        path: COMMENTS,
        need: READ,
        run: comments,
    },
];

fn pull_number(call: &Call<'_>) -> Result<u64, Reply> {
    let number = call.number("pull_number")?;
    call.world.pull(call.repo, number)?;
    Ok(number)
}

/// Oldest first; the route has no other order.
fn list(call: &mut Call<'_>) -> Answer {
    let (number, now) = (pull_number(call)?, call.world.seen_now());
    let repo = call.repo()?;
    let seen = |review: &&Review| review.number == number && review.seen_at <= now;
    let reviews = repo.reviews.iter().filter(seen).collect();
    Ok(call.list(reviews, |review| call.world.review_json(repo, review)))
}

fn comments(call: &mut Call<'_>) -> Answer {
    let (number, now) = (pull_number(call)?, call.world.seen_now());
    let repo = call.repo()?;
    let seen = |comment: &&ReviewComment| comment.number == number && comment.seen_at <= now;
    let comments = repo.review_comments.iter().filter(seen).collect();
    Ok(call.list(comments, |comment| {
        call.world.review_comment_json(repo, comment)
    }))
}

fn remarks(body: &Value) -> Vec<Remark> {
    let list = body.get("comments").and_then(Value::as_array);
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let one = |value: &Value| {
        let line = value
            .get("line")
            .or_else(|| value.get("position"))
            .and_then(Value::as_u64);
        Some(Remark {
            path: text(value, "path")?,
            line: line.unwrap_or(1),
            body: text(value, "body")?,
        })
    };
    list.into_iter().flatten().filter_map(one).collect()
}

fn create(call: &mut Call<'_>) -> Answer {
    let (number, actor) = (pull_number(call)?, call.actor());
    let state = match call.text("event")?.as_deref() {
        Some("APPROVE") => ReviewState::Approved,
        Some("REQUEST_CHANGES") => ReviewState::ChangesRequested,
        Some("COMMENT") => ReviewState::Commented,
        _ => {
            return Err(Reply::error(
                422,
                "Unprocessable Entity: pending reviews are not modelled",
            ));
        }
    };
    let body = call.text("body")?.unwrap_or_default();
    if state != ReviewState::Approved && body.is_empty() {
        return Err(Reply::error(422, "Unprocessable Entity"));
    }
    let own = call.world.issue(call.repo, number)?.author == actor.user;
    if own && state != ReviewState::Commented {
        return Err(Reply::error(
            422,
            "Review Can not approve your own pull request",
        ));
    }
    let remarks = remarks(&call.body);
    let id = call
        .world
        .add_review(call.repo, number, state, &body, remarks, actor)?;
    let repo = call.repo()?;
    let review = repo.reviews.iter().find(|review| review.id == id);
    let review = review.ok_or_else(Reply::not_found)?;
    Ok(Reply::ok(call.world.review_json(repo, review)))
}
