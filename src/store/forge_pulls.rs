//! Mirrored pull requests, reviews and branches.
//!
//! As long as an overlay (our own write of a pull request) is in force for a
//! read that shows something older, the overlay stays as a whole.

use std::time::Duration;

use sqlx::types::Json;

use super::{HolderTx, StoreError, enums::PgSubjectState, forge_issues::wholes, lease::interval};
use crate::domain::{
    Timestamp,
    forge::{PullRequest, Review},
    ids::CommitSha,
    mirror::BranchHead,
};

impl HolderTx {
    /// Keeps pull requests as read by a read begun at `read_began_at`; returns how many rows
    /// were written. A read begun before an overlay's end that is not newer by the forge's own
    /// `updated_at` does not displace it.
    pub async fn put_pulls(
        &mut self,
        pulls: &[PullRequest],
        read_began_at: Timestamp,
    ) -> Result<u64, StoreError> {
        let repositories: Vec<_> = pulls.iter().map(|p| p.repository.0).collect();
        let numbers: Vec<_> = pulls.iter().map(|p| p.number.0).collect();
        let states: Vec<_> = pulls
            .iter()
            .map(|p| PgSubjectState::from(p.state))
            .collect();
        let heads: Vec<_> = pulls.iter().map(|p| p.head.as_str().to_owned()).collect();
        let written = sqlx::query!(
            "insert into forge_pulls as p (repository_id, number, state, head, record)
             select * from unnest($1::bigint[], $2::bigint[], $3::subject_state[], $4::text[],
                                  $5::jsonb[])
             on conflict (repository_id, number) do update set
                 state = excluded.state, head = excluded.head, record = excluded.record,
                 overlay_at = null, overlay_until = null, updated_at = platform_now()
             where (p.record is distinct from excluded.record or p.overlay_until is not null)
                 and (p.overlay_until is null or p.overlay_until <= $6
                     or p.overlay_at <= $6 and p.record = excluded.record
                     or (excluded.record->>'updated_at')::timestamptz
                         > (p.record->>'updated_at')::timestamptz)",
            &repositories,
            &numbers,
            states as _,
            &heads,
            wholes(pulls) as _,
            read_began_at,
        )
        .execute(self.db())
        .await?;
        Ok(written.rows_affected())
    }

    /// Shows the answer to our own write of a pull request until a later read agrees, shows
    /// something newer, or the forge's visibility time has passed.
    pub async fn overlay_pull(
        &mut self,
        pull: &PullRequest,
        visibility: Duration,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into forge_pulls
                 (repository_id, number, state, head, record, overlay_at, overlay_until)
             values ($1, $2, $3, $4, $5, platform_now(), platform_now() + $6)
             on conflict (repository_id, number) do update set
                 state = excluded.state, head = excluded.head, record = excluded.record,
                 overlay_at = excluded.overlay_at, overlay_until = excluded.overlay_until,
                 updated_at = platform_now()",
            pull.repository.0,
            pull.number.0,
            PgSubjectState::from(pull.state) as _,
            pull.head.as_str(),
            Json(pull) as _,
            interval(visibility),
        )
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Keeps reviews; returns how many rows were written.
    pub async fn put_reviews(&mut self, reviews: &[Review]) -> Result<u64, StoreError> {
        let repositories: Vec<_> = reviews.iter().map(|r| r.repository.0).collect();
        let ids: Vec<_> = reviews.iter().map(|r| r.id.0).collect();
        let numbers: Vec<_> = reviews.iter().map(|r| r.number.0).collect();
        let written = sqlx::query!(
            "insert into forge_reviews as r (repository_id, review_id, number, record)
             select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::jsonb[])
             on conflict (repository_id, review_id) do update set
                 record = excluded.record, updated_at = platform_now()
             where r.record is distinct from excluded.record",
            &repositories,
            &ids,
            &numbers,
            wholes(reviews) as _,
        )
        .execute(self.db())
        .await?;
        Ok(written.rows_affected())
    }

    /// Keeps where a branch stands; says whether that was news. That it is ours stays known
    /// while it is there, whoever reads it.
    pub async fn put_branch(&mut self, head: &BranchHead) -> Result<bool, StoreError> {
        let written = sqlx::query!(
            "insert into forge_branches as b (repository_id, branch, head, ours)
             values ($1, $2, $3, $4)
             on conflict (repository_id, branch) do update set
                 head = excluded.head,
                 ours = excluded.ours or b.ours and excluded.head is not null,
                 updated_at = platform_now()
             where (b.head, b.ours) is distinct from
                 (excluded.head, excluded.ours or b.ours and excluded.head is not null)",
            head.repository.0,
            head.branch.as_str(),
            head.head.as_ref().map(CommitSha::as_str),
            head.ours,
        )
        .execute(self.db())
        .await?;
        Ok(written.rows_affected() == 1)
    }
}
