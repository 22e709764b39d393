//! The ledger: intent, outcome, backoff, and exactly one event per key and content.

use std::time::Duration;

use chrono::TimeDelta;
use codex_k8s::{
    domain::{effect::EffectKey, event::EventKind},
    store::{EffectDone, EffectFailed, EffectIntent},
};

use super::fixtures::{World, event};

#[tokio::test]
async fn an_effect_has_one_event_per_key_and_content() {
    let world = World::new().await;
    let key = EffectKey("run/1/comment/status".to_owned());
    let upserted = event(EventKind::CommentUpserted);
    let done = |content_hash, recovered| EffectDone {
        key: &key,
        run: None,
        kind: "upsert_comment",
        content_hash,
        external_id: Some("31"),
        recovered,
        event: &upserted,
    };
    let mut tx = world.begin().await;
    assert!(tx.done(&done("a", true)).await.unwrap());
    assert!(!tx.done(&done("a", false)).await.unwrap());
    assert!(tx.done(&done("b", false)).await.unwrap());
    tx.commit().await.unwrap();

    let events = world.store.reads().events_since(0, 10).await.unwrap();
    let payloads: Vec<_> = events.into_iter().map(|e| e.event.payload).collect();
    assert_eq!(
        payloads,
        [
            serde_json::json!({"recovered": true}),
            serde_json::json!({})
        ]
    );
}

#[tokio::test]
async fn an_intent_without_an_answer_stays_visible_until_done() {
    let world = World::new().await;
    let key = EffectKey("run/1/pull_request".to_owned());
    let mut tx = world.begin().await;
    let deadline = tx
        .intend(&EffectIntent {
            key: &key,
            run: None,
            kind: "open_pull_request",
            intended_hash: "a",
            call_timeout: Duration::from_secs(10),
        })
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let kept = world.store.effect(&key).await.unwrap().unwrap();
    assert_eq!(kept.attempted_at, Some(deadline));
    assert!(kept.done_at.is_none() && !kept.is_done("a"));

    let next_at = world.store.now().await.unwrap() + TimeDelta::seconds(30);
    for attempts in 1..=2 {
        let mut tx = world.begin().await;
        tx.failed(&EffectFailed {
            key: &key,
            run: None,
            kind: "open_pull_request",
            next_at,
            error: "502",
            changed_nothing: false,
        })
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let kept = world.store.effect(&key).await.unwrap().unwrap();
        assert_eq!(
            (kept.attempts, kept.last_error.as_deref()),
            (attempts, Some("502"))
        );
        assert_eq!(
            kept.attempted_at,
            Some(deadline),
            "the intent is still known"
        );
    }

    let created = event(EventKind::PullRequestCreated);
    let mut tx = world.begin().await;
    tx.done(&EffectDone {
        key: &key,
        run: None,
        kind: "open_pull_request",
        content_hash: "a",
        external_id: Some("12"),
        recovered: false,
        event: &created,
    })
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let kept = world.store.effect(&key).await.unwrap().unwrap();
    assert!(kept.is_done("a"));
    assert_eq!(
        (kept.attempts, kept.next_at, kept.last_error),
        (0, None, None)
    );
}
