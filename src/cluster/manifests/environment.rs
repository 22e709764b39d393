//! The namespace of a run and what stands in it before any attempt.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    LimitRange, LimitRangeItem, LimitRangeSpec, Namespace, ResourceQuota, ResourceQuotaSpec,
    ServiceAccount,
};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use super::super::kind::ObjectKind;
use super::super::labels;
use super::hash::input_hash;
use super::input::{Resources, RunEnvironment};
use super::metadata::Marks;
use super::names::binding_name;
use super::network::{network_policies, policy_names};
use super::to_value;

/// The name of the quota and the limit range of a run namespace.
const POLICY_NAME: &str = "codex-run";

/// Everything of the environment in the order it is applied: the namespace,
/// then what limits pods, then what lets them do anything.
pub fn environment_objects(environment: &RunEnvironment) -> Vec<Value> {
    let hash = input_hash(environment);
    let marks = marks(environment, &hash);
    let mut objects = vec![
        to_value(&build_namespace(environment, &marks)),
        to_value(&resource_quota(environment, &marks)),
        to_value(&limit_range(environment, &marks)),
    ];
    objects.extend(network_policies(environment, &marks).iter().map(to_value));
    objects.push(to_value(&service_account(environment, &marks)));
    if let Some(role) = &environment.agent_role {
        objects.push(to_value(&role_binding(environment, &marks, role)));
    }
    objects
}

/// What [`environment_objects`] makes inside the namespace, by kind and name, without making
/// it. What stands there beside it, with our mark and of no attempt, is of an input before.
pub fn environment_inventory(environment: &RunEnvironment) -> BTreeSet<(ObjectKind, String)> {
    let mut inventory = BTreeSet::from([
        (ObjectKind::ResourceQuota, POLICY_NAME.to_owned()),
        (ObjectKind::LimitRange, POLICY_NAME.to_owned()),
        (
            ObjectKind::ServiceAccount,
            environment.service_account.clone(),
        ),
    ]);
    let policies = policy_names(&environment.egress);
    inventory.extend(policies.map(|name| (ObjectKind::NetworkPolicy, name.to_owned())));
    let role = environment.agent_role.as_deref();
    inventory.extend(role.map(|role| (ObjectKind::RoleBinding, binding_name(role))));
    inventory
}

fn marks<'a>(environment: &'a RunEnvironment, input_hash: &'a str) -> Marks<'a> {
    Marks {
        identity: &environment.identity,
        attempt: None,
        token_key_version: None,
        input_hash,
    }
}

/// The run's namespace, with its identity and its Pod Security level.
fn build_namespace(environment: &RunEnvironment, marks: &Marks<'_>) -> Namespace {
    let mut metadata = marks.cluster_wide(&environment.namespace);
    let level: &'static str = environment.pod_security.into();
    if let Some(launch) = &environment.launch {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(labels::LAUNCH.to_owned(), launch.clone());
    }
    let labels = metadata.labels.get_or_insert_default();
    for mode in ["enforce", "audit", "warn"] {
        labels.insert(
            format!("pod-security.kubernetes.io/{mode}"),
            level.to_owned(),
        );
    }
    Namespace {
        metadata,
        ..Namespace::default()
    }
}

fn service_account(environment: &RunEnvironment, marks: &Marks<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: marks.namespaced(&environment.namespace, &environment.service_account),
        // The pod says for itself whether it gets a token.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

fn role_binding(environment: &RunEnvironment, marks: &Marks<'_>, role: &str) -> RoleBinding {
    RoleBinding {
        metadata: marks.namespaced(&environment.namespace, &binding_name(role)),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: role.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: environment.service_account.clone(),
            namespace: Some(environment.namespace.clone()),
            ..Subject::default()
        }]),
    }
}

fn resource_quota(environment: &RunEnvironment, marks: &Marks<'_>) -> ResourceQuota {
    let quota = &environment.quota;
    let hard = [
        ("pods", quota.pods.to_string()),
        ("requests.cpu", quota.requests_cpu.clone()),
        ("requests.memory", quota.requests_memory.clone()),
        ("limits.cpu", quota.limits_cpu.clone()),
        ("limits.memory", quota.limits_memory.clone()),
        (
            "requests.ephemeral-storage",
            quota.ephemeral_storage.clone(),
        ),
        ("requests.storage", quota.storage.clone()),
        ("persistentvolumeclaims", quota.volume_claims.to_string()),
        // Ways out of the namespace that no run needs.
        ("services.loadbalancers", "0".to_owned()),
        ("services.nodeports", "0".to_owned()),
    ];
    let hard = hard
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), Quantity(amount)));
    ResourceQuota {
        metadata: marks.namespaced(&environment.namespace, POLICY_NAME),
        spec: Some(ResourceQuotaSpec {
            hard: Some(hard.collect()),
            ..ResourceQuotaSpec::default()
        }),
        ..ResourceQuota::default()
    }
}

fn limit_range(environment: &RunEnvironment, marks: &Marks<'_>) -> LimitRange {
    LimitRange {
        metadata: marks.namespaced(&environment.namespace, POLICY_NAME),
        spec: Some(LimitRangeSpec {
            limits: vec![LimitRangeItem {
                type_: "Container".to_owned(),
                default: Some(quantities(&environment.limits.default_limit)),
                default_request: Some(quantities(&environment.limits.default_request)),
                ..LimitRangeItem::default()
            }],
        }),
    }
}

/// Amounts under the names Kubernetes gives them.
pub(super) fn quantities(resources: &Resources) -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("cpu".to_owned(), Quantity(resources.cpu.clone())),
        ("memory".to_owned(), Quantity(resources.memory.clone())),
        (
            "ephemeral-storage".to_owned(),
            Quantity(resources.ephemeral_storage.clone()),
        ),
    ])
}
