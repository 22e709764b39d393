//! Config revisions: what was accepted, numbered, and the newest refusal.

use super::{HolderTx, Store, StoreError};
use crate::domain::{
    Timestamp,
    ids::{CommitSha, Revision},
};

/// An accepted revision of the config repo.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedConfig {
    /// Its number.
    pub revision: Revision,
    /// Its commit.
    pub sha: CommitSha,
    /// The validated desired state.
    pub desired: serde_json::Value,
    /// When it was accepted (database clock).
    pub accepted_at: Timestamp,
}

/// The newest commit that was refused, until another one is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedConfig {
    /// Its commit.
    pub sha: String,
    /// All its errors.
    pub errors: serde_json::Value,
    /// When it was refused first (database clock).
    pub refused_at: Timestamp,
}

impl Store {
    /// The config that is in force.
    pub async fn last_accepted_config(&self) -> Result<Option<AcceptedConfig>, StoreError> {
        let row = sqlx::query!(
            "select revision, sha, desired, created_at from config_revisions
             order by revision desc limit 1"
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| AcceptedConfig {
            revision: Revision(row.revision),
            sha: CommitSha::new(row.sha),
            desired: row.desired,
            accepted_at: row.created_at,
        }))
    }

    /// The newest refusal, if nothing was accepted since.
    pub async fn refused_config(&self) -> Result<Option<RefusedConfig>, StoreError> {
        let row = sqlx::query!("select sha, errors, created_at from config_candidate")
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| RefusedConfig {
            sha: row.sha,
            errors: row.errors,
            refused_at: row.created_at,
        }))
    }

    /// The highest revision that a pass was applied with; nobody plans below it.
    pub async fn highest_applied_revision(&self) -> Result<Option<Revision>, StoreError> {
        let revision = sqlx::query_scalar!(
            "select max(revision) from config_revisions where applied_at is not null"
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(revision.map(Revision))
    }
}

impl HolderTx {
    /// Accepts a commit as the next revision and forgets the refusal; the commit in force keeps
    /// its number, and its desired state is written only when it differs.
    pub async fn accept_config(
        &mut self,
        sha: &CommitSha,
        desired: &serde_json::Value,
    ) -> Result<Revision, StoreError> {
        sqlx::query!("delete from config_candidate")
            .execute(self.db())
            .await?;
        let newest = sqlx::query!(
            "select revision, sha from config_revisions order by revision desc limit 1"
        )
        .fetch_optional(self.db())
        .await?;
        if let Some(newest) = newest.as_ref().filter(|row| row.sha == sha.as_str()) {
            sqlx::query!(
                "update config_revisions set desired = $2, updated_at = platform_now()
                 where revision = $1 and desired is distinct from $2",
                newest.revision,
                desired,
            )
            .execute(self.db())
            .await?;
            return Ok(Revision(newest.revision));
        }
        let revision = newest.map_or(1, |row| row.revision + 1);
        sqlx::query!(
            "insert into config_revisions (revision, sha, desired) values ($1, $2, $3)",
            revision,
            sha.as_str(),
            desired,
        )
        .execute(self.db())
        .await?;
        Ok(Revision(revision))
    }

    /// Keeps a refused commit with its errors; says whether that was news.
    pub async fn record_refused_config(
        &mut self,
        sha: &str,
        errors: &serde_json::Value,
    ) -> Result<bool, StoreError> {
        let written = sqlx::query!(
            "insert into config_candidate as c (sha, errors) values ($1, $2)
             on conflict (singleton) do update set
                 sha = excluded.sha, errors = excluded.errors, created_at = excluded.created_at
             where (c.sha, c.errors) is distinct from (excluded.sha, excluded.errors)",
            sha,
            errors,
        )
        .execute(self.db())
        .await?;
        Ok(written.rows_affected() == 1)
    }

    /// Records that a pass is applied with a revision; says whether that was news.
    pub async fn mark_revision_applied(&mut self, revision: Revision) -> Result<bool, StoreError> {
        let updated = sqlx::query!(
            "update config_revisions set applied_at = platform_now()
             where revision = $1 and applied_at is null",
            revision.0,
        )
        .execute(self.db())
        .await?;
        Ok(updated.rows_affected() == 1)
    }
}
