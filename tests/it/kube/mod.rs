//! The Kubernetes adapter against an API server: the model, or a real one
//! where `CODEXK8S_TEST_KUBECONFIG` names a kubeconfig file.

mod faults;
mod pods;
mod server;
mod sets;
mod support;
