//! Several `serve` on one database, and what becomes of them: killed, frozen, cut off, told to
//! stop. One of them writes at a time, and the end is that of one undisturbed.
//!
//! Witnesses are the models: each request carries the name of its sender, and each is held against
//! the terms of the lease as a trigger in the database kept them.

mod cast;
mod database;
mod handover;
mod link;
mod lost;
mod postgres;
mod seeds;
mod stop;
