//! The Kubernetes adapter against an API server: the model, and the real one that
//! is up beside the tests.

mod cases;
mod faults;
mod pods;
mod server;
mod sets;
mod support;
