//! Integration tests.
mod desired;
