//! What a commit declares, by name alone.
//!
//! It needs no valid documents, so that two commits can be compared even when
//! one of them has errors or was written for another version.

use std::{collections::BTreeSet, fmt};

use super::{
    document::{self, Scope},
    files::SourceFiles,
};
use crate::desired::model::{Kind, ObjectName};

/// One declared document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InventoryItem {
    /// Its kind.
    pub kind: Kind,
    /// The project whose folder it stands in, if any.
    pub project: Option<String>,
    /// Its name.
    pub name: ObjectName,
}

impl fmt::Display for InventoryItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.project {
            Some(project) if self.kind != Kind::Project => {
                write!(f, "{} {project}/{}", self.kind, self.name)
            }
            _ => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// All documents that a commit declares.
pub fn inventory(files: &SourceFiles) -> BTreeSet<InventoryItem> {
    let item = |kind, scope: Scope, name| InventoryItem {
        kind,
        project: match scope {
            Scope::Project(key) if kind != Kind::Project => Some(key.as_str().to_owned()),
            _ => None,
        },
        name,
    };
    let mut items = BTreeSet::new();
    for file in &files.files {
        let parsed = document::parse(file);
        items.extend(
            parsed
                .good
                .into_iter()
                .map(|raw| item(raw.kind, raw.scope, raw.name)),
        );
        items.extend(
            parsed
                .broken
                .into_iter()
                .map(|(kind, scope, name)| item(kind, scope, name)),
        );
    }
    items
}
