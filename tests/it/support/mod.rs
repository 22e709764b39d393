//! What the integration tests of several rooms share.

pub mod postgres;
