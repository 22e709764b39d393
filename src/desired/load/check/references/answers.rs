//! What stages ask of answers can be told from what every answer has, and from each other.

use std::collections::BTreeSet;

use crate::{
    desired::{
        load::{
            document::Document,
            error::{Code, ConfigError},
        },
        model::{StageModelSpec, StageSpec},
    },
    domain::answer::COMMON_PARTS,
};

/// A name is shown in prompts and stored with each run.
const LONGEST_NAME: usize = 40;

pub(super) fn check(
    model: &Document<StageModelSpec>,
    stage_index: &str,
    stage: &StageSpec,
    errors: &mut Vec<ConfigError>,
) {
    let mut seen = BTreeSet::new();
    for (index, part) in stage.answer.iter().enumerate() {
        let index = index.to_string();
        let path = ["spec", "stages", stage_index, "answer", &index, "name"];
        let name = part.name.as_str();
        if !is_name(name) {
            let message = format!(
                "`{name}` is no name such as `actionItems`: a small letter, then letters and digits, {LONGEST_NAME} at most"
            );
            errors.push(model.error(&path, Code::InvalidValue, message));
        } else if COMMON_PARTS.contains(&name) {
            let message = format!("`{name}` is a part of every answer");
            errors.push(model.error(&path, Code::DuplicateName, message));
        } else if !seen.insert(name) {
            let message = format!("stage `{}` asks for `{name}` twice", stage.kind);
            errors.push(model.error(&path, Code::DuplicateName, message));
        }
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}
