//! Attempts, environments and what became of pushes: the rows beside a run.

use sqlx::types::Json;

use super::{
    HolderTx, StoreError,
    enums::{PgAttemptState, PgEnvironmentState},
    events,
};
use crate::domain::{
    event::NewEvent,
    fact::PushOutcome,
    ids::RunId,
    run::{Attempt, AttemptState, Environment},
};

impl HolderTx {
    /// Begins an attempt with its event; says whether it was new.
    pub async fn insert_attempt(
        &mut self,
        attempt: &Attempt,
        event: &NewEvent,
    ) -> Result<bool, StoreError> {
        let inserted = sqlx::query!(
            "insert into attempts (run_id, attempt, state, key_version, job_uid, reason)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (run_id, attempt) do nothing",
            attempt.run.0,
            attempt.number.0,
            PgAttemptState::from(attempt.state) as _,
            attempt.key_version,
            attempt.job_uid,
            attempt.reason,
        )
        .execute(self.db())
        .await?;
        let new = inserted.rows_affected() == 1;
        if new {
            events::insert(self.db(), event).await?;
        }
        Ok(new)
    }

    /// Moves an attempt on, if its state is still `from`; takes state, Job and reason from
    /// `attempt` and sets the times. The event is recorded where there is one.
    pub async fn update_attempt(
        &mut self,
        from: AttemptState,
        attempt: &Attempt,
        event: Option<&NewEvent>,
    ) -> Result<(), StoreError> {
        let updated = sqlx::query!(
            "update attempts set state = $4::attempt_state, job_uid = coalesce($5, job_uid),
                 reason = coalesce($6, reason),
                 started_at = case when $4::attempt_state = 'starting' then started_at
                     else coalesce(started_at, platform_now()) end,
                 ended_at = case when $4::attempt_state in ('reported', 'lost', 'parked')
                     then coalesce(ended_at, platform_now()) else ended_at end,
                 updated_at = platform_now()
             where run_id = $1 and attempt = $2 and state = $3",
            attempt.run.0,
            attempt.number.0,
            PgAttemptState::from(from) as _,
            PgAttemptState::from(attempt.state) as _,
            attempt.job_uid,
            attempt.reason,
        )
        .execute(self.db())
        .await?;
        if updated.rows_affected() == 0 {
            return Err(StoreError::conflict(format_args!(
                "attempt {} of run {} has moved on",
                attempt.number, attempt.run
            )));
        }
        if let Some(event) = event {
            events::insert(self.db(), event).await?;
        }
        Ok(())
    }

    /// A run's environment. It is read on the transaction's own connection: who waits for
    /// another while holding one waits for ever once all are held so.
    pub async fn environment_of(&mut self, run: RunId) -> Result<Option<Environment>, StoreError> {
        let rows = super::pass::environments(self.db(), &[run.0]).await?;
        Ok(rows.into_iter().next())
    }

    /// Sets a run's environment as given; says whether anything differed. The times of
    /// retention and deletion are set here, at the first such state.
    pub async fn upsert_environment(
        &mut self,
        environment: &Environment,
        event: Option<&NewEvent>,
    ) -> Result<bool, StoreError> {
        let written = sqlx::query!(
            "insert into environments as e
                 (run_id, namespace, state, uid, input_hash, retained_at, deleting_at)
             values ($1, $2, $3::environment_state, $4, $5, case when $3::environment_state = 'retained' then platform_now() end,
                     case when $3::environment_state = 'deleting' then platform_now() end)
             on conflict (run_id) do update set
                 namespace = excluded.namespace, state = excluded.state,
                 uid = coalesce(excluded.uid, e.uid),
                 input_hash = coalesce(excluded.input_hash, e.input_hash),
                 retained_at = coalesce(e.retained_at, excluded.retained_at),
                 deleting_at = coalesce(e.deleting_at, excluded.deleting_at),
                 updated_at = platform_now()
             where (e.namespace, e.state, e.uid, e.input_hash) is distinct from
                 (excluded.namespace, excluded.state, coalesce(excluded.uid, e.uid),
                  coalesce(excluded.input_hash, e.input_hash))",
            environment.run.0,
            environment.namespace,
            PgEnvironmentState::from(environment.state) as _,
            environment.uid,
            environment.input_hash,
        )
        .execute(self.db())
        .await?;
        let changed = written.rows_affected() == 1;
        if let (true, Some(event)) = (changed, event) {
            events::insert(self.db(), event).await?;
        }
        Ok(changed)
    }

    /// Records what became of a push and deletes its pack; the first outcome stays.
    pub async fn record_push_outcome(
        &mut self,
        fact: i64,
        outcome: &PushOutcome,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into push_outcomes (fact_id, outcome) values ($1, $2)
             on conflict (fact_id) do nothing",
            fact,
            Json(outcome) as _,
        )
        .execute(self.db())
        .await?;
        self.delete_push_pack(fact).await
    }

    /// Deletes a push's pack.
    pub async fn delete_push_pack(&mut self, fact: i64) -> Result<(), StoreError> {
        sqlx::query!("delete from push_packs where fact_id = $1", fact)
            .execute(self.db())
            .await?;
        Ok(())
    }

    /// Deletes all heartbeats of a run but the newest of each attempt; returns how many.
    pub async fn prune_heartbeats(&mut self, run: RunId) -> Result<u64, StoreError> {
        let deleted = sqlx::query!(
            "delete from run_facts f
             where f.run_id = $1 and f.kind = 'heartbeat' and exists (
                 select 1 from run_facts newer
                 where newer.run_id = f.run_id and newer.attempt = f.attempt
                     and newer.kind = 'heartbeat' and newer.fact_id > f.fact_id)",
            run.0,
        )
        .execute(self.db())
        .await?;
        Ok(deleted.rows_affected())
    }
}
