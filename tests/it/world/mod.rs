//! The stepped world: the whole loop with real Postgres, driven one step at a time.
//!
//! ```text
//!  Outside ─┬─ Postgres, GitHub model, Kubernetes model, config repo, run API
//!           └─ pods: scripted agents that speak the run API
//!  Platform ── one process, from the real parts; dropped whole by a crash
//!  World ───── people's script, seeded choice of steps, clock, crash points
//! ```
//!
//! One step is one poll, one pass, one move of a pod, of people or of the clock.
//! A seed decides the order; a failure prints the seed, the steps so far and the
//! command that plays it again. Whatever the order and wherever the platform
//! crashes, a scenario ends as its undisturbed run does.

mod approvals;
mod chance;
mod crash;
mod driver;
mod edges;
mod end;
mod faults;
mod invariants;
mod level;
mod outside;
pub(crate) mod page;
mod people;
mod platform;
mod pods;
mod replicas;
mod restores;
mod scenario;
mod scenarios;
mod seeds;
mod steps;
mod wire;
