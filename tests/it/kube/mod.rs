//! The Kubernetes adapter against an API server: the model, and the real one that
//! is up beside the tests.

mod cases;
mod faults;
mod fields;
mod limits;
mod pages;
mod pod_cases;
mod pods;
mod restart;
mod server;
mod sets;
mod support;
