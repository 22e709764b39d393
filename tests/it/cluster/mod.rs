//! What `manifests/` installs: read as files, and taken by a real API server.

mod admission;
mod files;
mod installed;
mod marks;
mod rights;
mod support;
