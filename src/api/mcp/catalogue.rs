//! The tools as agents are shown them: names, descriptions, and what they take.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::tools::ToolName;

/// Of one issue or pull request.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListArguments {
    /// The number of the run's issue or pull request; the issue when absent.
    pub(super) issue_number: Option<i64>,
}

/// Labels to put on, or to take off.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelsArguments {
    /// The number of the run's issue or pull request; the issue when absent.
    pub(super) issue_number: Option<i64>,
    /// Names of labels.
    #[schemars(length(min = 1, max = 20))]
    pub(super) labels: Vec<String>,
}

/// Labels to take off and labels to put on.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TransitionArguments {
    /// The number of the run's issue or pull request; the issue when absent.
    pub(super) issue_number: Option<i64>,
    /// Names of labels to take off.
    #[serde(default)]
    pub(super) remove_labels: Vec<String>,
    /// Names of labels to put on.
    #[serde(default)]
    pub(super) add_labels: Vec<String>,
}

/// What to wait for.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitArguments {
    /// The label that was asked for.
    #[schemars(length(min = 1))]
    pub(super) label: String,
}

/// What an agent is told of a tool.
pub(super) fn definition(tool: ToolName) -> Tool {
    let (description, schema, annotations) = match tool {
        ToolName::LabelsList => (
            "Lists the labels of the issue or pull request that you work on, as last read from \
             the forge.",
            schema::<ListArguments>(),
            ToolAnnotations::new().read_only(true),
        ),
        ToolName::LabelsAdd => (
            "Puts labels on. A label that asks for work becomes a request that people decide; \
             wait for the answer with request_wait, or go on without it.",
            schema::<LabelsArguments>(),
            ToolAnnotations::new().destructive(false).idempotent(true),
        ),
        ToolName::LabelsRemove => (
            "Takes labels off.",
            schema::<LabelsArguments>(),
            ToolAnnotations::new().idempotent(true),
        ),
        ToolName::LabelsTransition => (
            "Takes some labels off and puts others on, as one change.",
            schema::<TransitionArguments>(),
            ToolAnnotations::new().idempotent(true),
        ),
        ToolName::RequestWait => (
            "Waits until people have decided on a label that you asked for. Your time stands \
             still meanwhile. Where it takes long you are told to end your work: end it then \
             without the answer that your task asks for. You are started again with what \
             people decided, and the conversation goes on.",
            schema::<WaitArguments>(),
            ToolAnnotations::new().read_only(true),
        ),
    };
    let name: &'static str = tool.into();
    Tool::new(name, description, schema).with_annotations(annotations)
}

/// The JSON Schema of arguments: one object without references, which is what models read best.
fn schema<T: JsonSchema>() -> Arc<JsonObject> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = SchemaGenerator::new(settings).into_root_schema_for::<T>();
    match schema.to_value() {
        Value::Object(object) => Arc::new(object),
        _ => Arc::default(),
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn every_tool_says_what_it_does_and_takes_an_object() {
        for tool in ToolName::iter() {
            let definition = definition(tool);
            assert_eq!(definition.name, tool.to_string());
            assert!(definition.description.is_some_and(|text| text.len() > 15));
            assert_eq!(definition.input_schema["type"], "object", "{tool}");
        }
    }
}
