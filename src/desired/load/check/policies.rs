//! A project's agent policies stay below the platform's.
//!
//! One of the name of a platform's policy goes beyond that one in nothing; one under a new name
//! goes in nothing beyond what any of the platform's policies allows.

use std::{collections::BTreeSet, fmt::Display};

use crate::{
    desired::{
        load::{
            document::{Document, Scope},
            error::{Code, ConfigError},
            objects::Objects,
        },
        model::{AgentPolicySpec, Kind},
    },
    domain::tools::covers_label,
};

type Policy = Document<AgentPolicySpec>;

/// Limits that are numbers: the field, its size and its text.
type Limit = (
    &'static str,
    fn(&AgentPolicySpec) -> u64,
    fn(&AgentPolicySpec) -> String,
);

const LIMITS: [Limit; 4] = [
    (
        "maxParallelRuns",
        |spec| spec.max_parallel_runs.into(),
        |spec| spec.max_parallel_runs.to_string(),
    ),
    (
        "runTimeout",
        |spec| spec.run_timeout.as_secs(),
        |spec| spec.run_timeout.to_string(),
    ),
    (
        "maxAttempts",
        |spec| spec.max_attempts.into(),
        |spec| spec.max_attempts.to_string(),
    ),
    (
        "waitTimeout",
        |spec| spec.wait_timeout.as_secs(),
        |spec| spec.wait_timeout.to_string(),
    ),
];

pub(super) fn check(objects: &Objects, errors: &mut Vec<ConfigError>) {
    // One with errors may be the one that allows it; it is reported alone.
    if objects.anywhere(Kind::AgentPolicy).count() > objects.policies.len() {
        return;
    }
    let platform = objects.policies.iter();
    let platform: Vec<&Policy> = platform
        .filter(|policy| policy.scope == Scope::Platform)
        .collect();
    let own = objects.policies.iter();
    for policy in own.filter(|policy| policy.scope != Scope::Platform) {
        let same = platform.iter().find(|above| above.name == policy.name);
        let above = same.map_or(platform.as_slice(), std::slice::from_ref);
        limits(policy, above, errors);
        let spec = &policy.spec;
        let tools = above.iter().map(|above| above.spec.tools.as_ref());
        names(policy, above, "tools", (spec.tools.as_ref(), tools), errors);
        let stages = above.iter();
        let stages = stages.map(|above| above.spec.requestable_stages.as_ref());
        let own = spec.requestable_stages.as_ref();
        names(policy, above, "requestableStages", (own, stages), errors);
        labels(policy, above, errors);
    }
}

fn limits(policy: &Policy, above: &[&Policy], errors: &mut Vec<ConfigError>) {
    for (field, size, text) in LIMITS {
        let Some(most) = above.iter().max_by_key(|above| size(&above.spec)) else {
            return;
        };
        if size(&policy.spec) > size(&most.spec) {
            let message = format!(
                "`{field}` is {}, above the {} of {}",
                text(&policy.spec),
                text(&most.spec),
                whose(&[most], field)
            );
            errors.push(wider(policy, field, &message));
        }
    }
}

/// Sets that hold everything where they are absent.
fn names<'a, T: Ord + Display + 'a>(
    policy: &Policy,
    above: &[&Policy],
    field: &str,
    (own, allowed): (
        Option<&BTreeSet<T>>,
        impl Iterator<Item = Option<&'a BTreeSet<T>>>,
    ),
    errors: &mut Vec<ConfigError>,
) {
    let Some(allowed) = allowed.collect::<Option<Vec<_>>>() else {
        return;
    };
    let text = |names: &mut dyn Iterator<Item = &T>| {
        let names: BTreeSet<_> = names.map(|name| format!("`{name}`")).collect();
        names.into_iter().collect::<Vec<_>>().join(", ")
    };
    let may = text(&mut allowed.iter().copied().flatten());
    let owner = whose(above, field);
    let Some(own) = own else {
        let message = format!("`{field}` is absent, which means all, above the {may} of {owner}");
        errors.push(wider(policy, field, &message));
        return;
    };
    let is_beyond = |name: &&T| !allowed.iter().any(|set| set.contains(*name));
    if own.iter().any(|name| is_beyond(&name)) {
        let more = text(&mut own.iter().filter(is_beyond));
        let message = format!("`{field}` names {more}, beyond the {may} of {owner}");
        errors.push(wider(policy, field, &message));
    }
}

fn labels(policy: &Policy, above: &[&Policy], errors: &mut Vec<ConfigError>) {
    let field = "writableLabels";
    let allowed = above.iter().flat_map(|above| &above.spec.writable_labels);
    let allowed: BTreeSet<&str> = allowed.map(String::as_str).collect();
    let own = policy.spec.writable_labels.iter();
    for label in own.filter(|label| !allowed.iter().any(|above| covers_label(above, label))) {
        let may = allowed.iter().map(|label| format!("`{label}`"));
        let may = match may.collect::<Vec<_>>().join(", ") {
            may if may.is_empty() => "nothing".to_owned(),
            may => may,
        };
        let message = format!(
            "`{field}` names `{label}`, beyond {may} of {}",
            whose(above, field)
        );
        errors.push(wider(policy, field, &message));
    }
}

/// Whose word it is that holds, and where it stands.
fn whose(above: &[&Policy], field: &str) -> String {
    let [one] = above else {
        return "the platform's policies".to_owned();
    };
    let line = one.places.value(&format!("/spec/{field}")).line;
    format!("the platform's policy `{}` ({}:{line})", one.name, one.file)
}

fn wider(policy: &Policy, field: &str, message: &str) -> ConfigError {
    policy.error(
        &["spec", field],
        Code::LimitExceeded,
        format!("{message}; a project's policy may only narrow it"),
    )
}
