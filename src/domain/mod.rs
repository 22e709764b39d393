//! The vocabulary of the platform: identities, what a forge says, triggers and
//! their fold, runs and their transition table, effects, facts, messages.
//!
//! Everything here is pure data and pure functions; every other room may use
//! it and it uses none of them. Time enters as a value ([`Timestamp`]), never
//! by asking a clock.

pub mod agent_cli;
pub mod answer;
pub mod approval;
pub mod effect;
pub mod event;
pub mod fact;
pub mod fold;
pub mod forge;
pub mod ids;
pub mod launch;
pub mod marker;
pub mod messages;
pub mod mirror;
pub mod model_route;
pub mod redact;
pub mod report;
pub mod run;
pub mod run_api;
pub mod run_keys;
pub mod run_token;
pub mod snapshot;
pub mod tools;
pub mod trigger;

/// A moment, in UTC. Which clock it comes from is said by the field that holds it:
/// the database's (`now`, deadlines) or the forge's (`created_at` of forge records).
pub type Timestamp = chrono::DateTime<chrono::Utc>;
