//! The API server goes away and comes back. Every test of the process would feel it,
//! so these run alone: `.ci/test` names them.

use codex_k8s::cluster::manifests::environment_objects;
use codex_k8s::cluster::{Cluster, ErrorClass, ObjectKind, ObjectRef};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, WatchEvent, WatchParams};
use serde_json::{Value, json};

use super::support::*;
use crate::support::cluster::RealCluster;

/// Ends the API server and starts it again; back when it is ready.
async fn restart() {
    let output =
        tokio::task::spawn_blocking(|| RealCluster::script("restart-apiserver").output().unwrap());
    let output = output.await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Whether the server has forgotten what came after this version; `None` where it does
/// not say so yet.
async fn forgotten(namespaces: &Api<Namespace>, version: &str) -> Option<bool> {
    let params = WatchParams::default().timeout(1);
    let code = match namespaces.watch(&params, version).await {
        Ok(events) => match events.boxed().next().await {
            Some(Ok(WatchEvent::Error(status)) | Err(kube::Error::Api(status))) => status.code,
            _ => return Some(false),
        },
        Err(kube::Error::Api(status)) => status.code,
        Err(other) => panic!("no watch: {other}"),
    };
    // Until its own cache of a kind is read, a new server asks watchers to come back.
    (code != 429).then_some(code == 410)
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

    let forgotten = until("the new server says what it knows", || {
        forgotten(&namespaces, &version)
    });
    assert!(
        forgotten.await,
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

/// Makes etcd forget every state but its newest.
async fn compact(etcd: &str) {
    let client = kube::Client::try_from(kube::Config::new(etcd.parse().unwrap())).unwrap();
    let ask = async |path: &str, body: Value| {
        let request = http::Request::post(path).body(body.to_string().into_bytes());
        client.request::<Value>(request.unwrap()).await.unwrap()
    };
    let newest = ask("/v3/kv/range", json!({"key": "AA=="})).await;
    let revision = newest["header"]["revision"].clone();
    ask("/v3/kv/compaction", json!({"revision": revision})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it restarts the API server of all other tests: run it alone"]
async fn a_list_that_expires_between_its_pages_is_an_error_and_whole_the_next_time() {
    let Some(real) = RealCluster::own() else {
        return;
    };
    let etcd = real.etcd.clone().expect("our own cluster has an etcd");
    let server = Server::of(&real);
    let environment = environment(server.identity());
    // The server's own memory of that state goes with its process.
    let forget = move || {
        let etcd = etcd.clone();
        async move {
            compact(&etcd).await;
            restart().await;
        }
        .boxed()
    };
    super::pages::a_list_expires(&server, &environment, forget).await;
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
