//! GraphQL: detection, nodes, price, errors, lag.

use chrono::TimeDelta;
use codex_k8s::sandbox::github::{Lag, Limits};
use serde_json::{Value, json};

use super::{Answer, REPO, Scene};

async fn ask(scene: &Scene, query: &str, variables: Value) -> Answer {
    let body = json!({ "query": query, "variables": variables });
    scene
        .send("ada-token", "POST", &scene.model.graphql_url(), Some(body))
        .await
}

const DETECT: &str = "query { rateLimit { cost remaining nodeCount }
  a: repository(owner: \"example-org\", name: \"app\") { ...moved }
  b: repository(owner: \"example-org\", name: \"gone\") { ...moved } }
fragment moved on Repository { databaseId nameWithOwner defaultBranchRef { target { oid } }
  issues(first: 1, orderBy: {field: UPDATED_AT, direction: DESC}) { totalCount nodes { number updatedAt } }
  pullRequests(first: 1, orderBy: {field: UPDATED_AT, direction: DESC}) { totalCount nodes { number } } }";

#[tokio::test]
async fn detection_reads_repositories_and_names_the_one_that_is_missing() {
    let scene = Scene::new().await;
    scene
        .model
        .open_issue(REPO, "grace", "One", "", &[])
        .unwrap();
    scene
        .model
        .open_issue(REPO, "grace", "Two", "", &[])
        .unwrap();
    let answer = ask(&scene, DETECT, Value::Null).await;
    let data = &answer.body["data"];
    assert_eq!(
        data["a"]["databaseId"],
        scene.model.repository_id(REPO).unwrap()
    );
    assert_eq!(data["a"]["issues"]["totalCount"], 2);
    assert_eq!(data["a"]["issues"]["nodes"][0]["number"], 2);
    assert_eq!(
        data["a"]["defaultBranchRef"]["target"]["oid"].as_str(),
        scene.model.branch_commit(REPO, "main").as_deref()
    );
    assert_eq!(
        (&data["b"], &data["rateLimit"]["cost"]),
        (&Value::Null, &json!(1))
    );
    let error = &answer.body["errors"][0];
    assert_eq!(
        (&error["type"], &error["path"]),
        (&json!("NOT_FOUND"), &json!(["b"]))
    );
    assert_eq!(answer.header("x-ratelimit-remaining"), "4999");
}

const SUBJECTS: &str = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename
  ... on Issue { number title body lastEditedAt editor { login } labels(first: 10) { nodes { name } }
    userContentEdits(first: 10) { totalCount nodes { editedAt editor { login ... on User { databaseId } } } }
    renames: timelineItems(last: 10, itemTypes: [RENAMED_TITLE_EVENT]) { nodes { ... on RenamedTitleEvent { previousTitle } } }
    newest: timelineItems(last: 1, itemTypes: [LABELED_EVENT, UNLABELED_EVENT]) { nodes { ... on LabeledEvent { id label { name } } } } } } }";

#[tokio::test]
async fn nodes_show_labels_edits_and_the_newest_event_of_rest() {
    let scene = Scene::new().await;
    let number = scene
        .model
        .open_issue(REPO, "grace", "Broken", "old", &[])
        .unwrap();
    scene
        .model
        .edit_issue_body(REPO, number, "ada", "new")
        .unwrap();
    scene
        .model
        .edit_issue_title(REPO, number, "ada", "Very broken")
        .unwrap();
    scene
        .model
        .add_label(REPO, number, "ada", "run:dev")
        .unwrap();
    let issue = scene.get(&format!("/repos/{REPO}/issues/{number}")).await;
    let answer = ask(
        &scene,
        SUBJECTS,
        json!({ "ids": [issue.body["node_id"], "nothing"] }),
    )
    .await;
    let node = &answer.body["data"]["nodes"][0];
    assert_eq!(node["labels"]["nodes"], json!([{ "name": "run:dev" }]));
    assert_eq!(
        (&node["body"], &node["editor"]["login"]),
        (&json!("new"), &json!("ada"))
    );
    assert_eq!(node["userContentEdits"]["totalCount"], 2);
    assert_eq!(node["renames"]["nodes"][0]["previousTitle"], "Broken");
    let events = scene.get(&format!("/repos/{REPO}/issues/events")).await;
    assert_eq!(node["newest"]["nodes"][0]["id"], events.body[0]["node_id"]);
    assert_eq!(answer.body["data"]["nodes"][1], Value::Null);
    assert_eq!(answer.body["errors"][0]["type"], "NOT_FOUND");
}

#[tokio::test]
async fn the_graph_lags_as_rest_does() {
    let scene = Scene::with_lag(Lag::up_to_ms(3_600_000)).await;
    scene
        .model
        .open_issue(REPO, "grace", "One", "", &[])
        .unwrap();
    let count = async || {
        ask(&scene, DETECT, Value::Null).await.body["data"]["a"]["issues"]["totalCount"].clone()
    };
    assert_eq!(count().await, 0);
    scene.model.advance(TimeDelta::hours(2));
    assert_eq!(count().await, 1);
}

#[tokio::test]
async fn a_used_up_hour_is_an_error_of_its_type() {
    let scene = Scene::new().await;
    scene.model.set_limits(Limits {
        graphql: 1,
        ..Limits::default()
    });
    assert!(ask(&scene, DETECT, Value::Null).await.body["data"].is_object());
    let refused = ask(&scene, DETECT, Value::Null).await;
    assert_eq!(
        (refused.status, &refused.body["errors"][0]["type"]),
        (200, &json!("RATE_LIMITED"))
    );
}
