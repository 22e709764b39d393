//! An agent that does not want to end: deaf to signals, outside of its process group, with
//! workloads of its own beside it.

use std::time::Duration;

use codex_k8s::{
    domain::run::{Run, RunState},
    sandbox::seed::REPOSITORY,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    Finding, begin, differs, field, log_lines, namespace_of, numbered, platform, said, staff,
    token_of,
};
use crate::{
    sandbox::{
        real::{get, names_of},
        stage::Stage,
    },
    support::cluster::RealCluster,
};

/// From the label's removal until nothing is left.
const PATIENCE: Duration = Duration::from_secs(90);

/// A Deployment of the agent's own, which no Job's end ends.
fn heir() -> Value {
    let container = json!({"name": "heir", "image": "{{image}}", "imagePullPolicy": "Never",
        "command": ["sleep", "900"],
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
    let pod = json!({"serviceAccountName": "codex-runner", "automountServiceAccountToken": true,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 10001,
            "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container]});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "heir"},
        "spec": {"selector": {"matchLabels": {"app": "heir"}},
            "template": {"metadata": {"labels": {"app": "heir"}}, "spec": pod}}})
}

/// The label is taken off: the pods go, and the token is worth nothing from then on.
pub(super) async fn nothing_outlives_its_stop(stage: &Stage, cluster: &RealCluster, code: &str) {
    let approve = platform::approve_with_code(code);
    let deployments = "/apis/apps/v1/namespaces/{{namespace}}/deployments";
    let heir = super::attack::with_body("an heir", "POST", deployments, heir());
    let plan = json!({
        "stay": true,
        "values": {"staff": staff(stage, cluster)},
        "steps": numbered([heir, approve.step.clone()].into_iter()),
    });
    begin(stage, 3, &plan);
    let run = stage.run_in(3, RunState::Running).await;
    let namespace = namespace_of(&run);
    let findings = told(stage, cluster, &namespace).await;
    let wrong = differs(&findings[0], 201, &["heir"], &run);
    assert_eq!(wrong, None, "it may have workloads of its own");
    let words: Vec<&str> = approve.words.iter().map(String::as_str).collect();
    assert_eq!(differs(&findings[1], approve.status, &words, &run), None);
    stage
        .until("the heir runs", || async {
            let pods = get(cluster, &["pods", "--namespace", &namespace]);
            let pods = pods["items"].as_array().unwrap();
            let runs = |pod: &&Value| pod["status"]["phase"] == "Running";
            (pods.iter().filter(runs).count() == 2).then_some(())
        })
        .await;

    stage.unlabel(3, "run:dev");
    let stopped = stage
        .within(
            PATIENCE,
            "the run is over and its namespace gone",
            || async {
                let run = stage.runs_on(3).await.pop()?;
                let all = names_of(&get(cluster, &["namespaces"]), "/metadata/name");
                (run.state == RunState::Cancelled && !all.contains(&namespace)).then_some(run)
            },
        )
        .await;
    let pods = get(cluster, &["pods", "--all-namespaces"]);
    let left = names_of(&pods, "/metadata/namespace");
    assert!(!left.contains(&namespace), "{pods}");
    // It called on while it was being ended.
    let log = log_lines(stage);
    let calls = said(&log, "refused a call of the run API");
    let mut its = calls
        .iter()
        .filter(|line| field(line, "run.id") == run.id.to_string());
    assert!(
        its.any(|line| field(line, "code") == "run_over"),
        "{calls:#?}"
    );
    its_token_is_worth_nothing(stage, &stopped).await;
    let github = stage.world.github();
    assert_eq!(github.branch_commit(REPOSITORY, "codex/issue-3"), None);
    let approvals = stage.table("approvals").await;
    assert_eq!(approvals[0]["state"], "requested", "{approvals}");
    assert_eq!(stage.runs_on(2).await.len(), 1);
}

/// What the agent found, out of the `ConfigMap` that it tells it by.
async fn told(stage: &Stage, cluster: &RealCluster, namespace: &str) -> Vec<Finding> {
    let maps = || get(cluster, &["configmaps", "--namespace", namespace]);
    stage
        .until("the agent tells what it found", || async {
            let maps = maps();
            let items = maps["items"].as_array().unwrap();
            let map = items
                .iter()
                .find(|one| one["metadata"]["name"] == "findings")?;
            let text = map["data"]["findings"].as_str().unwrap();
            Some(serde_json::from_str(text).unwrap())
        })
        .await
}

/// Whoever kept the token, wherever: nothing is told to it and nothing is taken from it.
async fn its_token_is_worth_nothing(stage: &Stage, run: &Run) {
    let listen = &stage.world.settings()["CODEXK8S_RUN_LISTEN"];
    let client = reqwest::Client::new();
    let token = token_of(stage, run);
    let result = json!({"status": "completed", "summary": "late", "title": null,
        "head": null, "exit_code": 0});
    for (method, path, body) in [
        ("GET", "facts", None),
        ("GET", "session", None),
        ("GET", "git/info/refs?service=git-upload-pack", None),
        ("GET", "git/info/refs?service=git-receive-pack", None),
        ("POST", "git/git-receive-pack", None),
        ("POST", "result", Some(result)),
        ("POST", "ended", Some(json!({"reason": "late"}))),
        (
            "POST",
            "models/openai/v1/responses",
            Some(json!({"model": "gpt-5.2-codex"})),
        ),
    ] {
        let url = format!("http://{listen}/run/v1/{path}");
        let mut request = client
            .request(method.parse().unwrap(), url)
            .bearer_auth(&token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::GONE, "{method} {path}: {text}");
        assert!(text.contains("run_over"), "{method} {path}: {text}");
    }
    let beat = client
        .post(format!("http://{listen}/run/v1/heartbeat"))
        .bearer_auth(&token);
    let answer = beat.send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("stop"), "{answer}");
}
