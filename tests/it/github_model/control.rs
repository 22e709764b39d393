//! The control endpoint, as another process uses it.

use codex_k8s::sandbox::github::Action;
use serde_json::json;

use super::{REPO, Scene};

#[tokio::test]
async fn another_process_labels_an_issue_and_reads_the_state() {
    let scene = Scene::new().await;
    let number = scene
        .model
        .open_issue(REPO, "grace", "Broken", "", &[])
        .unwrap();
    let action = Action::Label {
        repo: REPO.to_owned(),
        login: "ada".to_owned(),
        number,
        label: "run:dev".to_owned(),
    };
    let url = |name: &str| format!("{}/_model/{name}", scene.model.base_url());
    let body = serde_json::to_value(action).unwrap();
    let refused = scene
        .send("wrong", "POST", &url("actions"), Some(body.clone()))
        .await;
    assert_eq!(refused.status, 401);
    let secret = scene.model.control_secret().to_owned();
    assert_eq!(
        scene
            .send(&secret, "POST", &url("actions"), Some(body))
            .await
            .status,
        200
    );
    let state = scene.send(&secret, "GET", &url("state"), None).await.body;
    assert_eq!(
        state["repositories"][0]["issues"][0]["labels"],
        json!(["run:dev"])
    );
    let missing = json!({ "action": "close", "repo": REPO, "login": "ada", "number": 99 });
    assert_eq!(
        scene
            .send(&secret, "POST", &url("actions"), Some(missing))
            .await
            .status,
        404
    );
    assert!(scene.model.writes().is_empty());
}
