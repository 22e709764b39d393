//! Desired state: what one commit of the config repo says.

pub mod load;
pub mod model;
pub mod source;
