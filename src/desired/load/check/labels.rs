//! Labels are unique whatever their case, and none is both read and written.

use std::collections::BTreeMap;

use crate::{
    desired::{
        load::{
            document::Document,
            error::{Code, ConfigError},
            objects::Objects,
        },
        model::{LabelCatalogSpec, LabelMeaning, desired::without_brackets},
    },
    domain::ids::LabelName,
};

/// Labels met so far, by their bare folded name: what they mean and where they stand.
type Seen = BTreeMap<String, (LabelMeaning, String)>;

pub(super) fn check(objects: &Objects, errors: &mut Vec<ConfigError>) {
    let mut seen = Seen::new();
    if let Some(catalogue) = objects.catalogues.first() {
        for (name, meaning, place) in catalogue.spec.entries() {
            let mut path = vec!["spec"];
            let place = place.path();
            path.extend(place.iter().map(String::as_str));
            let at = catalogue.error(&path, Code::DuplicateName, "");
            errors.extend(meet(&mut seen, name.as_str(), meaning, at));
        }
        describe(catalogue, errors);
        publish(catalogue, errors);
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

/// Every label that becomes a repository variable has a name of its own there.
fn publish(catalogue: &Document<LabelCatalogSpec>, errors: &mut Vec<ConfigError>) {
    let mut met: BTreeMap<String, &LabelName> = BTreeMap::new();
    for (variable, label, place) in catalogue.spec.variables() {
        let mut path = vec!["spec"];
        let place = place.path();
        path.extend(place.iter().map(String::as_str));
        if let Some(first) = met.get(&variable) {
            let message = format!(
                "labels `{first}` and `{label}` would be one repository variable, {variable}"
            );
            errors.push(catalogue.error(&path, Code::DuplicateName, message));
        } else {
            met.insert(variable, label);
        }
    }
}

/// What the forge takes as a label's description, in characters.
const LONGEST_DESCRIPTION: usize = 100;

/// Descriptions by locale: short enough for the forge, and one for each language.
fn describe(catalogue: &Document<LabelCatalogSpec>, errors: &mut Vec<ConfigError>) {
    for (name, descriptions, place) in catalogue.spec.descriptions() {
        let mut met = BTreeMap::new();
        for (locale, text) in descriptions {
            let mut path = vec!["spec"];
            path.extend(place.iter().map(String::as_str));
            path.push(locale.as_str());
            let length = text.chars().count();
            if length > LONGEST_DESCRIPTION {
                let message = format!(
                    "label `{name}`: its description in `{locale}` has {length} characters, the forge takes {LONGEST_DESCRIPTION}"
                );
                errors.push(catalogue.error(&path, Code::InvalidValue, message));
            }
            if let Some(first) = met.insert(locale.as_str().to_lowercase(), locale) {
                let message = format!(
                    "label `{name}`: `{locale}` and `{first}` are one locale; case does not count"
                );
                errors.push(catalogue.error(&path, Code::DuplicateName, message));
            }
        }
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
