//! Integration tests.
mod desired;

mod github_model;
