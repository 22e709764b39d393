//! Prompt templates parse, have their blocks, use known variables, and exist for every stage.

use std::collections::BTreeMap;

use minijinja::Environment;

use crate::{
    desired::{
        load::{
            built_in,
            document::{Document, Scope},
            error::{Code, ConfigError},
            objects::Objects,
        },
        model::{
            Kind, PromptTemplateSpec, StageSpec, TemplateKey, TemplateKind,
            template::{VARIABLES, lacking_blocks, sample},
        },
    },
    domain::{
        ids::{AgentKey, Locale, StageKind},
        redact::shown_secret,
    },
    prompts::render::render,
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
    if let Some(at) = shown_secret(body) {
        let line = body[..at].matches('\n').count();
        let message = "this looks like a secret; a template is read by everyone".to_owned();
        errors.push(in_text(template, line, message));
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
            used.retain(|name| !is_known(name));
            if used.is_empty() {
                rendered(template, body, errors);
            }
            for name in &used {
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

/// Renders the text with values such as runs have: it gets through, and every block is there and
/// says something. What stands in a comment or under a condition that does not hold is not there.
fn rendered(template: &Document<PromptTemplateSpec>, body: &str, errors: &mut Vec<ConfigError>) {
    let name = template.name.to_string();
    match render(&name, body, &sample(template.spec.kind)) {
        Err(error) => {
            let message = format!("the template does not render: {}", error.detail);
            errors.push(in_text(template, error.line.saturating_sub(1), message));
        }
        Ok(text) => {
            let wrong = lacking_blocks(&text).into_iter();
            errors.extend(wrong.map(|message| in_text(template, 0, message)));
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
/// them, in a locale that lookups always reach; and so has the agent that a project
/// names for it.
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
    let default = &platform.spec.default_locale;
    let last = Locale::from("en");
    for (index, stage) in model.spec.stages.iter().enumerate() {
        let index = index.to_string();
        let path = ["spec", "stages", &index, "kind"];
        for kind in kinds(stage) {
            let locales = [default, &last];
            if !exists(objects, None, (&stage.agent, &stage.kind, kind), &locales) {
                let message = missing(stage, kind, &stage.agent, default);
                errors.push(model.error(&path, Code::MissingDocument, message));
            }
        }
        for project in &objects.projects {
            let scope = Scope::Project(project.name.as_str().into());
            let named = project.spec.agents.get(&stage.kind);
            // Of one that is not there this is said alone.
            let there =
                |agent: &&AgentKey| objects.is_declared(Kind::Agent, &scope, agent.as_str());
            let Some(agent) = named.filter(there) else {
                continue;
            };
            let locale = project.spec.locale.as_ref().unwrap_or(default);
            let locales = [locale, default, &last];
            for kind in kinds(stage) {
                if !exists(objects, Some(&scope), (agent, &stage.kind, kind), &locales) {
                    let path = ["spec", "agents", stage.kind.as_str()];
                    let message = missing(stage, kind, agent, locale);
                    errors.push(project.error(&path, Code::MissingDocument, message));
                }
            }
        }
    }
}

/// The kinds of templates that a stage needs.
fn kinds(stage: &StageSpec) -> impl Iterator<Item = TemplateKind> {
    let review = stage.revisable.then_some(TemplateKind::Review);
    [TemplateKind::Work].into_iter().chain(review)
}

/// Whether there is a template in one of some locales: the platform's, a project's own or one that
/// is part of the program.
fn exists(
    objects: &Objects,
    own: Option<&Scope>,
    wanted: (&AgentKey, &StageKind, TemplateKind),
    locales: &[&Locale],
) -> bool {
    let mut templates = objects.templates.iter().chain(built_in::templates());
    templates.any(|template| {
        let spec = &template.spec;
        (template.scope == Scope::Platform || Some(&template.scope) == own)
            && (&spec.agent, &spec.stage, spec.kind) == wanted
            && locales
                .iter()
                .any(|locale| locale.as_str().eq_ignore_ascii_case(spec.locale.as_str()))
    })
}

fn missing(stage: &StageSpec, kind: TemplateKind, agent: &AgentKey, locale: &Locale) -> String {
    format!(
        "stage `{}` has no `{}` template for agent `{agent}` in locale `{locale}`",
        stage.kind,
        kind.as_str(),
    )
}
