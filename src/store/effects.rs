//! The effects ledger: intent, outcome and backoff in one row per key, and
//! exactly one event per key and content.

use std::time::Duration;

use super::{HolderTx, Store, StoreError, events, lease::interval, rows::EffectRow};
use crate::domain::{
    Timestamp,
    effect::{Effect, EffectKey},
    event::NewEvent,
    ids::RunId,
};

/// A call that is about to be made.
#[derive(Debug, Clone)]
pub struct EffectIntent<'a> {
    /// The effect.
    pub key: &'a EffectKey,
    /// The run it serves.
    pub run: Option<RunId>,
    /// The action's kind.
    pub kind: &'a str,
    /// The hash of what shall be there.
    pub intended_hash: &'a str,
    /// How long the call may take; its end is kept as `attempted_at`.
    pub call_timeout: Duration,
}

/// A call that succeeded, or whose result was found there.
#[derive(Debug, Clone)]
pub struct EffectDone<'a> {
    /// The effect.
    pub key: &'a EffectKey,
    /// The run it serves.
    pub run: Option<RunId>,
    /// The action's kind.
    pub kind: &'a str,
    /// The hash of what is there now.
    pub content_hash: &'a str,
    /// The id of what was made.
    pub external_id: Option<&'a str>,
    /// Whether it was found there after an intent without an answer.
    pub recovered: bool,
    /// Its event.
    pub event: &'a NewEvent,
}

/// A call that failed.
#[derive(Debug, Clone)]
pub struct EffectFailed<'a> {
    /// The effect.
    pub key: &'a EffectKey,
    /// The run it serves.
    pub run: Option<RunId>,
    /// The action's kind.
    pub kind: &'a str,
    /// No call before this time.
    pub next_at: Timestamp,
    /// What happened; never a secret.
    pub error: &'a str,
    /// Whether the call that was intended last certainly changed nothing: its intent is taken
    /// back, and the next call need not wait until its absence counts.
    pub changed_nothing: bool,
}

impl HolderTx {
    /// Records that a call is about to be made; returns its deadline. Commit before calling.
    pub async fn intend(&mut self, intent: &EffectIntent<'_>) -> Result<Timestamp, StoreError> {
        let deadline = sqlx::query_scalar!(
            r#"insert into effects as e (key, run_id, kind, intended_hash, attempted_at)
               values ($1, $2, $3, $4, platform_now() + $5)
               on conflict (key) do update set
                   run_id = coalesce(excluded.run_id, e.run_id), kind = excluded.kind,
                   intended_hash = excluded.intended_hash, attempted_at = excluded.attempted_at,
                   updated_at = platform_now()
               returning attempted_at as "attempted_at!""#,
            intent.key.0,
            intent.run.map(|run| run.0),
            intent.kind,
            intent.intended_hash,
            interval(intent.call_timeout),
        )
        .fetch_one(self.db())
        .await?;
        Ok(deadline)
    }

    /// Records that an effect is done and its event; says whether the event was the first of
    /// this key and content. A set-to-value write without an intent may be recorded, too.
    pub async fn done(&mut self, done: &EffectDone<'_>) -> Result<bool, StoreError> {
        sqlx::query!(
            "insert into effects as e
                 (key, run_id, kind, intended_hash, content_hash, external_id, done_at)
             values ($1, $2, $3, $4, $4, $5, platform_now())
             on conflict (key) do update set
                 run_id = coalesce(excluded.run_id, e.run_id), kind = excluded.kind, attempts = 0,
                 next_at = null, last_error = null,
                 intended_hash = excluded.intended_hash, content_hash = excluded.content_hash,
                 external_id = coalesce(excluded.external_id, e.external_id),
                 done_at = excluded.done_at, updated_at = platform_now()",
            done.key.0,
            done.run.map(|run| run.0),
            done.kind,
            done.content_hash,
            done.external_id,
        )
        .execute(self.db())
        .await?;
        let mut payload = done.event.payload.clone();
        if done.recovered
            && let Some(fields) = payload.as_object_mut()
        {
            fields.insert("recovered".to_owned(), true.into());
        }
        events::insert_of_effect(self.db(), done.event, &payload, done.key, done.content_hash).await
    }

    /// Records that a call failed and when it may be tried again.
    pub async fn failed(&mut self, failed: &EffectFailed<'_>) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into effects as e (key, run_id, kind, attempts, next_at, last_error)
             values ($1, $2, $3, 1, $4, $5)
             on conflict (key) do update set
                 run_id = coalesce(excluded.run_id, e.run_id), kind = excluded.kind,
                 attempts = e.attempts + 1, next_at = excluded.next_at,
                 last_error = excluded.last_error,
                 attempted_at = case when $6 then null else e.attempted_at end,
                 updated_at = platform_now()",
            failed.key.0,
            failed.run.map(|run| run.0),
            failed.kind,
            failed.next_at,
            failed.error,
            failed.changed_nothing,
        )
        .execute(self.db())
        .await?;
        Ok(())
    }
}

impl Store {
    /// One row of the ledger.
    pub async fn effect(&self, key: &EffectKey) -> Result<Option<Effect>, StoreError> {
        let row = sqlx::query_as!(
            EffectRow,
            "select key, run_id, kind, attempts, next_at, last_error, external_id, content_hash,
                 intended_hash, attempted_at, done_at
             from effects where key = $1",
            key.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(Into::into))
    }
}
