//! Applying all that stands in a namespace at once: cases, as in `cases`.

use codex_k8s::cluster::manifests::environment_objects;
use codex_k8s::cluster::{Cluster, ErrorClass, ObjectRef};
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
