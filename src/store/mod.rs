//! The store: everything kept in Postgres, and all SQL of the project.
//!
//! ```text
//! Store ──► begin_holder(grant) ──► HolderTx: runs, triggers, effects, slots, mirror, reports
//!   └─────► reads: load_pass (one repeatable-read transaction), config, lease
//! ApiStore ► inserts facts of live runs; reads for the run API and the staff API
//! ```
//!
//! Two writers, two logins: the lease holder alone changes rows, and every
//! transaction of its starts by checking the lease; the API inserts facts and
//! can do nothing else ([`migrate()`] grants it no more). What is decided is
//! decided elsewhere: this room stores, guards and loads.
//!
//! The one clock is `platform_now()` in the database.

pub mod admin;
mod api;
mod api_reads;
mod approvals;
mod attempts;
mod config;
mod edge;
mod effects;
mod enums;
mod error;
mod events;
mod forge_discussions;
mod forge_issues;
mod forge_pulls;
mod forge_repositories;
mod forge_variables;
mod holder;
mod lease;
mod logs;
mod migrate;
mod model_calls;
mod pass;
mod pass_forge;
mod people;
mod reports;
mod retention;
mod rows;
mod runs;
mod tool_calls;
mod triggers;
mod wake;

use std::{str::FromStr, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub use api::{ApiStore, FactInserted, RunAccess};
pub use api_reads::{Explanation, RunFilter};
pub use approvals::{ApprovalStep, NewDecision};
pub use config::{AcceptedConfig, RefusedConfig};
pub use edge::{Edge, EdgeWatch, Edges};
pub use effects::{EffectDone, EffectFailed, EffectIntent};
pub use error::StoreError;
pub use forge_discussions::CommentSeries;
pub use forge_repositories::{MirrorWritten, NewBinding};
pub use holder::HolderTx;
pub use lease::{LeaseGrant, LeaseMark, LeaseRow};
pub use logs::LogChunk;
pub use migrate::{ApiRole, migrate};
pub use model_calls::{ModelUse, NewModelCall, TokensUsed};
pub use people::{Member, ProjectMembers};
pub use retention::{Expired, Kept};
pub use runs::{Change, RunChanges, Transition};
pub use tool_calls::{NewToolCall, ToolCall};
pub use wake::{Notice, WakeStream};

use crate::domain::Timestamp;

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The address, with login and password; never logged.
    pub url: secrecy::SecretString,
    /// The most connections to hold.
    pub max_connections: u32,
    /// A statement that takes longer is broken off. Below a third of the lease.
    pub statement_timeout: Duration,
    /// A transaction idle for longer is broken off. Below a third of the lease.
    pub idle_in_tx_timeout: Duration,
    /// What `pg_stat_activity` shows.
    pub application_name: String,
}

impl StoreSettings {
    /// Settings with production's limits for an address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into().into(),
            max_connections: 10,
            statement_timeout: Duration::from_secs(15),
            idle_in_tx_timeout: Duration::from_secs(15),
            application_name: "codex-k8s".to_owned(),
        }
    }

    async fn pool(&self) -> Result<PgPool, StoreError> {
        use secrecy::ExposeSecret;
        let options = PgConnectOptions::from_str(self.url.expose_secret())
            .map_err(|_| StoreError::Address)?
            .application_name(&self.application_name)
            .options([
                ("statement_timeout", millis(self.statement_timeout)),
                (
                    "idle_in_transaction_session_timeout",
                    millis(self.idle_in_tx_timeout),
                ),
            ]);
        Ok(PgPoolOptions::new()
            .max_connections(self.max_connections)
            .acquire_timeout(self.statement_timeout)
            .connect_with(options)
            .await?)
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// The store as the reconciler uses it.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    edges: Edges,
}

impl Store {
    /// Connects; fails where no connection can be had.
    pub async fn connect(settings: &StoreSettings) -> Result<Self, StoreError> {
        Ok(Self {
            pool: settings.pool().await?,
            edges: Edges::default(),
        })
    }

    /// The same store with its edges, and those of what is applied through it, watched.
    #[must_use]
    pub fn watched(mut self, edges: Edges) -> Self {
        self.edges = edges;
        self
    }

    /// Who watches the edges.
    pub fn edges(&self) -> &Edges {
        &self.edges
    }

    /// The platform's time.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        let now = sqlx::query_scalar!(r#"select platform_now() as "now!""#)
            .fetch_one(&self.pool)
            .await?;
        Ok(now)
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
