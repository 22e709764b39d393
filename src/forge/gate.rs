//! The gate every changing request passes right before it is sent.
//!
//! It knows nothing of leases: the holder of one implements it. Nothing in
//! this room opens or closes it.

use std::fmt;

/// Permission to change the forge, asked right before each changing request.
pub trait WriteGate: Send + Sync + fmt::Debug {
    /// Answers whether a changing request may leave now, or why not, for people.
    fn may_write(&self) -> Result<(), String>;
}

/// A gate that is always open: for tests and for commands that only read.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenGate;

impl WriteGate for OpenGate {
    fn may_write(&self) -> Result<(), String> {
        Ok(())
    }
}
