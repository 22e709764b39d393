//! What a schema cannot say: references, label sets, limits, guardrails, templates.
//!
//! Every check looks at all documents and adds to one list; none depends on
//! another having passed.

mod guardrails;
mod labels;
mod limits;
mod policies;
mod references;
mod templates;

use super::{error::ConfigError, objects::Objects};

/// All errors between documents.
pub(crate) fn check(objects: &Objects) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    references::check(objects, &mut errors);
    labels::check(objects, &mut errors);
    limits::check(objects, &mut errors);
    policies::check(objects, &mut errors);
    guardrails::check(objects, &mut errors);
    templates::check(objects, &mut errors);
    errors
}
