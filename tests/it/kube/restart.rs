//! The API server goes away and comes back. Every test of the process would feel it,
//! so these run alone: `.ci/test` names them.

use codex_k8s::cluster::manifests::environment_objects;
use codex_k8s::cluster::{Cluster, ErrorClass, ObjectKind, ObjectRef};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, WatchEvent, WatchParams};

use super::support::*;
use crate::support::cluster::RealCluster;

/// Ends the API server and starts it again; back when it is ready.
async fn restart() {
    let output =
        tokio::task::spawn_blocking(|| RealCluster::script("restart-apiserver").output().unwrap());
    let output = output.await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Whether the server still knows what came after this version.
async fn too_old(namespaces: &Api<Namespace>, version: &str) -> bool {
    use futures::StreamExt;
    let params = WatchParams::default().timeout(1);
    let mut events = match namespaces.watch(&params, version).await {
        Ok(events) => events.boxed(),
        Err(kube::Error::Api(status)) => return status.code == 410,
        Err(other) => panic!("no watch: {other}"),
    };
    match events.next().await {
        Some(Ok(WatchEvent::Error(status)) | Err(kube::Error::Api(status))) => status.code == 410,
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it restarts the API server of all other tests: run it alone"]
async fn a_restarted_server_that_forgot_the_past_is_listed_again() {
    let Some(real) = RealCluster::own() else {
        return;
    };
    let server = Server::of(&real);
    let cluster = server.cluster().await;
    cluster.watch();
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    apply_all(&cluster, &objects[..2]).await;
    cached(&cluster, "the namespace is shown", |seen| {
        seen.namespaces.len() == 1 && seen.objects.len() == 1
    })
    .await;
    let namespaces: Api<Namespace> = Api::all(server.somebody().await);
    let version = namespaces.get(&environment.namespace).await.unwrap();
    let version = version.metadata.resource_version.unwrap();

    restart().await;

    assert!(
        too_old(&namespaces, &version).await,
        "the new server knows the past: nothing is listed again"
    );
    // By another adapter: the cache must hear of it from the server.
    let other = server.cluster().await;
    apply_all(&other, &objects[2..]).await;
    let first = ObjectRef::of(&objects[1]).unwrap();
    delete(&other, first.clone()).await;
    cached(&cluster, "what happened since is shown", |seen| {
        seen.objects.len() == objects.len() - 2
            && !seen
                .objects
                .iter()
                .any(|row| row.kind == first.kind && row.name == first.name)
    })
    .await;
    clean_up(&cluster, &environment).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it restarts the API server of all other tests: run it alone"]
async fn a_server_that_is_away_is_a_passing_failure_and_writes_nothing() {
    let Some(real) = RealCluster::own() else {
        return;
    };
    let server = Server::of(&real);
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    cluster.apply(&objects[0]).await.unwrap();
    let namespace = ObjectRef::namespaced(
        ObjectKind::ServiceAccount,
        &environment.namespace,
        &environment.service_account,
    );

    let away = tokio::spawn(restart());
    let failed = until("a call fails", || async {
        cluster.get(&namespace).await.err()
    })
    .await;
    assert_eq!(failed.class, ErrorClass::Transient, "{failed}");
    away.await.unwrap();

    // The same client finds the new server.
    apply_all(&cluster, &objects).await;
    assert!(cluster.get(&namespace).await.unwrap().is_some());
    clean_up(&cluster, &environment).await;
}
