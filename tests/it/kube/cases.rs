//! What holds against every API server: bodies of tests, which `server` runs
//! against the model and against a real one.

use std::sync::Arc;

use codex_k8s::cluster::manifests::{attempt_name, environment_objects};
use codex_k8s::cluster::snapshot::{NamespacePhase, PodPhase};
use codex_k8s::cluster::{
    Cluster, ClusterCache, DeleteTarget, Deleted, ErrorClass, LeaseRecord, ObjectKind, ObjectRef,
    Propagation,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::support::*;

pub(super) async fn a_whole_run_is_applied_listed_watched_and_deleted(server: Server) {
    let cluster = server.cluster().await;
    let mut wake = cluster.watch();
    let environment = environment(server.identity());
    let run = environment.identity.run;
    let spec = attempt(&environment, &["sleep", "3600"]);
    let objects = whole_run(&environment, &spec);
    apply_all(&cluster, &objects).await;

    let listed = until("the pod is listed", || async {
        let listed = cluster.list_owned().await.unwrap();
        (!listed.pods.is_empty()).then_some(listed)
    })
    .await;
    let namespace = &listed.namespaces[0];
    assert_eq!(
        (&namespace.name, namespace.phase),
        (&environment.namespace, NamespacePhase::Active)
    );
    assert_eq!(namespace.owner.run, Some(run));
    assert_eq!(
        namespace.mark.repository.as_deref(),
        Some("example-org/shop")
    );
    assert_eq!(namespace.mark.repository_id, Some(4_711));
    assert_eq!(namespace.mark.issue, Some(7));
    assert_eq!(
        namespace.mark.trigger.as_deref(),
        Some("github/4711/label/99")
    );
    assert_eq!(listed.jobs[0].name, attempt_name(run, 1));
    assert_eq!(listed.jobs[0].owner.attempt, Some(1));
    assert_eq!(listed.pods[0].owner.run, Some(run));
    // Everything but the namespace and the Job is metadata, and Secrets are not listed.
    assert_eq!(listed.objects.len(), objects.len() - 3);
    assert!(
        listed
            .objects
            .iter()
            .all(|row| row.input_hash.is_some() && !row.uid.is_empty())
    );

    cached(&cluster, "the watches show what the list shows", |seen| {
        seen.namespaces.len() == 1
            && seen.jobs.len() == 1
            && seen.objects.len() == listed.objects.len()
    })
    .await;
    assert!(
        *wake.borrow_and_update() > 0,
        "the cache changed and woke nobody"
    );

    clean_up(&cluster, &environment).await;
    cached(&cluster, "the watches show that all is gone", |seen| {
        seen.namespaces.is_empty() && seen.pods.is_empty() && seen.objects.is_empty()
    })
    .await;
}

pub(super) async fn an_apply_that_changes_nothing_writes_nothing(server: Server) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    apply_all(&cluster, &objects).await;
    for object in &objects {
        // A real cluster's controllers fill in a status of their own first.
        until("two applies leave the same version", || async {
            let before = cluster.apply(object).await.unwrap();
            (cluster.apply(object).await.unwrap() == before).then_some(())
        })
        .await;
    }
    if let Some(model) = &server.model {
        assert_eq!(
            model.writes().iter().filter(|write| write.changed).count(),
            objects.len()
        );
    }
    clean_up(&cluster, &environment).await;
}

pub(super) async fn what_is_not_ours_is_neither_changed_nor_deleted(server: Server) {
    let (ours, other) = (server.cluster().await, {
        let change = |options: &mut codex_k8s::cluster::kube::KubeOptions| {
            options.installation = "another-installation".to_owned();
        };
        server
            .cluster_with(change, Arc::new(codex_k8s::cluster::OpenGate))
            .await
    });
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    apply_all(&ours, &objects).await;

    let refused = other.apply(&objects[0]).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::NotOurs);
    let namespace = ObjectRef::namespace(&environment.namespace);
    let meta = ours.get(&namespace).await.unwrap().unwrap();
    let target = DeleteTarget {
        object: namespace.clone(),
        uid: meta.uid.clone(),
        propagation: Propagation::Background,
    };
    assert_eq!(
        other.delete(&target).await.unwrap_err().class,
        ErrorClass::NotOurs
    );
    assert_eq!(other.writes(), 0);
    assert_eq!(ours.get(&namespace).await.unwrap(), Some(meta));
    clean_up(&ours, &environment).await;
}

