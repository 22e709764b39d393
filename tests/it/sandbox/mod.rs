//! The sandbox's world, and the platform's promises kept in it.

mod agents;
mod asks;
mod crash;
pub(crate) mod hostile;
mod killed;
mod path;
mod real;
mod replicas;
mod restore;
mod settled;
mod stage;
mod world;
