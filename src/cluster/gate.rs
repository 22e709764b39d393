//! The gate every changing request passes right before it is sent.
//!
//! It knows nothing of leases: the holder of one implements it. Inside the
//! cluster room nothing opens or closes it.

use std::fmt;

use thiserror::Error;

/// Why a changing request was not sent. It is certain that nothing left us.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not sent: {reason}")]
pub struct NotSent {
    /// What closed the gate, for people: "the lease ends in 9 s".
    pub reason: String,
}

/// Permission to change the world, asked right before each changing request.
pub trait WriteGate: Send + Sync + fmt::Debug {
    /// Answers whether a changing request may leave now.
    fn may_write(&self) -> Result<(), NotSent>;
}

/// A gate that is always open: for tests and for commands that only read.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenGate;

impl WriteGate for OpenGate {
    fn may_write(&self) -> Result<(), NotSent> {
        Ok(())
    }
}
