//! The command line: one file a subcommand.

pub mod migrate;
pub mod schema;
pub mod validate;
