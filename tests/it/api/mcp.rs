//! The platform's tools through the run API: what a run is shown, what becomes of its calls, and
//! what is written down.

use std::time::Duration;

use codex_k8s::domain::{
    approval::{Approval, ApprovalState, DecidedVia, Decision, Verdict},
    fact::{LabelsFact, WaitStage},
    forge::{AccountKind, Actor},
    ids::{AttemptNo, IssueNumber, UserId},
    run::RunState,
    tools::{ToolName, ToolOutcome},
};
use serde_json::{Value, json};

use super::world::World;
use crate::store::approvals::requested;

/// A request of the protocol, and its answer.
async fn ask(world: &World, token: &str, method: &str, params: Value) -> (u16, Value) {
    let answer = reqwest::Client::new()
        .post(format!("{}/run/v1/mcp", world.url))
        .bearer_auth(token)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-06-18")
        .json(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }))
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, body)
}

/// A call of a tool by the first attempt: what it says, or why it was refused.
async fn call(world: &World, tool: &str, arguments: Value) -> Result<Value, String> {
    let params = json!({ "name": tool, "arguments": arguments });
    let (status, answer) = ask(world, &world.token(1), "tools/call", params).await;
    assert_eq!(status, 200, "{answer}");
    let result = &answer["result"];
    let text = result["content"][0]["text"].as_str();
    let text = text.unwrap_or_else(|| panic!("{answer}"));
    if result["isError"] == true {
        return Err(text.to_owned());
    }
    let value = result["structuredContent"].clone();
    // Both forms say the same, for agents that read only one.
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), value);
    Ok(value)
}

fn asked(world: &World, state: ApprovalState) -> Approval {
    let mut approval = requested(&world.rows().run, "run:qa", "AAAAAA");
    approval.state = state;
    if state != ApprovalState::Requested {
        approval.decision = Some(Decision {
            verdict: Verdict::Deny,
            actor: Some(Actor {
                id: UserId(11),
                login: "ada".to_owned(),
                kind: AccountKind::User,
            }),
            via: DecidedVia::Staff { fact: 1 },
            reason: Some("not yet".to_owned()),
            as_of: approval.requested_at,
        });
    }
    approval
}

fn stages(world: &World) -> Vec<WaitStage> {
    let rows = world.rows();
    rows.waits.iter().map(|(_, wait, _)| wait.stage).collect()
}

#[tokio::test]
async fn a_client_is_welcomed_and_shown_what_its_run_was_granted() {
    let world = World::new(&["true"]).await;
    let token = world.token(1);
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" } });
    let (status, answer) = ask(&world, &token, "initialize", hello).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["result"]["serverInfo"]["name"], "codex-k8s");
    assert!(answer["result"]["capabilities"]["tools"].is_object());
    let few = [ToolName::LabelsList, ToolName::RequestWait];
    for granted in [few.to_vec(), Vec::new()] {
        let frozen = world.rows().run.frozen.take();
        let mut frozen = frozen.unwrap();
        frozen.tools.tools = granted.iter().copied().collect();
        world.rows().run.frozen = Some(frozen);
        let (_, answer) = ask(&world, &token, "tools/list", json!({})).await;
        let shown = answer["result"]["tools"].as_array().unwrap();
        let names: Vec<_> = shown.iter().map(|tool| tool["name"].clone()).collect();
        let wanted: Vec<_> = granted.iter().map(ToString::to_string).collect();
        assert_eq!(names, wanted);
    }
}

#[tokio::test]
async fn nobody_without_the_token_of_a_run_at_work_is_answered() {
    let world = World::new(&["true"]).await;
    let list = || json!({});
    let (status, _) = ask(&world, "nonsense", "tools/list", list()).await;
    assert_eq!(status, 401);
    world.rows().attempt = AttemptNo(2);
    let (status, answer) = ask(&world, &world.token(1), "tools/list", list()).await;
    assert_eq!(
        (status, &answer["code"]),
        (409, &json!("attempt_superseded"))
    );
    world.rows().run.state = RunState::Stopping;
    let (status, answer) = ask(&world, &world.token(2), "tools/list", list()).await;
    assert_eq!((status, &answer["code"]), (410, &json!("run_over")));
}

#[tokio::test]
async fn a_hidden_tool_is_refused_like_one_that_is_not_there_and_written_down() {
    let world = World::new(&["true"]).await;
    {
        let mut rows = world.rows();
        let tools = &mut rows.run.frozen.as_mut().unwrap().tools.tools;
        tools.remove(&ToolName::LabelsAdd);
    }
    let labels = json!({ "labels": ["need:qa"] });
    let hidden = call(&world, "labels_add", labels.clone())
        .await
        .unwrap_err();
    let absent = call(&world, "secrets_read", labels).await.unwrap_err();
    assert_eq!(hidden, "this run has no tool `labels_add`");
    assert_eq!(absent, "this run has no tool `secrets_read`");
    let rows = world.rows();
    assert!(rows.wishes.is_empty());
    let calls: Vec<_> = rows
        .tool_calls
        .iter()
        .map(|call| (call.tool.as_str(), call.outcome))
        .collect();
    let refused = ToolOutcome::Refused;
    assert_eq!(calls, [("labels_add", refused), ("secrets_read", refused)]);
    assert_eq!(rows.tool_calls[0].detail, Some(hidden));
}

