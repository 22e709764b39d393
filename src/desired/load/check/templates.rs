//! Prompt templates parse, have their blocks, use known variables, and exist for every stage.

use std::collections::BTreeMap;

use minijinja::Environment;

use crate::{
    desired::{
        load::{
            document::{Document, Scope},
            error::{Code, ConfigError},
            objects::Objects,
        },
        model::{
            Kind, PromptTemplateSpec, TemplateKey, TemplateKind,
            template::{BLOCKS, VARIABLES, block_mark},
        },
    },
    domain::ids::{AgentKey, Locale, StageKind},
};

pub(super) fn check(objects: &Objects, errors: &mut Vec<ConfigError>) {
    let mut keys = BTreeMap::new();
    for template in &objects.templates {
        text(template, errors);
        let spec = &template.spec;
        let key = TemplateKey::new(&spec.agent, &spec.stage, spec.kind, &spec.locale);
        if let Some(first) = keys.insert((&template.scope, key.clone()), &template.file) {
            let message = format!("there is already a template for `{key}` in {first}");
            errors.push(template.error(&["spec"], Code::DuplicateName, message));
        }
    }
    every_stage_has_one(objects, errors);
}

/// An error in a template's text, `line` lines below its first.
fn in_text(template: &Document<PromptTemplateSpec>, line: usize, message: String) -> ConfigError {
    let at = template.error(&["spec", "body"], Code::InvalidTemplate, message);
    match template.body_line {
        Some(first) => ConfigError {
            line: first + line,
            column: 1,
            ..at
        },
        None => at,
    }
}

fn text(template: &Document<PromptTemplateSpec>, errors: &mut Vec<ConfigError>) {
    let body = template.spec.body.as_deref().unwrap_or_default();
    let mut from = 0;
    for block in BLOCKS {
        if let Some(at) = body[from..].find(&block_mark(block)) {
            from += at;
        } else {
            let message = format!("block `{}` is missing or out of order", block_mark(block));
            errors.push(in_text(template, 0, message));
        }
    }
    let environment = Environment::empty();
    match environment.template_from_str(body) {
        Err(error) => {
            let line = error.line().unwrap_or(1).saturating_sub(1);
            let detail = error
                .detail()
                .map_or_else(|| error.kind().to_string(), str::to_owned);
            errors.push(in_text(
                template,
                line,
                format!("the template does not parse: {detail}"),
            ));
        }
        Ok(parsed) => {
            let mut used: Vec<String> = parsed.undeclared_variables(true).into_iter().collect();
            used.sort();
            for name in used.iter().filter(|name| !is_known(name)) {
                let line = body
                    .lines()
                    .position(|line| line.contains(name.as_str()))
                    .unwrap_or(0);
                let hint = crate::desired::load::suggest::did_you_mean(name, VARIABLES);
                errors.push(in_text(
                    template,
                    line,
                    format!("there is no variable `{name}`{hint}"),
                ));
            }
        }
    }
}

/// Whether a variable, or the group of variables it names, is given to templates.
fn is_known(name: &str) -> bool {
    VARIABLES.iter().any(|known| {
        *known == name
            || known
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// Every stage has a template for new work, and for revisions where it takes
/// them, in a locale that lookups always reach.
///
/// A template with errors may be the one that is missed; it is reported alone.
fn every_stage_has_one(objects: &Objects, errors: &mut Vec<ConfigError>) {
    if objects.anywhere(Kind::PromptTemplate).count() > objects.templates.len() {
        return;
    }
    let (Some(platform), Some(model)) = (objects.platforms.first(), objects.stage_models.first())
    else {
        return;
    };
    let locales = [&platform.spec.default_locale, &Locale::from("en")];
    let exists = |agent: &AgentKey, stage: &StageKind, kind: TemplateKind| {
        objects.templates.iter().any(|template| {
            let spec = &template.spec;
            template.scope == Scope::Platform
                && (&spec.agent, &spec.stage, spec.kind) == (agent, stage, kind)
                && locales
                    .iter()
                    .any(|locale| locale.as_str().eq_ignore_ascii_case(spec.locale.as_str()))
        })
    };
    for (index, stage) in model.spec.stages.iter().enumerate() {
        let kinds = [
            Some(TemplateKind::Work),
            stage.revisable.then_some(TemplateKind::Review),
        ];
        for kind in kinds.into_iter().flatten() {
            if !exists(&stage.agent, &stage.kind, kind) {
                let message = format!(
                    "stage `{}` has no `{}` template for agent `{}` in locale `{}`",
                    stage.kind,
                    kind.as_str(),
                    stage.agent,
                    platform.spec.default_locale
                );
                let path = ["spec", "stages", &index.to_string(), "kind"];
                errors.push(model.error(&path, Code::MissingDocument, message));
            }
        }
    }
}
