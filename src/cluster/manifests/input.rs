//! What the builders are given: plain data, fixed by the planner.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::cidr::Cidr;

/// Whose the objects are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIdentity {
    /// The installation.
    pub installation: String,
    /// The run.
    pub run: Uuid,
    /// The project's key.
    pub project: String,
    /// The repository's immutable forge id.
    pub repository_id: u64,
    /// `owner/name` as read at launch.
    pub repository: String,
    /// The issue's number.
    pub issue: u64,
    /// The identity of the trigger, written out.
    pub trigger: String,
    /// The correlation id of everything the run does.
    pub correlation_id: String,
}

/// The namespace of a run and what stands in it before any attempt.
///
/// It follows the newest accepted configuration while the run lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnvironment {
    /// Whose it is.
    pub identity: RunIdentity,
    /// The namespace, from [`namespace_name`](super::namespace_name).
    pub namespace: String,
    /// What the run's launch fixed, as the planner writes it down: from this a lost row is
    /// rebuilt. Never a secret.
    #[serde(default)]
    pub launch: Option<String>,
    /// The Pod Security level that the namespace enforces.
    pub pod_security: PodSecurityLevel,
    /// The ServiceAccount that the agent runs as.
    pub service_account: String,
    /// The `ClusterRole` bound to that account inside the namespace; `None`
    /// binds nothing and the pod gets no API token.
    pub agent_role: Option<String>,
    /// What the namespace may use in all.
    pub quota: Quota,
    /// What one container gets that asks for nothing.
    pub limits: ContainerLimits,
    /// Where pods may connect to. Nothing may connect to them.
    pub egress: Egress,
}

/// A Pod Security level.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PodSecurityLevel {
    /// Everything the standard asks for.
    #[default]
    Restricted,
    /// Known privilege escalations are refused.
    Baseline,
    /// Nothing is refused.
    Privileged,
}

/// The sums a namespace may reach. Quantities are Kubernetes' (`500m`, `2Gi`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Pods.
    pub pods: u32,
    /// CPU that pods may ask for.
    pub requests_cpu: String,
    /// Memory that pods may ask for.
    pub requests_memory: String,
    /// CPU that pods may reach.
    pub limits_cpu: String,
    /// Memory that pods may reach.
    pub limits_memory: String,
    /// Local disk that pods may ask for.
    pub ephemeral_storage: String,
    /// Storage that volume claims may ask for.
    pub storage: String,
    /// Volume claims.
    pub volume_claims: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            pods: 20,
            requests_cpu: "4".to_owned(),
            requests_memory: "8Gi".to_owned(),
            limits_cpu: "8".to_owned(),
            limits_memory: "16Gi".to_owned(),
            ephemeral_storage: "20Gi".to_owned(),
            storage: "20Gi".to_owned(),
            volume_claims: 4,
        }
    }
}

/// What one container gets when it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerLimits {
    /// The request it is given.
    pub default_request: Resources,
    /// The limit it is given.
    pub default_limit: Resources,
}

impl Default for ContainerLimits {
    fn default() -> Self {
        Self {
            default_request: Resources::new("100m", "128Mi", "256Mi"),
            default_limit: Resources::new("1", "1Gi", "2Gi"),
        }
    }
}

/// Amounts of what a container uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// CPU.
    pub cpu: String,
    /// Memory.
    pub memory: String,
    /// Local disk.
    pub ephemeral_storage: String,
}

impl Resources {
    /// Amounts from Kubernetes quantities.
    pub fn new(cpu: &str, memory: &str, ephemeral_storage: &str) -> Self {
        Self {
            cpu: cpu.to_owned(),
            memory: memory.to_owned(),
            ephemeral_storage: ephemeral_storage.to_owned(),
        }
    }
}

