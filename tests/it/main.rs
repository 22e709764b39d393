//! Integration tests.
mod desired;
mod docs;
mod github_model;
mod kube;
