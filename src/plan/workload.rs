//! What an attempt's workload is made from: what was frozen at launch, and process settings.

use super::{
    environment::{self, SERVICE_ACCOUNT},
    index::Index,
};
use crate::{
    cluster::manifests::{AttemptSpec, Resources},
    domain::run::{Attempt, FrozenRun, Run},
};

/// Seconds that the runner has to save its session when its pod is stopped.
const TERMINATION_GRACE_SECONDS: u32 = 30;

/// What the Job of an attempt is made from.
pub(super) fn spec(
    index: &Index<'_>,
    run: &Run,
    frozen: &FrozenRun,
    attempt: &Attempt,
) -> AttemptSpec {
    let settings = index.settings();
    let deadline = frozen.timeout_seconds + frozen.wait_seconds;
    AttemptSpec {
        identity: environment::identity(index, run, frozen),
        namespace: frozen.namespace.clone(),
        attempt: u32::try_from(attempt.number.0).unwrap_or(1),
        service_account: SERVICE_ACCOUNT.to_owned(),
        // Not by the role bound now: a Job cannot be changed when it is applied again.
        mount_api_token: frozen.rbac_profile.is_some(),
        image: frozen.image.clone(),
        image_pull_policy: settings.image_pull_policy,
        command: settings.runner_command.clone(),
        run_url: settings.run_url.clone(),
        token_key_version: u32::try_from(attempt.key_version).unwrap_or(1),
        ca_bundle: settings.ca_bundle.clone(),
        active_deadline_seconds: u64::try_from(deadline).unwrap_or(1),
        termination_grace_seconds: TERMINATION_GRACE_SECONDS,
        requests: resources(&frozen.requests, &Resources::new("250m", "512Mi", "1Gi")),
        limits: resources(&frozen.limits, &Resources::new("2", "4Gi", "8Gi")),
        runtime_class: frozen.runtime_class.clone(),
        extra_env: std::collections::BTreeMap::new(),
    }
}

fn resources(given: &std::collections::BTreeMap<String, String>, default: &Resources) -> Resources {
    let pick = |name: &str, default: &String| given.get(name).unwrap_or(default).clone();
    Resources {
        cpu: pick("cpu", &default.cpu),
        memory: pick("memory", &default.memory),
        ephemeral_storage: pick("ephemeral-storage", &default.ephemeral_storage),
    }
}
