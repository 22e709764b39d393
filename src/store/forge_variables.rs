//! Mirrored repository variables: only those that are the platform's by name.
//!
//! Our own writes are overlaid: a list read before the forge shows them neither
//! deletes nor reverts them.

use std::time::Duration;

use super::{HolderTx, StoreError, lease::interval};
use crate::domain::{Timestamp, forge::VariableRecord, ids::RepositoryId};

impl HolderTx {
    /// Makes `variables`, as read by a read begun at `read_began_at`, the whole list; our own
    /// writes that the forge may not show yet stay. Returns how many rows changed.
    pub async fn put_variables(
        &mut self,
        repository: RepositoryId,
        variables: &[VariableRecord],
        read_began_at: Timestamp,
    ) -> Result<u64, StoreError> {
        let names: Vec<_> = variables.iter().map(|row| row.name.clone()).collect();
        let values: Vec<_> = variables.iter().map(|row| row.value.clone()).collect();
        let deleted = sqlx::query!(
            "delete from forge_variables where repository_id = $1 and name <> all ($2)
                 and (overlay_until is null or overlay_until <= $3)",
            repository.0,
            &names,
            read_began_at,
        )
        .execute(self.db())
        .await?;
        let written = sqlx::query!(
            "insert into forge_variables as v (repository_id, name, value)
             select $1, * from unnest($2::text[], $3::text[])
             on conflict (repository_id, name) do update set
                 value = excluded.value, overlay_at = null, overlay_until = null,
                 updated_at = platform_now()
             where (v.value <> excluded.value or v.overlay_until is not null)
                 and (v.overlay_until is null or v.overlay_until <= $4
                     or v.overlay_at <= $4 and v.value = excluded.value)",
            repository.0,
            &names,
            &values,
            read_began_at,
        )
        .execute(self.db())
        .await?;
        Ok(deleted.rows_affected() + written.rows_affected())
    }

    /// Shows our own write of a variable until a later read agrees, or the forge's visibility
    /// time has passed.
    pub async fn overlay_variable(
        &mut self,
        repository: RepositoryId,
        variable: &VariableRecord,
        visibility: Duration,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into forge_variables
                 (repository_id, name, value, overlay_at, overlay_until)
             values ($1, $2, $3, platform_now(), platform_now() + $4)
             on conflict (repository_id, name) do update set
                 value = excluded.value, overlay_at = excluded.overlay_at,
                 overlay_until = excluded.overlay_until, updated_at = platform_now()",
            repository.0,
            variable.name,
            variable.value,
            interval(visibility),
        )
        .execute(self.db())
        .await?;
        Ok(())
    }
}
