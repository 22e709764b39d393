//! What `manifests/` installs: read as files, and taken by a real API server.

pub(crate) mod admission;
mod evaluate;
mod files;
mod installed;
mod marks;
mod network;
mod rights;
pub(crate) mod support;
