//! Projects narrow the platform's guardrails and agents stay inside them.

use std::borrow::Cow;

use crate::desired::{
    load::{
        document::{Document, Scope},
        error::{Code, ConfigError},
        objects::Objects,
    },
    model::{
        AgentSpec, Egress, Guardrails, ProjectSpec,
        guardrails::{cidr_covers, covers, is_cidr, is_pinned},
    },
};

pub(super) fn check(objects: &Objects, errors: &mut Vec<ConfigError>) {
    let Some(platform) = objects.platforms.first() else {
        return;
    };
    let guardrails = &platform.spec.guardrails;
    ranges(
        platform,
        &["spec", "guardrails", "egress"],
        &guardrails.egress,
        errors,
    );
    for project in &objects.projects {
        narrowing(guardrails, project, errors);
    }
    for agent in &objects.agents {
        let own = match &agent.scope {
            Scope::Platform => Cow::Borrowed(guardrails),
            Scope::Project(key) => {
                let project = objects
                    .projects
                    .iter()
                    .find(|project| project.name.as_str() == key.as_str());
                project.map_or(Cow::Borrowed(guardrails), |project| {
                    Cow::Owned(guardrails.narrowed(&project.spec.narrow))
                })
            }
        };
        for (field, message) in outside(objects, &own, &agent.spec) {
            errors.push(agent.error(&["spec", field], Code::GuardrailExceeded, message));
        }
    }
    stage_agents(objects, guardrails, errors);
}

/// What of an agent is outside some guardrails: the field and why.
fn outside(
    objects: &Objects,
    guardrails: &Guardrails,
    agent: &AgentSpec,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if !guardrails.images.allow(&agent.image) {
        found.push((
            "image",
            format!("image `{}` is not among the allowed images", agent.image),
        ));
    }
    if guardrails.require_image_digests && !is_pinned(&agent.image) {
        found.push((
            "image",
            format!(
                "image `{}` is not named by its digest (`@sha256:…`)",
                agent.image
            ),
        ));
    }
    // Where a command is missing, another check says so.
    let command = objects.command(agent).filter(|command| !command.is_empty());
    if let Some(command) = command.filter(|command| !guardrails.commands.allow(command)) {
        let word = command.first().map_or("", String::as_str);
        let field = if agent.cli.is_some() {
            "cli"
        } else {
            "command"
        };
        found.push((
            field,
            format!("command `{word}` is not among the allowed commands"),
        ));
    }
    if !guardrails.rbac_profiles.contains(&agent.rbac_profile) {
        let profile = agent.rbac_profile.as_str();
        found.push((
            "rbacProfile",
            format!("RBAC profile `{profile}` is not among the allowed profiles"),
        ));
    }
    found
}

/// A project may not narrow away what the platform's agents of its stages need,
/// unless it has an agent of its own in their place.
fn stage_agents(objects: &Objects, guardrails: &Guardrails, errors: &mut Vec<ConfigError>) {
    let Some(model) = objects.stage_models.first() else {
        return;
    };
    for project in &objects.projects {
        let scope = Scope::Project(project.name.as_str().into());
        let own = guardrails.narrowed(&project.spec.narrow);
        for stage in &model.spec.stages {
            let key = project.spec.agents.get(&stage.kind);
            let key = key.unwrap_or(&stage.agent).as_str();
            let named = |agent: &&Document<AgentSpec>| agent.name.as_str() == key;
            if objects
                .agents
                .iter()
                .filter(named)
                .any(|agent| agent.scope == scope)
            {
                continue;
            }
            let Some(agent) = objects
                .agents
                .iter()
                .filter(named)
                .find(|agent| agent.scope == Scope::Platform)
            else {
                continue;
            };
            let already: Vec<&str> = outside(objects, guardrails, &agent.spec)
                .into_iter()
                .map(|(field, _)| field)
                .collect();
            for (field, message) in outside(objects, &own, &agent.spec) {
                if !already.contains(&field) {
                    let message = format!(
                        "agent `{}` of stage `{}` cannot run here: {message}",
                        agent.name, stage.kind
                    );
                    errors.push(project.error(
                        &["spec", "narrow"],
                        Code::GuardrailExceeded,
                        message,
                    ));
                }
            }
        }
    }
}

fn narrowing(
    platform: &Guardrails,
    project: &Document<ProjectSpec>,
    errors: &mut Vec<ConfigError>,
) {
    let narrow = &project.spec.narrow;
    let mut wider = |path: &[&str], what: &str| {
        let mut full = vec!["spec", "narrow"];
        full.extend(path);
        let message =
            format!("{what} is wider than what the platform allows; a project may only narrow it");
        errors.push(project.error(&full, Code::GuardrailExceeded, message));
    };
    for (index, inner) in narrow
        .images
        .iter()
        .flat_map(|images| images.allowed.iter().enumerate())
    {
        if !platform
            .images
            .allowed
            .iter()
            .any(|outer| covers(outer, inner))
        {
            wider(
                &["images", "allowed", &index.to_string()],
                &format!("image `{inner}`"),
            );
        }
    }
    if narrow
        .pod_security
        .is_some_and(|level| level > platform.pod_security)
    {
        wider(&["podSecurity"], "this pod security level");
    }
    for (index, inner) in narrow
        .egress
        .iter()
        .flat_map(|egress| egress.cidrs.iter().enumerate())
    {
        if is_cidr(inner)
            && !platform
                .egress
                .cidrs
                .iter()
                .any(|outer| cidr_covers(outer, inner))
        {
            wider(
                &["egress", "cidrs", &index.to_string()],
                &format!("range `{inner}`"),
            );
        }
    }
    for (index, profile) in narrow.rbac_profiles.iter().flatten().enumerate() {
        if !platform.rbac_profiles.contains(profile) {
            wider(
                &["rbacProfiles", &index.to_string()],
                &format!("RBAC profile `{}`", profile.as_str()),
            );
        }
    }
    for (index, word) in narrow
        .commands
        .iter()
        .flat_map(|commands| commands.allowed.iter().enumerate())
    {
        if !platform.commands.allowed.contains("*") && !platform.commands.allowed.contains(word) {
            wider(
                &["commands", "allowed", &index.to_string()],
                &format!("command `{word}`"),
            );
        }
    }
    if narrow.allow_workflow_pushes == Some(true) && !platform.allow_workflow_pushes {
        wider(&["allowWorkflowPushes"], "this");
    }
    if narrow.require_image_digests == Some(false) && platform.require_image_digests {
        wider(&["requireImageDigests"], "this");
    }
    if let Some(egress) = &narrow.egress {
        ranges(project, &["spec", "narrow", "egress"], egress, errors);
    }
}

/// Ranges are written as such.
fn ranges<T>(
    document: &Document<T>,
    path: &[&str],
    egress: &Egress,
    errors: &mut Vec<ConfigError>,
) {
    for (field, list) in [
        ("cidrs", &egress.cidrs),
        ("exceptCidrs", &egress.except_cidrs),
    ] {
        for (index, range) in list.iter().enumerate().filter(|(_, range)| !is_cidr(range)) {
            let index = index.to_string();
            let mut full = path.to_vec();
            full.extend([field, &index]);
            let message = format!("`{range}` is not a range such as `203.0.113.0/24`");
            errors.push(document.error(&full, Code::InvalidValue, message));
        }
    }
}