pub(super) async fn a_deletion_under_another_uid_touches_nothing(server: Server) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    apply_all(&cluster, &environment_objects(&environment)).await;
    let object = ObjectRef::namespaced(
        ObjectKind::ServiceAccount,
        &environment.namespace,
        &environment.service_account,
    );
    let before = cluster.get(&object).await.unwrap();
    let target = DeleteTarget {
        object: object.clone(),
        uid: "00000000-0000-0000-0000-000000000000".to_owned(),
        propagation: Propagation::Background,
    };
    assert_eq!(cluster.delete(&target).await.unwrap(), Deleted::AlreadyGone);
    assert_eq!(cluster.get(&object).await.unwrap(), before);

    assert_eq!(delete(&cluster, object.clone()).await, Deleted::Accepted);
    assert_eq!(cluster.get(&object).await.unwrap(), None);
    assert_eq!(cluster.delete(&target).await.unwrap(), Deleted::AlreadyGone);
    clean_up(&cluster, &environment).await;
}

pub(super) async fn a_list_in_many_pages_is_whole(server: Server) {
    let one_by_one = |options: &mut codex_k8s::cluster::kube::KubeOptions| options.page_size = 1;
    let paged = server
        .cluster_with(one_by_one, Arc::new(codex_k8s::cluster::OpenGate))
        .await;
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    apply_all(&cluster, &environment_objects(&environment)).await;
    let whole = cluster.list_owned().await.unwrap();
    assert!(
        whole.objects.len() > 3,
        "nothing to page through: {whole:?}"
    );
    assert_eq!(paged.list_owned().await.unwrap(), whole);
    paged.watch();
    cached(&paged, "watches that list in pages show all", |seen| {
        *seen == whole
    })
    .await;
    clean_up(&cluster, &environment).await;
}

pub(super) async fn objects_in_a_missing_or_dying_namespace_are_refused_by_class(server: Server) {
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    assert_eq!(
        cluster.apply(&objects[1]).await.unwrap_err().class,
        ErrorClass::NotFound
    );
    let unknown = json!({"apiVersion": "v1", "kind": "Widget", "metadata": {"name": "w"}});
    assert_eq!(
        cluster.apply(&unknown).await.unwrap_err().class,
        ErrorClass::Invalid
    );
    cluster.apply(&objects[0]).await.unwrap();
    let namespace = &environment.namespace;
    hold_namespace(&server, namespace, true).await;
    delete(&cluster, ObjectRef::namespace(namespace)).await;
    assert_eq!(
        cluster.apply(&objects[1]).await.unwrap_err().class,
        ErrorClass::Conflict
    );
    let listed = cluster.list_owned().await.unwrap();
    assert_eq!(listed.namespaces[0].phase, NamespacePhase::Terminating);
    assert!(listed.namespaces[0].deletion_timestamp.is_some());
    hold_namespace(&server, namespace, false).await;
    until("the namespace is gone", || async {
        let left = cluster.list_owned().await.unwrap().namespaces;
        left.is_empty().then_some(())
    })
    .await;
}

/// Keeps a namespace from going, or lets it go. On a real server an object with a
/// finalizer of somebody else's does that.
async fn hold_namespace(server: &Server, namespace: &str, hold: bool) {
    if let Some(model) = &server.model {
        model.hold_namespaces(hold);
        return;
    }
    let maps: Api<ConfigMap> = Api::namespaced(server.somebody().await, namespace);
    let finalizers = if hold {
        json!(["example.org/hold"])
    } else {
        json!([])
    };
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "holds-on", "finalizers": finalizers}});
    let params = PatchParams::apply("somebody");
    maps.patch("holds-on", &params, &Patch::Apply(&map))
        .await
        .unwrap();
}

