//! Every name refers to something.

mod answers;
mod approvals;
mod clis;
mod standing;

use crate::desired::{
    load::{
        document::{Document, Scope},
        error::{Code, ConfigError},
        objects::Objects,
        suggest::did_you_mean,
    },
    model::{Kind, LabelsAfter, ProjectSpec, StageSpec},
};

pub(super) fn check(objects: &Objects, errors: &mut Vec<ConfigError>) {
    single_kinds(objects, errors);
    agents(objects, errors);
    model_labels(objects, errors);
    clis::check(objects, errors);
    stages(objects, errors);
    policies(objects, errors);
    approvals::check(objects, errors);
    projects(objects, errors);
    repositories(objects, errors);
    standing::check(objects, errors);
    templates(objects, errors);
}

fn single_kinds(objects: &Objects, errors: &mut Vec<ConfigError>) {
    for kind in Kind::ALL
        .iter()
        .filter(|kind| kind.is_single() && !objects.has(**kind))
    {
        let message = format!("the config repo has no {kind}; exactly one is needed");
        errors.push(ConfigError::in_file(".", Code::MissingDocument, message));
    }
}

/// Reports a reference to a document that is not declared.
fn refer<T>(
    objects: &Objects,
    from: &Document<T>,
    path: &[&str],
    (kind, name): (Kind, &str),
    errors: &mut Vec<ConfigError>,
) {
    if !objects.is_declared(kind, &from.scope, name) {
        let hint = did_you_mean(name, objects.visible(kind, &from.scope));
        errors.push(from.error(
            path,
            Code::DanglingReference,
            format!("there is no {kind} `{name}`{hint}"),
        ));
    }
}

/// Reports a name that is not among those a list gives.
fn among<'a, T>(
    from: &Document<T>,
    path: &[&str],
    (what, name): (&str, &str),
    known: impl Iterator<Item = &'a str> + Clone,
    errors: &mut Vec<ConfigError>,
) {
    if !known.clone().any(|candidate| candidate == name) {
        let hint = did_you_mean(name, known);
        errors.push(from.error(
            path,
            Code::DanglingReference,
            format!("there is no {what} `{name}`{hint}"),
        ));
    }
}

/// Kinds of the stages, or nothing to compare with when the stage model is missing or broken.
fn stage_kinds(objects: &Objects) -> Option<Vec<&str>> {
    let model = objects.stage_models.first()?;
    Some(
        model
            .spec
            .stages
            .iter()
            .map(|stage| stage.kind.as_str())
            .collect(),
    )
}

/// Ids of the models, or nothing when the platform is missing or broken.
fn models(objects: &Objects) -> Option<Vec<&str>> {
    let platform = objects.platforms.first()?;
    Some(
        platform
            .spec
            .models
            .catalogue
            .iter()
            .map(|model| model.id.as_str())
            .collect(),
    )
}

/// A label chooses a model that there is.
fn model_labels(objects: &Objects, errors: &mut Vec<ConfigError>) {
    let (Some(catalogue), Some(models)) = (objects.catalogues.first(), models(objects)) else {
        return;
    };
    for id in catalogue.spec.models.keys() {
        let path = ["spec", "models", id];
        let names = models.iter().copied();
        among(catalogue, &path, ("model", id), names, errors);
    }
}

fn agents(objects: &Objects, errors: &mut Vec<ConfigError>) {
    let models = models(objects);
    for agent in &objects.agents {
        let policy = agent.spec.policy.as_str();
        refer(
            objects,
            agent,
            &["spec", "policy"],
            (Kind::AgentPolicy, policy),
            errors,
        );
        if let (Some(model), Some(models)) = (&agent.spec.model, &models) {
            let path = ["spec", "model"];
            let names = models.iter().copied();
            among(agent, &path, ("model", model), names, errors);
            errors.extend(unsubscribed(objects, agent, &path, model));
        }
    }
    if let (Some(platform), Some(models)) = (objects.platforms.first(), &models) {
        let name = platform.spec.models.default.as_str();
        let path = ["spec", "models", "default"];
        let names = models.iter().copied();
        among(platform, &path, ("model", name), names, errors);
        errors.extend(unsubscribed(objects, platform, &path, name));
    }
}

/// A default is what is taken where there is no subscription, so it needs none itself.
fn unsubscribed<T>(
    objects: &Objects,
    from: &Document<T>,
    path: &[&str],
    model: &str,
) -> Option<ConfigError> {
    let platform = objects.platforms.first()?;
    let lacks = platform.spec.models.lacks_subscription(model);
    lacks.then(|| {
        let message =
            format!("model `{model}` needs a subscription, and the key of its provider is none");
        from.error(path, Code::InvalidValue, message)
    })
}

