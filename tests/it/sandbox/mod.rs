//! The sandbox's world, and the platform's promises kept in it.

mod world;
