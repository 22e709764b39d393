//! Integration tests.

#![cfg(test)]

mod agent;
mod api;
mod desired;
mod docs;
mod forge;
mod github_model;
mod kube;
mod plan;
mod sandbox;
mod store;
mod support;
mod tidy;
