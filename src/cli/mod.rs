//! The command line: one file a subcommand.

pub mod agent;
pub mod migrate;
pub mod sandbox_agent;
pub mod schema;
pub mod validate;
