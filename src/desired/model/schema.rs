//! JSON Schemas of the kinds, generated from the types.
//!
//! One schema for each kind, and one that accepts a document of any kind. A
//! schema describes a whole document with its envelope; what a schema cannot
//! say (references, limits, label sets) is checked when a commit is loaded.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    agent::AgentSpec,
    approval::ApprovalPolicySpec,
    kind::{API_VERSION, Kind, Metadata},
    labels::LabelCatalogSpec,
    platform::PlatformSpec,
    policy::AgentPolicySpec,
    project::ProjectSpec,
    repository::RepositorySpec,
    schedule::ScheduleSpec,
    stage::StageModelSpec,
    template::PromptTemplateSpec,
};
use crate::domain::agent_cli::AgentCli;

/// The dialect of all schemas here.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a document of one kind.
pub fn document_schema(kind: Kind) -> Value {
    let mut definitions = Map::new();
    let document = envelope(kind, &mut definitions);
    root(document, definitions)
}

/// The schema of a document of any kind.
pub fn any_document_schema() -> Value {
    let mut definitions = Map::new();
    let documents: Vec<Value> = Kind::ALL
        .iter()
        .map(|kind| envelope(*kind, &mut definitions))
        .collect();
    let document = json!({
        "title": "codex-k8s document",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": { "kind": { "enum": Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>() } },
        "oneOf": documents,
    });
    root(document, definitions)
}

fn root(document: Value, definitions: Map<String, Value>) -> Value {
    let mut root = Map::new();
    root.insert("$schema".to_owned(), DIALECT.into());
    if let Value::Object(fields) = document {
        root.extend(fields);
    }
    root.insert("$defs".to_owned(), Value::Object(definitions));
    Value::Object(root)
}

/// A document of one kind, whose spec's definitions are added to `definitions`.
fn envelope(kind: Kind, definitions: &mut Map<String, Value>) -> Value {
    let mut spec = spec_schema(kind);
    let description = spec.get("description").cloned().unwrap_or_default();
    collect_definitions(&mut spec, definitions);
    let mut metadata = schema_of::<Metadata>();
    collect_definitions(&mut metadata, definitions);
    json!({
        "title": kind.name(),
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": { "const": API_VERSION },
            "kind": { "const": kind.name() },
            "metadata": metadata,
            "spec": spec,
        },
    })
}

/// Moves a schema's own definitions into the common ones.
///
/// Names are those of Rust types, unique in this module's tree, so that a
/// definition met twice is the same one.
fn collect_definitions(schema: &mut Value, definitions: &mut Map<String, Value>) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    fields.remove("$schema");
    if let Some(Value::Object(own)) = fields.remove("$defs") {
        definitions.extend(own);
    }
}

fn spec_schema(kind: Kind) -> Value {
    match kind {
        Kind::Platform => schema_of::<PlatformSpec>(),
        Kind::LabelCatalog => schema_of::<LabelCatalogSpec>(),
        Kind::StageModel => schema_of::<StageModelSpec>(),
        Kind::Agent => schema_of::<AgentSpec>(),
        Kind::AgentCli => schema_of::<AgentCli>(),
        Kind::AgentPolicy => schema_of::<AgentPolicySpec>(),
        Kind::ApprovalPolicy => schema_of::<ApprovalPolicySpec>(),
        Kind::Project => schema_of::<ProjectSpec>(),
        Kind::Repository => schema_of::<RepositorySpec>(),
        Kind::Schedule => schema_of::<ScheduleSpec>(),
        Kind::PromptTemplate => schema_of::<PromptTemplateSpec>(),
    }
}

fn schema_of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_of_a_schema_resolves() {
        for kind in Kind::ALL {
            let schema = document_schema(*kind);
            let text = schema.to_string();
            for name in text.split("\"#/$defs/").skip(1) {
                let name = name.split('"').next().unwrap();
                assert!(schema["$defs"].get(name).is_some(), "{kind}: {name}");
            }
        }
    }

    #[test]
    fn every_kind_has_a_description() {
        for kind in Kind::ALL {
            assert!(document_schema(*kind)["description"].is_string(), "{kind}");
        }
    }
}
