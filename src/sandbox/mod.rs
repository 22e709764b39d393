//! The embedded world: a GitHub model, a Kubernetes model, a private Postgres.

pub mod agent;
pub mod github;
mod given_cluster;
pub mod kubernetes;
pub mod models;
pub mod postgres;
pub mod seed;
pub mod timeline;
pub mod world;
