//! Integration tests.
#![expect(clippy::unwrap_used, reason = "what a test does not expect ends it")]

mod desired;
mod docs;
mod github_model;
mod kube;
