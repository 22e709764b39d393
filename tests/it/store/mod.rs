//! The store against a real Postgres.

mod api;
pub(crate) mod approvals;
mod effects;
pub(crate) mod fixtures;
mod lease;
mod migrations;
mod mirror;
mod model_calls;
mod pass;
mod private_postgres;
mod reports;
mod retention;
mod runs;
