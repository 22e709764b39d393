//! From checked documents to [`Desired`].

use std::collections::{BTreeMap, BTreeSet};

use super::{
    built_in,
    document::{Document, Scope},
    error::{Code, ConfigError},
    objects::Objects,
};
use crate::{
    desired::model::{
        Desired, DesiredProject, DesiredRepository, Kind, ObjectName, PromptTemplateSpec,
        RepositorySpec, Template, TemplateKey, TemplateScope,
    },
    domain::ids::{CommitSha, Locale, ProjectKey, RepositoryName},
};

/// Builds the whole from documents without errors.
///
/// *Errors*: only when a check missed something; a commit is then refused
/// rather than half taken.
pub(super) fn assemble(sha: CommitSha, objects: Objects) -> Result<Desired, ConfigError> {
    let missing = |kind: Kind| {
        ConfigError::in_file(
            ".",
            Code::MissingDocument,
            format!("the config repo has no {kind}"),
        )
    };
    let mut desired = Desired {
        sha,
        revision: None,
        platform: first(objects.platforms).ok_or_else(|| missing(Kind::Platform))?,
        labels: first(objects.catalogues).ok_or_else(|| missing(Kind::LabelCatalog))?,
        stages: first(objects.stage_models).ok_or_else(|| missing(Kind::StageModel))?,
        agents: BTreeMap::new(),
        clis: named(objects.clis),
        policies: BTreeMap::new(),
        approvals: BTreeMap::new(),
        templates: BTreeMap::new(),
        projects: BTreeMap::new(),
    };
    for project in objects.projects {
        let empty = DesiredProject {
            spec: project.spec,
            repositories: BTreeMap::new(),
            agents: BTreeMap::new(),
            policies: BTreeMap::new(),
            approvals: BTreeMap::new(),
            schedules: BTreeMap::new(),
            templates: BTreeMap::new(),
        };
        desired
            .projects
            .insert(ProjectKey::new(project.name.as_str()), empty);
    }
    for agent in objects.agents {
        let key = agent.name.as_str().into();
        match &agent.scope {
            Scope::Platform => desired.agents.insert(key, agent.spec),
            Scope::Project(_) => own(&mut desired, &agent)?.agents.insert(key, agent.spec),
        };
    }
    for policy in objects.policies {
        let name = policy.name.clone();
        match &policy.scope {
            Scope::Platform => desired.policies.insert(name, policy.spec),
            Scope::Project(_) => own(&mut desired, &policy)?
                .policies
                .insert(name, policy.spec),
        };
    }
    for policy in objects.approvals {
        let name = policy.name.clone();
        match &policy.scope {
            Scope::Platform => desired.approvals.insert(name, policy.spec),
            Scope::Project(_) => own(&mut desired, &policy)?
                .approvals
                .insert(name, policy.spec),
        };
    }
    for schedule in objects.schedules {
        let schedules = &mut own(&mut desired, &schedule)?.schedules;
        schedules.insert(schedule.name, schedule.spec);
    }
    for document in objects.templates {
        let (key, template) = template(&document);
        match &document.scope {
            Scope::Platform => desired.templates.insert(key, template),
            Scope::Project(_) => own(&mut desired, &document)?
                .templates
                .insert(key, template),
        };
    }
    for document in objects.repositories {
        let repository = repository(&document)?;
        let key = Objects::project_of(&document);
        let project = key
            .and_then(|key| desired.projects.get_mut(&key))
            .ok_or_else(|| homeless(&document))?;
        project.repositories.insert(document.name, repository);
    }
    stand_in(&mut desired);
    Ok(desired)
}

/// Where the platform has no template of its own that lookups always reach for what an agent does
/// in a stage, those that are part of the program stand in.
fn stand_in(desired: &mut Desired) {
    let reached = [desired.platform.default_locale.clone(), Locale::from("en")];
    let own = desired.templates.values();
    let own = own.filter(|own| {
        reached
            .iter()
            .any(|locale| locale.as_str().eq_ignore_ascii_case(own.locale.as_str()))
    });
    let own: BTreeSet<_> = own
        .map(|own| (own.agent.clone(), own.stage.clone(), own.kind))
        .collect();
    for document in built_in::templates() {
        let (key, mut template) = template(document);
        let of = (
            template.agent.clone(),
            template.stage.clone(),
            template.kind,
        );
        let known = desired.agents.contains_key(&of.0) && desired.stage(&of.1).is_some();
        if known && !own.contains(&of) {
            template.scope = TemplateScope::BuiltIn;
            desired.templates.entry(key).or_insert(template);
        }
    }
}

fn first<T>(documents: Vec<Document<T>>) -> Option<T> {
    documents.into_iter().next().map(|document| document.spec)
}

fn named<T>(documents: Vec<Document<T>>) -> BTreeMap<ObjectName, T> {
    let documents = documents.into_iter();
    documents
        .map(|document| (document.name, document.spec))
        .collect()
}

fn homeless<T>(document: &Document<T>) -> ConfigError {
    document.error(
        &["kind"],
        Code::DanglingReference,
        format!("`{}` belongs to no Project", document.name),
    )
}

/// The project in whose folder a document stands.
fn own<'a, T>(
    desired: &'a mut Desired,
    document: &Document<T>,
) -> Result<&'a mut DesiredProject, ConfigError> {
    let project = match &document.scope {
        Scope::Project(key) => desired.projects.get_mut(key),
        Scope::Platform => None,
    };
    project.ok_or_else(|| homeless(document))
}

fn template(document: &Document<PromptTemplateSpec>) -> (TemplateKey, Template) {
    let spec = &document.spec;
    let template = Template {
        name: document.name.clone(),
        scope: match document.scope {
            Scope::Platform => TemplateScope::Platform,
            Scope::Project(_) => TemplateScope::Project,
        },
        agent: spec.agent.clone(),
        stage: spec.stage.clone(),
        kind: spec.kind,
        locale: spec.locale.clone(),
        body: spec.body.clone().unwrap_or_default(),
    };
    (template.key(), template)
}

fn repository(document: &Document<RepositorySpec>) -> Result<DesiredRepository, ConfigError> {
    let spec = &document.spec;
    let name: RepositoryName = format!("{}/{}", spec.owner, spec.name).parse().map_err(
        |error: crate::domain::ids::InvalidId| {
            document.error(&["spec", "name"], Code::InvalidValue, error.to_string())
        },
    )?;
    Ok(DesiredRepository {
        name,
        forge: spec.forge,
        base_branch: spec.base_branch.clone(),
        on_push: spec.on_push.clone(),
        credential: spec.credential.clone(),
    })
}
