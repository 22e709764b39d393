//! Logs over the staff API, and why there are none.

use std::sync::Arc;

use axum::{body::Body, http::Request};
use codex_k8s::{
    api::{ApiMetrics, StaffContext, staff_router},
    domain::ids::{AttemptNo, RunId},
};
use serde_json::json;

use super::approvals::{NobodyWaits, send};
use crate::store::fixtures::World;

#[tokio::test]
async fn an_empty_log_says_whether_it_never_began_or_is_expired() {
    let world = World::bound().await;
    let api = world.database.api().await;
    let router = staff_router(StaffContext {
        store: Arc::new(api.clone()),
        wake: Arc::new(NobodyWaits),
        token: Some("staff-token".into()),
        webhook_secret: None,
        metrics: ApiMetrics::register(&prometheus::Registry::new()).unwrap(),
    });
    let page = async |run: RunId, query: &str| {
        let request = Request::get(format!("/api/v1/runs/{run}/logs{query}"))
            .header("authorization", "Bearer staff-token")
            .body(Body::empty())
            .unwrap();
        send(&router, request).await
    };
    let logs = async |run: RunId| page(run, "").await;
    let waiting = world.pending_run(1).await;
    let none = json!({ "items": [], "reason": "not_started" });
    assert_eq!(logs(waiting.id).await, (200, none));

    let run = world.preparing_run(2, 1).await;
    assert_eq!(logs(run.id).await, (200, json!({ "items": [] })));
    let new = api.append_log_chunk(run.id, AttemptNo(1), 0, b"hello\n");
    assert!(new.await.unwrap());
    let there = json!({ "items": [{ "attempt": 1, "sequence": 0, "text": "hello\n" }] });
    assert_eq!(logs(run.id).await, (200, there.clone()));
    assert_eq!(page(run.id, "?attempt=1").await, (200, there));
    let no_more = json!({ "items": [] });
    assert_eq!(page(run.id, "?attempt=1&after=0").await, (200, no_more));

    world.cancelled(&run).await;
    let mut tx = world.begin().await;
    tx.expire_logs(&[run.id], 10).await.unwrap();
    tx.commit().await.unwrap();
    let gone = json!({ "items": [], "reason": "expired" });
    assert_eq!(logs(run.id).await, (200, gone));
}
