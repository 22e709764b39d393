//! Bound repositories: their binding, their cursors, what is wrong with them.
//! Cursors move in the transaction of what was read with them.

use sqlx::types::Json;

use super::{HolderTx, StoreError, enums::PgForge, events};
use crate::domain::{
    event::NewEvent,
    forge::{ForgeKind, RepositoryRecord},
    ids::{EventId, ProjectKey, RepositoryId, RepositoryName, ReviewId},
    mirror::{MirrorCursors, OwnerVariable, RepositoryMirror},
};

/// What the first bind of a repository pins.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBinding {
    /// The forge.
    pub forge: ForgeKind,
    /// The project that binds it.
    pub project: ProjectKey,
    /// The name in the config.
    pub configured_name: RepositoryName,
    /// What the forge says of it.
    pub record: RepositoryRecord,
    /// The highest event id seen: up to here everything is historical.
    pub binding_event: EventId,
    /// The highest review id seen.
    pub binding_review: ReviewId,
    /// Whether triggers older than the binding count.
    pub adopt_existing: bool,
}

/// What became of a repository's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorWritten {
    /// It is bound by this.
    Bound,
    /// It changed.
    Changed,
    /// It is as it was.
    Same,
}

impl HolderTx {
    /// Makes a repository's row as given, all but the time and ids of its binding, which the
    /// first write pins. [`StoreError::Conflict`] as for [`HolderTx::bind_repository`].
    pub async fn put_mirror(
        &mut self,
        mirror: &RepositoryMirror,
    ) -> Result<MirrorWritten, StoreError> {
        let row = sqlx::query!(
            r#"insert into repositories as r
                   (repository_id, forge, project, configured_name, record, binding_event,
                    binding_review, adopt_existing, cursors, unknown, complete, owner_variable)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
               on conflict (repository_id) do update set
                   project = excluded.project, configured_name = excluded.configured_name,
                   record = excluded.record, adopt_existing = excluded.adopt_existing,
                   cursors = excluded.cursors, unknown = excluded.unknown,
                   complete = excluded.complete, owner_variable = excluded.owner_variable,
                   updated_at = platform_now()
               where (r.project, r.configured_name, r.record, r.adopt_existing, r.cursors,
                      r.unknown, r.complete, r.owner_variable)
                   is distinct from
                   (excluded.project, excluded.configured_name, excluded.record,
                    excluded.adopt_existing, excluded.cursors, excluded.unknown,
                    excluded.complete, excluded.owner_variable)
               returning (r.xmax = 0) as "bound!""#,
            mirror.id().0,
            PgForge::from(mirror.forge) as _,
            mirror.project.as_str(),
            mirror.configured_name.to_string(),
            Json(&mirror.record) as _,
            mirror.binding_event.0,
            mirror.binding_review.0,
            mirror.adopt_existing,
            Json(&mirror.cursors) as _,
            mirror.unknown,
            mirror.complete,
            Json(&mirror.owner_variable) as _,
        )
        .fetch_optional(self.db())
        .await?;
        Ok(match row {
            Some(row) if row.bound => MirrorWritten::Bound,
            Some(_) => MirrorWritten::Changed,
            None => MirrorWritten::Same,
        })
    }

    /// Binds a repository with its event; says whether it was new. One that is bound already
    /// stays as it is. [`StoreError::Conflict`] where its name is bound to another id, or it to
    /// another project.
    pub async fn bind_repository(
        &mut self,
        binding: &NewBinding,
        event: &NewEvent,
    ) -> Result<bool, StoreError> {
        let inserted = sqlx::query!(
            "insert into repositories
                 (repository_id, forge, project, configured_name, record, binding_event,
                  binding_review, adopt_existing, cursors, complete, owner_variable)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, false, $10)
             on conflict (repository_id) do nothing",
            binding.record.id.0,
            PgForge::from(binding.forge) as _,
            binding.project.as_str(),
            binding.configured_name.to_string(),
            Json(&binding.record) as _,
            binding.binding_event.0,
            binding.binding_review.0,
            binding.adopt_existing,
            Json(MirrorCursors::default()) as _,
            Json(OwnerVariable::Unread) as _,
        )
        .execute(self.db())
        .await?;
        if inserted.rows_affected() == 1 {
            events::insert(self.db(), event).await?;
            return Ok(true);
        }
        let project = sqlx::query_scalar!(
            "select project from repositories where repository_id = $1",
            binding.record.id.0,
        )
        .fetch_one(self.db())
        .await?;
        if project == binding.project.as_str() {
            return Ok(false);
        }
        Err(StoreError::conflict(format_args!(
            "repository {} belongs to project {project}",
            binding.record.id
        )))
    }

    /// Follows the config: the project and name under which a bound repository stands there,
    /// and whether triggers older than the binding count.
    pub async fn rebind_repository(
        &mut self,
        repository: RepositoryId,
        project: &ProjectKey,
        configured_name: &RepositoryName,
        adopt_existing: bool,
    ) -> Result<bool, StoreError> {
        let updated = sqlx::query!(
            "update repositories set project = $2, configured_name = $3, adopt_existing = $4,
                 updated_at = platform_now()
             where repository_id = $1
                 and (project, configured_name, adopt_existing) is distinct from ($2, $3, $4)",
            repository.0,
            project.as_str(),
            configured_name.to_string(),
            adopt_existing,
        )
        .execute(self.db())
        .await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Keeps what the forge says of a bound repository; says whether that was news.
    pub async fn put_repository(&mut self, record: &RepositoryRecord) -> Result<bool, StoreError> {
        let updated = sqlx::query!(
            "update repositories set record = $2, updated_at = platform_now()
             where repository_id = $1 and record is distinct from $2",
            record.id.0,
            Json(record) as _,
        )
        .execute(self.db())
        .await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Moves the cursors; says whether they moved.
    pub async fn set_cursors(
        &mut self,
        repository: RepositoryId,
        cursors: &MirrorCursors,
    ) -> Result<bool, StoreError> {
        let updated = sqlx::query!(
            "update repositories set cursors = $2, updated_at = platform_now()
             where repository_id = $1 and cursors is distinct from $2",
            repository.0,
            Json(cursors) as _,
        )
        .execute(self.db())
        .await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Records why a repository cannot be read; says whether that was news.
    pub async fn mark_unknown(
        &mut self,
        repository: RepositoryId,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let updated = sqlx::query!(
            "update repositories set unknown = $2, updated_at = platform_now()
             where repository_id = $1 and unknown is distinct from $2",
            repository.0,
            reason,
        )
        .execute(self.db())
        .await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Records that a repository reads well again, and wholly; says whether that was news.
    pub async fn mark_known(&mut self, repository: RepositoryId) -> Result<bool, StoreError> {
        let updated = sqlx::query!(
            "update repositories set unknown = null, complete = true, updated_at = platform_now()
             where repository_id = $1 and (unknown is not null or not complete)",
            repository.0,
        )
        .execute(self.db())
        .await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Keeps what the variable with the owning installation says; says whether that was news.
    pub async fn set_owner_variable(
        &mut self,
        repository: RepositoryId,
        variable: &OwnerVariable,
    ) -> Result<bool, StoreError> {
        let updated = sqlx::query!(
            "update repositories set owner_variable = $2, updated_at = platform_now()
             where repository_id = $1 and owner_variable is distinct from $2",
            repository.0,
            Json(variable) as _,
        )
        .execute(self.db())
        .await?;
        Ok(updated.rows_affected() == 1)
    }
}
