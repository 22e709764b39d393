//! Real agent programs in the whole loop: their model alone is scripted.

use std::time::Duration;

use codex_k8s::{
    domain::run::RunState,
    sandbox::{
        github::ReviewState,
        models::{ModelScript, SeenCall},
        seed::{AgentProgram, REPOSITORY},
    },
};
use serde_json::json;

use super::stage::Stage;
use crate::support::{agents::programs_for_test, cluster::RealCluster};

/// What the model makes of its first message and of what a reviewer says.
fn script(words: &str) -> ModelScript {
    ModelScript {
        commands: vec![
            format!("echo '{words}' >> \"notes-$CODEXK8S_ISSUE_NUMBER.txt\""),
            // Whatever a program lets its commands see.
            "env; cat /proc/$PPID/environ | tr '\\0' '\\n'; true".to_owned(),
        ],
        answer: format!("{{\"summary\": \"Wrote {words}.\", \"title\": \"Write {words}\"}}"),
        pause: Duration::ZERO,
    }
}

async fn label_review_revise(stage: Stage) {
    let model = stage.world.model().unwrap();
    model.follow(script("first words"));
    stage.label(1, "run:dev");
    stage.finished(1, RunState::Succeeded).await;
    let [pull] = stage.pulls()[..] else {
        panic!("{}", stage.history().await)
    };
    assert_eq!(stage.issue(pull)["title"], "Write first words");
    assert_eq!(written(&stage), "first words\n");

    // The reviewer's words reach the same session: the model is told the talk so far.
    model.follow(script("second words"));
    let before = model.seen().len();
    let github = stage.world.github();
    let state = ReviewState::ChangesRequested;
    github
        .review(REPOSITORY, pull, "grace", state, "Say it again.")
        .unwrap();
    let number = i64::try_from(pull).unwrap();
    stage.finished(number, RunState::Succeeded).await;
    assert_eq!(written(&stage), "first words\nsecond words\n");
    let seen = model.seen();
    let turns: Vec<&SeenCall> = seen[before..].iter().collect();
    let first = turns.first().unwrap();
    assert!(first.body.contains("Say it again."), "{}", first.body);
    assert!(
        first.body.contains("first words"),
        "the session is not resumed"
    );

    no_secret_left(&stage).await;
    let used: i64 = sqlx::query_scalar("select count(*) from model_calls where output_tokens > 0")
        .fetch_one(&stage.db)
        .await
        .unwrap();
    assert_eq!(usize::try_from(used).unwrap(), seen.len());
    stage.end().await;
}

/// The file that the program's commands write, at the forge.
fn written(stage: &Stage) -> String {
    let github = stage.world.github();
    let text = github.file_on(REPOSITORY, "codex/issue-1", "notes-1.txt");
    text.unwrap_or_default()
}

/// No key, token or credential of the platform is in any row, log, answer or conversation.
pub(super) async fn no_secret_left(stage: &Stage) {
    let world = &stage.world;
    let key = world.model_key().unwrap();
    let settings = world.settings();
    let mut secrets = vec![("the model's key", key)];
    for name in [
        "FORGE_TOKEN",
        "FORGE_READ_TOKEN",
        "API_TOKEN",
        "WEBHOOK_SECRET",
        "CONFIG_TOKEN",
    ] {
        secrets.push((name, settings[&format!("CODEXK8S_{name}")].clone()));
    }
    let keys = &settings["CODEXK8S_RUN_TOKEN_KEYS"];
    secrets.push(("a key of run tokens", keys[2..].to_owned()));
    for name in ["DATABASE_URL", "API_DATABASE_URL"] {
        let address: url::Url = settings[&format!("CODEXK8S_{name}")].parse().unwrap();
        let password = address.password().map(str::to_owned);
        secrets.push((name, password.unwrap_or_else(|| address.to_string())));
    }
    // What begins like this is a run token.
    secrets.push(("a run token", "ck8s_".to_owned()));
    let seen: Vec<String> = stage
        .world
        .model()
        .unwrap()
        .seen()
        .iter()
        .map(|call| call.body.clone())
        .collect();
    // The model is told what its commands print, the run token of its own run included.
    let (last, others) = secrets.split_last().unwrap();
    for (name, secret) in others {
        assert!(
            !seen.iter().any(|body| body.contains(secret.as_str())),
            "{name}: model"
        );
    }
    for (name, secret) in others.iter().chain([last]) {
        for (place, text) in stage.everything_written().await {
            assert!(!text.contains(secret.as_str()), "{name} is in {place}");
        }
    }
}

/// A program that has come by the key of its model, and its token, says both wherever it can.
async fn a_secret_told_everywhere(stage: Stage) {
    let world = &stage.world;
    let model = world.model().unwrap();
    let key = world.model_key().unwrap();
    // As it is cut where a title ends, too.
    let title = format!("{}{key}", "t".repeat(200 - key.len() / 2));
    let said = format!("Look: {key}");
    let answer = json!({
        "summary": said, "title": title, "tests": said, "questions": [said], "requests": [key],
        "explanations": [{ "file": key, "why": said, "gains": said, "alternatives": said }],
        "diagnosis": said, "actionItems": [said, key], "evidence": [said], "toolGaps": [key],
    });
    model.follow(ModelScript {
        commands: vec![
            format!("echo '{key}'; echo '{key}' >&2; env; cat /proc/$PPID/environ"),
            "echo done >> notes.txt; git add -A; git commit -qm done".to_owned(),
        ],
        answer: answer.to_string(),
        pause: Duration::ZERO,
    });
    stage.label(1, "run:self-improve");
    stage.finished(1, RunState::Succeeded).await;
    let [pull] = stage.pulls()[..] else {
        panic!("{}", stage.history().await)
    };
    let body = stage.issue(pull)["body"].as_str().unwrap().to_owned();
    assert!(body.contains("Look: [redacted]"), "{body}");
    let half = &key[..key.len() / 2];
    for (place, text) in stage.everything_written().await {
        assert!(!text.contains(half), "the key is in {place}");
        assert!(!text.contains("ck8s_"), "a run token is in {place}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_a_program_tells_is_written_nowhere() {
    if let Some(programs) = programs_for_test() {
        a_secret_told_everywhere(Stage::of_program(AgentProgram::Codex, programs).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codex_writes_a_change_and_goes_on_with_its_session_after_a_review() {
    if let Some(programs) = programs_for_test() {
        label_review_revise(Stage::of_program(AgentProgram::Codex, programs).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claude_writes_a_change_and_goes_on_with_its_session_after_a_review() {
    if let Some(programs) = programs_for_test() {
        label_review_revise(Stage::of_program(AgentProgram::Claude, programs).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codex_does_the_same_in_real_pods() {
    if programs_for_test().is_none() {
        return;
    }
    if let Some((cluster, _turn)) = RealCluster::with_pods_alone().await {
        label_review_revise(Stage::of_program_on(&cluster, AgentProgram::Codex).await).await;
    }
}
