//! The lease holder's transaction: the only way to change rows. It starts by
//! locking the lease row and checking holder, epoch and time, so that a stale
//! holder cannot write, and a takeover waits until it is over.
//!
//! A statement that fails leaves the transaction unusable: drop it. A refused
//! compare-and-set ([`StoreError::Conflict`] naming a row) leaves it usable.

use sqlx::{PgConnection, Postgres, Transaction};

use super::{Edge, Edges, LeaseGrant, Store, StoreError};

/// A transaction of the lease holder. Dropped without [`HolderTx::commit`] it changes nothing.
#[derive(Debug)]
pub struct HolderTx {
    tx: Transaction<'static, Postgres>,
    edges: Edges,
    /// Where the transaction is no part of an action: its name at its edges.
    name: Option<&'static str>,
}

impl Store {
    /// Begins a transaction of the lease holder; [`StoreError::LeaseLost`] where the grant is
    /// not in force any more.
    pub async fn begin_holder(&self, grant: &LeaseGrant) -> Result<HolderTx, StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query_scalar!(
            "select epoch from lease
             where holder = $1 and epoch = $2 and until > platform_now()
             for key share",
            grant.holder,
            grant.epoch.0,
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(StoreError::LeaseLost)?;
        Ok(HolderTx {
            tx,
            edges: self.edges.clone(),
            name: None,
        })
    }
}

impl HolderTx {
    /// Names a transaction that is no part of an action, for those who watch its edges.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Makes it so.
    pub async fn commit(self) -> Result<(), StoreError> {
        if let Some(name) = self.name {
            self.edges.at(name, Edge::BeforeCommit).await;
        }
        self.tx.commit().await?;
        if let Some(name) = self.name {
            self.edges.at(name, Edge::AfterCommit).await;
        }
        Ok(())
    }

    /// Leaves everything as it was.
    pub async fn rollback(self) -> Result<(), StoreError> {
        Ok(self.tx.rollback().await?)
    }

    pub(super) fn db(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}
