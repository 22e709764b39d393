//! Label and field selectors, as far as clients of ours send them.

use serde_json::Value;

use super::status::ApiStatus;

/// What a list or watch is restricted to.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// Reads both selectors from a request's query.
    pub(super) fn parse(labels: Option<&str>, fields: Option<&str>) -> Result<Self, ApiStatus> {
        let labels = split(labels.unwrap_or_default())
            .into_iter()
            .map(|text| {
                requirement(text).ok_or_else(|| {
                    ApiStatus::bad_request(format!("unable to parse requirement: {text}"))
                })
            })
            .collect::<Result<_, _>>()?;
        let fields = split(fields.unwrap_or_default())
            .into_iter()
            .map(|text| {
                let (path, value) = text.split_once('=').ok_or_else(|| {
                    ApiStatus::bad_request(format!("invalid field selector: {text}"))
                })?;
                let pointer = format!("/{}", path.trim().replace('.', "/"));
                Ok((pointer, value.trim_start_matches('=').trim().to_owned()))
            })
            .collect::<Result<_, ApiStatus>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether an object is selected.
    pub(super) fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| {
            object["metadata"]["labels"]
                .get(key)
                .and_then(Value::as_str)
        };
        let labels = self.labels.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                label(key).is_some_and(|value| values.iter().any(|one| one == value))
            }
            Requirement::NotIn(key, values) => {
                label(key).is_none_or(|value| values.iter().all(|one| one != value))
            }
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
        });
        labels
            && self.fields.iter().all(|(pointer, value)| {
                object
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    == value
            })
    }
}

/// Splits at commas that stand in no brackets.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0_i32);
    for (position, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..position]);
                start = position + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

fn requirement(text: &str) -> Option<Requirement> {
    let set = |values: &str| {
        let inner = values.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(
            inner
                .split(',')
                .map(|value| value.trim().to_owned())
                .collect::<Vec<_>>(),
        )
    };
    if let Some((key, values)) = text.split_once(" notin ") {
        return Some(Requirement::NotIn(key.trim().to_owned(), set(values)?));
    }
    if let Some((key, values)) = text.split_once(" in ") {
        return Some(Requirement::In(key.trim().to_owned(), set(values)?));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Some(Requirement::NotIn(
            key.trim().to_owned(),
            vec![value.trim().to_owned()],
        ));
    }
    if let Some((key, value)) = text.split_once('=') {
        let value = value.trim_start_matches('=').trim().to_owned();
        return Some(Requirement::In(key.trim().to_owned(), vec![value]));
    }
    match text.strip_prefix('!') {
        Some(key) => Some(Requirement::Absent(key.trim().to_owned())),
        None => Some(Requirement::Exists(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors_select_what_kubernetes_would() {
        let object = json!({"metadata": {"name": "p", "labels": {"a": "1", "b": "x"}}});
        for (text, expected) in [
            ("a=1", true),
            ("a==1,b=x", true),
            ("a=2", false),
            ("a!=2", true),
            ("a in (1,2),!c", true),
            ("a notin (1,2)", false),
            ("b", true),
            ("c", false),
            ("", true),
        ] {
            let selector = Selector::parse(Some(text), None).unwrap();
            assert_eq!(selector.matches(&object), expected, "{text}");
        }
        assert!(
            Selector::parse(None, Some("metadata.name=p"))
                .unwrap()
                .matches(&object)
        );
        assert!(
            !Selector::parse(None, Some("metadata.name=q"))
                .unwrap()
                .matches(&object)
        );
    }
}
