//! The forge port and its providers.
//!
//! [`Forge`] is what the platform asks of a forge: reads for the mirror,
//! idempotent or keyed writes for the effects, look-ups by natural key.
//! [`github`] speaks it against GitHub.com or GitHub Enterprise Server.
//!
//! Deliberately absent: retries (the next poll or the effects ledger), any
//! decision about what to read or write, and knowledge of leases beyond the
//! [`WriteGate`].

/// The repository variable that names the owning installation.
pub const OWNER_VARIABLE: &str = "CODEXK8S_INSTALLATION";

pub mod error;
pub mod gate;
pub mod github;
pub mod metrics;
pub mod port;
pub mod push;

pub use error::{ForgeError, ForgeErrorKind};
pub use gate::{OpenGate, WriteGate};
pub use metrics::{BudgetLeft, BudgetWindow, ForgeMetrics, ForgeMetricsSnapshot, Purpose};
pub use port::{
    Account, CommentFilter, Detection, EventsQuery, EventsRead, Forge, ForgeResult, GitCredentials,
    HotSubject, MovedQuery, MovedRead, NewPull, PullEdit, PullFilter, RepositoryRef, SincePage,
    SubjectRead,
};
pub use push::{PushOutcome, PushRef};
