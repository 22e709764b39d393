//! Limits fit into each other, time-outs and times of keeping are never zero, members are listed
//! once.

use std::collections::BTreeMap;

use crate::desired::{
    load::{
        document::{Document, Scope},
        error::{Code, ConfigError},
        objects::Objects,
    },
    model::{AgentPolicySpec, Member, PlatformSpec, ProjectSpec},
};

pub(super) fn check(objects: &Objects, errors: &mut Vec<ConfigError>) {
    for policy in &objects.policies {
        time_outs(policy, errors);
    }
    for policy in &objects.approvals {
        if policy.spec.expires_after.is_zero() {
            let message = "`expiresAfter` is never zero";
            errors.push(policy.error(&["spec", "expiresAfter"], Code::InvalidValue, message));
        }
    }
    for platform in &objects.platforms {
        retention(platform, errors);
    }
    for project in &objects.projects {
        project_limits(objects, project, errors);
        members(project, errors);
    }
    sum(objects, errors);
}

fn time_outs(policy: &Document<AgentPolicySpec>, errors: &mut Vec<ConfigError>) {
    let spec = &policy.spec;
    for (field, duration) in [
        ("runTimeout", spec.run_timeout),
        ("waitTimeout", spec.wait_timeout),
    ] {
        if duration.is_zero() {
            errors.push(policy.error(
                &["spec", field],
                Code::InvalidValue,
                format!("`{field}` is never zero"),
            ));
        }
    }
}

fn retention(platform: &Document<PlatformSpec>, errors: &mut Vec<ConfigError>) {
    let spec = &platform.spec.retention;
    for (field, duration) in [("logs", spec.logs), ("sessions", spec.sessions)] {
        if duration.is_zero() {
            errors.push(platform.error(
                &["spec", "retention", field],
                Code::InvalidValue,
                format!("`{field}` is never zero"),
            ));
        }
    }
}

fn project_limits(
    objects: &Objects,
    project: &Document<ProjectSpec>,
    errors: &mut Vec<ConfigError>,
) {
    let spec = &project.spec;
    if let Some(max_runs) = spec.limits.max_runs
        && max_runs > spec.slots
    {
        let message = format!(
            "{max_runs} runs need as many slots; the project has {}",
            spec.slots
        );
        errors.push(project.error(&["spec", "limits", "maxRuns"], Code::LimitExceeded, message));
    }
    let scope = Scope::Project(project.name.as_str().into());
    for (key, limit) in &spec.limits.per_agent {
        let visible = |at: &Scope| *at == scope || *at == Scope::Platform;
        // The project's own document comes before the platform's.
        let agents = objects
            .agents
            .iter()
            .filter(|agent| agent.name.as_str() == key.as_str() && visible(&agent.scope));
        let Some(agent) = agents.max_by_key(|agent| agent.scope == scope) else {
            continue;
        };
        let policies = objects
            .policies
            .iter()
            .filter(|policy| policy.name == agent.spec.policy && visible(&policy.scope));
        let Some(policy) = policies.max_by_key(|policy| policy.scope == scope) else {
            continue;
        };
        if *limit > policy.spec.max_parallel_runs {
            let message = format!(
                "{limit} is above the {} parallel runs of policy `{}`",
                policy.spec.max_parallel_runs, policy.name
            );
            let path = ["spec", "limits", "perAgent", key.as_str()];
            errors.push(project.error(&path, Code::LimitExceeded, message));
        }
    }
}

fn members(project: &Document<ProjectSpec>, errors: &mut Vec<ConfigError>) {
    let mut seen = BTreeMap::new();
    for (index, member) in project.spec.members.iter().enumerate() {
        let Member::User { id, login, .. } = member else {
            continue;
        };
        if let Some(first) = seen.insert(*id, login) {
            let message = format!("member {id} is listed twice, as `{first}` and as `{login}`");
            let path = ["spec", "members", &index.to_string(), "id"];
            errors.push(project.error(&path, Code::DuplicateName, message));
        }
    }
}

/// The projects' limits together stay below the platform's cap, so that no
/// project can take another one's share.
fn sum(objects: &Objects, errors: &mut Vec<ConfigError>) {
    let Some(platform) = objects.platforms.first() else {
        return;
    };
    let sum: u64 = objects
        .projects
        .iter()
        .map(|project| u64::from(project.spec.max_runs()))
        .sum();
    if sum > u64::from(platform.spec.max_runs) {
        let message = format!(
            "the projects' limits add up to {sum} runs, above the platform's {}",
            platform.spec.max_runs
        );
        errors.push(platform.error(&["spec", "maxRuns"], Code::LimitExceeded, message));
    }
}
