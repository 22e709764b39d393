//! Git over HTTP with the real `git` client.

use std::path::Path;

use serde_json::json;

use super::{REPO, Scene};

async fn git(folder: &Path, args: &[&str]) -> (bool, String) {
    let output = tokio::process::Command::new("git")
        .args([
            "-c",
            "user.name=ada",
            "-c",
            "user.email=ada@example.org",
            "-c",
            "credential.helper=",
        ])
        .args(args)
        .current_dir(folder)
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .await
        .unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn with_token(url: &str, token: &str) -> String {
    url.replace("http://", &format!("http://x-access-token:{token}@"))
}

#[tokio::test]
async fn a_clone_pushes_a_branch_and_the_pull_request_follows() {
    let scene = Scene::new().await;
    let folder = tempfile::tempdir().unwrap();
    let url = with_token(&scene.model.git_url(REPO), "ada-token");
    for version in ["0", "2"] {
        let setting = format!("protocol.version={version}");
        let (ok, error) = git(
            folder.path(),
            &["-c", &setting, "clone", "-q", &url, version],
        )
        .await;
        assert!(ok, "{error}");
    }
    let clone = folder.path().join("2");
    assert_eq!(
        std::fs::read_to_string(clone.join("README.md")).unwrap(),
        "An app.\n"
    );
    scene
        .model
        .push_commit(REPO, "codex/issue-1", "grace", &[("a", "1")], "One")
        .unwrap();
    let new = json!({ "title": "Fix", "head": "codex/issue-1", "base": "main" });
    let pull = scene
        .send(
            "ada-token",
            "POST",
            &format!("/repos/{REPO}/pulls"),
            Some(new),
        )
        .await;
    let before = pull.body["head"]["sha"].clone();
    for args in [
        &["fetch", "-q", "origin"][..],
        &["checkout", "-q", "codex/issue-1"],
        &["commit", "-q", "--allow-empty", "-m", "Two"],
        &["push", "-q", "origin", "codex/issue-1"],
    ] {
        let (ok, error) = git(&clone, args).await;
        assert!(ok, "{args:?}: {error}");
    }
    let after = scene
        .get(&format!("/repos/{REPO}/pulls/{}", pull.body["number"]))
        .await;
    assert_ne!(after.body["head"]["sha"], before);
    assert_eq!(
        after.body["head"]["sha"].as_str(),
        scene.model.branch_commit(REPO, "codex/issue-1").as_deref()
    );
    let last = scene.model.writes().pop().unwrap();
    assert_eq!((last.method.as_str(), last.actor.as_str()), ("PUSH", "ada"));
}

#[tokio::test]
async fn a_reader_may_clone_but_not_push_and_a_stranger_neither() {
    let scene = Scene::new().await;
    let folder = tempfile::tempdir().unwrap();
    let reader = with_token(&scene.model.git_url(REPO), "grace-token");
    assert!(
        git(folder.path(), &["clone", "-q", &reader, "clone"])
            .await
            .0
    );
    let (pushed, error) = git(
        &folder.path().join("clone"),
        &["push", "-q", "origin", "main:other"],
    )
    .await;
    assert!(!pushed && error.contains("403"), "{error}");
    let stranger = with_token(&scene.model.git_url(REPO), "nobody");
    assert!(
        !git(folder.path(), &["clone", "-q", &stranger, "no"])
            .await
            .0
    );
}