/// Where pods of the run may connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// The cluster's DNS servers.
    pub dns: DnsTarget,
    /// The run API: the one port of the platform that a run may reach.
    pub run_api: NetworkTarget,
    /// The proxy through which host names are reached, where there is one.
    pub proxy: Option<NetworkTarget>,
    /// Further ranges that are allowed.
    pub allow: Vec<EgressRule>,
    /// Ranges cut out of every allowed one: API server, nodes. The link-local
    /// ranges with the metadata services are always cut out.
    pub except: Vec<Cidr>,
}

/// The cluster's DNS servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsTarget {
    /// Labels of their namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Labels of their pods.
    pub pod_labels: BTreeMap<String, String>,
}

impl Default for DnsTarget {
    fn default() -> Self {
        let one = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        Self {
            namespace_labels: one("kubernetes.io/metadata.name", "kube-system"),
            pod_labels: one("k8s-app", "kube-dns"),
        }
    }
}

/// One thing to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkTarget {
    /// Addresses, for what runs outside the cluster.
    Range {
        /// The addresses.
        cidr: Cidr,
        /// The TCP port.
        port: u16,
    },
    /// Pods of the cluster.
    Pods {
        /// Labels of their namespace.
        namespace_labels: BTreeMap<String, String>,
        /// Labels of the pods; empty means all of them.
        pod_labels: BTreeMap<String, String>,
        /// The TCP port of the pods (not of a Service before them).
        port: u16,
    },
}

/// A range that is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressRule {
    /// The addresses.
    pub cidr: Cidr,
    /// Ranges cut out of it, beside those of [`Egress::except`].
    #[serde(default)]
    pub except: Vec<Cidr>,
    /// The ports; empty means all.
    #[serde(default)]
    pub ports: Vec<Port>,
}

/// A port with its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The protocol.
    pub protocol: Protocol,
    /// The number.
    pub port: u16,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "UPPERCASE")]
#[strum(serialize_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One attempt: its Job and the Secret beside it. Frozen at launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptSpec {
    /// Whose it is.
    pub identity: RunIdentity,
    /// The run's namespace.
    pub namespace: String,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The ServiceAccount that the pod runs as.
    pub service_account: String,
    /// Whether the pod gets an API token: only where a role is bound.
    pub mount_api_token: bool,
    /// The image, by digest where policy asks for it.
    pub image: String,
    /// When the image is pulled.
    pub image_pull_policy: ImagePullPolicy,
    /// The command: `codex-k8s agent` and its arguments.
    pub command: Vec<String>,
    /// The run API as the pod reaches it.
    pub run_url: String,
    /// The version of the key that the run token was derived with. The token
    /// itself is never part of this.
    pub token_key_version: u32,
    /// Certificates for the run API, where they are not public.
    pub ca_bundle: Option<CaBundle>,
    /// The backstop: the run's time-out plus the longest wait.
    pub active_deadline_seconds: u64,
    /// How long the runner has to save its session when it is stopped.
    pub termination_grace_seconds: u32,
    /// What the container asks for.
    pub requests: Resources,
    /// What the container may reach.
    pub limits: Resources,
    /// The `RuntimeClass`, where policy names one.
    pub runtime_class: Option<String>,
    /// Further environment variables, such as a proxy's. Never a secret: they
    /// are readable by whoever reads the Job.
    #[serde(default)]
    pub extra_env: BTreeMap<String, String>,
}

/// When an image is pulled.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr,
)]
pub enum ImagePullPolicy {
    /// When the node does not have it.
    #[default]
    IfNotPresent,
    /// Before every start.
    Always,
    /// Never.
    Never,
}

/// A `ConfigMap` in the run's namespace that holds CA certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaBundle {
    /// The `ConfigMap`.
    pub config_map: String,
    /// The key with the PEM file.
    pub key: String,
}

/// The resolved run token. It prints and serialises as nothing.
#[derive(Clone)]
pub struct RunToken(SecretString);

impl RunToken {
    /// Takes a token over.
    pub fn new(token: String) -> Self {
        Self(SecretString::from(token))
    }

    /// The token itself, for the Secret's data alone.
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for RunToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunToken(…)")
    }
}
