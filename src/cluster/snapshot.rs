//! What the cluster holds of ours, as plain data. Pure.
//!
//! Rows carry what a planner decides on and no more; never the content of a
//! Secret. All lists are sorted by namespace and name, so that equal clusters
//! give equal bytes.

use std::{collections::BTreeMap, sync::OnceLock};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::kind::{ObjectKind, ObjectRef};

/// Everything in the cluster that carries our installation label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSnapshot {
    /// Run namespaces.
    pub namespaces: Vec<NamespaceRow>,
    /// Jobs, one an attempt.
    pub jobs: Vec<JobRow>,
    /// Pods of those Jobs.
    pub pods: Vec<PodRow>,
    /// Everything else, as metadata.
    pub objects: Vec<ObjectRow>,
    /// Where the rows of each run stand, once somebody asked: a pass plans many projects from
    /// one snapshot.
    #[serde(skip)]
    pub by_run: Places,
}

/// Where the rows of each run stand in the lists of a snapshot. It follows from those lists, is
/// worked out once and says nothing of its own: any two are equal, and a copy begins anew.
#[derive(Debug, Default)]
pub struct Places(OnceLock<BTreeMap<Uuid, PlacesOfRun>>);

#[derive(Debug, Default)]
struct PlacesOfRun {
    namespaces: Vec<usize>,
    jobs: Vec<usize>,
    pods: Vec<usize>,
    objects: Vec<usize>,
}

impl Clone for Places {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Places {}

/// Whose an object is, read from its labels. A label that is missing or does
/// not parse is `None`: such an object belongs to no run and is an orphan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The run.
    pub run: Option<Uuid>,
    /// The attempt, on what belongs to one.
    pub attempt: Option<u32>,
}

/// What a namespace's labels and annotations say about its run: enough to
/// rebuild the run's row after a lost database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMark {
    /// The project's key.
    pub project: Option<String>,
    /// The repository's forge id.
    pub repository_id: Option<u64>,
    /// `owner/name` as read at launch.
    pub repository: Option<String>,
    /// The issue's number.
    pub issue: Option<u64>,
    /// The identity of the trigger.
    pub trigger: Option<String>,
    /// The run's correlation id.
    pub correlation_id: Option<String>,
    /// What the run's launch fixed, as it was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<String>,
}

/// Whether a namespace is in use or going away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamespacePhase {
    /// Objects can be made in it.
    Active,
    /// It is being deleted; nothing new goes in.
    Terminating,
}

/// A run namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceRow {
    /// Its name.
    pub name: String,
    /// Its uid: a namespace made again under the same name has another.
    pub uid: String,
    /// The version of the object.
    pub resource_version: String,
    /// In use or going away.
    pub phase: NamespacePhase,
    /// Since when it is going away.
    pub deletion_timestamp: Option<DateTime<Utc>>,
    /// Whose it is.
    pub owner: Owner,
    /// What it says about its run.
    pub mark: RunMark,
    /// The hash of what it was built from.
    pub input_hash: Option<String>,
}

/// The Job of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
    /// The version of the object.
    pub resource_version: String,
    /// Whose it is.
    pub owner: Owner,
    /// Since when it is going away.
    pub deletion_timestamp: Option<DateTime<Utc>>,
    /// Pods that are neither succeeded nor failed.
    pub active: u32,
    /// Pods that ended with success.
    pub succeeded: u32,
    /// Pods that failed.
    pub failed: u32,
    /// What the Job's conditions say in the end.
    pub outcome: JobOutcome,
    /// The version of the key that the attempt's run token was made with.
    #[serde(default)]
    pub token_key_version: Option<i32>,
    /// The hash of what it was built from.
    pub input_hash: Option<String>,
}

/// What a Job's conditions say. A hint only: what counts is the run's result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum JobOutcome {
    /// No final condition yet.
    #[default]
    Open,
    /// `Complete`.
    Complete,
    /// `Failed`.
    Failed {
        /// The condition's reason, such as `BackoffLimitExceeded`.
        reason: Option<String>,
    },
}

/// A pod's phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodPhase {
    /// Not started: unscheduled, or its images are not there.
    Pending,
    /// At least one container runs.
    Running,
    /// All containers ended with success.
    Succeeded,
    /// All containers ended, at least one with failure.
    Failed,
    /// The node does not say.
    Unknown,
}

/// How the agent's container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminated {
    /// The exit code.
    pub exit_code: i32,
    /// The reason, such as `OOMKilled`.
    pub reason: Option<String>,
}

/// A pod of an attempt. While it exists the run's slot is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRow {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
    /// The version of the object.
    pub resource_version: String,
    /// Whose it is.
    pub owner: Owner,
    /// The phase.
    pub phase: PodPhase,
    /// Why a container does not start, such as `ImagePullBackOff`, or why the
    /// pod finds no node (`Unschedulable`).
    pub waiting_reason: Option<String>,
    /// How the container ended.
    pub terminated: Option<Terminated>,
    /// The pod's own reason, such as `Evicted` or `DeadlineExceeded`.
    pub reason: Option<String>,
    /// The node it was given.
    pub node: Option<String>,
    /// Since when it is going away.
    pub deletion_timestamp: Option<DateTime<Utc>>,
    /// Whether it reports ready.
    pub ready: bool,
    /// Since when its node has been unreachable: what such a pod does, and
    /// whether it still runs, nobody knows.
    pub node_unreachable_since: Option<DateTime<Utc>>,
}

