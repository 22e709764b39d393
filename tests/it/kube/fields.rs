//! Whose field is whose: cases, as in `cases`.

use std::sync::Arc;

use codex_k8s::cluster::manifests::{AttemptSpec, attempt_job, environment_objects};
use codex_k8s::cluster::{
    Cluster, DeleteTarget, ErrorClass, ObjectKind, ObjectRef, Propagation, WriteGate,
};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::support::*;

const LEVEL: &str = "pod-security.kubernetes.io/enforce";

pub(super) async fn a_field_that_someone_took_is_taken_back(server: Server) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    apply_all(&cluster, &objects).await;
    let namespaces: Api<Namespace> = Api::all(server.somebody().await);
    let theirs = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": &environment.namespace,
        "labels": {LEVEL: "privileged"},
        "annotations": {"example.org/note": "theirs"},
    }});
    let by = PatchParams::apply("somebody").force();
    namespaces
        .patch(&environment.namespace, &by, &Patch::Apply(&theirs))
        .await
        .unwrap();

    cluster.apply(&objects[0]).await.unwrap();

    let namespace = namespaces.get(&environment.namespace).await.unwrap();
    let metadata = &namespace.metadata;
    assert_eq!(metadata.labels.as_ref().unwrap()[LEVEL], "restricted");
    // What we say nothing about is theirs still.
    assert_eq!(
        metadata.annotations.as_ref().unwrap()["example.org/note"],
        "theirs"
    );
    let mut applied_by: Vec<&str> = metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.operation.as_deref() == Some("Apply"))
        .filter_map(|entry| entry.manager.as_deref())
        .collect();
    applied_by.sort_unstable();
    assert_eq!(applied_by, ["codex-k8s", "somebody"]);
    // Settled: taking it back once was enough.
    let version = cluster.apply(&objects[0]).await.unwrap().resource_version;
    assert_eq!(metadata.resource_version.as_ref(), Some(&version));
    clean_up(&cluster, &environment).await;
}

pub(super) async fn a_field_that_we_no_longer_set_goes_and_that_of_others_stays(server: Server) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    let mut before = objects[0].clone();
    before["metadata"]["annotations"]["example.org/ours"] = json!("for a while");
    cluster.apply(&before).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(server.somebody().await);
    let theirs = json!({"metadata": {"annotations": {"example.org/theirs": "stays"}}});
    namespaces
        .patch(
            &environment.namespace,
            &PatchParams::default(),
            &Patch::Merge(&theirs),
        )
        .await
        .unwrap();

    cluster.apply(&objects[0]).await.unwrap();

    let namespace = namespaces.get(&environment.namespace).await.unwrap();
    let annotations = namespace.metadata.annotations.unwrap();
    assert!(
        !annotations.contains_key("example.org/ours"),
        "{annotations:?}"
    );
    assert_eq!(annotations["example.org/theirs"], "stays");
    clean_up(&cluster, &environment).await;
}

pub(super) async fn a_jobs_template_cannot_be_changed(server: Server) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    apply_all(&cluster, &environment_objects(&environment)).await;
    let spec = attempt(&environment, &["sleep", "3600"]);
    let job = attempt_job(&spec);
    cluster.apply(&job).await.unwrap();
    let reference = ObjectRef::of(&job).unwrap();
    let before = cluster.get(&reference).await.unwrap().unwrap();

    let other = AttemptSpec {
        image: "registry.example.org/agent:2".to_owned(),
        ..spec
    };
    let refused = cluster.apply(&attempt_job(&other)).await.unwrap_err();

    assert_eq!(refused.class, ErrorClass::Invalid, "{refused}");
    let after = cluster.get(&reference).await.unwrap().unwrap();
    assert_eq!(
        (after.uid, after.input_hash),
        (before.uid, before.input_hash)
    );
    clean_up(&cluster, &environment).await;
}

pub(super) async fn what_replaces_an_object_before_the_apply_arrives_is_left_alone(server: Server) {
    let (account, objects, cluster, environment) = with_an_account(&server).await;
    let hasty = server
        .cluster_with(|_| {}, replaced_meanwhile(&server, &account))
        .await;

    let refused = hasty
        .apply(of_kind(&objects, "ServiceAccount"))
        .await
        .unwrap_err();

    assert_eq!(refused.class, ErrorClass::Conflict, "{refused}");
    assert!(!cluster.get(&account).await.unwrap().unwrap().ours);
    clean_up(&cluster, &environment).await;
}

pub(super) async fn what_replaces_an_object_before_its_deletion_arrives_is_left_alone(
    server: Server,
) {
    let (account, _, cluster, environment) = with_an_account(&server).await;
    let hasty = server
        .cluster_with(|_| {}, replaced_meanwhile(&server, &account))
        .await;
    let target = DeleteTarget {
        object: account.clone(),
        uid: cluster.get(&account).await.unwrap().unwrap().uid,
        propagation: Propagation::Background,
    };

    let refused = hasty.delete(&target).await.unwrap_err();

    assert_eq!(refused.class, ErrorClass::Conflict, "{refused}");
    assert!(!cluster.get(&account).await.unwrap().unwrap().ours);
    clean_up(&cluster, &environment).await;
}

/// An environment with its objects, and the name of its ServiceAccount.
async fn with_an_account(
    server: &Server,
) -> (
    ObjectRef,
    Vec<serde_json::Value>,
    codex_k8s::cluster::kube::KubeCluster,
    codex_k8s::cluster::manifests::RunEnvironment,
) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    apply_all(&cluster, &objects).await;
    let account = ObjectRef::namespaced(
        ObjectKind::ServiceAccount,
        &environment.namespace,
        &environment.service_account,
    );
    (account, objects, cluster, environment)
}

/// A gate during which somebody puts an account of theirs in our account's place.
fn replaced_meanwhile(server: &Server, account: &ObjectRef) -> Arc<dyn WriteGate> {
    let connection = server.connection.clone();
    let account = account.clone();
    Arc::new(Meanwhile::new(move || async move {
        let accounts: Api<ServiceAccount> =
            Api::namespaced(somebody(&connection).await, &account.namespace);
        accounts
            .delete(&account.name, &DeleteParams::default())
            .await
            .unwrap();
        let mut theirs = ServiceAccount::default();
        theirs.metadata.name = Some(account.name);
        accounts
            .create(&PostParams::default(), &theirs)
            .await
            .unwrap();
    }))
}