#[tokio::test]
async fn labels_become_a_fact_and_those_that_ask_for_work_a_request() {
    let world = World::new(&["true"]).await;
    let change = json!({ "add_labels": ["area/ui", "Run:QA"], "remove_labels": ["need:qa"] });
    let answer = call(&world, "labels_transition", change.clone())
        .await
        .unwrap();
    assert_eq!(answer["status"], "approval_required");
    assert_eq!(answer["requested"], json!(["Run:QA"]));
    assert_eq!(answer["added"], json!(["area/ui"]));
    let wanted = LabelsFact {
        number: IssueNumber(7),
        add: vec!["area/ui".into(), "run:qa".into()],
        remove: vec!["need:qa".into()],
    };
    let rows = world.rows();
    assert_eq!(rows.wishes, [wanted]);
    assert_eq!(rows.tool_calls[0].outcome, ToolOutcome::Requested);
    assert_eq!(rows.tool_calls[0].arguments, change);
}

#[tokio::test]
async fn a_call_is_done_as_a_whole_or_not_at_all() {
    let world = World::new(&["true"]).await;
    let many: Vec<_> = (0..21).map(|n| format!("area/{n}")).collect();
    for (tool, arguments, why) in [
        (
            "labels_add",
            json!({ "labels": ["need:qa", "state:blocked"] }),
            "`state:blocked`: this label belongs to people or to the platform",
        ),
        (
            "labels_add",
            json!({ "labels": ["run:dev"] }),
            "`run:dev`: this label belongs to people",
        ),
        (
            "labels_add",
            json!({ "labels": ["bug"] }),
            "`bug`: the agent's policy does not name",
        ),
        (
            "labels_remove",
            json!({ "labels": ["run:qa"] }),
            "taken off by people",
        ),
        (
            "labels_add",
            json!({ "labels": ["need:qa"], "issue_number": 8 }),
            "this run works on #7, not on #8",
        ),
        (
            "labels_add",
            json!({ "labels": [] }),
            "1 to 20 labels, not 0",
        ),
        (
            "labels_add",
            json!({ "labels": many }),
            "1 to 20 labels, not 21",
        ),
        (
            "labels_add",
            json!({ "label": "need:qa" }),
            "unknown field `label`",
        ),
        (
            "labels_transition",
            json!({ "add_labels": ["need:qa"], "remove_labels": ["Need:QA"] }),
            "put on and taken off",
        ),
        (
            "request_wait",
            json!({ "label": "need:qa" }),
            "no label that people are asked about",
        ),
    ] {
        let refused = call(&world, tool, arguments.clone()).await;
        let refused = refused.expect_err(&arguments.to_string());
        assert!(refused.contains(why), "{arguments}: {refused}");
    }
    assert!(world.rows().wishes.is_empty());
    assert_eq!(world.rows().tool_calls.len(), 10);
}

#[tokio::test]
async fn labels_are_listed_as_the_mirror_has_them() {
    let world = World::new(&["true"]).await;
    world.rows().labels = vec!["bug".into(), "run:dev".into()];
    let answer = call(&world, "labels_list", json!({})).await.unwrap();
    assert_eq!(
        answer,
        json!({ "issue_number": 7, "labels": ["bug", "run:dev"] })
    );
    world.rows().run.pull_request = Some(IssueNumber(9));
    let unread = call(&world, "labels_list", json!({ "issue_number": 9 })).await;
    assert!(
        unread.unwrap_err().contains("#9 is not read"),
        "absent and unread are different"
    );
}

#[tokio::test]
async fn what_is_written_down_holds_no_secret() {
    let world = World::new(&["true"]).await;
    let token = world.token(1);
    let arguments = json!({ "labels": [format!("area/{token}")] });
    call(&world, "labels_add", arguments).await.unwrap();
    let wrong = json!({ token.clone(): "\0" });
    call(&world, &format!("tool-{token}"), wrong)
        .await
        .unwrap_err();
    for call in &world.rows().tool_calls {
        let text = format!("{call:?}");
        assert!(!text.contains(&token), "{text}");
        assert!(!text.contains("\\0") && !text.contains("\\u0000"), "{text}");
    }
}

