//! The configuration reference, written from the schemas.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    kind::{API_VERSION, Kind, LATER_KINDS},
    schema::document_schema,
};

/// The text of `docs/reference/config.md`.
pub fn config_page() -> String {
    let mut text = format!(
        "# Configuration\n\n\
         This page is generated from the types in `src/desired/model`; a test keeps the two equal.\n\n\
         A config repo holds YAML documents, one or more to a file, and Markdown files with front matter.\n\
         Every document has `apiVersion: {API_VERSION}`, a `kind`, a `metadata.name` and a `spec`.\n\
         Names are lower-case letters, digits and inner dashes, and unique inside their kind and folder.\n\
         Unknown fields are errors.\n\
         Documents below `projects/KEY/` belong to the project `KEY`; there they may narrow what the platform allows, never widen it.\n\
         Hidden files and folders are not read, and symbolic links are not followed.\n\n\
         Check a folder with `codex-k8s validate PATH`; print a schema for an editor with `codex-k8s schema`.\n\n\
         These kinds come with a later version and are refused until then: {}.\n",
        LATER_KINDS.map(|kind| format!("`{kind}`")).join(", ")
    );
    for kind in Kind::ALL {
        kind_section(*kind, &mut text);
    }
    text
}

fn kind_section(kind: Kind, text: &mut String) {
    let schema = document_schema(kind);
    let Some(spec) = schema.pointer("/properties/spec") else {
        return;
    };
    let place = if kind.is_single() {
        "Exactly one, outside `projects/`."
    } else if !kind.allowed_at_root() {
        "Below `projects/KEY/`."
    } else if kind == Kind::Project {
        "Usually `projects/KEY/project.yaml`, where its name is `KEY`."
    } else {
        "For all projects outside `projects/`, for one below `projects/KEY/`."
    };
    let rows = Rows::of(&schema, spec);
    let written = write!(
        text,
        "\n## {kind}\n\n{}\n{place}\n\n| field below `spec` | type | default | meaning |\n|---|---|---|---|\n{}",
        description(spec),
        rows.lines.concat(),
    );
    written.expect("a String takes all that is written");
}

/// The rows of a table.
struct Rows<'a> {
    definitions: Option<&'a Value>,
    lines: Vec<String>,
}

impl<'a> Rows<'a> {
    fn of(root: &'a Value, spec: &'a Value) -> Self {
        let mut rows = Self {
            definitions: root.get("$defs"),
            lines: Vec::new(),
        };
        rows.object(spec, "");
        rows
    }

    fn object(&mut self, schema: &'a Value, prefix: &str) {
        let required = schema.get("required").and_then(Value::as_array);
        let is_required =
            |name: &str| required.is_some_and(|names| names.iter().any(|known| known == name));
        for (name, property) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            self.field(property, &format!("{prefix}{name}"), is_required(name));
        }
    }

    fn field(&mut self, property: &'a Value, path: &str, required: bool) {
        let inner = self.resolved(property);
        let own = description(property);
        let meaning = if own.is_empty() {
            description(inner)
        } else {
            own
        };
        let default = match property.get("default") {
            _ if required => "required".to_owned(),
            Some(Value::Object(_) | Value::Null) | None => String::new(),
            Some(default) => format!("`{}`", cell(&default.to_string())),
        };
        let line = format!(
            "| `{path}` | {} | {default} | {} |\n",
            self.type_name(inner),
            cell(&meaning)
        );
        self.lines.push(line);
        if inner.get("properties").is_some() {
            self.object(inner, &format!("{path}."));
        } else if let Some(items) = inner.get("items").map(|items| self.resolved(items)) {
            self.object(items, &format!("{path}[]."));
        } else if let Some(values) = inner
            .get("additionalProperties")
            .map(|values| self.resolved(values))
        {
            self.object(values, &format!("{path}.NAME."));
        }
    }

    /// What a property is behind references and "or nothing".
    fn resolved(&self, property: &'a Value) -> &'a Value {
        if let Some(name) = property
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|path| path.rsplit('/').next())
        {
            return self
                .definitions
                .and_then(|all| all.get(name))
                .unwrap_or(property);
        }
        let branches = property.get("anyOf").and_then(Value::as_array);
        let some = branches.and_then(|all| {
            all.iter()
                .find(|one| one.get("type") != Some(&Value::from("null")))
        });
        some.map_or(property, |some| self.resolved(some))
    }

    fn type_name(&self, schema: &'a Value) -> String {
        let constants = schema
            .get("oneOf")
            .or_else(|| schema.get("enum"))
            .and_then(Value::as_array);
        if let Some(constants) = constants {
            let names: Vec<String> = constants
                .iter()
                .flat_map(|one| {
                    match (one.get("const"), one.get("enum").and_then(Value::as_array)) {
                        (Some(name), _) => vec![name.clone()],
                        (None, Some(names)) => names.clone(),
                        (None, None) => vec![one.clone()],
                    }
                })
                .filter_map(|name| name.as_str().map(|name| format!("`{name}`")))
                .collect();
            return names.join(", ");
        }
        if let Some(items) = schema.get("items") {
            return format!("list of {}", self.type_name(self.resolved(items)));
        }
        if let (None, Some(values @ Value::Object(_))) =
            (schema.get("properties"), schema.get("additionalProperties"))
        {
            return format!("map of {}", self.type_name(self.resolved(values)));
        }
        let name = match schema.get("type") {
            Some(Value::String(name)) => name.clone(),
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(Value::as_str)
                .find(|name| *name != "null")
                .unwrap_or_default()
                .to_owned(),
            _ => String::new(),
        };
        match name.as_str() {
            "object" => "mapping".to_owned(),
            "string"
                if schema.get("pattern").is_some_and(|pattern| {
                    pattern.as_str().is_some_and(|p| p.contains("dhms"))
                }) =>
            {
                "duration".to_owned()
            }
            other => other.to_owned(),
        }
    }
}

fn description(schema: &Value) -> String {
    schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// A text inside a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
