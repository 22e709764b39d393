//! The sandbox's world, and the platform's promises kept in it.

mod crash;
mod path;
mod real;
mod replicas;
mod settled;
mod stage;
mod world;
