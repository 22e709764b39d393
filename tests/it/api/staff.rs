//! The staff listener's guard and webhook, and the ops listener's readiness.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use axum::{Router, body::Body, http::Request};
use codex_k8s::{
    api::{
        ApiMetrics, OpsContext, StaffContext, ops_router,
        port::{
            Hint, PortError, Readiness, ReadyCheck, RunFilter, StaffStore, StoredChunk, WakeHandle,
        },
        staff_router,
    },
    domain::{
        approval::{Approval, Verdict},
        event::FlowEvent,
        ids::{AttemptNo, RunId},
        run::{LogsAbsent, Run},
    },
};
use hmac::{Hmac, Mac};
use tower::ServiceExt;

#[derive(Default)]
struct Woken(Mutex<Vec<Hint>>);

impl WakeHandle for Woken {
    fn hint(&self, hint: Hint) {
        self.0.lock().unwrap().push(hint);
    }
}

struct NoRuns;

#[async_trait]
impl StaffStore for NoRuns {
    async fn list_runs(&self, _: &RunFilter) -> Result<Vec<Run>, PortError> {
        Ok(Vec::new())
    }

    async fn get_run(&self, _: RunId) -> Result<Option<Run>, PortError> {
        Ok(None)
    }

    async fn events(&self, _: RunId, _: i64, _: u32) -> Result<Vec<FlowEvent>, PortError> {
        Ok(Vec::new())
    }

    async fn logs(
        &self,
        _: RunId,
        _: Option<(AttemptNo, i64)>,
        _: u32,
    ) -> Result<Vec<StoredChunk>, PortError> {
        Ok(Vec::new())
    }

    async fn logs_absent(&self, _: RunId) -> Result<Option<LogsAbsent>, PortError> {
        Ok(None)
    }

    async fn list_approvals(
        &self,
        _: Option<&str>,
        _: bool,
        _: u32,
    ) -> Result<Vec<Approval>, PortError> {
        Ok(Vec::new())
    }

    async fn approval_of_code(&self, _: &str) -> Result<Option<Approval>, PortError> {
        Ok(None)
    }

    async fn member_role(&self, _: &str, _: &str) -> Result<Option<String>, PortError> {
        Ok(None)
    }

    async fn decide(
        &self,
        _: &str,
        _: Verdict,
        _: &str,
        _: Option<&str>,
    ) -> Result<bool, PortError> {
        Ok(false)
    }
}

fn staff(secret: Option<&str>) -> (Router, Arc<Woken>) {
    let woken = Arc::new(Woken::default());
    let router = staff_router(StaffContext {
        store: Arc::new(NoRuns),
        wake: woken.clone(),
        token: Some("staff-token".into()),
        webhook_secret: secret.map(Into::into),
        metrics: ApiMetrics::register(&prometheus::Registry::new()).unwrap(),
    });
    (router, woken)
}

async fn status(router: &Router, request: Request<Body>) -> u16 {
    router
        .clone()
        .oneshot(request)
        .await
        .unwrap()
        .status()
        .as_u16()
}

fn delivery(secret: &str, body: &str) -> Request<Body> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    Request::post("/api/v1/webhooks/github")
        .header("x-github-event", "issues")
        .header("x-hub-signature-256", format!("sha256={signature}"))
        .body(Body::from(body.to_owned()))
        .unwrap()
}

#[tokio::test]
async fn a_delivery_wakes_only_when_its_signature_holds() {
    let (router, woken) = staff(Some("hook"));
    let body = r#"{"repository":{"id":5,"full_name":"example-org/app"}}"#;
    assert_eq!(status(&router, delivery("forged", body)).await, 401);
    assert_eq!(
        status(&router, delivery("hook", &"x".repeat(1_048_577))).await,
        413
    );
    assert!(woken.0.lock().unwrap().is_empty());
    for _ in 0..2 {
        assert_eq!(status(&router, delivery("hook", body)).await, 202);
    }
    assert_eq!(woken.0.lock().unwrap()[0].repository.0, 5);
    let (closed, _) = staff(None);
    assert_eq!(status(&closed, delivery("hook", body)).await, 404);
}

#[tokio::test]
async fn the_staff_api_answers_its_token_only() {
    let (router, _) = staff(None);
    let list = |token: &str| {
        Request::get("/api/v1/runs")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(status(&router, list("staff-token")).await, 200);
    assert_eq!(status(&router, list("staff-toke")).await, 401);
    let bare = Request::get("/api/v1/runs").body(Body::empty()).unwrap();
    assert_eq!(status(&router, bare).await, 401);
    let unknown = Request::get("/api/v1/runs?state=asleep")
        .header("authorization", "Bearer staff-token")
        .body(Body::empty())
        .unwrap();
    assert_eq!(status(&router, unknown).await, 400);
}

struct Switch(AtomicBool);

#[async_trait]
impl Readiness for Switch {
    async fn checks(&self) -> Vec<ReadyCheck> {
        if self.0.load(Ordering::SeqCst) {
            vec![ReadyCheck::ready("database")]
        } else {
            vec![ReadyCheck::not_ready("database", "no connection")]
        }
    }
}

#[tokio::test]
async fn readiness_follows_what_it_depends_on() {
    let switch = Arc::new(Switch(AtomicBool::new(true)));
    let router = ops_router(OpsContext {
        readiness: switch.clone(),
        registry: prometheus::Registry::new(),
    });
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(status(&router, get("/readyz")).await, 200);
    switch.0.store(false, Ordering::SeqCst);
    assert_eq!(status(&router, get("/readyz")).await, 503);
    assert_eq!(status(&router, get("/healthz")).await, 200);
    assert_eq!(status(&router, get("/metrics")).await, 200);
}
