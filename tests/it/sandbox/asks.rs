//! Real agent programs that use the platform's tools: they ask, wait, end, and go on with the
//! answer.

use std::time::Duration;

use codex_k8s::{
    domain::run::RunState,
    sandbox::{
        models::ModelScript,
        seed::{AgentProgram, REPOSITORY},
    },
};

use super::{agents::no_secret_left, stage::Stage};
use crate::support::{agents::programs_for_test, cluster::RealCluster};

fn script(commands: &[&str], answer: &str) -> ModelScript {
    ModelScript {
        commands: commands.iter().map(ToString::to_string).collect(),
        answer: answer.to_owned(),
        pause: Duration::ZERO,
    }
}

async fn ask_wait_and_go_on(stage: Stage) {
    let model = stage.world.model().unwrap();
    model.follow(script(
        &[
            r#"tool labels_add {"labels": ["need:qa", "run:qa"]}"#,
            r#"tool labels_add {"labels": ["state:blocked"]}"#,
            r#"tool request_wait {"label": "run:qa"}"#,
        ],
        "I wait for people.",
    ));
    stage.label(1, "run:dev");
    let code = stage.until("its pod has ended to wait", || async {
        let parked: Option<String> = sqlx::query_scalar(
            "select p.code from approvals p join attempts a on a.run_id = p.run_id
             where a.state = 'parked' and p.state = 'requested'",
        )
        .fetch_optional(&stage.db)
        .await
        .unwrap();
        parked
    });
    let code = code.await;
    let run = stage.run_in(1, RunState::WaitingOwnerReview).await;
    let until = run.timeout_at.unwrap();
    let labels = stage.labels(1);
    assert!(labels.contains(&"need:qa".to_owned()), "{labels:?}");
    assert!(!labels.contains(&"run:qa".to_owned()), "{labels:?}");

    let answer = r#"{"summary": "Went on.", "title": "Go on"}"#;
    let command = r#"echo 'after the answer' >> "notes-$CODEXK8S_ISSUE_NUMBER.txt""#;
    model.follow(script(&[command], answer));
    let before = model.seen().len();
    let words = format!("/deny {code} not before the release");
    let github = stage.world.github();
    github.comment(REPOSITORY, 1, "ada", &words).unwrap();
    let run = stage.finished(1, RunState::Succeeded).await;
    let text = github.file_on(REPOSITORY, "codex/issue-1", "notes-1.txt");
    assert_eq!(text.as_deref(), Some("after the answer\n"));
    assert_eq!(stage.pulls().len(), 1);

    // The next attempt is told the answer, in the talk that asked for it.
    let seen = model.seen();
    let first = &seen[before].body;
    assert!(first.contains("not before the release"), "{first}");
    assert!(
        first.contains("I wait for people."),
        "the talk goes on: {first}"
    );
    assert!(run.timeout_at.unwrap() > until, "its time stood still");
    let attempts: Vec<String> =
        sqlx::query_scalar("select state::text from attempts where run_id = $1 order by attempt")
            .bind(run.id.0)
            .fetch_all(&stage.db)
            .await
            .unwrap();
    assert_eq!(attempts, ["parked", "reported"]);
    let calls: Vec<(String, String)> =
        sqlx::query_as("select tool, outcome from tool_calls where run_id = $1 order by call_id")
            .bind(run.id.0)
            .fetch_all(&stage.db)
            .await
            .unwrap();
    let calls: Vec<_> = calls
        .iter()
        .map(|(tool, outcome)| (tool.as_str(), outcome.as_str()))
        .collect();
    let wanted = [
        ("labels_add", "requested"),
        ("labels_add", "refused"),
        ("request_wait", "waiting"),
    ];
    assert_eq!(calls, wanted);
    no_secret_left(&stage).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codex_asks_by_a_tool_ends_to_wait_and_goes_on_with_the_answer() {
    if let Some(programs) = programs_for_test() {
        ask_wait_and_go_on(Stage::of_program(AgentProgram::Codex, programs).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claude_asks_by_a_tool_ends_to_wait_and_goes_on_with_the_answer() {
    if let Some(programs) = programs_for_test() {
        ask_wait_and_go_on(Stage::of_program(AgentProgram::Claude, programs).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codex_asks_and_waits_in_real_pods() {
    if programs_for_test().is_none() {
        return;
    }
    if let Some((cluster, _turn)) = RealCluster::with_pods_alone().await {
        ask_wait_and_go_on(Stage::of_program_on(&cluster, AgentProgram::Codex).await).await;
    }
}
