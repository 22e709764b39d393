//! Labels are unique whatever their case, and none is both read and written.

use std::collections::BTreeMap;

use crate::desired::{
    load::{
        error::{Code, ConfigError},
        objects::Objects,
    },
    model::{LabelMeaning, desired::without_brackets},
};

/// Labels met so far, by their bare folded name: what they mean and where they stand.
type Seen = BTreeMap<String, (LabelMeaning, String)>;

pub(super) fn check(objects: &Objects, errors: &mut Vec<ConfigError>) {
    let mut seen = Seen::new();
    if let Some(catalogue) = objects.catalogues.first() {
        for (name, meaning, place) in catalogue.spec.entries() {
            let mut path = vec!["spec"];
            path.extend(place.iter().map(String::as_str));
            let at = catalogue.error(&path, Code::DuplicateName, "");
            errors.extend(meet(&mut seen, name.as_str(), meaning, at));
        }
    }
    if let Some(platform) = objects.platforms.first() {
        let models = &platform.spec.models;
        for (index, model) in models.catalogue.iter().enumerate() {
            let Some(label) = &model.label else { continue };
            let path = ["spec", "models", "catalogue", &index.to_string(), "label"];
            let at = platform.error(&path, Code::DuplicateName, "");
            errors.extend(meet(
                &mut seen,
                label.as_str(),
                LabelMeaning::Model(model.id.clone()),
                at,
            ));
        }
        for (index, entry) in models.reasoning.iter().enumerate() {
            let path = ["spec", "models", "reasoning", &index.to_string(), "label"];
            let at = platform.error(&path, Code::DuplicateName, "");
            errors.extend(meet(
                &mut seen,
                entry.label.as_str(),
                LabelMeaning::Reasoning(entry.effort),
                at,
            ));
        }
    }
    for project in &objects.projects {
        let Some(label) = &project.spec.priority_label else {
            continue;
        };
        let at = project.error(&["spec", "priorityLabel"], Code::DuplicateName, "");
        // Projects may share a priority label with each other, not with anything else.
        errors.extend(meet(
            &mut seen.clone(),
            label.as_str(),
            LabelMeaning::Priority,
            at,
        ));
    }
}

fn meet(
    seen: &mut Seen,
    name: &str,
    meaning: LabelMeaning,
    at: ConfigError,
) -> Option<ConfigError> {
    let folded = name.trim().to_lowercase();
    let bare = without_brackets(&folded).to_owned();
    let place = format!("{}:{}", at.file, at.line);
    let Some((first, first_place)) = seen.get(&bare) else {
        seen.insert(bare, (meaning, place));
        return None;
    };
    if first.is_output() == meaning.is_output() {
        let message = format!(
            "label `{name}` is already given at {first_place}; case and brackets do not count"
        );
        return Some(ConfigError { message, ..at });
    }
    let message = format!(
        "label `{name}` is read as input and written as output (the other use is at {first_place}); the two sets are disjoint"
    );
    Some(ConfigError {
        code: Code::LabelsNotDisjoint,
        message,
        ..at
    })
}
