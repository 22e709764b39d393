//! What the catalogue wants to stand in a repository: its labels, those that choose models, and
//! the variables that name them to the repository's own workflows.

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
pub(super) struct WantedLabel {
    /// Name, colour, and the description in the project's language.
    pub(super) label: LabelRecord,
    /// Whether the config says how it looks: only then it is put right.
    pub(super) looks: bool,
}

impl WantedLabel {
    /// Whether what stands in the repository under this name has to be put right.
    pub(super) fn differs(&self, found: &LabelRecord) -> bool {
        self.looks
            && (!found.colour.eq_ignore_ascii_case(&self.label.colour)
                || found.description.trim() != self.label.description)
    }
}

/// Every label that a project's repositories get: the triggers first, since without them
/// nothing can start.
pub(super) fn labels(desired: &Desired, project: &ProjectKey) -> Vec<WantedLabel> {
    let catalogue = &desired.labels;
    let locale = desired.locale(project);
    let described = |name: &LabelName, colour: &str, description: &str| WantedLabel {
        label: LabelRecord {
            name: name.clone(),
            colour: colour.to_owned(),
            description: description.trim().to_owned(),
        },
        looks: true,
    };
    let triggers = catalogue
        .triggers
        .iter()
        .map(|label| described(&label.name, &label.colour, label.description_in(locale)));
    let single = catalogue
        .state
        .iter()
        .map(|(_, label)| label)
        .chain(catalogue.need.values())
        .chain([&catalogue.debug])
        .chain(&catalogue.discussion)
        .chain(&catalogue.priority)
        .map(|label| described(&label.name, &label.colour, label.description_in(locale)));
    let models = &desired.platform.models;
    let choices = models
        .catalogue
        .iter()
        .filter_map(|model| model.label.as_ref())
        .chain(models.reasoning.iter().map(|reasoning| &reasoning.label));
    let bare = choices.map(|name| WantedLabel {
        label: LabelRecord {
            name: name.clone(),
            colour: COLOUR.to_owned(),
            description: String::new(),
        },
        looks: false,
    });
    triggers.chain(single).chain(bare).collect()
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
