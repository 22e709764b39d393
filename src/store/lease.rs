//! The lease: one row that says who may write, fenced by its epoch.
//!
//! Renewal keeps the row's key and so passes the `FOR KEY SHARE` locks of the
//! holder's transactions; takeover changes the key and waits for them.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::postgres::types::PgInterval;

use super::{Store, StoreError};
use crate::domain::{Timestamp, ids::Epoch};

/// The proof of holding the lease; every holder transaction is checked against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Who holds it: unique to a process's life.
    pub holder: String,
    /// The epoch.
    pub epoch: Epoch,
    /// Until when (database clock).
    pub until: Timestamp,
    /// Grows with every renewal.
    pub beat: i64,
    /// The database's time of the grant.
    pub now: Timestamp,
    /// The end of the former holder's lease, where that one did not give it back: requests of
    /// its may still be on their way.
    pub former_until: Option<Timestamp>,
    /// When the database was last found restored.
    pub restored_at: Option<Timestamp>,
}

/// Epoch and beat as a copy outside the database has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseMark {
    /// The epoch.
    pub epoch: Epoch,
    /// The beat.
    pub beat: i64,
}

/// The lease's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// Who holds or held it.
    pub holder: Option<String>,
    /// The epoch; 0 where nobody ever held it.
    pub epoch: Epoch,
    /// Until when (database clock).
    pub until: Timestamp,
    /// Grows with every renewal and takeover.
    pub beat: i64,
    /// The database's time of the read.
    pub now: Timestamp,
}

impl Store {
    /// Takes the lease where it is free or has run out, with a new epoch; waits for
    /// transactions of the former holder that are still open. Whose lease it was is read in the
    /// same statement: read before, somebody else could have held and left it in between.
    pub async fn try_acquire(
        &self,
        holder: &str,
        duration: Duration,
    ) -> Result<Option<LeaseGrant>, StoreError> {
        self.acquire_after(holder, duration, None).await
    }

    /// Takes the lease like [`Store::try_acquire`], beside a copy of it that was read before.
    ///
    /// A row behind the copy was restored from a backup, or made anew. Then, in the one
    /// transaction that takes the lease, epoch and beat jump ahead of the copy, so that none
    /// is ever given twice, the time is noted, and every repository counts as not read whole.
    /// So whoever takes the lease after a crash of this holder finds the same.
    pub async fn acquire_after(
        &self,
        holder: &str,
        duration: Duration,
        copy: Option<LeaseMark>,
    ) -> Result<Option<LeaseGrant>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let (epoch, beat) = copy.map(|mark| (mark.epoch.0, mark.beat)).unzip();
        let row = sqlx::query!(
            r#"with former as (
                   select holder, until, platform_now() as at from lease
                   where until <= platform_now() for update)
               update lease set holder = $1,
                   epoch = greatest(epoch, $3) + 1, beat = greatest(beat, $4) + 1,
                   until = platform_now() + $2, updated_at = former.at,
                   restored_at = case when (epoch, beat) < ($3, $4) then former.at
                       else restored_at end
               from former
               returning epoch, lease.until, beat, restored_at, platform_now() as "now!",
                   restored_at is not null and restored_at = updated_at as "restored!",
                   former.holder as "former_holder?", former.until as "former_until!""#,
            holder,
            interval(duration),
            epoch,
            beat,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        if row.restored {
            sqlx::query!(
                "update repositories set complete = false, updated_at = platform_now()
                 where complete"
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(Some(LeaseGrant {
            holder: holder.to_owned(),
            epoch: Epoch(row.epoch),
            until: row.until,
            beat: row.beat,
            now: row.now,
            former_until: row.former_holder.map(|_| row.former_until),
            restored_at: row.restored_at,
        }))
    }

    /// Prolongs the lease; [`StoreError::LeaseLost`] where it has run out or is someone else's.
    pub async fn renew(
        &self,
        grant: &LeaseGrant,
        duration: Duration,
    ) -> Result<LeaseGrant, StoreError> {
        let row = sqlx::query!(
            r#"update lease set beat = beat + 1, until = platform_now() + $3,
                   updated_at = platform_now()
               where holder = $1 and epoch = $2 and until > platform_now()
               returning until, beat, platform_now() as "now!""#,
            grant.holder,
            grant.epoch.0,
            interval(duration),
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(StoreError::LeaseLost)?;
        Ok(LeaseGrant {
            holder: grant.holder.clone(),
            epoch: grant.epoch,
            until: row.until,
            beat: row.beat,
            now: row.now,
            former_until: grant.former_until,
            restored_at: grant.restored_at,
        })
    }

    /// Gives the lease back at once and tells who stands by, so that nobody waits for its end.
    /// Does nothing where it is held no more. A lease without a holder was given back: nothing
    /// of the former holder is on its way any more.
    pub async fn release(&self, grant: &LeaseGrant) -> Result<(), StoreError> {
        sqlx::query!(
            r#"with freed as (
                   update lease set holder = null, until = least(until, platform_now()),
                       updated_at = platform_now()
                   where holder = $1 and epoch = $2
                   returning epoch)
               select pg_notify($3, epoch::text)::text as told from freed"#,
            grant.holder,
            grant.epoch.0,
            super::wake::LEASE_CHANNEL,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(())
    }

    /// Reads the lease.
    pub async fn read_lease(&self) -> Result<LeaseRow, StoreError> {
        let row = sqlx::query!(
            r#"select holder, epoch, until, beat, platform_now() as "now!" from lease"#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(LeaseRow {
            holder: row.holder,
            epoch: Epoch(row.epoch),
            until: row.until,
            beat: row.beat,
            now: row.now,
        })
    }
}

/// A duration as Postgres takes it; beyond 292,000 years it stands still.
pub(super) fn interval(duration: Duration) -> PgInterval {
    let delta = TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
    PgInterval {
        months: 0,
        days: 0,
        microseconds: delta.num_microseconds().unwrap_or(i64::MAX),
    }
}
