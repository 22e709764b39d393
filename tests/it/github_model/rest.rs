//! REST: rights, pages, entity tags, lag, renames, GitHub's rules.

use chrono::TimeDelta;
use codex_k8s::sandbox::github::{Lag, Limits, ReviewState};
use serde_json::{Value, json};

use super::{REPO, Scene};

fn texts(list: &Value, name: &str) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    items
        .map(|item| item[name].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_label_leaves_an_event_with_its_actor_newest_first() {
    let scene = Scene::new().await;
    let number = scene
        .model
        .open_issue(REPO, "grace", "Broken", "It is.", &[])
        .unwrap();
    scene
        .model
        .add_label(REPO, number, "ada", "run:dev")
        .unwrap();
    scene.model.close(REPO, number, "grace").unwrap();
    let events = scene.get(&format!("/repos/{REPO}/issues/events")).await;
    assert_eq!(texts(&events.body, "event"), ["closed", "labeled"]);
    assert_eq!(events.body[1]["label"]["name"], "run:dev");
    assert_eq!(events.body[1]["actor"]["login"], "ada");
    assert_eq!(events.body[1]["issue"]["number"], number);
    assert!(events.body[0]["id"].as_u64() > events.body[1]["id"].as_u64());
}

#[tokio::test]
async fn lists_come_in_pages_linked_to_each_other() {
    let scene = Scene::new().await;
    for title in ["a", "b", "c"] {
        scene
            .model
            .open_issue(REPO, "grace", title, "", &[])
            .unwrap();
    }
    let first = scene
        .get(&format!(
            "/repos/{REPO}/issues?per_page=2&sort=updated&direction=asc"
        ))
        .await;
    assert_eq!(texts(&first.body, "title"), ["a", "b"]);
    let link = first.header("link").to_owned();
    let next = link
        .split(';')
        .next()
        .unwrap()
        .trim_matches(['<', '>'])
        .to_owned();
    let second = scene.get(&next).await;
    assert_eq!(texts(&second.body, "title"), ["c"]);
    assert!(second.header("link").contains("rel=\"prev\""));
}

#[tokio::test]
async fn an_unchanged_page_is_304_and_free() {
    let scene = Scene::new().await;
    let path = format!("/repos/{REPO}/issues");
    let first = scene.get(&path).await;
    let tag = first.header("etag").to_owned();
    let again = scene
        .send_with("ada-token", "GET", &path, None, &[("if-none-match", &tag)])
        .await;
    assert_eq!((again.status, &again.body), (304, &Value::Null));
    assert_eq!(
        again.header("x-ratelimit-remaining"),
        first.header("x-ratelimit-remaining")
    );
    scene
        .model
        .open_issue(REPO, "grace", "New", "", &[])
        .unwrap();
    let changed = scene
        .send_with("ada-token", "GET", &path, None, &[("if-none-match", &tag)])
        .await;
    assert_eq!(changed.status, 200);
}

#[tokio::test]
async fn reads_lag_behind_and_catch_up_but_a_write_answers_fresh() {
    let scene = Scene::with_lag(Lag::up_to_ms(3_600_000)).await;
    let number = scene
        .model
        .open_issue(REPO, "grace", "Broken", "", &[])
        .unwrap();
    scene.model.advance(TimeDelta::hours(2));
    let labels = format!("/repos/{REPO}/issues/{number}/labels");
    let added = scene
        .send(
            "ada-token",
            "POST",
            &labels,
            Some(json!({ "labels": ["run:dev"] })),
        )
        .await;
    assert_eq!(texts(&added.body, "name"), ["run:dev"]);
    assert_eq!(scene.get(&labels).await.body, json!([]));
    assert_eq!(
        scene
            .get(&format!("/repos/{REPO}/issues/events"))
            .await
            .body,
        json!([])
    );
    scene.model.advance(TimeDelta::hours(2));
    assert_eq!(texts(&scene.get(&labels).await.body, "name"), ["run:dev"]);
    assert_eq!(
        scene
            .get(&format!("/repos/{REPO}/issues/events"))
            .await
            .body
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn readers_may_not_label_and_strangers_are_not_let_in() {
    let scene = Scene::new().await;
    let number = scene
        .model
        .open_issue(REPO, "grace", "Broken", "", &[])
        .unwrap();
    let labels = format!("/repos/{REPO}/issues/{number}/labels");
    let body = || Some(json!({ "labels": ["run:dev"] }));
    assert_eq!(
        scene
            .send("grace-token", "POST", &labels, body())
            .await
            .status,
        403
    );
    assert_eq!(
        scene.send("nobody", "POST", &labels, body()).await.status,
        401
    );
    scene.model.invalidate_token("ada-token");
    assert_eq!(scene.get(&labels).await.status, 401);
    assert!(scene.model.writes().is_empty());
}

#[tokio::test]
async fn a_renamed_repository_redirects_and_a_deleted_one_is_gone() {
    let scene = Scene::new().await;
    let id = scene.model.repository_id(REPO).unwrap();
    scene.model.rename_repository(REPO, "renamed").unwrap();
    let plain = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let url = format!("{}/repos/{REPO}/issues", scene.model.rest_url());
    let moved = plain
        .get(url)
        .bearer_auth("ada-token")
        .send()
        .await
        .unwrap();
    assert_eq!(moved.status().as_u16(), 301);
    let location = moved.headers()["location"].to_str().unwrap().to_owned();
    assert!(
        location.ends_with(&format!("/repositories/{id}/issues")),
        "{location}"
    );
    assert_eq!(scene.get(&location).await.status, 200);
    scene
        .model
        .delete_repository("example-org/renamed")
        .unwrap();
    assert_eq!(scene.get("/repos/example-org/renamed").await.status, 404);
}

#[tokio::test]
async fn a_pull_request_opens_once_per_branch_and_follows_its_head() {
    let scene = Scene::new().await;
    let pulls = format!("/repos/{REPO}/pulls");
    let new =
        || Some(json!({ "title": "Fix", "head": "codex/issue-1", "base": "main", "body": "b" }));
    let no_branch = scene.send("ada-token", "POST", &pulls, new()).await;
    assert_eq!(
        (
            no_branch.status,
            no_branch.body["errors"][0]["field"].as_str()
        ),
        (422, Some("head"))
    );
    let first = scene
        .model
        .push_commit(REPO, "codex/issue-1", "ada", &[("a.txt", "1")], "One")
        .unwrap();
    let opened = scene.send("ada-token", "POST", &pulls, new()).await;
    assert_eq!(opened.status, 201);
    assert_eq!(opened.body["head"]["sha"], first);
    assert_eq!(
        (&opened.body["commits"], &opened.body["changed_files"]),
        (&json!(1), &json!(1))
    );
    let twice = scene.send("ada-token", "POST", &pulls, new()).await;
    assert_eq!(
        twice.body["errors"][0]["message"],
        "A pull request already exists for example-org:codex/issue-1."
    );
    let second = scene
        .model
        .push_commit(REPO, "codex/issue-1", "ada", &[("a.txt", "2")], "Two")
        .unwrap();
    let found = scene
        .get(&format!("{pulls}?head=example-org:codex/issue-1&state=all"))
        .await;
    assert_eq!(found.body[0]["head"]["sha"], second);
    let number = found.body[0]["number"].as_u64().unwrap();
    scene
        .model
        .review(
            REPO,
            number,
            "grace",
            ReviewState::ChangesRequested,
            "Not yet",
        )
        .unwrap();
    let reviews = scene.get(&format!("{pulls}/{number}/reviews")).await;
    assert_eq!(reviews.body[0]["state"], "CHANGES_REQUESTED");
    let merged = scene.model.merge_pull(REPO, number, "ada").unwrap();
    let after = scene.get(&format!("{pulls}/{number}")).await;
    assert_eq!(
        (&after.body["merged"], &after.body["merge_commit_sha"]),
        (&json!(true), &json!(merged))
    );
}

#[tokio::test]
async fn a_branch_without_commits_of_its_own_makes_no_pull_request() {
    let scene = Scene::new().await;
    let main = scene.model.branch_commit(REPO, "main").unwrap();
    scene.model.force_push(REPO, "same", "ada", &main).unwrap();
    let new = json!({ "title": "Fix", "head": "same", "base": "main" });
    let answer = scene
        .send(
            "ada-token",
            "POST",
            &format!("/repos/{REPO}/pulls"),
            Some(new),
        )
        .await;
    assert_eq!(
        answer.body["errors"][0]["message"],
        "No commits between main and same"
    );
}

#[tokio::test]
async fn too_many_writes_a_minute_are_refused_with_a_wait() {
    let scene = Scene::new().await;
    scene.model.set_limits(Limits {
        writes_per_minute: 1,
        ..Limits::default()
    });
    let number = scene
        .model
        .open_issue(REPO, "grace", "Broken", "", &[])
        .unwrap();
    let comments = format!("/repos/{REPO}/issues/{number}/comments");
    let body = || Some(json!({ "body": "hello" }));
    assert_eq!(
        scene
            .send("ada-token", "POST", &comments, body())
            .await
            .status,
        201
    );
    let refused = scene.send("ada-token", "POST", &comments, body()).await;
    assert_eq!(refused.status, 403);
    let wait: i64 = refused.header("retry-after").parse().unwrap();
    scene.model.advance(TimeDelta::seconds(wait));
    assert_eq!(
        scene
            .send("ada-token", "POST", &comments, body())
            .await
            .status,
        201
    );
    assert_eq!(scene.model.writes().len(), 2);
}

#[tokio::test]
async fn a_used_up_hour_refuses_until_it_is_over() {
    let scene = Scene::new().await;
    scene.model.set_limits(Limits {
        core: 1,
        ..Limits::default()
    });
    let path = format!("/repos/{REPO}");
    assert_eq!(scene.get(&path).await.status, 200);
    let refused = scene.get(&path).await;
    assert_eq!(
        (refused.status, refused.header("x-ratelimit-remaining")),
        (403, "0")
    );
    scene.model.advance(TimeDelta::hours(1));
    assert_eq!(scene.get(&path).await.status, 200);
}

#[tokio::test]
async fn a_transferred_issue_redirects_and_a_deleted_one_is_gone() {
    let scene = Scene::new().await;
    scene
        .model
        .add_repository(
            "example-org/other",
            &super::RepositorySeed::with_readme("Other\n"),
        )
        .unwrap();
    let moved = scene
        .model
        .open_issue(REPO, "grace", "Moves", "", &[])
        .unwrap();
    let deleted = scene
        .model
        .open_issue(REPO, "grace", "Goes", "", &[])
        .unwrap();
    scene
        .model
        .transfer_issue(REPO, moved, "ada", "example-org/other")
        .unwrap();
    scene.model.delete_issue(REPO, deleted).unwrap();
    let followed = scene.get(&format!("/repos/{REPO}/issues/{moved}")).await;
    assert_eq!(
        (followed.status, followed.body["title"].as_str()),
        (200, Some("Moves"))
    );
    assert_eq!(
        scene
            .get(&format!("/repos/{REPO}/issues/{deleted}"))
            .await
            .status,
        410
    );
}

#[tokio::test]
async fn an_app_gets_installation_tokens_and_acts_as_its_bot() {
    let scene = Scene::new().await;
    let seed = codex_k8s::sandbox::github::AppSeed::new("codex", "example-org");
    let (app, installation) = scene.model.add_app(&seed).unwrap();
    let number = scene
        .model
        .open_issue(REPO, "grace", "Broken", "", &[])
        .unwrap();
    let jwt = unsigned_jwt(app, scene.model.now().timestamp());
    let tokens = format!("/app/installations/{installation}/access_tokens");
    let token = scene.send(&jwt, "POST", &tokens, None).await;
    assert_eq!(token.status, 201);
    let token = token.body["token"].as_str().unwrap().to_owned();
    let comments = format!("/repos/{REPO}/issues/{number}/comments");
    let made = scene
        .send(&token, "POST", &comments, Some(json!({ "body": "hello" })))
        .await;
    assert_eq!(made.body["user"]["login"], "codex[bot]");
    assert_eq!(made.body["performed_via_github_app"]["slug"], "codex");
    scene.model.advance(TimeDelta::hours(1));
    assert_eq!(scene.send(&token, "GET", &comments, None).await.status, 401);
}

fn unsigned_jwt(app: u64, now: i64) -> String {
    use base64::Engine as _;
    let part =
        |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({ "alg": "RS256", "typ": "JWT" }));
    let claims = part(json!({ "iat": now - 10, "exp": now + 300, "iss": app.to_string() }));
    format!("{header}.{claims}.c2ln")
}
