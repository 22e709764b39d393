//! The run API's own calls: who may make them, and how long.

use codex_k8s::domain::{ids::AttemptNo, run::RunState};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::world::World;

fn call(world: &World, method: &str, path: &str, token: &str) -> RequestBuilder {
    let method = method.parse().unwrap();
    let url = format!("{}/run/v1{path}", world.url);
    Client::new().request(method, url).bearer_auth(token)
}

async fn code(request: RequestBuilder) -> (StatusCode, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or_default();
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    (status, code)
}

#[tokio::test]
async fn only_the_newest_attempts_token_is_taken() {
    let world = World::new(&["true"]).await;
    let (first, second) = (world.token(1), world.token(2));
    let facts = |token: &str| call(&world, "GET", "/facts", token);
    assert_eq!(code(facts(&first)).await.0, StatusCode::OK);
    for wrong in ["", "ck8s_1_x", &first.replace("ck8s_1", "ck8s_9")] {
        assert_eq!(
            code(facts(wrong)).await.0,
            StatusCode::UNAUTHORIZED,
            "{wrong}"
        );
    }
    // We made it, and the rows have forgotten it: the runner waits until they know it again.
    let away = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(code(facts(&second)).await.0, away);
    world.rows().attempt = AttemptNo(2);
    let superseded = (StatusCode::CONFLICT, "attempt_superseded".to_owned());
    assert_eq!(code(facts(&first)).await, superseded);
    assert_eq!(code(facts(&second)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_stopping_run_takes_its_last_words_for_a_minute() {
    let world = World::new(&["true"]).await;
    let token = world.token(1);
    let logs = || call(&world, "POST", "/logs", &token).json(&json!({ "chunks": [] }));
    let beat = || call(&world, "POST", "/heartbeat", &token);
    {
        let mut rows = world.rows();
        rows.run.state = RunState::Stopping;
        rows.run.reason = Some("the label was taken off".to_owned());
        rows.run.stopping_at = Some(chrono::Utc::now());
    }
    assert_eq!(code(logs()).await.0, StatusCode::NO_CONTENT);
    assert_eq!(
        code(call(&world, "GET", "/facts", &token)).await.1,
        "run_over"
    );
    let order: Value = beat().send().await.unwrap().json().await.unwrap();
    assert_eq!(
        order,
        json!({ "order": "stop", "reason": "the label was taken off" })
    );
    let earlier = chrono::Utc::now() - chrono::TimeDelta::seconds(61);
    world.rows().run.stopping_at = Some(earlier);
    assert_eq!(
        code(logs()).await,
        (StatusCode::GONE, "run_over".to_owned())
    );
}

#[tokio::test]
async fn a_result_is_taken_once_and_bodies_have_limits() {
    let world = World::new(&["true"]).await;
    let token = world.token(1);
    let result = |summary: &str| {
        let record = json!({ "status": "completed", "summary": summary,
            "title": null, "head": null, "exit_code": 0 });
        call(&world, "POST", "/result", &token).json(&record)
    };
    assert_eq!(code(result(&"x".repeat(300_000))).await.1, "too_large");
    let record = json!({ "status": "completed", "summary": "done", "title": null,
        "head": null, "exit_code": 0, "parts": { "diagnosis": "slow" } });
    let unasked = code(call(&world, "POST", "/result", &token).json(&record)).await;
    assert_eq!(unasked.1, "bad_request", "its stage asks for no such part");
    assert_eq!(code(result("done")).await.0, StatusCode::CREATED);
    assert_eq!(code(result("done")).await.0, StatusCode::OK);
    assert_eq!(code(result("other")).await.1, "result_handed_in");
}

#[tokio::test]
async fn a_chunk_is_stored_without_the_secrets_it_holds() {
    let world = World::new(&["true"]).await;
    let token = world.token(1);
    let (half, rest) = token.split_at(token.len() / 2);
    let texts = [
        format!("my token is {token}\n"),
        "> Authorization: Bearer abc.def.ghijkl\nand on\n".to_owned(),
        "git clone https://ada:pa55@forge.example/x.git\n".to_owned(),
        format!("cut in two: {half}"),
        format!("{rest} and on\n"),
    ];
    let chunk = |(at, text)| json!({ "sequence": at, "text": text });
    let chunks: Vec<_> = texts.iter().enumerate().map(chunk).collect();
    let body = json!({ "chunks": chunks });
    let sent = call(&world, "POST", "/logs", &token).json(&body);
    assert_eq!(code(sent).await.0, StatusCode::NO_CONTENT);
    let stored: Vec<_> = world.rows().logs.values().cloned().collect();
    assert_eq!(
        stored,
        [
            "my token is [redacted]\n",
            "> Authorization: Bearer [redacted]\nand on\n",
            "git clone https://[redacted]@forge.example/x.git\n",
            "cut in two: [redacted]",
            " and on\n",
        ]
    );
}

#[tokio::test]
async fn logs_that_look_like_secrets_all_over_are_taken_in_time() {
    let world = World::new(&["true"]).await;
    let token = world.token(1);
    for (at, word) in ["basic ", "sk-", "://a:b@", "Bearer 12345678 "]
        .into_iter()
        .enumerate()
    {
        let text = word.repeat(60 * 1024 / word.len());
        let chunk = |place: usize| json!({ "sequence": at * 16 + place, "text": text });
        let chunks: Vec<_> = (0..16).map(chunk).collect();
        let sent = call(&world, "POST", "/logs", &token).json(&json!({ "chunks": chunks }));
        let sent = sent.timeout(std::time::Duration::from_mins(1));
        assert_eq!(code(sent).await.0, StatusCode::NO_CONTENT, "{word}");
    }
}

#[tokio::test]
async fn without_a_database_the_answer_is_try_again() {
    let world = World::new(&["true"]).await;
    let token = world.token(1);
    world.rows().away = true;
    let (status, _) = code(call(&world, "POST", "/heartbeat", &token)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}