fn stages(objects: &Objects, errors: &mut Vec<ConfigError>) {
    let Some(model) = objects.stage_models.first() else {
        return;
    };
    let mut seen = std::collections::BTreeSet::new();
    for (index, stage) in model.spec.stages.iter().enumerate() {
        let index = index.to_string();
        if !seen.insert(&stage.kind) {
            let message = format!("duplicate stage `{}`", stage.kind);
            errors.push(model.error(
                &["spec", "stages", &index, "kind"],
                Code::DuplicateName,
                message,
            ));
        }
        let agent = stage.agent.as_str();
        refer(
            objects,
            model,
            &["spec", "stages", &index, "agent"],
            (Kind::Agent, agent),
            errors,
        );
        for (at, earlier) in stage.entry.after.iter().enumerate() {
            let path = ["spec", "stages", &index, "entry", "after", &at.to_string()];
            let others = model.spec.stages.iter().map(|other| other.kind.as_str());
            let others = others.filter(|other| *other != stage.kind.as_str());
            among(model, &path, ("stage", earlier.as_str()), others, errors);
        }
        if stage.entry.reviewed && stage.entry.after.is_empty() {
            let path = ["spec", "stages", &index, "entry", "reviewed"];
            let message = "`reviewed` is about the stages of `after`, which names none";
            errors.push(model.error(&path, Code::InvalidValue, message));
        }
        stage_labels(objects, model, &index, stage, errors);
        answers::check(model, &index, stage, errors);
    }
    standing::discussion(objects, model, errors);
    let Some(catalogue) = objects.catalogues.first() else {
        return;
    };
    for (index, trigger) in catalogue.spec.triggers.iter().enumerate() {
        let index = index.to_string();
        let kinds = model.spec.stages.iter().map(|stage| stage.kind.as_str());
        let path = ["spec", "triggers", &index, "stage"];
        among(
            catalogue,
            &path,
            ("stage", trigger.stage.as_str()),
            kinds,
            errors,
        );
        let stage = model
            .spec
            .stages
            .iter()
            .find(|stage| stage.kind == trigger.stage);
        if trigger.revise && stage.is_some_and(|stage| !stage.revisable) {
            let message = format!("stage `{}` is not revisable", trigger.stage);
            errors.push(catalogue.error(
                &["spec", "triggers", &index, "revise"],
                Code::InvalidValue,
                message,
            ));
        }
    }
}

fn stage_labels<T>(
    objects: &Objects,
    model: &Document<T>,
    index: &str,
    stage: &StageSpec,
    errors: &mut Vec<ConfigError>,
) {
    let Some(catalogue) = objects.catalogues.first() else {
        return;
    };
    let needs = || catalogue.spec.need.keys().map(String::as_str);
    let mut after = |field: &str, labels: &LabelsAfter| {
        if let Some(state) = labels.state
            && catalogue.spec.state.get(state).is_none()
        {
            let message = format!(
                "the label catalogue has no label for state `{}`",
                state.field()
            );
            let path = ["spec", "stages", index, field, "state"];
            errors.push(model.error(&path, Code::DanglingReference, message));
        }
        for (at, need) in labels.needs.iter().enumerate() {
            let path = ["spec", "stages", index, field, "needs", &at.to_string()];
            among(model, &path, ("need", need), needs(), errors);
        }
    };
    after("onSuccess", &stage.on_success);
    after("onQuestions", &stage.on_questions);
    after("onFailure", &stage.on_failure);
    for (at, need) in stage.entry.without_needs.iter().enumerate() {
        let path = [
            "spec",
            "stages",
            index,
            "entry",
            "withoutNeeds",
            &at.to_string(),
        ];
        among(model, &path, ("need", need), needs(), errors);
    }
    for (at, state) in stage.entry.without_states.iter().enumerate() {
        if catalogue.spec.state.get(*state).is_none() {
            let message = format!(
                "the label catalogue has no label for state `{}`",
                state.field()
            );
            let path = [
                "spec",
                "stages",
                index,
                "entry",
                "withoutStates",
                &at.to_string(),
            ];
            errors.push(model.error(&path, Code::DanglingReference, message));
        }
    }
}

fn policies(objects: &Objects, errors: &mut Vec<ConfigError>) {
    let Some(kinds) = stage_kinds(objects) else {
        return;
    };
    for policy in &objects.policies {
        for (at, stage) in policy.spec.requestable_stages.iter().flatten().enumerate() {
            let path = ["spec", "requestableStages", &at.to_string()];
            among(
                policy,
                &path,
                ("stage", stage.as_str()),
                kinds.iter().copied(),
                errors,
            );
        }
    }
}

