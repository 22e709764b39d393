//! codex-k8s: a GitOps-driven pull reconciler for AI coding agents.

pub mod agent;
pub mod api;
pub mod apply;
pub mod cli;
pub mod cluster;
pub mod desired;
pub mod domain;
pub mod forge;
pub mod git;
pub mod observed;
pub mod plan;
pub mod prompts;
pub mod reconcile;
pub mod sandbox;
pub mod settings;
pub mod store;
pub mod telemetry;

/// A pass makes and drops very many small things. It stands here and not in the program, so that
/// benchmarks measure with it, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
