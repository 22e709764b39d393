//! Rendering a prompt: the same template and context give the same bytes.
//!
//! A variable that the context does not have is an error, never an empty hole:
//! a run with half a prompt is refused. Templates load nothing, call nothing
//! and stop after a bounded number of steps.

use minijinja::{Environment, UndefinedBehavior};

/// Steps a template may take.
const FUEL: u64 = 1_000_000;

/// Why a prompt could not be rendered.
#[derive(Debug, thiserror::Error)]
#[error("prompt template `{template}` line {line}: {detail}")]
pub struct RenderError {
    /// The template's name.
    pub template: String,
    /// The line in the template's body, from 1; 0 where none is known.
    pub line: usize,
    /// What is wrong, for people.
    pub detail: String,
}

/// Renders a template's body.
pub fn render(name: &str, body: &str, context: &serde_json::Value) -> Result<String, RenderError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    let failed = |error: minijinja::Error| RenderError {
        template: name.to_owned(),
        line: error.line().unwrap_or(0),
        detail: error.to_string(),
    };
    let template = environment.template_from_str(body).map_err(failed)?;
    template
        .render(minijinja::value::Serde(context))
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_missing_variable_is_an_error_with_its_line() {
        let error = render(
            "t",
            "one\n{{ issue.titel }}",
            &json!({ "issue": { "title": "x" } }),
        );
        assert_eq!(error.unwrap_err().line, 2);
    }

    #[test]
    fn words_of_the_context_are_not_templates() {
        let context = json!({ "issue": { "title": "{{ run.token }}" } });
        assert_eq!(
            render("t", "{{ issue.title }}", &context).unwrap(),
            "{{ run.token }}"
        );
    }

    #[test]
    fn an_endless_template_is_stopped() {
        let body = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(render("t", body, &json!({})).is_err());
    }
}
