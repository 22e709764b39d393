//! What only a real API server enforces: quotas and limit ranges.

use codex_k8s::cluster::manifests::{
    Quota, Resources, RunEnvironment, attempt_job, environment_objects,
};
use codex_k8s::cluster::{Cluster, ErrorClass};
use k8s_openapi::api::core::v1::{Event, Pod, ResourceQuota};
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};

use super::support::*;

/// Waits until the quota is enforced: until then its controller has not looked.
async fn quota_counts(client: kube::Client, namespace: &str, name: &str) {
    let quotas: Api<ResourceQuota> = Api::namespaced(client, namespace);
    until("the quota is counted", || async {
        let status = quotas.get(name).await.unwrap().status?;
        status.hard.map(|_| ())
    })
    .await;
}

/// The pod that the Job of an attempt asks for, under a name of its own and without
/// the Secret of the attempt, which policies give to the Job's pod alone.
fn pod_of(environment: &RunEnvironment, name: &str) -> Pod {
    let job = attempt_job(&attempt(environment, &["sleep", "3600"]));
    let mut pod = job["spec"]["template"].clone();
    pod["metadata"]["name"] = json!(name);
    pod["spec"]["volumes"] = json!([]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([]);
    serde_json::from_value(pod).unwrap()
}

fn refusal(error: kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.message),
        other => panic!("no refusal: {other}"),
    }
}

#[tokio::test]
async fn the_quota_of_a_run_refuses_one_pod_too_many() {
    let Some(server) = Server::real_with_controllers() else {
        return;
    };
    let cluster = server.cluster().await;
    let environment = RunEnvironment {
        quota: Quota {
            pods: 1,
            ..Quota::default()
        },
        ..environment(server.identity())
    };
    apply_all(&cluster, &environment_objects(&environment)).await;
    quota_counts(server.somebody().await, &environment.namespace, "codex-run").await;
    let pods: Api<Pod> = Api::namespaced(server.somebody().await, &environment.namespace);
    let first = pod_of(&environment, "first");
    pods.create(&PostParams::default(), &first).await.unwrap();

    let second = pod_of(&environment, "second");
    let (code, why) = refusal(
        pods.create(&PostParams::default(), &second)
            .await
            .unwrap_err(),
    );
    assert_eq!(code, 403);
    assert!(why.contains("exceeded quota: codex-run"), "{why}");
    // The Job of an attempt stands, without a pod; its controller says why.
    let spec = attempt(&environment, &["sleep", "3600"]);
    apply_all(
        &cluster,
        &whole_run(&environment, &spec)[environment_objects(&environment).len()..],
    )
    .await;
    let events: Api<Event> = Api::namespaced(server.somebody().await, &environment.namespace);
    until("the refused pod is told of", || async {
        let told = events.list(&ListParams::default()).await.unwrap();
        told.into_iter()
            .filter_map(|event| event.message)
            .any(|message| message.contains("exceeded quota"))
            .then_some(())
    })
    .await;
    clean_up(&cluster, &environment).await;
}

#[tokio::test]
async fn an_apply_beyond_a_quota_is_told_apart_from_a_missing_right() {
    let Some(server) = Server::real_with_controllers() else {
        return;
    };
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let spec = attempt(&environment, &["sleep", "3600"]);
    let objects = whole_run(&environment, &spec);
    apply_all(&cluster, &environment_objects(&environment)).await;
    let quotas: Api<ResourceQuota> =
        Api::namespaced(server.somebody().await, &environment.namespace);
    let none = json!({"metadata": {"name": "theirs"}, "spec": {"hard": {"count/secrets": "0"}}});
    quotas
        .create(
            &PostParams::default(),
            &serde_json::from_value(none).unwrap(),
        )
        .await
        .unwrap();
    quota_counts(server.somebody().await, &environment.namespace, "theirs").await;

    let refused = cluster
        .apply(of_kind(&objects, "Secret"))
        .await
        .unwrap_err();

    assert_eq!(refused.class, ErrorClass::QuotaExceeded, "{refused}");
    clean_up(&cluster, &environment).await;
}

#[tokio::test]
async fn the_limit_range_of_a_run_limits_who_asked_for_no_limit() {
    let Some(server) = Server::real_with_controllers() else {
        return;
    };
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    apply_all(&cluster, &environment_objects(&environment)).await;
    let pods: Api<Pod> = Api::namespaced(server.somebody().await, &environment.namespace);
    let with = |name: &str, resources: Value| {
        let mut pod = serde_json::to_value(pod_of(&environment, name)).unwrap();
        pod["spec"]["containers"][0]["resources"] = resources;
        serde_json::from_value::<Pod>(pod).unwrap()
    };
    let greedy = with("greedy", json!({"requests": {"cpu": "3"}}));
    let (code, why) = refusal(
        pods.create(&PostParams::default(), &greedy)
            .await
            .unwrap_err(),
    );
    assert_eq!(code, 422, "{why}");
    assert!(
        why.contains("must be less than or equal to cpu limit"),
        "{why}"
    );

    let modest = with("modest", json!({}));
    let made = pods.create(&PostParams::default(), &modest).await.unwrap();
    let container = &made.spec.unwrap().containers[0];
    let limits = container
        .resources
        .as_ref()
        .unwrap()
        .limits
        .as_ref()
        .unwrap();
    let Resources { cpu, memory, .. } = &environment.limits.default_limit;
    assert_eq!((&limits["cpu"].0, &limits["memory"].0), (cpu, memory));
    clean_up(&cluster, &environment).await;
}
