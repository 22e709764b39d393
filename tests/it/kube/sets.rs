//! Applying all that stands in a namespace at once: cases, as in `cases`.

use codex_k8s::cluster::manifests::{RunToken, attempt_secret, environment_objects};
use codex_k8s::cluster::{Cluster, ErrorClass, ObjectRef};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

use super::support::*;

pub(super) async fn a_set_makes_its_namespace_and_all_in_it_and_again_writes_nothing(
    server: Server,
) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);

    let made = cluster.apply_all(&objects).await.unwrap();
    assert_eq!(made.len(), objects.len());
    for (object, applied) in objects.iter().zip(&made) {
        let found = cluster.get(&ObjectRef::of(object).unwrap()).await.unwrap();
        assert_eq!(found.map(|meta| meta.uid).as_ref(), Some(&applied.uid));
    }
    // A real cluster's controllers fill in a status of their own first.
    until("two sets leave the same versions", || async {
        let before = cluster.apply_all(&objects).await.unwrap();
        (cluster.apply_all(&objects).await.unwrap() == before).then_some(())
    })
    .await;
    clean_up(&cluster, &environment).await;
}

pub(super) async fn a_set_leaves_alone_what_stood_in_its_namespace_before(server: Server) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    cluster.apply(&objects[0]).await.unwrap();
    // A kind that no controller writes to.
    let mut foreign = of_kind(&objects, "LimitRange").clone();
    foreign["metadata"]["labels"]["codex-k8s.dev/installation"] = json!("another-installation");
    cluster.apply(&foreign).await.unwrap();
    let reference = ObjectRef::of(&foreign).unwrap();
    let before = cluster.get(&reference).await.unwrap();

    let refused = cluster.apply_all(&objects).await.unwrap_err();

    assert_eq!(refused.class, ErrorClass::NotOurs);
    assert_eq!(cluster.get(&reference).await.unwrap(), before);
    clean_up(&cluster, &environment).await;
}

pub(super) async fn a_secret_is_applied_unread_and_somebody_elses_left_alone(server: Server) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    apply_all(&cluster, &environment_objects(&environment)).await;
    let spec = attempt(&environment, &["codex-k8s", "agent"]);
    let secret = attempt_secret(&spec, &RunToken::new("token-of-the-run".to_owned()));
    // Again, as after a crash, it is the same.
    let made = cluster.apply(&secret).await.unwrap();
    assert_eq!(cluster.apply(&secret).await.unwrap(), made);

    // In a namespace that is not ours nothing is written.
    let other = server
        .cluster_with(
            |options| options.installation = "another-installation".to_owned(),
            std::sync::Arc::new(codex_k8s::cluster::OpenGate),
        )
        .await;
    let refused = other.apply(&secret).await.unwrap_err();
    assert_eq!((refused.class, other.writes()), (ErrorClass::NotOurs, 0));

    // What somebody put in its place is not overwritten.
    let secrets: Api<Secret> = Api::namespaced(server.somebody().await, &environment.namespace);
    let name = secret["metadata"]["name"].as_str().unwrap();
    secrets
        .delete(name, &DeleteParams::default())
        .await
        .unwrap();
    let mut theirs: Secret = serde_json::from_value(secret.clone()).unwrap();
    for value in theirs.data.iter_mut().flat_map(|data| data.values_mut()) {
        value.0 = b"theirs".to_vec();
    }
    theirs.metadata.labels = None;
    let theirs = secrets
        .create(&PostParams::default(), &theirs)
        .await
        .unwrap();
    let refused = cluster.apply(&secret).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Conflict, "{refused}");
    assert_eq!(secrets.get(name).await.unwrap(), theirs);
    clean_up(&cluster, &environment).await;
}
