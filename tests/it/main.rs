//! Integration tests.
mod desired;
mod github_model;
mod kube;