impl PodRow {
    /// Whether the pod has ended by what its node last said.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, PodPhase::Succeeded | PodPhase::Failed)
    }
}

/// Any other object of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRow {
    /// The kind.
    pub kind: ObjectKind,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
    /// The version of the object.
    pub resource_version: String,
    /// Whose it is.
    pub owner: Owner,
    /// The hash of what it was built from.
    pub input_hash: Option<String>,
}

impl ObjectRow {
    /// The reference to this object.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef::namespaced(self.kind, &self.namespace, &self.name)
    }
}

/// What the cluster holds of one run.
#[derive(Debug, Default)]
pub struct RunRows<'a> {
    /// Its namespaces; more than one only after a fault.
    pub namespaces: Vec<&'a NamespaceRow>,
    /// Its Jobs.
    pub jobs: Vec<&'a JobRow>,
    /// Its pods.
    pub pods: Vec<&'a PodRow>,
    /// Its other objects.
    pub objects: Vec<&'a ObjectRow>,
}

impl ClusterSnapshot {
    /// Sorts every list, so that equal clusters give equal bytes.
    pub fn normalise(&mut self) {
        self.namespaces.sort_by(|a, b| a.name.cmp(&b.name));
        self.jobs
            .sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        self.pods
            .sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        self.objects.sort_by_key(ObjectRow::reference);
    }

    /// The rows of a run.
    ///
    /// What stands in a run's namespace belongs to that run, whatever its own
    /// labels say: an agent may label what it makes, but no namespace. Only
    /// where the namespace is not there the object's label counts.
    pub fn of_run(&self, run: Uuid) -> RunRows<'_> {
        let Some(places) = self.by_run.0.get_or_init(|| self.places()).get(&run) else {
            return RunRows::default();
        };
        RunRows {
            namespaces: rows_at(&self.namespaces, &places.namespaces),
            jobs: rows_at(&self.jobs, &places.jobs),
            pods: rows_at(&self.pods, &places.pods),
            objects: rows_at(&self.objects, &places.objects),
        }
    }

    fn places(&self) -> BTreeMap<Uuid, PlacesOfRun> {
        let mut places: BTreeMap<Uuid, PlacesOfRun> = BTreeMap::new();
        let owners: BTreeMap<&str, Option<Uuid>> = self
            .namespaces
            .iter()
            .map(|row| (row.name.as_str(), row.owner.run))
            .collect();
        let run_of = |namespace: &str, owner: &Owner| match owners.get(namespace) {
            Some(run) => *run,
            None => owner.run,
        };
        for (at, row) in self.namespaces.iter().enumerate() {
            if let Some(run) = row.owner.run {
                places.entry(run).or_default().namespaces.push(at);
            }
        }
        for (at, row) in self.jobs.iter().enumerate() {
            if let Some(run) = run_of(&row.namespace, &row.owner) {
                places.entry(run).or_default().jobs.push(at);
            }
        }
        for (at, row) in self.pods.iter().enumerate() {
            if let Some(run) = run_of(&row.namespace, &row.owner) {
                places.entry(run).or_default().pods.push(at);
            }
        }
        for (at, row) in self.objects.iter().enumerate() {
            if let Some(run) = run_of(&row.namespace, &row.owner) {
                places.entry(run).or_default().objects.push(at);
            }
        }
        places
    }
}

fn rows_at<'a, T>(rows: &'a [T], places: &[usize]) -> Vec<&'a T> {
    places.iter().map(|at| &rows[*at]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, run: Option<Uuid>) -> NamespaceRow {
        NamespaceRow {
            name: name.to_owned(),
            uid: "u".to_owned(),
            resource_version: "1".to_owned(),
            phase: NamespacePhase::Active,
            deletion_timestamp: None,
            owner: Owner { run, attempt: None },
            mark: RunMark::default(),
            input_hash: None,
        }
    }

    fn object(namespace: &str, run: Option<Uuid>) -> ObjectRow {
        ObjectRow {
            kind: ObjectKind::Secret,
            namespace: namespace.to_owned(),
            name: "s".to_owned(),
            uid: "u".to_owned(),
            resource_version: "1".to_owned(),
            owner: Owner {
                run,
                attempt: Some(1),
            },
            input_hash: None,
        }
    }

    #[test]
    fn an_object_belongs_to_the_run_of_its_namespace_whatever_its_label_says() {
        let (mine, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let snapshot = ClusterSnapshot {
            namespaces: vec![namespace("a", Some(mine)), namespace("stray", None)],
            objects: vec![object("a", Some(other)), object("gone", Some(other))],
            ..ClusterSnapshot::default()
        };
        let names = |run| {
            let rows = snapshot.of_run(run).objects;
            rows.into_iter()
                .map(|row| row.namespace.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!((names(mine), names(other)), (vec!["a"], vec!["gone"]));
    }
}
