//! Deciding by staff API and command line: facts in the name of a member.

use std::sync::Arc;

use axum::{Router, body::Body, http::Request};
use clap::Parser;
use codex_k8s::{
    api::{
        ApiMetrics, StaffContext,
        port::{Hint, WakeHandle},
        staff_router,
    },
    cli::approvals::{self, ApprovalsArgs},
    domain::{
        approval::{Approval, ApprovalState, Verdict},
        ids::{ProjectKey, UserId},
    },
    store::{Member, ProjectMembers},
};
use http_body_util::BodyExt;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::store::{
    approvals::{decide, keep, requested},
    fixtures::World,
};

pub(super) struct NobodyWaits;

impl WakeHandle for NobodyWaits {
    fn hint(&self, _: Hint) {}
}

/// A world with one open request in project `shop`, whose members are ada and margaret.
async fn asked() -> (World, Approval) {
    let world = World::bound().await;
    let run = world.pending_run(1).await;
    let approval = requested(&run, "run:vision", "AAAAAA");
    assert!(keep(&world, &approval).await);
    let member = |id: i64, login: &str, role: &str| Member {
        id: UserId(id),
        login: login.to_owned(),
        role: role.to_owned(),
    };
    let members = ProjectMembers {
        project: ProjectKey::from("shop"),
        members: vec![member(11, "ada", "admin"), member(13, "margaret", "read")],
    };
    let mut tx = world.begin().await;
    tx.put_projects(&[members]).await.unwrap();
    tx.commit().await.unwrap();
    (world, approval)
}

pub(super) async fn send(router: &Router, request: Request<Body>) -> (u16, Value) {
    let answer = router.clone().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn decision(code: &str, body: &Value) -> Request<Body> {
    Request::post(format!("/api/v1/approvals/{code}/decision"))
        .header("authorization", "Bearer staff-token")
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

#[tokio::test]
async fn staff_see_what_waits_and_hand_in_decisions_in_the_name_of_members() {
    let (world, approval) = asked().await;
    let router = staff_router(StaffContext {
        store: Arc::new(world.database.api().await),
        wake: Arc::new(NobodyWaits),
        token: Some("staff-token".into()),
        webhook_secret: None,
        metrics: ApiMetrics::register(&prometheus::Registry::new()).unwrap(),
    });
    let list = Request::get("/api/v1/approvals?project=shop")
        .header("authorization", "Bearer staff-token")
        .body(Body::empty())
        .unwrap();
    let (status, body) = send(&router, list).await;
    let items = body["items"].as_array().unwrap();
    assert_eq!((status, items.len()), (200, 1), "{body}");
    assert_eq!(items[0]["code"], "AAAAAA");
    assert_eq!(items[0]["decided_by"], "owner");

    let yes = |login: &str| json!({ "decision": "approve", "login": login, "reason": "fine" });
    let bare = Request::post("/api/v1/approvals/AAAAAA/decision");
    let bare = bare.body(Body::from(yes("ada").to_string())).unwrap();
    assert_eq!(send(&router, bare).await.0, 401);
    assert_eq!(send(&router, decision("ZZZZZZ", &yes("ada"))).await.0, 404);
    let odd = json!({ "decision": "perhaps", "login": "ada" });
    assert_eq!(send(&router, decision("AAAAAA", &odd)).await.0, 400);
    for stranger in ["margaret", "mallory"] {
        let (status, body) = send(&router, decision("AAAAAA", &yes(stranger))).await;
        assert_eq!(status, 403, "{body}");
    }
    let none = world.store.load_pass(None).await.unwrap().decisions;
    assert!(none.is_empty());

    let (status, body) = send(&router, decision("aaaaaa", &yes("Ada"))).await;
    assert_eq!(
        (status, &body["state"]),
        (202, &json!("requested")),
        "{body}"
    );
    let facts = world.store.load_pass(None).await.unwrap().decisions;
    assert_eq!((facts.len(), facts[0].login.as_str()), (1, "Ada"));

    decide(&world, &approval, Verdict::Deny).await;
    let (status, body) = send(&router, decision("AAAAAA", &yes("ada"))).await;
    assert_eq!((status, &body["state"]), (200, &json!("denied")), "{body}");
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: ApprovalsArgs,
}

/// The exit code of a command line.
async fn run(world: &World, words: &[&str]) -> Result<String, String> {
    let url = world.database.url.expose_secret();
    let line = [&["approvals"], words, &["--database-url", url]].concat();
    let args = Line::try_parse_from(line).unwrap().args;
    let code = approvals::run(&args).await;
    code.map(|code| format!("{code:?}"))
        .map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn the_command_line_hands_a_decision_in_and_waits_until_it_is_judged() {
    let (world, approval) = asked().await;
    let well = format!("{:?}", std::process::ExitCode::SUCCESS);
    assert_eq!(run(&world, &["list"]).await.unwrap(), well);
    let unknown = run(&world, &["approve", "ZZZZZZ", "--as", "ada"]).await;
    assert!(unknown.unwrap_err().contains("no request has code ZZZZZZ"));

    // The lease holder, which judges what comes in.
    let holder = async {
        loop {
            let rows = world.store.load_pass(None).await.unwrap();
            if let Some(fact) = rows.decisions.first() {
                assert_eq!(
                    (fact.login.as_str(), fact.verdict),
                    ("ada", Verdict::Approve)
                );
                return decide(&world, &approval, Verdict::Approve).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let words = ["approve", "aaaaaa", "--as", "ada", "--reason", "fine"];
    let (code, ()) = tokio::join!(run(&world, &words), holder);
    assert_eq!(code.unwrap(), well);
    let row = world
        .store
        .reads()
        .approval_of_code("AAAAAA")
        .await
        .unwrap();
    assert_eq!(row.unwrap().state, ApprovalState::Approved);

    // Decided is decided: a later word is told so, and changes nothing.
    let late = run(&world, &["deny", "AAAAAA", "--as", "ada"]).await;
    assert_ne!(late.unwrap(), well);
    assert!(
        world
            .store
            .load_pass(None)
            .await
            .unwrap()
            .decisions
            .is_empty()
    );
}
