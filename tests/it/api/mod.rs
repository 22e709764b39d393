//! The listeners over HTTP, with real Git.

mod approvals;
mod push;
mod run;
mod staff;
pub(crate) mod world;
