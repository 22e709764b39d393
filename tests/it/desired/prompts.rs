//! The example's prompts: every one renders, and says in Russian what it says in English.

use std::collections::{BTreeMap, BTreeSet};

use codex_k8s::{
    desired::model::{Template, TemplateKind, template::VARIABLES},
    domain::{answer::COMMON_PARTS, ids::AgentKey},
    prompts::render::render,
};
use serde_json::{Map, Value, json};

use super::example::example;

/// Every variable with its own name as its value.
fn context() -> Value {
    let mut all = Map::new();
    for variable in VARIABLES {
        let marked = json!(format!("<{variable}>"));
        let value = match variable {
            "issue.labels" => json!([marked]),
            "issue.comments" => json!([{ "author": "ada", "body": marked }]),
            "review.comments" => {
                json!([{ "author": "ada", "body": marked, "path": "<path>", "line": "<line>" }])
            }
            _ => marked,
        };
        match variable.split_once('.') {
            None => {
                all.insert(variable.to_owned(), value);
            }
            Some((of, field)) => {
                let object = all.entry(of).or_insert_with(|| json!({}));
                object[field] = value;
            }
        }
    }
    Value::Object(all)
}

/// What a prompt takes over, and the keys of the answer that it asks for.
fn shape(template: &Template) -> (BTreeSet<&'static str>, BTreeSet<String>) {
    let name = template.name.to_string();
    let text = render(&name, &template.body, &context()).expect("it renders");
    let mut used: BTreeSet<_> = VARIABLES
        .into_iter()
        .filter(|variable| text.contains(&format!("<{variable}>")))
        .collect();
    used.extend(
        ["path", "line"]
            .into_iter()
            .filter(|it| text.contains(&format!("<{it}>"))),
    );
    let form = text
        .split("```json\n")
        .nth(1)
        .expect("it shows the form of the answer");
    let form = form.split("\n```").next().unwrap_or_default();
    let form: Map<String, Value> =
        serde_json::from_str(form).unwrap_or_else(|error| panic!("{name}: {error}"));
    (used, form.keys().cloned().collect())
}

#[test]
fn every_prompt_renders_and_says_the_same_in_both_languages() {
    let desired = example();
    let mut shapes: BTreeMap<_, BTreeMap<&str, _>> = BTreeMap::new();
    for template in desired.templates.values() {
        let of = (&template.agent, &template.stage, template.kind.as_str());
        let shape = shape(template);
        for key in &shape.1 {
            assert!(
                COMMON_PARTS.contains(&key.as_str()),
                "{}: {key}",
                template.name
            );
        }
        shapes
            .entry(of)
            .or_default()
            .insert(template.locale.as_str(), shape);
    }
    for (of, shapes) in shapes {
        assert_eq!(
            shapes.keys().copied().collect::<Vec<_>>(),
            ["en", "ru"],
            "{of:?}"
        );
        assert_eq!(shapes["en"], shapes["ru"], "{of:?}");
    }
}

#[test]
fn every_role_has_prompts_for_work_and_for_reviews() {
    let desired = example();
    let has = |agent: &AgentKey, stage: &str, kind: TemplateKind| {
        let mut all = desired.templates.values();
        all.any(|it| it.agent == *agent && it.stage.as_str() == stage && it.kind == kind)
    };
    for agent in desired.agents.keys() {
        let mut stages = desired.stages.stages.iter().filter(|it| it.agent == *agent);
        let both = stages.any(|stage| {
            let stage = stage.kind.as_str();
            has(agent, stage, TemplateKind::Work) && has(agent, stage, TemplateKind::Review)
        });
        assert!(both, "{agent}");
    }
    assert_eq!(desired.agents.len(), 8);
    let km = AgentKey::from("km");
    assert!(has(&km, "self-improve", TemplateKind::Work));
    assert!(has(
        &AgentKey::from("dev"),
        "discussion",
        TemplateKind::Work
    ));
    // What can be reviewed is revised.
    for template in desired
        .templates
        .values()
        .filter(|it| it.kind == TemplateKind::Review)
    {
        let stage = desired.stage(&template.stage).expect("its stage is there");
        assert!(stage.revisable, "{}", template.stage);
    }
}

#[test]
fn a_prompt_names_the_label_of_a_stage_that_comes_next() {
    let desired = example();
    for template in desired.templates.values() {
        let stage = desired.stage(&template.stage).expect("its stage is there");
        let line = template
            .body
            .lines()
            .find(|line| line.starts_with("`requests`"));
        let Some(line) = line else {
            assert!(stage.discussion, "{}", template.name);
            continue;
        };
        let label = line.split('`').find(|word| word.starts_with("run:"));
        let label = label.unwrap_or_else(|| panic!("{}: {line}", template.name));
        let mut triggers = desired.labels.triggers.iter();
        let next = triggers.find(|trigger| trigger.name.as_str() == label);
        let next = next.unwrap_or_else(|| panic!("{label} is no label"));
        assert_ne!(next.stage, stage.kind, "{}", template.name);
        let follows = desired
            .stages
            .stages
            .iter()
            .find(|it| it.entry.after.contains(&stage.kind));
        if let Some(follows) = follows {
            assert_eq!(next.stage, follows.kind, "{}", template.name);
        }
        assert!(line.contains("\"status\": \"failed\""), "{}", template.name);
    }
}
