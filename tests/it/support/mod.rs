//! What the integration tests of several rooms share.

pub(crate) mod postgres;
