//! From Kubernetes objects to rows: what is not in a row is dropped here.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Namespace, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::super::kind::ObjectKind;
use super::super::labels;
use super::super::snapshot::{
    JobOutcome, JobRow, NamespacePhase, NamespaceRow, ObjectRow, Owner, PodPhase, PodRow, RunMark,
    Terminated,
};

/// The taint of a node that does not answer.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

pub(super) fn time(time: &Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.0.as_second(), 0)
}

fn label<T: FromStr>(meta: &ObjectMeta, name: &str) -> Option<T> {
    meta.labels.as_ref()?.get(name)?.parse().ok()
}

fn annotation(meta: &ObjectMeta, name: &str) -> Option<String> {
    meta.annotations.as_ref()?.get(name).cloned()
}

fn owner(meta: &ObjectMeta) -> Owner {
    Owner {
        run: label(meta, labels::RUN_ID),
        attempt: label(meta, labels::ATTEMPT),
    }
}

fn input_hash(meta: &ObjectMeta) -> Option<String> {
    annotation(meta, labels::INPUT_HASH)
}

fn deletion(meta: &ObjectMeta) -> Option<DateTime<Utc>> {
    meta.deletion_timestamp.as_ref().and_then(time)
}

/// The row of a namespace; `terminating` is what its status says.
pub(super) fn namespace_from_meta(meta: &ObjectMeta, terminating: bool) -> NamespaceRow {
    let deletion_timestamp = deletion(meta);
    let phase = if terminating || deletion_timestamp.is_some() {
        NamespacePhase::Terminating
    } else {
        NamespacePhase::Active
    };
    NamespaceRow {
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        phase,
        deletion_timestamp,
        owner: owner(meta),
        mark: RunMark {
            project: annotation(meta, labels::PROJECT_KEY),
            repository_id: label(meta, labels::REPOSITORY_ID),
            repository: annotation(meta, labels::REPOSITORY),
            issue: label(meta, labels::ISSUE),
            trigger: annotation(meta, labels::TRIGGER),
            correlation_id: annotation(meta, labels::CORRELATION_ID),
            launch: annotation(meta, labels::LAUNCH),
        },
        input_hash: input_hash(meta),
    }
}

pub(super) fn namespace(namespace: &Namespace) -> NamespaceRow {
    let phase = namespace
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    namespace_from_meta(&namespace.metadata, phase == Some("Terminating"))
}

/// The row of a Job of which only the metadata is known: nothing has run yet.
pub(super) fn job_from_meta(meta: &ObjectMeta) -> JobRow {
    JobRow {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        owner: owner(meta),
        deletion_timestamp: deletion(meta),
        active: 0,
        succeeded: 0,
        failed: 0,
        outcome: JobOutcome::Open,
        token_key_version: label(meta, labels::TOKEN_KEY_VERSION),
        input_hash: input_hash(meta),
    }
}

pub(super) fn job(job: &Job) -> JobRow {
    let mut row = job_from_meta(&job.metadata);
    let Some(status) = &job.status else {
        return row;
    };
    let count = |number: Option<i32>| number.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    row.active = count(status.active);
    row.succeeded = count(status.succeeded);
    row.failed = count(status.failed);
    for condition in status
        .conditions
        .iter()
        .flatten()
        .filter(|c| c.status == "True")
    {
        match condition.type_.as_str() {
            "Complete" => row.outcome = JobOutcome::Complete,
            "Failed" => {
                row.outcome = JobOutcome::Failed {
                    reason: condition.reason.clone(),
                }
            }
            _ => {}
        }
    }
    row
}

pub(super) fn pod(pod: &Pod) -> PodRow {
    let meta = &pod.metadata;
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let starting = status.init_container_statuses.unwrap_or_default();
    let condition = |name: &str| {
        status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == name)
    };
    let unscheduled = condition("PodScheduled")
        .filter(|condition| condition.status == "False")
        .and_then(|condition| condition.reason.clone());
    PodRow {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        owner: owner(meta),
        phase: match status.phase.as_deref() {
            Some("Running") => PodPhase::Running,
            Some("Succeeded") => PodPhase::Succeeded,
            Some("Failed") => PodPhase::Failed,
            Some("Pending") | None => PodPhase::Pending,
            Some(_) => PodPhase::Unknown,
        },
        waiting_reason: starting
            .iter()
            .chain(&containers)
            .find_map(waiting)
            .or(unscheduled),
        terminated: containers.iter().find_map(terminated),
        reason: status.reason.clone(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        deletion_timestamp: deletion(meta),
        ready: condition("Ready").is_some_and(|condition| condition.status == "True"),
        node_unreachable_since: None,
    }
}

