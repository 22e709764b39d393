//! GitHub's own OpenAPI description as judge of every REST exchange.
//!
//! A request is checked against its operation's parameters and body, an answer against what the
//! operation says of its status. Errors that GitHub gives anywhere (401, 403, 429, …) and that an
//! operation does not list are held to GitHub's general error form. Schemas are compiled on first use.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::{Draft, Registry, Validator};
use serde_json::{Map, Value, json};

const DESCRIPTION: &str = include_str!("../../../tests/fixtures/github/openapi.json");

/// Under which name schemas refer to the description.
const URI: &str = "urn:github:openapi";

/// Errors that may come from anywhere, listed by an operation or not.
const ANYWHERE: [u16; 10] = [400, 401, 403, 404, 405, 409, 410, 415, 422, 429];

static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    let description =
        serde_json::from_str(DESCRIPTION).expect("the description is checked in as JSON");
    let description = translated(description);
    let registry = Registry::new()
        .draft(Draft::Draft4)
        .add(URI, description.clone())
        .and_then(jsonschema::RegistryBuilder::prepare)
        .expect("the description is a document of its own");
    Contract {
        description,
        registry,
        compiled: Mutex::default(),
    }
});

struct Contract {
    description: Value,
    registry: Registry<'static>,
    compiled: Mutex<BTreeMap<String, Arc<Validator>>>,
}

/// A request as the contract sees it.
#[derive(Debug)]
pub(super) struct Exchange<'e> {
    pub method: &'e str,
    /// The path as the description writes it.
    pub path: &'e str,
    pub params: &'e BTreeMap<&'static str, String>,
    pub query: &'e BTreeMap<String, String>,
    pub body: &'e Value,
}

/// OpenAPI 3.0's `nullable` as JSON Schema says it.
fn translated(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(translated).collect(),
        Value::Object(members) => {
            let mut members: Map<String, Value> = members
                .into_iter()
                .map(|(name, inner)| (name, translated(inner)))
                .collect();
            if members.get("nullable") != Some(&Value::Bool(true)) {
                return Value::Object(members);
            }
            members.remove("nullable");
            if let Some(Value::Array(values)) = members.get_mut("enum") {
                values.push(Value::Null);
            }
            match members.remove("type") {
                Some(Value::String(kind)) => {
                    members.insert("type".to_owned(), json!([kind, "null"]));
                    Value::Object(members)
                }
                _ => json!({ "anyOf": [members, { "type": "null" }] }),
            }
        }
        other => other,
    }
}

/// A JSON pointer's segment as part of an address.
fn pointer_part(segment: &str) -> String {
    super::views::escaped(&segment.replace('~', "~0").replace('/', "~1"))
}

