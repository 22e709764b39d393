//! What holds for every pod, the model's and a real one: cases, as in `cases`.

use codex_k8s::cluster::manifests::{AttemptSpec, environment_objects};
use codex_k8s::cluster::snapshot::{JobOutcome, PodPhase};
use codex_k8s::cluster::{Cluster, DeleteTarget, LogRequest, ObjectKind, ObjectRef, Propagation};

use super::support::*;

pub(super) async fn a_pods_end_becomes_its_jobs_outcome(server: Server) {
    for (code, phase, outcome) in [
        ("0", PodPhase::Succeeded, JobOutcome::Complete),
        (
            "3",
            PodPhase::Failed,
            JobOutcome::Failed {
                reason: Some("BackoffLimitExceeded".to_owned()),
            },
        ),
    ] {
        let cluster = server.cluster().await;
        let environment = environment(server.identity());
        let spec = test_pod(&environment, &["exit", code]);
        apply_all(&cluster, &whole_run(&environment, &spec)).await;
        cluster.watch();
        // Two watches: the Job's end may be seen before its pod's.
        let seen = cached(&cluster, "Job and pod have ended", |seen| {
            let job = seen.jobs.first();
            let pod = seen.pods.first();
            job.is_some_and(|job| job.outcome != JobOutcome::Open)
                && pod.is_some_and(|pod| pod.terminated.is_some())
        })
        .await;
        assert_eq!(
            (seen.pods[0].phase, &seen.jobs[0].outcome),
            (phase, &outcome)
        );
        let exit_code = seen.pods[0].terminated.as_ref().unwrap().exit_code;
        assert_eq!(exit_code.to_string(), code);
        assert_eq!(seen.pods.len(), 1, "a second pod was started");
        clean_up(&cluster, &environment).await;
    }
}

pub(super) async fn logs_are_read_whole_from_the_end_or_up_to_a_limit(server: Server) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let spec = test_pod(&environment, &["stay", "one", "two", "three"]);
    apply_all(&cluster, &whole_run(&environment, &spec)).await;
    let (pod, log) = log_with(&cluster, &environment, "three").await;
    assert_eq!(log, "one\ntwo\nthree\n");
    let mut request = LogRequest {
        namespace: environment.namespace.clone(),
        pod,
        ..LogRequest::default()
    };
    request.tail_lines = Some(1);
    assert_eq!(cluster.pod_logs(&request).await.unwrap(), "three\n");
    request.tail_lines = None;
    request.limit_bytes = Some(4);
    assert_eq!(cluster.pod_logs(&request).await.unwrap(), "one\n");
    clean_up(&cluster, &environment).await;
}

pub(super) async fn a_pod_waits_for_the_secret_it_mounts(server: Server) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let spec = test_pod(&environment, &["stay", "up"]);
    let objects = whole_run(&environment, &spec);
    apply_all(&cluster, &environment_objects(&environment)).await;
    cluster.apply(of_kind(&objects, "Job")).await.unwrap();
    until("the pod waits", || async {
        let listed = cluster.list_owned().await.unwrap();
        let pod = listed.pods.first()?;
        assert_eq!(pod.phase, PodPhase::Pending);
        pod.waiting_reason.clone()
    })
    .await;
    cluster.apply(of_kind(&objects, "Secret")).await.unwrap();
    until("the pod runs", || async {
        cluster.list_owned().await.unwrap().pods[0]
            .ready
            .then_some(())
    })
    .await;
    clean_up(&cluster, &environment).await;
}

pub(super) async fn a_deadline_ends_the_pod_and_fails_its_job(server: Server) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let spec = AttemptSpec {
        active_deadline_seconds: 3,
        ..test_pod(&environment, &["stay"])
    };
    apply_all(&cluster, &whole_run(&environment, &spec)).await;
    // Whether the pod counts as failed depends on how far it had come.
    let ended = until("the Job has failed and its pod is gone", || async {
        let listed = cluster.list_owned().await.unwrap();
        let over = matches!(listed.jobs[0].outcome, JobOutcome::Failed { .. });
        (over && listed.pods.is_empty()).then_some(listed)
    })
    .await;
    let reason = Some("DeadlineExceeded".to_owned());
    assert_eq!(ended.jobs[0].outcome, JobOutcome::Failed { reason });
    clean_up(&cluster, &environment).await;
}

pub(super) async fn a_job_that_goes_in_the_foreground_stands_until_its_pod_has_gone(
    server: Server,
) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let spec = test_pod(&environment, &["stay", "up"]);
    apply_all(&cluster, &whole_run(&environment, &spec)).await;
    log_with(&cluster, &environment, "up").await;
    let job = cluster.list_owned().await.unwrap().jobs.remove(0);
    let object = ObjectRef::namespaced(ObjectKind::Job, &job.namespace, &job.name);
    let target = DeleteTarget {
        object: object.clone(),
        uid: job.uid,
        propagation: Propagation::Foreground,
    };
    cluster.delete(&target).await.unwrap();
    until("the Job is gone", || async {
        let gone = cluster.get(&object).await.unwrap().is_none();
        gone.then_some(())
    })
    .await;
    assert!(cluster.list_owned().await.unwrap().pods.is_empty());
    clean_up(&cluster, &environment).await;
}
