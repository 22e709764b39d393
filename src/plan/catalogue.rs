//! What the catalogue wants to stand in a repository: its labels, the project's own, and the
//! variables that name them to the repository's own workflows.

use crate::{
    desired::model::Desired,
    domain::{
        forge::{LabelRecord, VariableRecord},
        ids::{LabelName, ProjectKey},
    },
};

/// The colour of a label of which the config says only the name.
const COLOUR: &str = "1f6feb";

/// A label as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WantedLabel<'a> {
    /// Its name.
    pub(super) name: &'a LabelName,
    colour: &'a str,
    /// In the project's language.
    description: &'a str,
    /// Whether the config says how it looks: only then it is put right.
    pub(super) looks: bool,
}

impl WantedLabel<'_> {
    /// As it stands in a repository when it is right.
    pub(super) fn record(&self) -> LabelRecord {
        LabelRecord {
            name: self.name.clone(),
            colour: self.colour.to_owned(),
            description: self.description.to_owned(),
        }
    }

    /// Whether what stands in the repository under this name has to be put right.
    pub(super) fn differs(&self, found: &LabelRecord) -> bool {
        self.looks
            && (!found.colour.eq_ignore_ascii_case(self.colour)
                || found.description.trim() != self.description)
    }
}

/// Every label that a project's repositories get: the triggers first, since without them
/// nothing can start.
pub(super) fn labels<'a>(desired: &'a Desired, project: &ProjectKey) -> Vec<WantedLabel<'a>> {
    let catalogue = &desired.labels;
    let locale = desired.locale(project);
    let described = |name: &'a LabelName, colour: &'a str, description: &'a str| WantedLabel {
        name,
        colour,
        description: description.trim(),
        looks: true,
    };
    let triggers = catalogue.triggers.iter();
    let triggers = triggers.map(|it| described(&it.name, &it.colour, it.description_in(locale)));
    let plain = catalogue.plain();
    let plain = plain.map(|(it, ..)| described(&it.name, &it.colour, it.description_in(locale)));
    let own = desired.project(project);
    let own = own.and_then(|project| project.spec.priority_label.as_ref());
    let own = own.map(|name| WantedLabel {
        name,
        colour: COLOUR,
        description: "",
        looks: false,
    });
    triggers.chain(plain).chain(own).collect()
}

/// Every variable that a project's repositories get.
pub(super) fn variables(desired: &Desired) -> Vec<VariableRecord> {
    let named = desired.labels.variables().into_iter();
    named
        .map(|(name, label, _)| VariableRecord {
            name,
            value: label.as_str().to_owned(),
        })
        .collect()
}
