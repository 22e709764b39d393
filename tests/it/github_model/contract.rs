//! Every operation once: what the model answers is held to GitHub's own description.

use serde_json::{Value, json};

use super::{REPO, Scene};

/// Asks every readable operation once, so that each answer is held to GitHub's description.
#[tokio::test]
async fn every_answer_is_as_github_describes_it() {
    let scene = Scene::new().await;
    let number = scene
        .model
        .open_issue(REPO, "grace", "Broken", "It is.", &["run:dev"])
        .unwrap();
    let comment = scene
        .model
        .comment(REPO, number, "grace", "Please")
        .unwrap();
    scene
        .model
        .edit_issue_title(REPO, number, "ada", "Very broken")
        .unwrap();
    scene.model.close(REPO, number, "ada").unwrap();
    scene.model.reopen(REPO, number, "ada").unwrap();
    let commit = scene
        .model
        .push_commit(REPO, "codex/issue-1", "ada", &[("a/b.txt", "1")], "One")
        .unwrap();
    let new = json!({ "title": "Fix", "head": "codex/issue-1", "base": "main", "body": "b", "draft": false });
    let pull = scene
        .send(
            "ada-token",
            "POST",
            &format!("/repos/{REPO}/pulls"),
            Some(new),
        )
        .await;
    let pull = pull.body["number"].as_u64().unwrap();
    scene
        .model
        .review_line(REPO, pull, "grace", ("a/b.txt", 1), "Why?")
        .unwrap();
    let events = scene
        .get(&format!("/repos/{REPO}/issues/events?per_page=100"))
        .await;
    let event = events.body[0]["id"].as_u64().unwrap();
    for path in [
        "/user".to_owned(),
        "/users/grace".to_owned(),
        "/rate_limit".to_owned(),
        format!("/repos/{REPO}"),
        format!("/repos/{REPO}/issues?state=all&since=2020-01-01T00:00:00Z&labels=run:dev"),
        format!("/repos/{REPO}/issues/{number}"),
        format!("/repos/{REPO}/issues/{pull}"),
        format!("/repos/{REPO}/issues/events/{event}"),
        format!("/repos/{REPO}/issues/{number}/events"),
        format!("/repos/{REPO}/issues/{number}/labels"),
        format!("/repos/{REPO}/issues/{number}/comments"),
        format!("/repos/{REPO}/issues/comments?sort=updated&direction=asc"),
        format!("/repos/{REPO}/issues/comments/{comment}"),
        format!("/repos/{REPO}/labels"),
        format!("/repos/{REPO}/labels/run%3Adev"),
        format!("/repos/{REPO}/pulls?state=all&head=example-org:codex/issue-1&sort=updated"),
        format!("/repos/{REPO}/pulls/{pull}"),
        format!("/repos/{REPO}/pulls/{pull}/files"),
        format!("/repos/{REPO}/pulls/{pull}/commits"),
        format!("/repos/{REPO}/pulls/{pull}/reviews"),
        format!("/repos/{REPO}/pulls/{pull}/comments"),
        format!("/repos/{REPO}/git/ref/heads/codex/issue-1"),
        format!("/repos/{REPO}/git/matching-refs/heads/codex"),
        format!("/repos/{REPO}/branches"),
        format!("/repos/{REPO}/branches/main"),
        format!("/repos/{REPO}/commits/{commit}"),
        format!("/repos/{REPO}/compare/main...codex/issue-1"),
        format!("/repos/{REPO}/collaborators/grace/permission"),
        format!("/repos/{REPO}/actions/variables"),
    ] {
        assert_eq!(scene.get(&path).await.status, 200, "{path}");
    }
    let totals = scene.model.exchanges();
    assert!(totals.exchanges > 30);
    assert!(totals.violations.is_empty(), "{:#?}", totals.violations);
}

