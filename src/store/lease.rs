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
        let row = sqlx::query!(
            r#"with former as (
                   select holder, until from lease where until <= platform_now() for update)
               update lease set holder = $1, epoch = epoch + 1, beat = beat + 1,
                   until = platform_now() + $2, updated_at = platform_now()
               from former
               returning epoch, lease.until, beat, platform_now() as "now!",
                   former.holder as "former_holder?", former.until as "former_until!""#,
            holder,
            interval(duration),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| LeaseGrant {
            holder: holder.to_owned(),
            epoch: Epoch(row.epoch),
            until: row.until,
            beat: row.beat,
            now: row.now,
            former_until: row.former_holder.map(|_| row.former_until),
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

    /// After a restore: lets the epoch jump ahead to at least `to`, so that it never repeats.
    /// Whoever held the lease of the restored rows loses it.
    pub async fn jump_epoch(&self, to: Epoch) -> Result<Epoch, StoreError> {
        let epoch = sqlx::query_scalar!(
            "update lease set epoch = greatest(epoch + 1, $1), updated_at = platform_now()
             returning epoch",
            to.0,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Epoch(epoch))
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