pub(super) async fn the_copied_lease_only_moves_forward(server: Server) {
    let cluster = server.cluster().await;
    let record = |epoch, beat| LeaseRecord {
        holder: "replica-a".to_owned(),
        epoch,
        beat,
    };
    assert_eq!(cluster.read_lease_record().await.unwrap(), None);
    cluster.write_lease_record(&record(3, 10)).await.unwrap();
    cluster.write_lease_record(&record(4, 1)).await.unwrap();
    assert_eq!(
        cluster.read_lease_record().await.unwrap(),
        Some(record(4, 1))
    );
    let behind = cluster
        .write_lease_record(&record(3, 99))
        .await
        .unwrap_err();
    assert_eq!(behind.class, ErrorClass::Conflict);
    assert_eq!(
        cluster.read_lease_record().await.unwrap(),
        Some(record(4, 1))
    );
    assert_eq!((cluster.writes(), cluster.lease_writes()), (0, 2));
}

pub(super) async fn nothing_is_sent_while_the_gate_is_closed(server: Server) {
    let gate = Arc::new(Latch::default());
    let cluster = server.cluster_with(|_| {}, gate.clone()).await;
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    cluster.apply(&objects[0]).await.unwrap();
    gate.close();
    assert_eq!(
        cluster.apply(&objects[1]).await.unwrap_err().class,
        ErrorClass::NotSent
    );
    let namespace = ObjectRef::namespace(&environment.namespace);
    let uid = cluster.get(&namespace).await.unwrap().unwrap().uid;
    let target = DeleteTarget {
        object: namespace,
        uid,
        propagation: Propagation::Background,
    };
    assert_eq!(
        cluster.delete(&target).await.unwrap_err().class,
        ErrorClass::NotSent
    );
    let lease = LeaseRecord {
        holder: "a".to_owned(),
        epoch: 1,
        beat: 1,
    };
    let refused = cluster.write_lease_record(&lease).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::NotSent);
    assert_eq!((cluster.writes(), cluster.lease_writes()), (1, 0));
    if let Some(model) = &server.model {
        assert_eq!(model.writes().len(), 1, "{:?}", model.writes());
    }
    clean_up(&server.cluster().await, &environment).await;
}

pub(super) async fn nothing_is_known_before_the_watches_run(server: Server) {
    let cluster = server.cluster().await;
    assert!(matches!(cluster.snapshot(), ClusterCache::Unknown { .. }));
    cluster.watch();
    let seen = cached(&cluster, "the watches are in step", |_| true).await;
    assert!(seen.namespaces.is_empty());
}

pub(super) async fn an_own_write_is_never_missing_from_the_cache(server: Server) {
    let cluster = server.cluster().await;
    cluster.watch();
    cached(&cluster, "the watches are in step", |_| true).await;
    if let Some(model) = &server.model {
        model.hold_watches(true);
    }
    let environment = environment(server.identity());
    let spec = attempt(&environment, &["sleep", "3600"]);
    apply_all(&cluster, &whole_run(&environment, &spec)).await;
    let ClusterCache::Known { snapshot, .. } = cluster.snapshot() else {
        panic!("the watches are not in step")
    };
    assert_eq!((snapshot.namespaces.len(), snapshot.jobs.len()), (1, 1));
    assert!(
        snapshot
            .objects
            .iter()
            .any(|row| row.kind == ObjectKind::NetworkPolicy)
    );
    if let Some(model) = &server.model {
        model.hold_watches(false);
    }
    let pod = cached(&cluster, "the pod is shown", |seen| !seen.pods.is_empty()).await;
    assert!(matches!(
        pod.pods[0].phase,
        PodPhase::Pending | PodPhase::Running
    ));
    clean_up(&cluster, &environment).await;
}
