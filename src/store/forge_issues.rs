//! Mirrored issues, their events and the labels of a repository.
//!
//! A row is written only when something differs. While an overlay (our own
//! label write) is in force for a read, that is, the read began before the
//! overlay's end, and shows other labels, the overlay's labels stay; state, text
//! and everything else follow the read. A read begun after the write that shows
//! the same labels ends the overlay.
//!
//! REST tells nothing of edits. What is known of them stays while the subject's update time does.

use std::time::Duration;

use serde::Serialize;
use sqlx::types::Json;

use super::{HolderTx, StoreError, enums::PgSubjectState, lease::interval};
use crate::domain::{
    Timestamp,
    forge::{Issue, IssueEvent, LabelRecord},
    ids::{LabelName, RepositoryId, Subject},
};

/// Records as the driver takes them.
pub(super) fn wholes<T: Serialize>(records: &[T]) -> Vec<Json<&T>> {
    records.iter().map(Json).collect()
}

impl HolderTx {
    /// Keeps issues as read by a read begun at `read_began_at`; returns how many rows were written.
    pub async fn put_issues(
        &mut self,
        issues: &[Issue],
        read_began_at: Timestamp,
    ) -> Result<u64, StoreError> {
        let repositories: Vec<_> = issues.iter().map(|i| i.repository.0).collect();
        let numbers: Vec<_> = issues.iter().map(|i| i.number.0).collect();
        let states: Vec<_> = issues
            .iter()
            .map(|i| PgSubjectState::from(i.state))
            .collect();
        let written = sqlx::query!(
            r#"with read as (
                 select n.repository_id, n.number, n.state, i.record as old,
                     case when n.record->'edits'->>'kind' = 'unread'
                             and n.record->'updated_at' = i.record->'updated_at'
                         then jsonb_set(n.record, '{edits}', i.record->'edits')
                         else n.record end as record,
                     i.overlay_at, i.overlay_until,
                     coalesce(i.overlay_until > $5
                         and not same_labels(i.record->'labels', n.record->'labels'), false)
                         as held,
                     coalesce(i.overlay_at <= $5
                         and same_labels(i.record->'labels', n.record->'labels'), false)
                         as confirmed
                 from unnest($1::bigint[], $2::bigint[], $3::subject_state[], $4::jsonb[])
                     as n (repository_id, number, state, record)
                 left join forge_issues i using (repository_id, number)
               ), merged as (
                 select repository_id, number, state,
                     case when held then jsonb_set(record, '{labels}', old->'labels')
                         else record end as record,
                     case when held or not confirmed and overlay_until > $5 then overlay_at end
                         as overlay_at,
                     case when held or not confirmed and overlay_until > $5 then overlay_until end
                         as overlay_until
                 from read
               )
               insert into forge_issues as i
                   (repository_id, number, state, record, overlay_at, overlay_until)
               select repository_id, number, state, record, overlay_at, overlay_until from merged
               on conflict (repository_id, number) do update set
                   state = excluded.state, record = excluded.record,
                   overlay_at = excluded.overlay_at, overlay_until = excluded.overlay_until,
                   updated_at = platform_now()
               where (i.record, i.overlay_until)
                   is distinct from (excluded.record, excluded.overlay_until)"#,
            &repositories,
            &numbers,
            states as _,
            wholes(issues) as _,
            read_began_at,
        )
        .execute(self.db())
        .await?;
        Ok(written.rows_affected())
    }

    /// Shows our own label write: these are a subject's labels until a later read says so, too,
    /// or the forge's visibility time has passed. An issue not mirrored stays so.
    pub async fn overlay_issue_labels(
        &mut self,
        subject: Subject,
        labels: &[LabelName],
        visibility: Duration,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "update forge_issues set record = jsonb_set(record, '{labels}', $3),
                 overlay_at = platform_now(), overlay_until = platform_now() + $4,
                 updated_at = platform_now()
             where repository_id = $1 and number = $2",
            subject.repository.0,
            subject.number.0,
            Json(labels) as _,
            interval(visibility),
        )
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Records that a subject is definitely gone; says whether that was news.
    pub async fn mark_subject_gone(&mut self, subject: Subject) -> Result<bool, StoreError> {
        let updated = sqlx::query!(
            r#"update forge_issues set state = 'gone', record = jsonb_set(record, '{state}', '"gone"'),
                 overlay_at = null, overlay_until = null, updated_at = platform_now()
               where repository_id = $1 and number = $2 and state <> 'gone'"#,
            subject.repository.0,
            subject.number.0,
        )
        .execute(self.db())
        .await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Keeps events; known ones stay as first read. Returns how many were new.
    pub async fn put_events(&mut self, events: &[IssueEvent]) -> Result<u64, StoreError> {
        let repositories: Vec<_> = events.iter().map(|e| e.repository.0).collect();
        let ids: Vec<_> = events.iter().map(|e| e.id.0).collect();
        let numbers: Vec<_> = events.iter().map(|e| e.number.0).collect();
        let written = sqlx::query!(
            "insert into forge_events (repository_id, event_id, number, record)
             select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::jsonb[])
             on conflict (repository_id, event_id) do nothing",
            &repositories,
            &ids,
            &numbers,
            wholes(events) as _,
        )
        .execute(self.db())
        .await?;
        Ok(written.rows_affected())
    }

    /// Makes `labels`, as read by a read begun at `read_began_at`, the whole list of a
    /// repository's labels; our own writes that the forge may not show yet stay. Returns how
    /// many rows changed.
    pub async fn put_labels(
        &mut self,
        repository: RepositoryId,
        labels: &[LabelRecord],
        read_began_at: Timestamp,
    ) -> Result<u64, StoreError> {
        let names: Vec<_> = labels.iter().map(|l| l.name.as_str().to_owned()).collect();
        let colours: Vec<_> = labels.iter().map(|l| l.colour.clone()).collect();
        let descriptions: Vec<_> = labels.iter().map(|l| l.description.clone()).collect();
        let deleted = sqlx::query!(
            "delete from forge_labels where repository_id = $1 and name <> all ($2)
                 and (overlay_until is null or overlay_until <= $3)",
            repository.0,
            &names,
            read_began_at,
        )
        .execute(self.db())
        .await?;
        let written = sqlx::query!(
            "insert into forge_labels as l (repository_id, name, colour, description)
             select $1, * from unnest($2::text[], $3::text[], $4::text[])
             on conflict (repository_id, name) do update set
                 colour = excluded.colour, description = excluded.description,
                 overlay_at = null, overlay_until = null, updated_at = platform_now()
             where ((l.colour, l.description) is distinct from
                     (excluded.colour, excluded.description) or l.overlay_until is not null)
                 and (l.overlay_until is null or l.overlay_until <= $5
                     or l.overlay_at <= $5 and (l.colour, l.description) =
                         (excluded.colour, excluded.description))",
            repository.0,
            &names,
            &colours,
            &descriptions,
            read_began_at,
        )
        .execute(self.db())
        .await?;
        Ok(deleted.rows_affected() + written.rows_affected())
    }

    /// Shows our own write of a label's definition until a later read agrees, or the forge's
    /// visibility time has passed.
    pub async fn overlay_label(
        &mut self,
        repository: RepositoryId,
        label: &LabelRecord,
        visibility: Duration,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into forge_labels
                 (repository_id, name, colour, description, overlay_at, overlay_until)
             values ($1, $2, $3, $4, platform_now(), platform_now() + $5)
             on conflict (repository_id, name) do update set
                 colour = excluded.colour, description = excluded.description,
                 overlay_at = excluded.overlay_at, overlay_until = excluded.overlay_until,
                 updated_at = platform_now()",
            repository.0,
            label.name.as_str(),
            label.colour,
            label.description,
            interval(visibility),
        )
        .execute(self.db())
        .await?;
        Ok(())
    }
}
