//! Why the store did not do what it was asked, in kinds that callers act on.

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The lease is held by someone else or has run out: stop writing.
    #[error("the lease is lost")]
    LeaseLost,
    /// The row is not as expected any more, or an invariant's index forbids it: plan again.
    #[error("conflict: {what}")]
    Conflict {
        /// The row or the index.
        what: String,
    },
    /// There is no such row.
    #[error("{what} is not found")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The database cannot be reached, is shutting down or too slow: try again later.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// A rule of the schema forbids the row: a defect of the caller.
    #[error("the database refuses the row by `{constraint}`")]
    Constraint {
        /// The constraint.
        constraint: String,
        /// The database's error.
        #[source]
        source: sqlx::Error,
    },
    /// The login may not do this.
    #[error("the database login lacks the right")]
    Forbidden(#[source] sqlx::Error),
    /// The database's address is not valid.
    #[error("the database address is not valid")]
    Address,
    /// A migration failed.
    #[error("the schema cannot be migrated")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Anything else.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    pub(super) fn conflict(what: impl std::fmt::Display) -> Self {
        Self::Conflict {
            what: what.to_string(),
        }
    }

    pub(super) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::NotFound {
            what: what.to_string(),
        }
    }

    /// Whether another try later may help without anything else changing.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(db) => {
                let constraint = db.constraint().unwrap_or_default().to_owned();
                match db.code().as_deref().unwrap_or_default() {
                    "23505" => Self::conflict(constraint),
                    "40001" | "40P01" => Self::conflict("concurrent transactions"),
                    "42501" => Self::Forbidden(error),
                    code if code.starts_with("23") => Self::Constraint {
                        constraint,
                        source: error,
                    },
                    // Connection lost, shutting down, too many connections, broken off by a limit, or
                    // read-only: a standby, or a primary whose disk is full.
                    code if code.starts_with("08")
                        || code.starts_with("57")
                        || code.starts_with("53")
                        || matches!(code, "25P03" | "25006") =>
                    {
                        Self::Unavailable(error)
                    }
                    _ => Self::Database(error),
                }
            }
            _ => Self::Database(error),
        }
    }
}
