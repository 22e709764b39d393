//! Prompts: rendering an agent's prompt from a template.

pub mod render;