/// The agents that a project names for stages.
fn stages_agents(
    objects: &Objects,
    project: &Document<ProjectSpec>,
    scope: &Scope,
    errors: &mut Vec<ConfigError>,
) {
    let kinds = stage_kinds(objects);
    for (stage, agent) in &project.spec.agents {
        let path = ["spec", "agents", stage.as_str()];
        if let Some(kinds) = &kinds
            && !kinds.contains(&stage.as_str())
        {
            let hint = did_you_mean(stage.as_str(), kinds.iter().copied());
            let message = format!("there is no stage `{stage}`{hint}");
            errors.push(project.key_error(&path, Code::DanglingReference, message));
        }
        if !objects.is_declared(Kind::Agent, scope, agent.as_str()) {
            let hint = did_you_mean(agent.as_str(), objects.visible(Kind::Agent, scope));
            let message = format!("there is no Agent `{agent}`{hint}");
            errors.push(project.error(&path, Code::DanglingReference, message));
        }
    }
}

fn projects(objects: &Objects, errors: &mut Vec<ConfigError>) {
    for project in &objects.projects {
        let scope = Scope::Project(project.name.as_str().into());
        stages_agents(objects, project, &scope, errors);
        for agent in project.spec.limits.per_agent.keys() {
            if !objects.is_declared(Kind::Agent, &scope, agent.as_str()) {
                let hint = did_you_mean(agent.as_str(), objects.visible(Kind::Agent, &scope));
                let path = ["spec", "limits", "perAgent", agent.as_str()];
                let message = format!("there is no Agent `{agent}`{hint}");
                errors.push(project.key_error(&path, Code::DanglingReference, message));
            }
        }
    }
    let mut reported = std::collections::BTreeSet::new();
    let mut homeless = |scope: &Scope, error: &dyn Fn(String) -> ConfigError| {
        let Scope::Project(key) = scope else { return };
        let known = objects
            .anywhere(Kind::Project)
            .any(|name| name == key.as_str());
        if !known && reported.insert(key.clone()) {
            let hint = did_you_mean(key.as_str(), objects.anywhere(Kind::Project));
            errors.push(error(format!(
                "`projects/{key}/` belongs to no Project `{key}`{hint}"
            )));
        }
    };
    let path = ["kind"];
    let code = Code::DanglingReference;
    for document in &objects.agents {
        homeless(&document.scope, &|message| {
            document.error(&path, code, message)
        });
    }
    for document in &objects.policies {
        homeless(&document.scope, &|message| {
            document.error(&path, code, message)
        });
    }
    for document in &objects.approvals {
        homeless(&document.scope, &|message| {
            document.error(&path, code, message)
        });
    }
    for document in &objects.repositories {
        homeless(&document.scope, &|message| {
            document.error(&path, code, message)
        });
    }
    for document in &objects.templates {
        homeless(&document.scope, &|message| {
            document.error(&path, code, message)
        });
    }
}

fn repositories(objects: &Objects, errors: &mut Vec<ConfigError>) {
    let mut seen = std::collections::BTreeMap::new();
    let mut named = std::collections::BTreeMap::new();
    for repository in &objects.repositories {
        let spec = &repository.spec;
        let full = format!("{}/{}", spec.owner, spec.name).to_lowercase();
        if let Some(first) = seen.insert(full.clone(), &repository.file) {
            let message = format!("repository `{full}` is listed twice; the first time in {first}");
            errors.push(repository.error(&["spec", "name"], Code::DuplicateName, message));
        }
        match (&repository.scope, &spec.project) {
            (Scope::Platform, None) => {
                let message = "missing field `project`, needed outside `projects/KEY/`";
                errors.push(repository.error(&["spec"], Code::MissingField, message));
            }
            (Scope::Platform, Some(key)) => {
                let path = ["spec", "project"];
                refer(
                    objects,
                    repository,
                    &path,
                    (Kind::Project, key.as_str()),
                    errors,
                );
            }
            (Scope::Project(folder), Some(key)) if folder != key => {
                let message =
                    format!("below `projects/{folder}/` the project is `{folder}`, not `{key}`");
                errors.push(repository.error(&["spec", "project"], Code::WrongPlace, message));
            }
            (Scope::Project(_), _) => {}
        }
        // Root and folder documents of one project share its namespace of names.
        let Some(key) = Objects::project_of(repository) else {
            continue;
        };
        let place = &repository.scope;
        let first = named.insert((key.clone(), &repository.name), place);
        if first.is_some_and(|first| first != place) {
            let message = format!(
                "duplicate Repository `{}` of project `{key}`",
                repository.name
            );
            errors.push(repository.error(&["metadata", "name"], Code::DuplicateName, message));
        }
    }
}

fn templates(objects: &Objects, errors: &mut Vec<ConfigError>) {
    let kinds = stage_kinds(objects);
    for template in &objects.templates {
        let agent = template.spec.agent.as_str();
        refer(
            objects,
            template,
            &["spec", "agent"],
            (Kind::Agent, agent),
            errors,
        );
        if let Some(kinds) = &kinds {
            let stage = template.spec.stage.as_str();
            among(
                template,
                &["spec", "stage"],
                ("stage", stage),
                kinds.iter().copied(),
                errors,
            );
        }
    }
}
