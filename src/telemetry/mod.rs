//! Metrics and logs.
//!
//! Metrics are one struct per subsystem, registered once; log lines go to
//! standard error, as JSON or for people. Nothing here decides anything.
//!
//! Invariants: no metric has a label whose values grow with issues, runs or
//! people; no secret reaches a metric or a line (secrets are types that print
//! as nothing, and a test holds what the lines look like).

pub mod logs;
pub mod metrics;

pub use metrics::Metrics;
