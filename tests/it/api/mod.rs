//! The listeners over HTTP, with real Git.

mod push;
mod run;
mod staff;
pub(crate) mod world;
