//! A document against the generated schema: all errors at once, in people's words.

use std::sync::OnceLock;

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use serde_json::Value;

use super::{
    document::Raw,
    error::{Code, ConfigError},
    suggest::did_you_mean,
    yaml::escaped,
};
use crate::desired::model::{Kind, schema::document_schema};

/// How much of an offending value a message shows.
const SHOWN: usize = 60;

/// A schema and what was compiled from it.
struct Compiled {
    schema: Value,
    validator: Validator,
}

fn compiled(kind: Kind) -> &'static Compiled {
    static ALL: OnceLock<Vec<Compiled>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let compile = |kind: &Kind| {
            let schema = document_schema(*kind);
            let validator = jsonschema::draft202012::new(&schema)
                .expect("generated schemas are valid, a test holds it");
            Compiled { schema, validator }
        };
        Kind::ALL.iter().map(compile).collect()
    });
    &all[Kind::ALL
        .iter()
        .position(|known| *known == kind)
        .expect("ALL lists every kind")]
}

/// All errors of a document against its kind's schema.
pub(crate) fn check(raw: &Raw) -> Vec<ConfigError> {
    let compiled = compiled(raw.kind);
    let mut errors = Vec::new();
    for error in compiled.validator.iter_errors(&raw.value) {
        explain(raw, &compiled.schema, &error, &mut errors);
    }
    errors
}

fn explain(raw: &Raw, schema: &Value, error: &ValidationError<'_>, errors: &mut Vec<ConfigError>) {
    let pointer = error.instance_path().as_str();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = known_fields(schema, error);
            for name in unexpected {
                let path = format!("{pointer}/{}", escaped(name));
                let hint = did_you_mean(name, known.iter().map(String::as_str));
                let place = raw.places.key(&path);
                let at = raw.error(
                    &path,
                    Code::UnknownField,
                    format!("unknown field `{name}`{hint}"),
                );
                errors.push(ConfigError {
                    line: place.line,
                    column: place.column,
                    ..at
                });
            }
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let place = raw.places.key(pointer);
            let at = raw.error(
                pointer,
                Code::MissingField,
                format!("missing field `{name}`"),
            );
            errors.push(ConfigError {
                line: place.line,
                column: place.column,
                ..at
            });
        }
        ValidationErrorKind::Type { kind } => {
            let wanted = match kind {
                jsonschema::error::TypeKind::Single(one) => one.to_string(),
                jsonschema::error::TypeKind::Multiple(set) => {
                    let names: Vec<String> = set.into_iter().map(|one| one.to_string()).collect();
                    names
                        .into_iter()
                        .filter(|name| name != "null")
                        .collect::<Vec<_>>()
                        .join(" or ")
                }
            };
            let message = format!("expected {wanted}, found {}", shown(error.instance()));
            errors.push(raw.error(pointer, Code::WrongType, message));
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            explain_branches(raw, schema, error, context, errors);
        }
        ValidationErrorKind::Enum { options } => {
            let options = options.as_array().cloned().unwrap_or_default();
            errors.push(not_one_of(raw, error, &options));
        }
        ValidationErrorKind::Constant { expected_value } => {
            errors.push(not_one_of(raw, error, &[(**expected_value).clone()]));
        }
        ValidationErrorKind::Pattern { pattern } => {
            let message = format!("{} does not match `{pattern}`", shown(error.instance()));
            errors.push(raw.error(pointer, Code::InvalidValue, message));
        }
        _ => {
            let message: String = error.masked_with("the value").to_string();
            errors.push(raw.error(pointer, Code::InvalidValue, message));
        }
    }
}

/// Explains the branch that the author most likely meant.
///
/// Branches come from optional fields (`T` or null) and from enums (one
/// constant each); of the first only `T` is worth explaining.
fn explain_branches(
    raw: &Raw,
    schema: &Value,
    error: &ValidationError<'_>,
    context: &[Vec<ValidationError<'static>>],
    errors: &mut Vec<ConfigError>,
) {
    let constants: Vec<Value> = context
        .iter()
        .flatten()
        .filter_map(|error| match error.kind() {
            ValidationErrorKind::Constant { expected_value } => {
                Some(vec![(**expected_value).clone()])
            }
            ValidationErrorKind::Enum { options } => options.as_array().cloned(),
            _ => None,
        })
        .flatten()
        .collect();
    let about_null = |branch: &&Vec<ValidationError<'static>>| {
        branch.iter().any(|error| match error.kind() {
            ValidationErrorKind::Type {
                kind: jsonschema::error::TypeKind::Single(one),
            } => one.to_string() == "null",
            _ => false,
        })
    };
    let branch = context.iter().find(|branch| !about_null(branch));
    if !constants.is_empty() {
        errors.push(not_one_of(raw, error, &constants));
    } else if let Some(branch) = branch {
        for inner in branch {
            explain(raw, schema, inner, errors);
        }
    } else {
        let pointer = error.instance_path().as_str();
        errors.push(raw.error(
            pointer,
            Code::InvalidValue,
            format!("{} is not allowed", shown(error.instance())),
        ));
    }
}

fn not_one_of(raw: &Raw, error: &ValidationError<'_>, options: &[Value]) -> ConfigError {
    let names: Vec<String> = options
        .iter()
        .filter(|option| !option.is_null())
        .map(|option| {
            option
                .as_str()
                .map_or_else(|| option.to_string(), str::to_owned)
        })
        .collect();
    let hint = error
        .instance()
        .as_str()
        .map(|text| did_you_mean(text, names.iter().map(String::as_str)))
        .unwrap_or_default();
    let list: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let code = if error.instance().is_string() || !options.iter().any(Value::is_string) {
        Code::InvalidValue
    } else {
        Code::WrongType
    };
    let message = format!(
        "expected {}, found {}{hint}",
        list.join(", "),
        shown(error.instance())
    );
    raw.error(error.instance_path().as_str(), code, message)
}

/// The fields that would have been allowed where an unknown one stands.
fn known_fields(schema: &Value, error: &ValidationError<'_>) -> Vec<String> {
    let path = error.schema_path().as_str();
    let parent = path.rfind('/').map_or("", |cut| &path[..cut]);
    schema
        .pointer(parent)
        .and_then(|parent| parent.get("properties"))
        .and_then(Value::as_object)
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
}

/// A value as a message shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "a mapping".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Null => "nothing".to_owned(),
        other => {
            let text = other.to_string();
            if text.chars().count() > SHOWN {
                let cut: String = text.chars().take(SHOWN).collect();
                format!("{cut}…")
            } else {
                text
            }
        }
    }
}
