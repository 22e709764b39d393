//! Triggers: inserted once by identity, then moved by compare-and-set on the
//! state of their disposition.

use sqlx::types::Json;

use super::{
    HolderTx, StoreError,
    enums::{PgDispositionState, PgForge, PgTriggerSource},
    events,
};
use crate::domain::{
    event::NewEvent,
    ids::{LabelName, RunId},
    trigger::{Disposition, Trigger, TriggerIdentity, WithdrawnBy},
};

impl HolderTx {
    /// Keeps a trigger at first sight, with its event; says whether it was new.
    /// A second sight changes nothing: kind, subject and actor are frozen.
    pub async fn insert_trigger(
        &mut self,
        trigger: &Trigger,
        event: &NewEvent,
    ) -> Result<bool, StoreError> {
        let id = &trigger.identity;
        let inserted = sqlx::query!(
            "insert into triggers
                 (forge, repository_id, source, source_id, project, number, stage, revise, label,
                  actor, via_app, occurred_at, content_hash, disposition, disposition_run,
                  disposition_detail, withdrawn_by, settled)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                     $18)
             on conflict (forge, repository_id, source, source_id) do nothing",
            PgForge::from(id.forge) as _,
            id.repository.0,
            PgTriggerSource::from(id.source) as _,
            id.source_id,
            trigger.project.as_str(),
            trigger.number.0,
            trigger.kind.stage.as_str(),
            trigger.kind.revise,
            trigger.label.as_ref().map(LabelName::as_str),
            trigger.actor.as_ref().map(Json) as _,
            trigger.via_app,
            trigger.occurred_at,
            trigger.content_hash,
            PgDispositionState::from(&trigger.disposition) as _,
            run_of(&trigger.disposition).map(|run| run.0),
            Json(&trigger.disposition) as _,
            trigger.withdrawn_by.as_ref().map(Json) as _,
            trigger.settled,
        )
        .execute(self.db())
        .await?;
        let new = inserted.rows_affected() == 1;
        if new {
            events::insert(self.db(), event).await?;
        }
        Ok(new)
    }

    /// Moves a trigger's disposition on, if its state is still that of `from`.
    pub async fn set_disposition(
        &mut self,
        trigger: &TriggerIdentity,
        from: &Disposition,
        to: &Disposition,
        event: Option<&NewEvent>,
    ) -> Result<(), StoreError> {
        let updated = sqlx::query!(
            "update triggers set disposition = $6, disposition_run = $7, disposition_detail = $8,
                 updated_at = platform_now()
             where forge = $1 and repository_id = $2 and source = $3 and source_id = $4
                 and disposition = $5",
            PgForge::from(trigger.forge) as _,
            trigger.repository.0,
            PgTriggerSource::from(trigger.source) as _,
            trigger.source_id,
            PgDispositionState::from(from) as _,
            PgDispositionState::from(to) as _,
            run_of(to).map(|run| run.0),
            Json(to) as _,
        )
        .execute(self.db())
        .await?;
        expect_one(updated.rows_affected(), trigger)?;
        if let Some(event) = event {
            events::insert(self.db(), event).await?;
        }
        Ok(())
    }

    /// Records what took a trigger back; the first one stays. Says whether it was this one.
    pub async fn mark_trigger_withdrawn(
        &mut self,
        trigger: &TriggerIdentity,
        by: &WithdrawnBy,
    ) -> Result<bool, StoreError> {
        let updated = sqlx::query!(
            "update triggers set withdrawn_by = $5, updated_at = platform_now()
             where forge = $1 and repository_id = $2 and source = $3 and source_id = $4
                 and withdrawn_by is null",
            PgForge::from(trigger.forge) as _,
            trigger.repository.0,
            PgTriggerSource::from(trigger.source) as _,
            trigger.source_id,
            Json(by) as _,
        )
        .execute(self.db())
        .await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Records that nothing is left to do at the forge for a trigger; says whether that was news.
    pub async fn mark_trigger_settled(
        &mut self,
        trigger: &TriggerIdentity,
    ) -> Result<bool, StoreError> {
        let updated = sqlx::query!(
            "update triggers set settled = true, updated_at = platform_now()
             where forge = $1 and repository_id = $2 and source = $3 and source_id = $4
                 and not settled",
            PgForge::from(trigger.forge) as _,
            trigger.repository.0,
            PgTriggerSource::from(trigger.source) as _,
            trigger.source_id,
        )
        .execute(self.db())
        .await?;
        Ok(updated.rows_affected() == 1)
    }
}

fn run_of(disposition: &Disposition) -> Option<RunId> {
    match disposition {
        Disposition::Run { run } | Disposition::MergedInto { run } => Some(*run),
        Disposition::Waiting(_) | Disposition::Refused(_) | Disposition::Withdrawn => None,
    }
}

fn expect_one(rows: u64, trigger: &TriggerIdentity) -> Result<(), StoreError> {
    if rows == 1 {
        return Ok(());
    }
    Err(StoreError::conflict(format_args!(
        "trigger {trigger} is not there or has moved on"
    )))
}
