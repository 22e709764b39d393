//! The Job of one attempt and the Secret beside it.
//!
//! The pod holds its run token, as a file, and nothing else of ours; facts and
//! prompt come from the run API.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, KeyToPath,
    PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile, Secret,
    SecretVolumeSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::environment::quantities;
use super::hash::input_hash;
use super::input::{AttemptSpec, RunToken};
use super::metadata::Marks;
use super::names::attempt_name;
use super::to_value;

/// Where the pod finds its run token.
pub const TOKEN_FILE: &str = "/var/run/codex-k8s/token/token";
/// Where the pod works: the one place with room.
pub const WORK_DIR: &str = "/work";

const TOKEN_DIR: &str = "/var/run/codex-k8s/token";
const TOKEN_KEY: &str = "token";
const CA_DIR: &str = "/var/run/codex-k8s/ca";
const CA_FILE: &str = "/var/run/codex-k8s/ca/ca.pem";
const HOME_DIR: &str = "/home/agent";
const TMP_DIR: &str = "/tmp";
/// Any user but root: images may not name one by number.
const AGENT_UID: i64 = 10_001;
/// Owner and group read the token, nobody else.
const TOKEN_MODE: i32 = 0o440;

/// The Secret with the attempt's run token: the one object with a secret in it.
pub fn attempt_secret(spec: &AttemptSpec, token: &RunToken) -> Value {
    let hash = input_hash(spec);
    let bytes = ByteString(token.expose().as_bytes().to_vec());
    to_value(&Secret {
        metadata: metadata(spec, &hash),
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([(TOKEN_KEY.to_owned(), bytes)])),
        ..Secret::default()
    })
}

/// The attempt's Job: one pod, no second try, no privilege.
pub fn attempt_job(spec: &AttemptSpec) -> Value {
    let hash = input_hash(spec);
    let deadline = i64::try_from(spec.active_deadline_seconds).unwrap_or(i64::MAX);
    let marks = marks(spec, &hash);
    to_value(&Job {
        metadata: metadata(spec, &hash),
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            active_deadline_seconds: Some(deadline),
            // A pod that is on its way out must not have a second one beside it.
            pod_replacement_policy: Some("Failed".to_owned()),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(marks.labels()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(spec)),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    })
}

fn marks<'a>(spec: &'a AttemptSpec, input_hash: &'a str) -> Marks<'a> {
    Marks {
        identity: &spec.identity,
        attempt: Some(spec.attempt),
        token_key_version: Some(spec.token_key_version),
        input_hash,
    }
}

fn metadata(spec: &AttemptSpec, hash: &str) -> ObjectMeta {
    let name = attempt_name(spec.identity.run, spec.attempt);
    marks(spec, hash).namespaced(&spec.namespace, &name)
}

fn pod_spec(spec: &AttemptSpec) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(spec.mount_api_token),
        containers: vec![container(spec)],
        enable_service_links: Some(false),
        restart_policy: Some("Never".to_owned()),
        runtime_class_name: spec.runtime_class.clone(),
        security_context: Some(PodSecurityContext {
            fs_group: Some(AGENT_UID),
            run_as_group: Some(AGENT_UID),
            run_as_non_root: Some(true),
            run_as_user: Some(AGENT_UID),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        service_account_name: Some(spec.service_account.clone()),
        termination_grace_period_seconds: Some(i64::from(spec.termination_grace_seconds)),
        volumes: Some(volumes(spec)),
        ..PodSpec::default()
    }
}

fn container(spec: &AttemptSpec) -> Container {
    let pull_policy: &'static str = spec.image_pull_policy.into();
    Container {
        name: "agent".to_owned(),
        image: Some(spec.image.clone()),
        image_pull_policy: Some(pull_policy.to_owned()),
        command: Some(spec.command.clone()),
        env: Some(environment(spec)),
        resources: Some(ResourceRequirements {
            requests: Some(quantities(&spec.requests)),
            limits: Some(quantities(&spec.limits)),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts(spec)),
        working_dir: Some(WORK_DIR.to_owned()),
        ..Container::default()
    }
}

/// What the runner is told. Names are sorted, ours win over further ones.
fn environment(spec: &AttemptSpec) -> Vec<EnvVar> {
    let mut values = spec.extra_env.clone();
    let ours = [
        ("CODEXK8S_RUN_ID", spec.identity.run.to_string()),
        ("CODEXK8S_RUN_ATTEMPT", spec.attempt.to_string()),
        ("CODEXK8S_RUN_URL", spec.run_url.clone()),
        ("CODEXK8S_RUN_TOKEN_FILE", TOKEN_FILE.to_owned()),
        ("CODEXK8S_RUN_WORK_DIR", WORK_DIR.to_owned()),
        ("HOME", HOME_DIR.to_owned()),
        ("TMPDIR", TMP_DIR.to_owned()),
    ];
    values.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    if spec.ca_bundle.is_some() {
        values.insert("CODEXK8S_RUN_CA_FILE".to_owned(), CA_FILE.to_owned());
    }
    values
        .into_iter()
        .map(|(name, value)| EnvVar {
            name,
            value: Some(value),
            ..EnvVar::default()
        })
        .collect()
}

fn volumes(spec: &AttemptSpec) -> Vec<Volume> {
    let scratch = |name: &str| Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    let mut volumes = vec![
        scratch("work"),
        scratch("home"),
        scratch("tmp"),
        Volume {
            name: "run-token".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(attempt_name(spec.identity.run, spec.attempt)),
                default_mode: Some(TOKEN_MODE),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
    ];
    if let Some(bundle) = &spec.ca_bundle {
        let items = vec![KeyToPath {
            key: bundle.key.clone(),
            path: "ca.pem".to_owned(),
            ..KeyToPath::default()
        }];
        volumes.push(Volume {
            name: "ca".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: bundle.config_map.clone(),
                items: Some(items),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        });
    }
    volumes
}

fn mounts(spec: &AttemptSpec) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        mount("work", WORK_DIR, false),
        mount("home", HOME_DIR, false),
        mount("tmp", TMP_DIR, false),
        mount("run-token", TOKEN_DIR, true),
    ];
    if spec.ca_bundle.is_some() {
        mounts.push(mount("ca", CA_DIR, true));
    }
    mounts
}
