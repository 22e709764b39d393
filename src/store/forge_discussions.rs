//! Mirrored comments. Those on issues and those on diffs have separate id
//! series at the forge, so the series is part of the key. Our own comments are
//! overlaid: a list read before the forge shows them neither deletes nor
//! reverts them.

use std::time::Duration;

use sqlx::types::Json;

use super::{HolderTx, StoreError, forge_issues::wholes, lease::interval};
use crate::domain::{
    Timestamp,
    forge::Comment,
    ids::{CommentId, Subject},
};

/// Which of a forge's comment lists an id belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommentSeries {
    /// Comments on issues and pull requests.
    Issue,
    /// Comments on lines of a diff.
    Diff,
}

impl CommentSeries {
    fn of(comment: &Comment) -> Self {
        if comment.place.is_some() {
            Self::Diff
        } else {
            Self::Issue
        }
    }

    fn on_diff(self) -> bool {
        self == Self::Diff
    }
}

impl HolderTx {
    /// Keeps comments as read by a read begun at `read_began_at`; returns how many rows were
    /// written.
    pub async fn put_comments(
        &mut self,
        comments: &[Comment],
        read_began_at: Timestamp,
    ) -> Result<u64, StoreError> {
        let repositories: Vec<_> = comments.iter().map(|c| c.repository.0).collect();
        let on_diff: Vec<_> = comments
            .iter()
            .map(|c| CommentSeries::of(c).on_diff())
            .collect();
        let ids: Vec<_> = comments.iter().map(|c| c.id.0).collect();
        let numbers: Vec<_> = comments.iter().map(|c| c.number.0).collect();
        let written = sqlx::query!(
            "insert into forge_comments as c (repository_id, on_diff, comment_id, number, record)
             select * from unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::bigint[],
                                  $5::jsonb[])
             on conflict (repository_id, on_diff, comment_id) do update set
                 number = excluded.number, record = excluded.record,
                 overlay_at = null, overlay_until = null, updated_at = platform_now()
             where (c.record is distinct from excluded.record or c.overlay_until is not null)
                 and (c.overlay_until is null or c.overlay_until <= $6
                     or c.overlay_at <= $6 and c.record = excluded.record
                     or (excluded.record->>'updated_at')::timestamptz
                         > (c.record->>'updated_at')::timestamptz)",
            &repositories,
            &on_diff,
            &ids,
            &numbers,
            wholes(comments) as _,
            read_began_at,
        )
        .execute(self.db())
        .await?;
        Ok(written.rows_affected())
    }

    /// Shows the answer to our own write of a comment until a later read agrees, shows something
    /// newer, or the forge's visibility time has passed.
    pub async fn overlay_comment(
        &mut self,
        comment: &Comment,
        visibility: Duration,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into forge_comments
                 (repository_id, on_diff, comment_id, number, record, overlay_at, overlay_until)
             values ($1, $2, $3, $4, $5, platform_now(), platform_now() + $6)
             on conflict (repository_id, on_diff, comment_id) do update set
                 number = excluded.number, record = excluded.record,
                 overlay_at = excluded.overlay_at, overlay_until = excluded.overlay_until,
                 updated_at = platform_now()",
            comment.repository.0,
            CommentSeries::of(comment).on_diff(),
            comment.id.0,
            comment.number.0,
            Json(comment) as _,
            interval(visibility),
        )
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Deletes a subject's comments of one series that a whole list, read from `read_began_at`
    /// on, does not hold; our own that the forge may not show yet stay. Returns how many.
    pub async fn delete_comments_missing(
        &mut self,
        subject: Subject,
        series: CommentSeries,
        present: &[CommentId],
        read_began_at: Timestamp,
    ) -> Result<u64, StoreError> {
        let present: Vec<_> = present.iter().map(|id| id.0).collect();
        let deleted = sqlx::query!(
            "delete from forge_comments
             where repository_id = $1 and number = $2 and on_diff = $3
                 and comment_id <> all ($4)
                 and (overlay_until is null or overlay_until <= $5)",
            subject.repository.0,
            subject.number.0,
            series.on_diff(),
            &present,
            read_began_at,
        )
        .execute(self.db())
        .await?;
        Ok(deleted.rows_affected())
    }

    /// Deletes a comment of ours that we deleted at the forge.
    pub async fn delete_comment(
        &mut self,
        subject: Subject,
        series: CommentSeries,
        comment: CommentId,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "delete from forge_comments
             where repository_id = $1 and number = $2 and on_diff = $3 and comment_id = $4",
            subject.repository.0,
            subject.number.0,
            series.on_diff(),
            comment.0,
        )
        .execute(self.db())
        .await?;
        Ok(())
    }
}
