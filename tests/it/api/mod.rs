//! The listeners over HTTP, with real Git.

mod approvals;
mod logs;
mod mcp;
mod models;
mod push;
mod run;
mod staff;
pub(crate) mod world;
