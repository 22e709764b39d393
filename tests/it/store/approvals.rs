//! Approvals: kept once, decided once, and decisions that come in over the API's own login.

use std::time::Duration;

use codex_k8s::{
    domain::{
        approval::{
            Approval, ApprovalAction, ApprovalId, ApprovalMode, ApprovalState, DecidedVia,
            Decision, Verdict,
        },
        event::{EventKind, NewEvent},
        forge::ForgeKind,
        ids::{AgentKey, EventId, LabelName, Locale, StageKind},
        run::Run,
        trigger::TriggerKind,
    },
    store::{ApprovalStep, NewDecision, StoreError},
};
use futures::StreamExt;

use super::fixtures::{World, ada, at, event};

/// The request of a run for a label.
pub(crate) fn requested(run: &Run, label: &str, code: &str) -> Approval {
    let target = LabelName::from(label);
    Approval {
        id: ApprovalId::of(&run.id, ApprovalAction::StartStage, &target),
        run: run.id,
        project: run.project.clone(),
        forge: ForgeKind::Github,
        repository: run.repository,
        number: run.work_item,
        action: ApprovalAction::StartStage,
        target,
        kind: Some(TriggerKind {
            stage: StageKind::from("vision"),
            revise: false,
        }),
        agent: AgentKey::from("pm"),
        mode: ApprovalMode::Owner,
        locale: Locale::from("en"),
        state: ApprovalState::Requested,
        code: Some(code.to_owned()),
        posting: 1,
        after_event: EventId(7),
        requested_at: at(0),
        expires_at: at(1_000),
        decision: None,
        reason: None,
        settled: false,
    }
}

fn by_ada(verdict: Verdict) -> Decision {
    Decision {
        verdict,
        actor: Some(ada()),
        via: DecidedVia::Staff { fact: 1 },
        reason: Some("fine".to_owned()),
        as_of: at(5),
    }
}

fn step<'a>(
    approval: &Approval,
    from: ApprovalState,
    to: ApprovalState,
    decision: Option<&'a Decision>,
    event: &'a NewEvent,
) -> ApprovalStep<'a> {
    ApprovalStep {
        approval: approval.id,
        from,
        to,
        decision,
        reason: None,
        event,
    }
}

pub(crate) async fn keep(world: &World, approval: &Approval) -> bool {
    let mut tx = world.begin().await;
    let asked = event(EventKind::ApprovalRequested);
    let new = tx.insert_approval(approval, &asked).await.unwrap();
    tx.commit().await.unwrap();
    new
}

/// The lease holder decides it, as its fold would.
pub(crate) async fn decide(world: &World, approval: &Approval, verdict: Verdict) {
    let decided = event(EventKind::ApprovalApproved);
    let decision = by_ada(verdict);
    let mut tx = world.begin().await;
    let from = ApprovalState::Requested;
    tx.move_approval(&step(
        approval,
        from,
        verdict.state(),
        Some(&decision),
        &decided,
    ))
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

async fn events(world: &World) -> usize {
    let all = world.store.reads().events_since(0, 1_000).await.unwrap();
    let of = all.iter();
    of.filter(|event| event.event.kind.to_string().starts_with("approval."))
        .count()
}

#[tokio::test]
async fn a_request_is_kept_once_and_decided_once() {
    let world = World::bound().await;
    let run = world.pending_run(1).await;
    let approval = requested(&run, "run:vision", "AAAAAA");
    assert!(keep(&world, &approval).await);
    let again = Approval {
        code: Some("BBBBBB".to_owned()),
        ..approval.clone()
    };
    assert!(!keep(&world, &again).await, "a second time changes nothing");
    let rows = world.store.load_pass(None).await.unwrap().approvals;
    assert_eq!(rows, std::slice::from_ref(&approval));
    let explained = world.store.reads().explain(approval.subject()).await;
    assert_eq!(explained.unwrap().approvals, rows);

    decide(&world, &approval, Verdict::Approve).await;
    let denied = event(EventKind::ApprovalDenied);
    let no = by_ada(Verdict::Deny);
    let (from, to) = (ApprovalState::Requested, ApprovalState::Denied);
    let mut tx = world.begin().await;
    let late = step(&approval, from, to, Some(&no), &denied);
    let late = tx.move_approval(&late).await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })));
    let forbidden = step(&approval, ApprovalState::Approved, to, Some(&no), &denied);
    let forbidden = tx.move_approval(&forbidden).await;
    assert!(matches!(forbidden, Err(StoreError::Conflict { .. })));
    tx.rollback().await.unwrap();

    let row = &world.store.load_pass(None).await.unwrap().approvals[0];
    assert_eq!(row.state, ApprovalState::Approved);
    assert_eq!(row.decision, Some(by_ada(Verdict::Approve)));
    assert_eq!(
        events(&world).await,
        2,
        "one for the request, one for its decision"
    );
}