#[tokio::test]
async fn a_decision_that_is_there_is_answered_at_once_and_nobody_waited() {
    let world = World::new(&["true"]).await;
    let denied = asked(&world, ApprovalState::Denied);
    world.rows().approvals.push(denied);
    let answer = call(&world, "request_wait", json!({ "label": "run:qa" }))
        .await
        .unwrap();
    let wanted = json!({ "status": "denied", "label": "run:qa", "by": "ada", "reason": "not yet" });
    assert_eq!(answer, wanted);
    assert_eq!(stages(&world), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_held_open_until_people_have_decided() {
    let world = World::new(&["true"]).await;
    let open = asked(&world, ApprovalState::Requested);
    world.rows().approvals.push(open);
    let decide = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let denied = asked(&world, ApprovalState::Denied);
        world.rows().approvals[0] = denied;
    };
    let (answer, ()) = tokio::join!(
        call(&world, "request_wait", json!({ "label": "run:qa" })),
        decide
    );
    assert_eq!(answer.unwrap()["status"], "denied");
    assert_eq!(stages(&world), [WaitStage::Asking, WaitStage::Answered]);
}

/// One that is told to end hands in nothing; its successor is told what was decided.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_waits_too_long_is_parked_and_the_next_one_told_the_answer() {
    let world = World::new(&["true"]).await;
    let open = asked(&world, ApprovalState::Requested);
    world.rows().approvals.push(open);
    let answer = call(&world, "request_wait", json!({ "label": "run:qa" }))
        .await
        .unwrap();
    assert_eq!(answer["status"], "waiting");
    assert_eq!(stages(&world), [WaitStage::Asking, WaitStage::Parked]);
    let rest = Rest::new(&world);
    let result = json!({ "status": "completed", "summary": "Done.", "title": null, "head": null, "exit_code": 0 });
    let (status, said) = rest.post("result", 1, &result).await;
    assert_eq!((status, &said["code"]), (409, &json!("run_waits")));
    assert!(world.rows().results.is_empty());
    // A program that works on regardless is ended after some heartbeats.
    world.rows().run.state = RunState::WaitingMcp;
    assert_eq!(
        rest.post("heartbeat", 1, &json!({})).await.1["order"],
        "continue"
    );
    world.rows().waits[1].2 -= chrono::Duration::seconds(10);
    assert_eq!(
        rest.post("heartbeat", 1, &json!({})).await.1["order"],
        "stop"
    );
    world.rows().approvals[0] = asked(&world, ApprovalState::Denied);
    world.rows().attempt = AttemptNo(2);
    world.rows().run.state = RunState::Running;
    let facts = rest.get("facts", 2).await.1;
    let prompt = facts["prompt"].as_str().unwrap();
    assert!(
        prompt.contains("`run:qa`: denied (@ada): not yet"),
        "{prompt}"
    );
    let own = world.rows().run.frozen.as_ref().unwrap().prompt.clone();
    assert!(prompt.ends_with(&own), "{prompt}");
    let (status, said) = rest.post("result", 2, &result).await;
    assert_eq!(status, 201, "{said}");
}

#[tokio::test]
async fn one_that_asks_again_and_hears_the_answer_is_parked_no_more() {
    let world = World::new(&["true"]).await;
    let open = asked(&world, ApprovalState::Requested);
    world.rows().approvals.push(open);
    let wait = || call(&world, "request_wait", json!({ "label": "run:qa" }));
    assert_eq!(wait().await.unwrap()["status"], "waiting");
    world.rows().approvals[0] = asked(&world, ApprovalState::Denied);
    assert_eq!(wait().await.unwrap()["status"], "denied");
    assert_eq!(stages(&world).last(), Some(&WaitStage::Answered));
    let result = json!({ "status": "completed", "summary": "Done.", "title": null, "head": null, "exit_code": 0 });
    assert_eq!(Rest::new(&world).post("result", 1, &result).await.0, 201);
}

#[tokio::test]
async fn nobody_waits_for_what_was_never_asked() {
    let world = World::new(&["true"]).await;
    let refused = call(&world, "request_wait", json!({ "label": "run:qa" })).await;
    assert!(refused.unwrap_err().contains("add the label first"));
    assert_eq!(stages(&world), []);
}

/// The rest of the run API, as a runner calls it.
struct Rest<'a>(&'a World);

impl<'a> Rest<'a> {
    fn new(world: &'a World) -> Self {
        Self(world)
    }

    async fn post(&self, path: &str, attempt: i32, body: &Value) -> (u16, Value) {
        let request = reqwest::Client::new().post(format!("{}/run/v1/{path}", self.0.url));
        self.send(request.json(body), attempt).await
    }

    async fn get(&self, path: &str, attempt: i32) -> (u16, Value) {
        let request = reqwest::Client::new().get(format!("{}/run/v1/{path}", self.0.url));
        self.send(request, attempt).await
    }

    async fn send(&self, request: reqwest::RequestBuilder, attempt: i32) -> (u16, Value) {
        let answer = request
            .bearer_auth(self.0.token(attempt))
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }
}
