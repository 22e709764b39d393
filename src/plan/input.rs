//! Everything a plan is made from. It is data: it can be saved and replayed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    cluster::{
        manifests::{CaBundle, Cidr, DnsTarget, ImagePullPolicy, NetworkTarget},
        snapshot::ClusterSnapshot,
    },
    desired::model::Desired,
    domain::{
        Timestamp,
        ids::{InstallationId, ProjectKey, RunId},
        snapshot::StoreSnapshot,
    },
    observed::model::Observed,
};

/// What one plan is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "scope")]
pub enum Scope {
    /// One project: in the config, or with live rows.
    Project {
        /// Its key.
        project: ProjectKey,
    },
    /// What the cluster holds of ours and no run explains.
    Orphans,
}

/// A plan's input. Nothing else has any influence: no clock, no environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanInput {
    /// The pass's time, from the database.
    pub now: Timestamp,
    /// Whose objects are ours.
    pub installation: InstallationId,
    /// What is planned.
    pub scope: Scope,
    /// The last good config; `None` until the first is accepted.
    pub desired: Option<Arc<Desired>>,
    /// Process settings that plans depend on.
    pub settings: PlanSettings,
    /// The rows.
    pub rows: StoreSnapshot,
    /// What the cluster holds. Read before the rows, so that what a pod reported
    /// before it ended is among them.
    pub cluster: Observed<Arc<ClusterSnapshot>>,
    /// When the last complete sweep of forge and cluster was folded in, since this
    /// process took the lease; nothing unknown to us is deleted before.
    pub swept_at: Option<Timestamp>,
}

impl PlanInput {
    /// The rows that a plan of the orphans is made from. Nearly always every namespace of ours
    /// has its run, and then none of the others have to be looked at.
    pub fn rows_of_orphans(
        rows: &StoreSnapshot,
        cluster: &Observed<Arc<ClusterSnapshot>>,
    ) -> StoreSnapshot {
        if !is_explained(rows, cluster) {
            return rows.clone();
        }
        StoreSnapshot {
            now: rows.now,
            restored_at: rows.restored_at,
            identities: rows.identities.clone(),
            environments: rows.environments.clone(),
            ..StoreSnapshot::default()
        }
    }
}

/// Whether every namespace of ours has its run.
pub(super) fn is_explained(rows: &StoreSnapshot, cluster: &Observed<Arc<ClusterSnapshot>>) -> bool {
    let known: BTreeSet<RunId> = rows.environments.iter().map(|row| row.run).collect();
    let snapshot = cluster.known();
    let mut namespaces = snapshot.iter().flat_map(|snapshot| &snapshot.namespaces);
    namespaces.all(|row| {
        let run = row.owner.run.map(RunId);
        run.is_some_and(|run| known.contains(&run))
    })
}

/// Process settings that plans depend on. Times are seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSettings {
    /// How long the forge may hide our own writes from reads.
    pub visibility_seconds: i64,
    /// What runs are told as the run API's address.
    pub run_url: String,
    /// The runner's command line in the pod.
    pub runner_command: Vec<String>,
    /// When images are pulled.
    pub image_pull_policy: ImagePullPolicy,
    /// The prefix of run namespaces.
    pub namespace_prefix: String,
    /// Where pods resolve names.
    pub dns: DnsTarget,
    /// Where pods reach the run API.
    pub run_api: NetworkTarget,
    /// The proxy for host names, where there is one.
    pub proxy: Option<NetworkTarget>,
    /// Ranges that no run may reach: API server, nodes.
    pub protected: Vec<Cidr>,
    /// Certificates for the run API.
    pub ca_bundle: Option<CaBundle>,
    /// The `ClusterRole` that each RBAC profile binds.
    pub roles: BTreeMap<String, String>,
    /// The version of the key that new run tokens are made with.
    pub token_key_version: i32,
    /// How long a pod may stay unstarted for the same reason before its attempt is given up.
    pub start_grace_seconds: i64,
    /// The pause before attempt 2; it doubles with each further one.
    pub attempt_backoff_seconds: i64,
    /// How long a node may be unreachable before its pods count as gone.
    pub node_grace_seconds: i64,
    /// How long an unexplained namespace is left alone.
    pub orphan_grace_seconds: i64,
    /// How long a namespace may take to go before people are called.
    pub stuck_namespace_seconds: i64,
    /// How many writes a minute at the forge may go into keeping the catalogue right.
    #[serde(default = "upkeep_per_minute")]
    pub upkeep_per_minute: usize,
}

/// Half of what forges allow: the rest is for runs.
const fn upkeep_per_minute() -> usize {
    40
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self {
            visibility_seconds: 60,
            run_url: "http://codex-k8s-run.codex-k8s.svc:8082".to_owned(),
            runner_command: vec!["codex-k8s".to_owned(), "agent".to_owned()],
            image_pull_policy: ImagePullPolicy::IfNotPresent,
            namespace_prefix: "codex-issue".to_owned(),
            dns: DnsTarget::default(),
            run_api: NetworkTarget::Pods {
                namespace_labels: BTreeMap::from([(
                    "kubernetes.io/metadata.name".to_owned(),
                    "codex-k8s".to_owned(),
                )]),
                pod_labels: BTreeMap::new(),
                port: 8082,
            },
            proxy: None,
            protected: Vec::new(),
            ca_bundle: None,
            roles: ["read", "edit", "admin"]
                .map(|profile| (profile.to_owned(), format!("codex-k8s-agent-{profile}")))
                .into(),
            token_key_version: 1,
            start_grace_seconds: 300,
            attempt_backoff_seconds: 10,
            node_grace_seconds: 600,
            orphan_grace_seconds: 600,
            stuck_namespace_seconds: 300,
            upkeep_per_minute: upkeep_per_minute(),
        }
    }
}
