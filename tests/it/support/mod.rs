//! What the integration tests of several rooms share.

pub(crate) mod agents;
pub(crate) mod answers;
pub(crate) mod cluster;
pub(crate) mod example;
pub(crate) mod no_cluster;
pub(crate) mod postgres;
pub(crate) mod restore;
