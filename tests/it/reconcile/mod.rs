//! What the loop rests on: the config in force and the lease, against a real store.

mod config;
mod expiry;
mod lease;
