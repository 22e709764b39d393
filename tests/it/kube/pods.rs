//! Pods of the model alone: what it can be told about them, and local processes.
//! What holds for real pods as well is in `pod_cases`.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use codex_k8s::cluster::kube::KubeCluster;
use codex_k8s::cluster::manifests::{RunEnvironment, TOKEN_FILE};
use codex_k8s::cluster::snapshot::PodPhase;
use codex_k8s::cluster::{Cluster, DeleteTarget, ObjectKind, ObjectRef, Propagation};
use codex_k8s::sandbox::kubernetes::ProcessRunner;

use super::support::*;

/// A run whose pod is a shell script.
async fn scripted_process(cluster: &KubeCluster, server: &Server, script: &str) -> RunEnvironment {
    let environment = environment(server.identity());
    let spec = attempt(&environment, &["sh", "-c", script]);
    apply_all(cluster, &whole_run(&environment, &spec)).await;
    environment
}

async fn processes() -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let runner = ProcessRunner::new(folder.path(), env!("CARGO_BIN_EXE_codex-k8s"));
    let server = Server::model(Arc::new(runner)).await;
    (folder, server)
}

#[tokio::test]
async fn a_pod_is_launched_once_with_its_token_as_a_file() {
    let runner = Arc::new(TestPods::default());
    let server = Server::model(runner.clone()).await;
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let spec = test_pod(&environment, &["exit", "0"]);
    apply_all(&cluster, &whole_run(&environment, &spec)).await;
    until("the pod has ended", || async {
        let pods = cluster.list_owned().await.unwrap().pods;
        (pods.first()?.phase == PodPhase::Succeeded).then_some(())
    })
    .await;
    let launches = runner.launches.lock().unwrap();
    assert_eq!(launches.len(), 1, "a second pod was started");
    assert_eq!(launches[0].file(TOKEN_FILE), Some(&b"token-of-the-run"[..]));
    assert_eq!(launches[0].env()["CODEXK8S_RUN_TOKEN_FILE"], TOKEN_FILE);
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_the_pods_waiting_reason() {
    let server = Server::model(Arc::new(Sleeper)).await;
    server.knobs().break_image("agent:1", true);
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let spec = attempt(&environment, &["codex-k8s", "agent"]);
    apply_all(&cluster, &whole_run(&environment, &spec)).await;
    cluster.watch();
    let seen = cached(&cluster, "the pod waits", |seen| {
        seen.pods
            .first()
            .is_some_and(|pod| pod.waiting_reason.is_some())
    })
    .await;
    assert_eq!(
        seen.pods[0].waiting_reason.as_deref(),
        Some("ImagePullBackOff")
    );
    server.knobs().break_image("agent:1", false);
    cached(&cluster, "the pod runs", |seen| {
        seen.pods[0].phase == PodPhase::Running && seen.pods[0].ready
    })
    .await;
    clean_up(&cluster, &environment).await;
}

#[tokio::test]
async fn a_pod_on_an_unreachable_node_stays_and_says_since_when() {
    let server = Server::model(Arc::new(Sleeper)).await;
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let spec = attempt(&environment, &["codex-k8s", "agent"]);
    apply_all(&cluster, &whole_run(&environment, &spec)).await;
    cluster.watch();
    cached(&cluster, "the pod runs", |seen| {
        seen.pods.first().is_some_and(|pod| pod.ready)
    })
    .await;
    server.knobs().set_node_unreachable(true);
    delete(&cluster, ObjectRef::namespace(&environment.namespace)).await;
    let seen = cached(&cluster, "the pod is on its way, its node silent", |seen| {
        seen.pods[0].deletion_timestamp.is_some() && seen.pods[0].node_unreachable_since.is_some()
    })
    .await;
    assert_eq!(seen.namespaces.len(), 1);
    assert!(
        cluster.list_owned().await.unwrap().pods[0]
            .node_unreachable_since
            .is_some()
    );
    server.knobs().set_node_unreachable(false);
    cached(&cluster, "pod and namespace are gone", |seen| {
        seen.pods.is_empty() && seen.namespaces.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_process_pod_sees_its_volumes_and_its_token_as_a_private_file() {
    let (_folder, server) = processes().await;
    let cluster = server.cluster().await;
    let script = "cat \"$CODEXK8S_RUN_TOKEN_FILE\"; echo; pwd; echo $CODEXK8S_RUN_TOKEN_FILE; \
                  echo x > \"$TMPDIR/scratch\" && echo end; sleep 600";
    let environment = scripted_process(&cluster, &server, script).await;
    let (_, log) = log_with(&cluster, &environment, "end").await;
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "token-of-the-run");
    assert!(lines[1].ends_with("/work"), "{log}");
    let token = PathBuf::from(lines[2]);
    let mode = std::fs::metadata(&token).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    clean_up(&cluster, &environment).await;
    until("the pod's folder is gone", || async {
        (!token.exists()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deleted_job_takes_its_whole_process_group_before_its_pod_vanishes() {
    let (folder, server) = processes().await;
    let cluster = server.cluster().await;
    // The shell ignores the polite signal and has a child that does so too.
    let script = "trap '' TERM; (trap '' TERM; sleep 601) & echo $$ $!; wait; sleep 602";
    let environment = scripted_process(&cluster, &server, script).await;
    let (pod, log) = log_with(&cluster, &environment, "\n").await;
    let ids: Vec<u32> = log
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect();
    let alive = |ids: &[u32]| ids.iter().any(|id| runs(*id));
    assert_eq!(ids.len(), 2);
    assert!(alive(&ids));
    let job = cluster.list_owned().await.unwrap().jobs.remove(0);
    let target = DeleteTarget {
        object: ObjectRef::namespaced(ObjectKind::Job, &job.namespace, &job.name),
        uid: job.uid,
        propagation: Propagation::Foreground,
    };
    cluster.delete(&target).await.unwrap();
    until("the pod has gone", || async {
        let listed = cluster.list_owned().await.unwrap();
        if !listed.pods.is_empty() {
            return None;
        }
        assert!(!alive(&ids), "the pod is gone and its processes run");
        listed.jobs.is_empty().then_some(())
    })
    .await;
    until("the pod's folder is gone", || async {
        let left = folder.path().join(&environment.namespace).join(&pod);
        (!left.exists()).then_some(())
    })
    .await;
    clean_up(&cluster, &environment).await;
}

/// Whether a process runs; one that only waits to be collected does not.
fn runs(id: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else {
        return false;
    };
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn a_killed_process_fails_its_pod_with_the_signal() {
    let (_folder, server) = processes().await;
    let cluster = server.cluster().await;
    let environment = scripted_process(&cluster, &server, "echo up; sleep 600").await;
    let (pod, _) = log_with(&cluster, &environment, "up").await;
    server.knobs().kill_pod(&environment.namespace, &pod);
    let failed = until("the pod has failed", || async {
        let listed = cluster.list_owned().await.unwrap();
        (listed.pods[0].phase == PodPhase::Failed).then_some(listed)
    })
    .await;
    assert_eq!(failed.pods[0].terminated.as_ref().unwrap().exit_code, 137);
    clean_up(&cluster, &environment).await;
}

#[tokio::test]
async fn stopping_the_model_ends_every_process_it_runs() {
    let (_folder, server) = processes().await;
    let cluster = server.cluster().await;
    let environment = scripted_process(&cluster, &server, "trap '' TERM; echo $$; sleep 600").await;
    let (_, log) = log_with(&cluster, &environment, "\n").await;
    let id: u32 = log.trim().parse().unwrap();
    assert!(runs(id));
    server.knobs().stop_pods().await;
    assert!(!runs(id));
}

#[tokio::test]
async fn a_killed_pod_takes_along_what_left_its_process_group() {
    let (_folder, server) = processes().await;
    let cluster = server.cluster().await;
    let script = "perl -e 'setpgrp; exec qw(sleep 603)' & echo $!; wait";
    let environment = scripted_process(&cluster, &server, script).await;
    let (pod, log) = log_with(&cluster, &environment, "\n").await;
    let id: u32 = log.trim().parse().unwrap();
    until("the process leads a group of its own", || async {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let group = stat
            .rsplit(')')
            .next()?
            .split_whitespace()
            .nth(2)?
            .to_owned();
        (group == id.to_string()).then_some(())
    })
    .await;
    assert!(runs(id));
    server.knobs().kill_pod(&environment.namespace, &pod);
    until("the pod has failed", || async {
        let listed = cluster.list_owned().await.unwrap();
        (listed.pods[0].phase == PodPhase::Failed).then_some(())
    })
    .await;
    assert!(!runs(id), "the pod has ended and a process of it runs");
    clean_up(&cluster, &environment).await;
}