impl Contract {
    fn validator(&self, pointer: &str) -> Arc<Validator> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let known = compiled.entry(pointer.to_owned()).or_insert_with(|| {
            let schema = json!({ "$ref": format!("{URI}#{pointer}") });
            let validator = jsonschema::options()
                .with_draft(Draft::Draft4)
                .with_registry(&self.registry)
                .should_validate_formats(true)
                .build(&schema)
                .expect("the description's schemas are sound");
            Arc::new(validator)
        });
        Arc::clone(known)
    }

    fn violations(&self, pointer: &str, value: &Value, what: &str) -> Vec<String> {
        let validator = self.validator(pointer);
        let errors = validator.iter_errors(value).take(5);
        errors
            .map(|error| format!("{what} at {}: {error}", error.instance_path()))
            .collect()
    }

    /// Follows a `$ref` within the description; returns the pointer and what is there.
    fn resolved<'c>(&'c self, pointer: String, value: &'c Value) -> (String, &'c Value) {
        let Some(target) = value.get("$ref").and_then(Value::as_str) else {
            return (pointer, value);
        };
        let target = target.trim_start_matches('#');
        let found = self.description.pointer(target).unwrap_or(&Value::Null);
        (target.to_owned(), found)
    }

    fn operation(&self, exchange: &Exchange<'_>) -> Option<(String, &Value)> {
        let method = exchange.method.to_ascii_lowercase();
        let found = self.description["paths"].get(exchange.path)?.get(&method)?;
        Some((
            format!("/paths/{}/{method}", pointer_part(exchange.path)),
            found,
        ))
    }

    fn parameters(&self, base: &str, operation: &Value, exchange: &Exchange<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        let mut known = Vec::new();
        let listed = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate();
        for (index, parameter) in listed {
            let (pointer, parameter) =
                self.resolved(format!("{base}/parameters/{index}"), parameter);
            let name = parameter["name"].as_str().unwrap_or("");
            let given = match parameter["in"].as_str() {
                Some("query") => {
                    known.push(name.to_owned());
                    exchange.query.get(name)
                }
                Some("path") => exchange.params.get(name),
                _ => continue,
            };
            let Some(given) = given else {
                if parameter["required"] == json!(true) {
                    problems.push(format!("parameter {name} is missing"));
                }
                continue;
            };
            let value = coerced(given, &parameter["schema"]);
            problems.extend(self.violations(
                &format!("{pointer}/schema"),
                &value,
                &format!("parameter {name}"),
            ));
        }
        let unknown = exchange.query.keys().filter(|name| !known.contains(name));
        problems.extend(unknown.map(|name| format!("parameter {name} is not in the description")));
        problems
    }

    fn request(&self, exchange: &Exchange<'_>) -> Vec<String> {
        let Some((base, operation)) = self.operation(exchange) else {
            return vec!["operation is not in the description".to_owned()];
        };
        let mut problems = self.parameters(&base, operation, exchange);
        let body = &operation["requestBody"];
        match (body.is_object(), exchange.body) {
            (false, Value::Null) => {}
            (false, _) => problems.push("a body where the operation has none".to_owned()),
            (true, Value::Null) if body["required"] == json!(true) => {
                problems.push("the body is missing".to_owned());
            }
            (true, Value::Null) => {}
            (true, given) => {
                let pointer = format!("{base}/requestBody/content/application~1json/schema");
                problems.extend(self.violations(&pointer, given, "request"));
            }
        }
        problems
    }

    fn response(&self, exchange: &Exchange<'_>, status: u16, body: Option<&Value>) -> Vec<String> {
        let Some((base, operation)) = self.operation(exchange) else {
            return Vec::new();
        };
        if status == 304 {
            return if body.is_some() {
                vec!["304 with a body".to_owned()]
            } else {
                Vec::new()
            };
        }
        let Some(listed) = operation["responses"].get(status.to_string()) else {
            return self.unlisted(status, body);
        };
        let (pointer, listed) = self.resolved(format!("{base}/responses/{status}"), listed);
        let described = &listed["content"]["application/json"]["schema"];
        match (described.is_object(), body) {
            (false, None) => Vec::new(),
            (false, Some(_)) if status >= 400 => self.unlisted(status, body),
            (false, Some(_)) => vec![format!("{status} with a body where none is described")],
            (true, None) => vec![format!("{status} without the body that is described")],
            (true, Some(body)) => {
                let pointer = format!("{pointer}/content/application~1json/schema");
                self.violations(&pointer, body, "response")
            }
        }
    }

    /// An answer the operation does not describe.
    fn unlisted(&self, status: u16, body: Option<&Value>) -> Vec<String> {
        let anywhere = ANYWHERE.contains(&status) || status >= 500 || status == 301;
        match body {
            Some(body) if anywhere => {
                self.violations("/components/schemas/basic-error", body, "error")
            }
            _ => vec![format!("status {status} is not in the description")],
        }
    }
}

/// A parameter's text as the kind of value its schema asks for.
fn coerced(text: &str, schema: &Value) -> Value {
    let number = || {
        text.parse::<i64>()
            .map_or_else(|_| json!(text), |number| json!(number))
    };
    match schema["type"].as_str() {
        Some("integer" | "number") | None => number(),
        Some("boolean") => text
            .parse::<bool>()
            .map_or_else(|_| json!(text), |flag| json!(flag)),
        Some("array") => text.split(',').map(Value::from).collect(),
        Some(_) => json!(text),
    }
}

/// What is wrong with a request; nothing when it is as GitHub describes it.
pub(super) fn request_problems(exchange: &Exchange<'_>) -> Vec<String> {
    CONTRACT.request(exchange)
}

/// What is wrong with an answer.
pub(super) fn response_problems(
    exchange: &Exchange<'_>,
    status: u16,
    body: Option<&Value>,
) -> Vec<String> {
    CONTRACT.response(exchange, status, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(query: &[(&str, &str)], status: u16, body: &Value) -> Vec<String> {
        let params = BTreeMap::from([("owner", "o".to_owned()), ("repo", "r".to_owned())]);
        let query = query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let exchange = Exchange {
            method: "GET",
            path: "/repos/{owner}/{repo}/labels",
            params: &params,
            query: &query,
            body: &Value::Null,
        };
        let mut problems = request_problems(&exchange);
        problems.extend(response_problems(&exchange, status, Some(body)));
        problems
    }

    #[test]
    fn an_answer_without_a_required_member_is_caught() {
        let label = json!({
            "id": 1, "node_id": "n", "url": "http://127.0.0.1/l", "name": "bug",
            "color": "ededed", "default": false, "description": null,
        });
        assert_eq!(
            problems(&[("per_page", "100")], 200, &json!([label])),
            Vec::<String>::new()
        );
        let mut broken = label;
        broken.as_object_mut().unwrap().remove("color");
        assert_eq!(problems(&[], 200, &json!([broken])).len(), 1);
    }

    #[test]
    fn a_parameter_github_does_not_know_is_caught() {
        assert_eq!(
            problems(&[("limit", "5")], 200, &json!([])),
            ["parameter limit is not in the description"]
        );
        assert_eq!(problems(&[("page", "x")], 200, &json!([])).len(), 1);
    }

    #[test]
    fn an_undocumented_status_is_caught() {
        assert_eq!(
            problems(&[], 207, &json!([])),
            ["status 207 is not in the description"]
        );
    }
}