#[expect(
    clippy::too_many_lines,
    reason = "one line a write, in the order a person would"
)]
#[tokio::test]
async fn every_write_is_answered_as_github_describes_it() {
    let scene = Scene::new().await;
    let send = async |method: &str, path: String, body: Option<Value>, status: u16| {
        let answer = scene.send("ada-token", method, &path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        answer.body
    };
    let issues = format!("/repos/{REPO}/issues");
    send(
        "POST",
        issues.clone(),
        Some(json!({ "title": "New", "body": "b", "labels": ["a"] })),
        201,
    )
    .await;
    send(
        "PATCH",
        format!("{issues}/1"),
        Some(json!({ "state": "closed", "state_reason": "not_planned" })),
        200,
    )
    .await;
    send(
        "PATCH",
        format!("{issues}/1"),
        Some(json!({ "title": "Newer", "body": "c", "state": "open" })),
        200,
    )
    .await;
    send(
        "POST",
        format!("{issues}/1/labels"),
        Some(json!({ "labels": ["run:dev"] })),
        200,
    )
    .await;
    send(
        "PUT",
        format!("{issues}/1/labels"),
        Some(json!({ "labels": ["b", "c"] })),
        200,
    )
    .await;
    send("DELETE", format!("{issues}/1/labels/b"), None, 200).await;
    send("DELETE", format!("{issues}/1/labels/b"), None, 404).await;
    send("DELETE", format!("{issues}/1/labels"), None, 204).await;
    let comment = send(
        "POST",
        format!("{issues}/1/comments"),
        Some(json!({ "body": "hello" })),
        201,
    )
    .await;
    let comment = format!("{issues}/comments/{}", comment["id"]);
    send(
        "PATCH",
        comment.clone(),
        Some(json!({ "body": "hallo" })),
        200,
    )
    .await;
    send("DELETE", comment.clone(), None, 204).await;
    send("GET", comment, None, 404).await;
    let labels = format!("/repos/{REPO}/labels");
    send(
        "POST",
        labels.clone(),
        Some(json!({ "name": "x y", "color": "ff0000", "description": "d" })),
        201,
    )
    .await;
    send("POST", labels.clone(), Some(json!({ "name": "X Y" })), 422).await;
    send(
        "PATCH",
        format!("{labels}/x%20y"),
        Some(json!({ "new_name": "z", "color": "00ff00" })),
        200,
    )
    .await;
    send("DELETE", format!("{labels}/z"), None, 204).await;
    let variables = format!("/repos/{REPO}/actions/variables");
    let new = json!({ "name": "OWNER", "value": "1" });
    send("POST", variables.clone(), Some(new.clone()), 201).await;
    send("POST", variables.clone(), Some(new), 409).await;
    send(
        "PATCH",
        format!("{variables}/OWNER"),
        Some(json!({ "value": "2" })),
        204,
    )
    .await;
    assert_eq!(
        send("GET", format!("{variables}/OWNER"), None, 200).await["value"],
        "2"
    );
    scene
        .model
        .push_commit(REPO, "topic", "grace", &[("a", "1")], "One")
        .unwrap();
    let pulls = format!("/repos/{REPO}/pulls");
    send(
        "POST",
        pulls.clone(),
        Some(json!({ "title": "P", "head": "topic", "base": "main" })),
        201,
    )
    .await;
    send(
        "PATCH",
        format!("{pulls}/2"),
        Some(json!({ "title": "Q", "body": "b" })),
        200,
    )
    .await;
    let review = json!({ "event": "COMMENT", "body": "Hm" });
    send("POST", format!("{pulls}/2/reviews"), Some(review), 200).await;
    send(
        "DELETE",
        format!("/repos/{REPO}/git/refs/heads/topic"),
        None,
        204,
    )
    .await;
    let closed = send("GET", format!("{pulls}/2"), None, 200).await;
    assert_eq!(closed["state"], "closed");
    send(
        "PATCH",
        format!("{pulls}/2"),
        Some(json!({ "state": "open" })),
        422,
    )
    .await;
}
