//! What has been kept for long enough: the logs and sessions of finished runs, and all but the
//! newest sessions of live ones; what the ledger has of effects without a run; and branches that
//! are gone from the forge.
//!
//! It is looked for without a transaction, so that nothing is begun where nothing is to go; a
//! finished run stays finished, and what a newer session follows is followed for ever.

use uuid::Uuid;

use super::{HolderTx, Store, StoreError};
use crate::domain::{
    Timestamp,
    effect::EffectKey,
    ids::{BranchName, RepositoryId, RunId},
};

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The logs of runs that finished before this are not.
    pub logs_since: Timestamp,
    /// Nor are the sessions of runs that finished before this.
    pub sessions_since: Timestamp,
    /// So many sessions of a live run are, the newest; of a finished run it is one.
    pub live_sessions: i64,
    /// Rows of the ledger without a run that were done before this are not.
    pub effects_since: Timestamp,
    /// Branches that were read as gone before this are not.
    pub gone_branches_since: Timestamp,
}

/// Rows that have been kept for long enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expired {
    /// Finished runs whose logs are to go, those that finished first before others.
    pub logs_of: Vec<RunId>,
    /// Sessions to go.
    pub sessions: Vec<i64>,
    /// Rows of the ledger to go, the oldest first.
    pub effects: Vec<EffectKey>,
    /// Branches to be forgotten, those gone longest first.
    pub branches: Vec<(RepositoryId, BranchName)>,
}

impl Expired {
    /// Whether nothing is to go.
    pub fn is_empty(&self) -> bool {
        self.logs_of.is_empty()
            && self.sessions.is_empty()
            && self.effects.is_empty()
            && self.branches.is_empty()
    }
}

impl Store {
    /// What has been kept for long enough, of either kind no more than a number of rows.
    pub async fn expired(&self, kept: &Kept, most: i64) -> Result<Expired, StoreError> {
        let runs = sqlx::query_scalar!(
            "select run_id from runs
             where finished_at is not null and logs_expired_at is null and finished_at < $1
             order by finished_at, run_id limit $2",
            kept.logs_since,
            most,
        )
        .fetch_all(&self.pool)
        .await?;
        let sessions = sqlx::query_scalar!(
            "select s.session_id
             from (select session_id, run_id,
                       row_number() over (partition by run_id order by session_id desc) as place
                   from sessions) s
             join runs r on r.run_id = s.run_id
             where r.finished_at < $1
                 or s.place > case when r.finished_at is null then $2::bigint else 1 end
             order by s.session_id limit $3",
            kept.sessions_since,
            kept.live_sessions,
            most,
        )
        .fetch_all(&self.pool)
        .await?;
        // A comment on what stands in the way is known by its row alone, until it is resolved.
        let effects = sqlx::query_scalar!(
            "select key from effects
             where run_id is null and next_at is null and done_at < $1
                 and key not like 'conflict/%' and key not like 'blocked/%'
             order by done_at, key limit $2",
            kept.effects_since,
            most,
        )
        .fetch_all(&self.pool)
        .await?;
        let branches = sqlx::query!(
            "select repository_id, branch from forge_branches
             where head is null and updated_at < $1
             order by updated_at, repository_id, branch limit $2",
            kept.gone_branches_since,
            most,
        )
        .fetch_all(&self.pool)
        .await?;
        let branch = |id, name| (RepositoryId(id), BranchName::new(name));
        Ok(Expired {
            branches: branches
                .into_iter()
                .map(|row| branch(row.repository_id, row.branch))
                .collect(),
            logs_of: runs.into_iter().map(RunId).collect(),
            sessions,
            effects: effects.into_iter().map(EffectKey).collect(),
        })
    }
}

impl HolderTx {
    /// Deletes log chunks of these runs, no more than a number of them, and notes the runs of
    /// which none is left; says how many were deleted. A run that is not finished keeps its own.
    pub async fn expire_logs(&mut self, runs: &[RunId], most: i64) -> Result<u64, StoreError> {
        let runs: Vec<Uuid> = runs.iter().map(|run| run.0).collect();
        let deleted = sqlx::query!(
            "delete from log_chunks where (run_id, attempt, seq) in (
                 select l.run_id, l.attempt, l.seq from log_chunks l
                 join runs r on r.run_id = l.run_id
                 where r.run_id = any ($1) and r.finished_at is not null
                 order by l.run_id, l.attempt, l.seq limit $2)",
            &runs,
            most,
        )
        .execute(self.db())
        .await?;
        sqlx::query!(
            "update runs r set logs_expired_at = platform_now(), updated_at = platform_now()
             where r.run_id = any ($1) and r.finished_at is not null
                 and r.logs_expired_at is null
                 and not exists (select 1 from log_chunks l where l.run_id = r.run_id)",
            &runs,
        )
        .execute(self.db())
        .await?;
        Ok(deleted.rows_affected())
    }

    /// Deletes rows of the ledger that are still done; says how many.
    pub async fn delete_effects(&mut self, keys: &[EffectKey]) -> Result<u64, StoreError> {
        let keys: Vec<String> = keys.iter().map(|key| key.0.clone()).collect();
        let deleted = sqlx::query!(
            "delete from effects
             where key = any ($1) and run_id is null and next_at is null and done_at is not null",
            &keys,
        )
        .execute(self.db())
        .await?;
        Ok(deleted.rows_affected())
    }

    /// Forgets branches that are still gone; says how many. One that is wanted is read anew.
    pub async fn forget_branches(
        &mut self,
        branches: &[(RepositoryId, BranchName)],
    ) -> Result<u64, StoreError> {
        let (repositories, names): (Vec<i64>, Vec<String>) = branches
            .iter()
            .map(|(repository, branch)| (repository.0, branch.to_string()))
            .unzip();
        let deleted = sqlx::query!(
            "delete from forge_branches
             where (repository_id, branch) in (select * from unnest($1::bigint[], $2::text[]))
                 and head is null",
            &repositories,
            &names,
        )
        .execute(self.db())
        .await?;
        Ok(deleted.rows_affected())
    }

    /// Deletes sessions.
    pub async fn delete_sessions(&mut self, sessions: &[i64]) -> Result<u64, StoreError> {
        let deleted = sqlx::query!("delete from sessions where session_id = any ($1)", sessions)
            .execute(self.db())
            .await?;
        Ok(deleted.rows_affected())
    }
}
