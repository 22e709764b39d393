//! Observed state: what was read of forge and cluster, and how sure we are.

pub mod forge;
pub mod model;
