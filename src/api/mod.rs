//! HTTP: three listeners that read rows, insert facts and wake the reconciler.
//!
//! ```text
//!  pods ──────────► run.listen   run API: facts, heartbeats, logs, session, Git, result
//!  people, GitHub ► api.listen   staff API, webhook (wakes only)
//!  Prometheus ────► ops.listen   health, readiness, metrics
//! ```
//!
//! Nothing here decides: what a pod says is stored as a fact and the lease
//! holder's fold judges it. Nothing here writes to forge or cluster; Git is read
//! from the forge with a credential that only reads.

mod approvals;
mod body;
mod error;
mod forge_git;
pub mod git;
pub mod mcp;
mod metrics;
pub mod models;
mod ops;
pub mod port;
mod rows;
pub mod run;
mod secret;
mod serve;
mod staff;
mod webhook;

pub use approvals::ApprovalView;
pub use error::{ApiError, ApiResult};
pub use forge_git::ForgeGit;
pub use metrics::ApiMetrics;
pub use models::{ModelCallRecord, ModelKeys, TokensUsed};
pub use ops::{OpsContext, ops_router};
pub use run::{RunApi, RunApiParts, RunApiSettings, run_router};
pub use serve::serve;
pub use staff::{Items, Logs, RunView, StaffContext, staff_router};
