//! What a prompt is rendered with: the variables that templates are given.

use serde_json::{Value, json};

use super::{
    authority,
    freeze::{Parts, namespace},
    index::Index,
};
use crate::domain::{
    forge::{AccountKind, Actor, Comment, Review, ReviewState},
    messages::without_marks,
};

/// The variables of a run's prompt, but for the template's locale. None of them begins a block:
/// most of them are foreign words.
pub(super) fn context(index: &Index<'_>, parts: &Parts<'_>, model: &str, reasoning: &str) -> Value {
    let Parts {
        run, mirror, issue, ..
    } = *parts;
    let pull = parts.pull.map(|pull| {
        json!({
            "number": pull.number, "title": pull.title, "body": pull.body,
            "url": pull.html_url, "head": pull.head, "base": pull.base,
        })
    });
    let mut context = json!({
        "run": { "id": run.id },
        "project": { "key": parts.project, "name": project_name(parts) },
        "repository": { "full_name": mirror.record.name.to_string(), "url": mirror.record.html_url },
        "issue": {
            "number": issue.number, "title": issue.title, "body": issue.body,
            "labels": issue.labels, "url": issue.html_url, "author": login(issue.author.as_ref()),
            "comments": comments(index, parts),
        },
        "pull_request": pull,
        "branch": { "name": parts.branch, "base": parts.base },
        "agent": { "key": parts.agent.key, "name": agent_name(parts) },
        "model": model,
        "reasoning": reasoning,
        "stage": { "kind": run.kind.stage, "revise": run.kind.revise },
        "namespace": namespace(index, parts),
        "review": { "comments": review_comments(index, parts) },
    });
    take_marks(&mut context);
    context
}

fn take_marks(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_marks(text),
        Value::Array(values) => values.iter_mut().for_each(take_marks),
        Value::Object(fields) => fields.values_mut().for_each(take_marks),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn project_name<'a>(parts: &Parts<'a>) -> &'a str {
    let named = parts.desired.project(parts.project);
    let named = named.map(|project| project.spec.display_name.as_str());
    named
        .filter(|name| !name.is_empty())
        .unwrap_or(parts.project.as_str())
}

fn agent_name<'a>(parts: &Parts<'a>) -> &'a str {
    match parts.agent.spec.display_name.as_str() {
        "" => parts.agent.key.as_str(),
        name => name,
    }
}

fn comments(index: &Index<'_>, parts: &Parts<'_>) -> Vec<Value> {
    let of_issue = |comment: &&Comment| {
        comment.repository == parts.issue.repository && comment.number == parts.issue.number
    };
    let rows = &index.input.rows.comments;
    let mut comments: Vec<&Comment> = rows
        .iter()
        .filter(of_issue)
        .filter(|comment| enters(index, parts, comment))
        .collect();
    comments.sort_by_key(|comment| comment.id);
    comments
        .into_iter()
        .map(|comment| json!({ "author": login(comment.author.as_ref()), "body": comment.body }))
        .collect()
}

/// Whether a comment may enter the prompt.
fn enters(index: &Index<'_>, parts: &Parts<'_>, comment: &Comment) -> bool {
    let Some(author) = &comment.author else {
        return false;
    };
    if index.own.iter().any(|own| own.actor.id == author.id) {
        return false;
    }
    let before = index
        .triggers
        .get(&parts.run.trigger)
        .is_some_and(|trigger| comment.updated_at <= trigger.occurred_at);
    before || is_entitled(index, parts, author, comment.via_app.as_ref())
}

/// Whether somebody's words count whenever they were said: not those that an app said for them.
fn is_entitled(
    index: &Index<'_>,
    parts: &Parts<'_>,
    author: &Actor,
    via_app: Option<&String>,
) -> bool {
    let Some(project) = parts.desired.project(parts.project) else {
        return false;
    };
    let spec = &project.spec;
    author.kind == AccountKind::User
        && via_app.is_none_or(|app| spec.trusted_apps.contains(app))
        && authority::counts(index, spec, parts.issue.repository, author.id) == Some(true)
}

/// What entitled people said in reviews of the pull request, in the order they said it, but for
/// remarks on lines that are settled.
fn review_comments(index: &Index<'_>, parts: &Parts<'_>) -> Vec<Value> {
    let Some(pull) = parts.pull else {
        return Vec::new();
    };
    let wanted = |review: &&Review| {
        review.repository == pull.repository
            && review.number == pull.number
            && !review.body.is_empty()
            && matches!(
                review.state,
                ReviewState::ChangesRequested | ReviewState::Commented
            )
    };
    let rows = &index.input.rows;
    let bodies = rows.reviews.iter().filter(wanted).filter_map(|review| {
        let author = review
            .author
            .as_ref()
            .filter(|author| is_entitled(index, parts, author, None))?;
        let said = (review.submitted_at, review.id.0, false);
        Some((said, remark(author, &review.body, None)))
    });
    let on_pull = rows
        .comments
        .iter()
        .filter(|comment| comment.repository == pull.repository && comment.number == pull.number);
    let is_settled = |comment: &Comment| comment.place.as_ref().is_some_and(|place| place.resolved);
    let lines = on_pull
        .filter(|comment| !is_settled(comment))
        .filter(|comment| enters(index, parts, comment))
        .filter_map(|comment| {
            let said = (Some(comment.created_at), comment.id.0, true);
            let author = comment.author.as_ref()?;
            Some((said, remark(author, &comment.body, Some(comment))))
        });
    let mut remarks: Vec<_> = bodies.chain(lines).collect();
    remarks.sort_by_key(|(said, _)| *said);
    remarks.into_iter().map(|(_, remark)| remark).collect()
}

fn remark(author: &Actor, body: &str, comment: Option<&Comment>) -> Value {
    let place = comment.and_then(|comment| comment.place.as_ref());
    json!({
        "author": author.login,
        "body": body,
        "path": place.map(|place| &place.path),
        "line": place.and_then(|place| place.line),
    })
}

fn login(author: Option<&Actor>) -> &str {
    author.map_or("someone", |author| author.login.as_str())
}
