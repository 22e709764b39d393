//! Faults: what a caller sees, and what happened all the same.

use codex_k8s::sandbox::github::{Fault, FaultRule};
use serde_json::json;

use super::{REPO, Scene};

const COMMENT: &str = "POST /repos/{owner}/{repo}/issues/{issue_number}/comments";
const ISSUES: &str = "GET /repos/{owner}/{repo}/issues";

async fn comment(scene: &Scene) -> Result<reqwest::Response, reqwest::Error> {
    let url = format!("{}/repos/{REPO}/issues/1/comments", scene.model.rest_url());
    let request = scene.http.post(url).bearer_auth("ada-token");
    request.json(&json!({ "body": "hello" })).send().await
}

async fn with_issue() -> Scene {
    let scene = Scene::new().await;
    scene
        .model
        .open_issue(REPO, "grace", "Broken", "", &[])
        .unwrap();
    scene
}

#[tokio::test]
async fn a_lost_request_does_nothing_and_a_lost_answer_did_it() {
    let scene = with_issue().await;
    scene
        .model
        .add_fault(FaultRule::once(COMMENT, Fault::LostRequest { hold_ms: 0 }));
    assert!(comment(&scene).await.is_err());
    assert!(scene.model.writes().is_empty());
    scene
        .model
        .add_fault(FaultRule::once(COMMENT, Fault::LostAnswer { hold_ms: 0 }));
    assert!(comment(&scene).await.is_err());
    assert_eq!(scene.model.writes().len(), 1);
    assert_eq!(comment(&scene).await.unwrap().status().as_u16(), 201);
    let faults = scene.model.counters().faults;
    assert_eq!((faults["lost-request"], faults["lost-answer"]), (1, 1));
}

#[tokio::test]
async fn a_status_fault_answers_with_its_wait_and_does_nothing() {
    let scene = with_issue().await;
    let fault = Fault::Status {
        status: 429,
        retry_after: Some(7),
    };
    scene.model.add_fault(FaultRule::once("POST *", fault));
    let refused = comment(&scene).await.unwrap();
    assert_eq!(
        (
            refused.status().as_u16(),
            refused.headers()["retry-after"].to_str().unwrap()
        ),
        (429, "7")
    );
    assert!(scene.model.writes().is_empty());
}

#[tokio::test]
async fn pages_are_truncated_repeated_stale_or_said_to_be_unchanged() {
    let scene = with_issue().await;
    let path = format!("/repos/{REPO}/issues?per_page=1&page=2&direction=asc");
    scene
        .model
        .open_issue(REPO, "grace", "Second", "", &[])
        .unwrap();
    let tag = scene.get(&path).await.header("etag").to_owned();
    scene
        .model
        .add_fault(FaultRule::once(ISSUES, Fault::RepeatedPage));
    assert_eq!(scene.get(&path).await.body[0]["number"], 1);
    assert_eq!(scene.get(&path).await.body[0]["number"], 2);
    scene
        .model
        .edit_issue_title(REPO, 2, "grace", "Changed")
        .unwrap();
    scene
        .model
        .add_fault(FaultRule::once(ISSUES, Fault::StaleRead { by_ms: 60_000 }));
    assert_eq!(scene.get(&path).await.body, json!([]));
    scene
        .model
        .add_fault(FaultRule::once(ISSUES, Fault::NotModified));
    let unchanged = scene
        .send_with("ada-token", "GET", &path, None, &[("if-none-match", &tag)])
        .await;
    assert_eq!(unchanged.status, 304);
    scene
        .model
        .add_fault(FaultRule::once(ISSUES, Fault::TruncatedBody));
    let url = format!("{}{path}", scene.model.rest_url());
    let cut = scene
        .http
        .get(url)
        .bearer_auth("ada-token")
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&cut).is_err());
    assert_eq!(scene.get(&path).await.body[0]["title"], "Changed");
}
