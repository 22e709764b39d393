//! Flow events: the audit trail. Rows are only ever inserted, each in the
//! transaction of what it reports.

use sqlx::{PgConnection, types::Json};

use super::{HolderTx, StoreError};
use crate::domain::{effect::EffectKey, event::NewEvent, ids::ProjectKey};

impl HolderTx {
    /// Records an event that belongs to no effect and no transition.
    pub async fn insert_event(&mut self, event: &NewEvent) -> Result<(), StoreError> {
        insert(self.db(), event).await
    }
}

/// Inserts an event.
pub(super) async fn insert(db: &mut PgConnection, event: &NewEvent) -> Result<(), StoreError> {
    insert_row(db, event, &event.payload, None).await?;
    Ok(())
}

/// Inserts the event of an effect unless its key and content hash have one; says whether it did.
pub(super) async fn insert_of_effect(
    db: &mut PgConnection,
    event: &NewEvent,
    payload: &serde_json::Value,
    key: &EffectKey,
    content_hash: &str,
) -> Result<bool, StoreError> {
    insert_row(db, event, payload, Some((key.0.as_str(), content_hash))).await
}

async fn insert_row(
    db: &mut PgConnection,
    event: &NewEvent,
    payload: &serde_json::Value,
    effect: Option<(&str, &str)>,
) -> Result<bool, StoreError> {
    let inserted = sqlx::query!(
        "insert into flow_events
             (kind, correlation, actor, project, run_id, repository_id, number, payload,
              effect_key, effect_hash)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict (effect_key, effect_hash) where effect_key is not null do nothing",
        event.kind.to_string(),
        event.correlation,
        Json(&event.actor) as _,
        event.project.as_ref().map(ProjectKey::as_str),
        event.run.map(|run| run.0),
        event.subject.map(|subject| subject.repository.0),
        event.subject.map(|subject| subject.number.0),
        payload,
        effect.map(|(key, _)| key),
        effect.map(|(_, hash)| hash),
    )
    .execute(db)
    .await?;
    Ok(inserted.rows_affected() == 1)
}