#[tokio::test]
async fn two_open_requests_never_share_a_code_and_a_renewed_one_has_another() {
    let world = World::bound().await;
    let run = world.pending_run(1).await;
    let first = requested(&run, "run:vision", "AAAAAA");
    assert!(keep(&world, &first).await);
    let second = requested(&run, "run:prd", "AAAAAA");
    let asked = event(EventKind::ApprovalRequested);
    let mut tx = world.begin().await;
    let taken = tx.insert_approval(&second, &asked).await;
    assert!(matches!(taken, Err(StoreError::Conflict { .. })));
    drop(tx);

    let renewed = event(EventKind::ApprovalRenewed);
    let mut tx = world.begin().await;
    tx.renew_approval(first.id, 1, "CCCCCC", &renewed)
        .await
        .unwrap();
    let again = tx.renew_approval(first.id, 1, "DDDDDD", &renewed).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })));
    tx.commit().await.unwrap();
    let row = &world.store.load_pass(None).await.unwrap().approvals[0];
    assert_eq!((row.posting, row.code.as_deref()), (2, Some("CCCCCC")));
    assert!(keep(&world, &second).await, "the old code is free");
}

#[tokio::test]
async fn a_decision_is_a_fact_about_an_open_request_and_wakes_the_holder() {
    let world = World::bound().await;
    let api = world.database.api().await;
    let run = world.pending_run(1).await;
    let approval = requested(&run, "run:vision", "AAAAAA");
    assert!(keep(&world, &approval).await);
    let decision = |code: &str| NewDecision {
        code: code.to_owned(),
        verdict: Verdict::Deny,
        login: "ada".to_owned(),
        reason: Some("not yet".to_owned()),
    };
    let mut wakes = world.store.listen().await.unwrap();
    let id = api.insert_decision(&decision("AAAAAA")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), wakes.next())
        .await
        .expect("a hint arrives")
        .expect("the stream goes on");
    let unknown = api.insert_decision(&decision("ZZZZZZ")).await;
    assert!(matches!(unknown, Err(StoreError::Conflict { .. })));

    let rows = world.store.load_pass(None).await.unwrap();
    assert_eq!(rows.decisions.len(), 1);
    let fact = &rows.decisions[0];
    assert_eq!((fact.id, fact.approval), (id, approval.id));
    assert_eq!((fact.verdict, fact.login.as_str()), (Verdict::Deny, "ada"));

    decide(&world, &approval, Verdict::Deny).await;
    let late = api.insert_decision(&decision("AAAAAA")).await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })));
    let rows = world.store.load_pass(None).await.unwrap();
    assert!(rows.decisions.is_empty(), "nobody asks any more");

    let mut tx = world.begin().await;
    assert!(tx.mark_approval_settled(approval.id).await.unwrap());
    assert!(!tx.mark_approval_settled(approval.id).await.unwrap());
    tx.commit().await.unwrap();
    let rows = world.store.load_pass(None).await.unwrap();
    let hot = rows.runs.len();
    assert_eq!(rows.approvals.len(), hot, "kept with its run's issue");
}