fn waiting(container: &ContainerStatus) -> Option<String> {
    container.state.as_ref()?.waiting.as_ref()?.reason.clone()
}

fn terminated(container: &ContainerStatus) -> Option<Terminated> {
    let ended = container.state.as_ref()?.terminated.as_ref()?;
    Some(Terminated {
        exit_code: ended.exit_code,
        reason: ended.reason.clone(),
    })
}

pub(super) fn object(kind: ObjectKind, meta: &ObjectMeta) -> ObjectRow {
    ObjectRow {
        kind,
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        owner: owner(meta),
        input_hash: input_hash(meta),
    }
}

/// Since when a node does not answer; `None` while it does.
pub(super) fn unreachable_since(node: &Node) -> Option<DateTime<Utc>> {
    let taints = node.spec.as_ref()?.taints.as_ref()?;
    let taint = taints.iter().find(|taint| taint.key == UNREACHABLE)?;
    taint
        .time_added
        .as_ref()
        .and_then(time)
        .or(Some(DateTime::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod_row(status: &serde_json::Value) -> PodRow {
        let whole = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "3",
                "labels": {labels::RUN_ID: "00000000-0000-0000-0000-000000000001",
                    labels::ATTEMPT: "2"}},
            "spec": {"containers": [], "nodeName": "node-a"},
            "status": status,
        });
        pod(&serde_json::from_value(whole).unwrap())
    }

    #[test]
    fn a_pod_says_why_it_does_not_start() {
        let unplaced = pod_row(&json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}));
        assert_eq!(unplaced.waiting_reason.as_deref(), Some("Unschedulable"));
        let container = json!({"name": "agent", "image": "i", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull"}}});
        let unpulled = pod_row(&json!({"phase": "Pending", "containerStatuses": [container]}));
        assert_eq!(unpulled.waiting_reason.as_deref(), Some("ErrImagePull"));
        assert_eq!((unpulled.phase, unpulled.ready), (PodPhase::Pending, false));
    }

    #[test]
    fn a_pod_says_how_it_ended_and_whose_it_is() {
        let container = json!({"name": "agent", "image": "i", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}});
        let row = pod_row(&json!({"phase": "Failed", "reason": "Evicted",
            "containerStatuses": [container]}));
        let reason = Some("OOMKilled".to_owned());
        assert_eq!(
            row.terminated,
            Some(Terminated {
                exit_code: 137,
                reason
            })
        );
        assert_eq!(
            (row.phase, row.reason.as_deref()),
            (PodPhase::Failed, Some("Evicted"))
        );
        assert_eq!(row.owner.attempt, Some(2));
        assert_eq!(row.owner.run.unwrap().as_u128(), 1);
        assert!(row.has_ended());
    }

    #[test]
    fn labels_that_do_not_parse_name_no_run() {
        let meta = ObjectMeta {
            labels: Some([(labels::RUN_ID.to_owned(), "no uuid".to_owned())].into()),
            ..ObjectMeta::default()
        };
        assert_eq!(object(ObjectKind::Secret, &meta).owner, Owner::default());
    }

    #[test]
    fn a_node_is_unreachable_since_its_taint() {
        let node = |taints: serde_json::Value| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"taints": taints}}))
                .unwrap()
        };
        let tainted = node(json!([{"key": UNREACHABLE, "effect": "NoExecute",
            "timeAdded": "2026-01-02T03:04:05Z"}]));
        let since = unreachable_since(&tainted).unwrap();
        assert_eq!(since.to_rfc3339(), "2026-01-02T03:04:05+00:00");
        let other = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]);
        assert_eq!(unreachable_since(&node(other)), None);
    }
}
