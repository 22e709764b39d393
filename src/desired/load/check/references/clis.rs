//! Agents, agent programs, models and their providers refer to each other.

use std::collections::BTreeSet;

use super::{among, refer};
use crate::{
    desired::{
        load::{
            document::Document,
            error::{Code, ConfigError},
            objects::Objects,
        },
        model::{AgentSpec, Kind, PlatformSpec},
    },
    domain::agent_cli::{AgentCli, PLACEHOLDERS, RUN_TOKEN, placeholders},
};

pub(super) fn check(objects: &Objects, errors: &mut Vec<ConfigError>) {
    for agent in &objects.agents {
        program(objects, agent, errors);
    }
    for cli in &objects.clis {
        texts(cli, errors);
    }
    let Some(platform) = objects.platforms.first() else {
        return;
    };
    providers(platform, errors);
    let names = || {
        let providers = platform.spec.models.providers.iter();
        providers.map(|provider| provider.name.as_str())
    };
    for cli in &objects.clis {
        if let Some(name) = &cli.spec.provider {
            let path = ["spec", "provider"];
            among(cli, &path, ("provider", name), names(), errors);
        }
    }
    for (index, model) in platform.spec.models.catalogue.iter().enumerate() {
        if let Some(name) = &model.provider {
            let index = index.to_string();
            let path = ["spec", "models", "catalogue", &index, "provider"];
            among(
                platform,
                &path,
                ("provider", name.as_str()),
                names(),
                errors,
            );
        }
    }
}

/// An agent is one program: a known one or a command of its own.
fn program(objects: &Objects, agent: &Document<AgentSpec>, errors: &mut Vec<ConfigError>) {
    match (&agent.spec.cli, agent.spec.command.is_empty()) {
        (Some(name), true) => {
            let name = name.as_str();
            refer(
                objects,
                agent,
                &["spec", "cli"],
                (Kind::AgentCli, name),
                errors,
            );
        }
        (None, false) => {}
        (Some(_), false) => {
            let message = "an agent has `cli` or `command`, not both";
            errors.push(agent.error(&["spec", "command"], Code::InvalidValue, message));
        }
        (None, true) => {
            let message = "an agent needs `cli` or `command`";
            errors.push(agent.error(&["spec"], Code::MissingField, message));
        }
    }
}

/// Placeholders are known and stand where they may; paths stay inside the home.
fn texts(cli: &Document<AgentCli>, errors: &mut Vec<ConfigError>) {
    let mut check = |path: Vec<&str>, text: &str, token_allowed: bool| {
        for name in placeholders(text) {
            let message = if !PLACEHOLDERS.contains(&name) {
                let known = PLACEHOLDERS.join(", ");
                format!("there is no placeholder `{name}`; there are {known}")
            } else if name == RUN_TOKEN && !token_allowed {
                format!("`{name}` may stand in `environment` alone: others can read it here")
            } else {
                continue;
            };
            let mut full = vec!["spec"];
            full.extend(&path);
            errors.push(cli.error(&full, Code::InvalidValue, message));
        }
    };
    for (path, word) in cli.spec.words() {
        check(path.iter().map(String::as_str).collect(), word, false);
    }
    for (name, value) in &cli.spec.environment {
        check(vec!["environment", name], value, true);
    }
    for (path, text) in &cli.spec.files {
        check(vec!["files", path], text, false);
    }
    for path in cli.spec.files.keys().filter(|path| !is_inside(path)) {
        let message = format!("`{path}` must be a relative path that stays inside the home");
        errors.push(cli.error(&["spec", "files", path], Code::PathEscapes, message));
    }
}

fn is_inside(path: &str) -> bool {
    let mut parts = path.split('/');
    !path.is_empty() && parts.all(|part| !matches!(part, "" | "." | ".."))
}

fn providers(platform: &Document<PlatformSpec>, errors: &mut Vec<ConfigError>) {
    let mut seen = BTreeSet::new();
    for (index, provider) in platform.spec.models.providers.iter().enumerate() {
        let index = index.to_string();
        let at = |field| ["spec", "models", "providers", &index, field];
        if !seen.insert(&provider.name) {
            let message = format!("duplicate provider `{}`", provider.name);
            errors.push(platform.error(&at("name"), Code::DuplicateName, message));
        }
        let url = url::Url::parse(&provider.url).ok();
        let good = url.is_some_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        });
        if !good {
            // It is not repeated: what is wrong with it may be a password.
            let message = "this is no address such as `https://models.example.org/v1`, without \
                           credentials and query";
            errors.push(platform.error(&at("url"), Code::InvalidValue, message));
        }
    }
}
