//! Integration tests.

#![cfg(test)]

mod agent;
mod api;
mod apply;
mod cli;
mod cluster;
mod desired;
mod docs;
mod forge;
mod github_model;
mod kube;
mod plan;
mod reconcile;
mod sandbox;
mod serve;
mod store;
mod support;
mod tidy;
mod world;
