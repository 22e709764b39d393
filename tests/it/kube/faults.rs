//! What the adapter makes of a server that fails: model only.

use std::sync::Arc;
use std::time::Duration;

use codex_k8s::cluster::kube::{Connection, KubeCluster, KubeOptions};
use codex_k8s::cluster::manifests::environment_objects;
use codex_k8s::cluster::{
    Cluster, ClusterCache, DeleteTarget, ErrorClass, ObjectKind, ObjectRef, OpenGate, Propagation,
};
use codex_k8s::sandbox::kubernetes::{Fault, FaultRule, Verb};
use secrecy::SecretString;

use super::support::*;

async fn model() -> Server {
    Server::model(Arc::new(Sleeper)).await
}

fn refusal(code: u16, reason: &str) -> Fault {
    let message = "planted by the test".to_owned();
    Fault::Status {
        code,
        reason: reason.to_owned(),
        message,
    }
}

#[tokio::test]
async fn a_wrong_token_is_unauthorized() {
    let server = model().await;
    let connection = Connection::Url {
        url: server.knobs().url(),
        token: SecretString::from("wrong".to_owned()),
    };
    let options = KubeOptions::new("i", "default");
    let cluster = KubeCluster::connect(&connection, options, Arc::new(OpenGate))
        .await
        .unwrap();
    assert_eq!(
        cluster.list_owned().await.unwrap_err().class,
        ErrorClass::Unauthorized
    );
}

#[tokio::test]
async fn the_kubeconfig_of_the_model_reaches_it() {
    let server = model().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, server.knobs().kubeconfig()).unwrap();
    let connection = Connection::Kubeconfig {
        path,
        context: None,
    };
    let options = KubeOptions::new("i", "default");
    let cluster = KubeCluster::connect(&connection, options, Arc::new(OpenGate))
        .await
        .unwrap();
    assert!(cluster.list_owned().await.unwrap().namespaces.is_empty());
}

#[tokio::test]
async fn a_failed_apply_is_sent_once_and_not_repeated() {
    let server = model().await;
    let cluster = server.cluster().await;
    let objects = environment_objects(&environment(server.identity()));
    for (code, class) in [
        (503, ErrorClass::Transient),
        (429, ErrorClass::Transient),
        (422, ErrorClass::Invalid),
    ] {
        server.knobs().fault(FaultRule::once(
            Verb::Apply,
            "namespaces",
            refusal(code, "Planted"),
        ));
        let sent = server.knobs().writes().len();
        assert_eq!(
            cluster.apply(&objects[0]).await.unwrap_err().class,
            class,
            "{code}"
        );
        assert_eq!(
            server.knobs().writes().len(),
            sent + 1,
            "{code} was tried again"
        );
    }
    cluster.apply(&objects[0]).await.unwrap();
}

#[tokio::test]
async fn an_answer_lost_after_the_effect_is_found_by_the_next_apply() {
    let server = model().await;
    let hasty = |options: &mut KubeOptions| options.request_timeout = Duration::from_millis(300);
    let cluster = server.cluster_with(hasty, Arc::new(OpenGate)).await;
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    server
        .knobs()
        .fault(FaultRule::once(Verb::Apply, "namespaces", Fault::HangAfter));
    let lost = cluster.apply(&objects[0]).await.unwrap_err();
    assert!(lost.class.outcome_unknown(), "{lost}");
    let version = server.knobs().version();
    let applied = cluster.apply(&objects[0]).await.unwrap();
    assert_eq!(server.knobs().version(), version, "the second apply wrote");
    let namespace = ObjectRef::namespace(&environment.namespace);
    assert_eq!(
        cluster.get(&namespace).await.unwrap().unwrap().uid,
        applied.uid
    );

    server.knobs().fault(FaultRule::once(
        Verb::Apply,
        "serviceaccounts",
        Fault::HangBefore,
    ));
    let account = objects
        .iter()
        .find(|object| object["kind"] == "ServiceAccount")
        .unwrap();
    assert_eq!(
        cluster.apply(account).await.unwrap_err().class,
        ErrorClass::Transient
    );
    assert!(server.knobs().objects("serviceaccounts").is_empty());
}

#[tokio::test]
async fn an_answer_that_breaks_off_says_nothing_of_the_effect() {
    let server = model().await;
    let cluster = server.cluster().await;
    let objects = environment_objects(&environment(server.identity()));
    for (fault, happened) in [
        (Fault::CutBefore, false),
        (Fault::CutAfter, true),
        (Fault::Truncated, true),
    ] {
        let version = server.knobs().version();
        let rule = FaultRule::once(Verb::Apply, "namespaces", fault.clone());
        server.knobs().fault(rule);
        let lost = cluster.apply(&objects[0]).await.unwrap_err();
        assert!(lost.class.outcome_unknown(), "{fault:?}: {lost}");
        let moved = server.knobs().version() != version;
        assert_eq!(moved, happened, "{fault:?}");
        let name = objects[0]["metadata"]["name"].as_str().unwrap();
        server.knobs().remove("namespaces", "", name);
        let gone = async {
            loop {
                let version = server.knobs().version();
                if server.knobs().object("namespaces", "", name).is_none() {
                    break;
                }
                server.knobs().changed_since(version).await;
            }
        };
        tokio::time::timeout(DEADLINE, gone).await.unwrap();
    }
    let struck = server.knobs().faults_struck();
    assert_eq!((struck["lost-request"], struck["lost-answer"]), (1, 1));
}

#[tokio::test]
async fn one_failed_page_makes_the_whole_list_an_error() {
    let server = model().await;
    let cluster = server.cluster().await;
    server.knobs().fault(FaultRule::once(
        Verb::List,
        "networkpolicies",
        refusal(500, "InternalError"),
    ));
    assert_eq!(
        cluster.list_owned().await.unwrap_err().class,
        ErrorClass::Transient
    );
    cluster.list_owned().await.unwrap();
}

#[tokio::test]
async fn a_watch_that_cannot_list_makes_the_cache_unknown_until_it_can() {
    let server = model().await;
    server.knobs().fault(FaultRule::always(
        Verb::List,
        "pods",
        refusal(403, "Forbidden"),
    ));
    let cluster = server.cluster().await;
    cluster.watch();
    until("the pods' failure is the reason", || async {
        match cluster.snapshot() {
            ClusterCache::Unknown { reason }
                if reason.contains("pods") && reason.contains("planted") =>
            {
                Some(())
            }
            _ => None,
        }
    })
    .await;
    server.knobs().clear_faults();
    cached(&cluster, "the watches recover", |_| true).await;
}

#[tokio::test]
async fn nodes_that_may_not_be_read_leave_the_rest_known() {
    let server = model().await;
    for verb in [Verb::List, Verb::Watch] {
        server
            .knobs()
            .fault(FaultRule::always(verb, "nodes", refusal(403, "Forbidden")));
    }
    let cluster = server.cluster().await;
    cluster.list_owned().await.unwrap();
    cluster.watch();
    cached(&cluster, "the watches are in step", |_| true).await;
}

#[tokio::test]
async fn watches_that_break_or_fall_behind_show_everything_again() {
    let server = model().await;
    let cluster = server.cluster().await;
    cluster.watch();
    cached(&cluster, "the watches are in step", |_| true).await;
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    // Broken: they go on where they were.
    server.knobs().break_watches();
    server.cluster().await.apply(&objects[0]).await.unwrap();
    cached(&cluster, "the namespace is shown", |seen| {
        seen.namespaces.len() == 1
    })
    .await;
    // Behind, with the history gone: they list again.
    server.knobs().hold_watches(true);
    apply_all(&server.cluster().await, &objects[1..]).await;
    server.knobs().compact();
    server.knobs().break_watches();
    server.knobs().hold_watches(false);
    cached(&cluster, "all objects are shown", |seen| {
        seen.objects.len() == objects.len() - 1
    })
    .await;
    clean_up(&cluster, &environment).await;
}

#[tokio::test]
async fn a_stale_list_is_what_the_server_says_and_the_watch_catches_up() {
    let server = model().await;
    let cluster = server.cluster().await;
    server.knobs().freeze_lists(true);
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    server.cluster().await.apply(&objects[0]).await.unwrap();
    assert!(cluster.list_owned().await.unwrap().namespaces.is_empty());
    cluster.watch();
    cached(&cluster, "the watch shows what the list hid", |seen| {
        seen.namespaces.len() == 1
    })
    .await;
    server.knobs().freeze_lists(false);
}

#[tokio::test]
async fn an_object_replaced_before_the_deletion_arrives_is_left_alone() {
    let server = model().await;
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    apply_all(&cluster, &objects).await;
    let name = environment.service_account.clone();
    let account = ObjectRef::namespaced(ObjectKind::ServiceAccount, &environment.namespace, &name);
    let uid = cluster.get(&account).await.unwrap().unwrap().uid;
    let target = DeleteTarget {
        object: account.clone(),
        uid,
        propagation: Propagation::Background,
    };
    // The deletion has left us, and waits on its way.
    let slow = Fault::Slow(Duration::from_millis(500));
    server
        .knobs()
        .fault(FaultRule::once(Verb::Delete, "serviceaccounts", slow));
    let deletion = cluster.delete(&target);
    let replacement = async {
        until("the deletion is on its way", || async {
            (cluster.writes() > objects.len() as u64).then_some(())
        })
        .await;
        server
            .knobs()
            .remove("serviceaccounts", &environment.namespace, &name);
        let other = objects
            .iter()
            .find(|object| object["kind"] == "ServiceAccount")
            .unwrap();
        server.cluster().await.apply(other).await.unwrap().uid
    };
    let (deleted, new_uid) = tokio::join!(deletion, replacement);
    assert_eq!(deleted.unwrap_err().class, ErrorClass::Conflict);
    assert_eq!(cluster.get(&account).await.unwrap().unwrap().uid, new_uid);
}

#[tokio::test]
async fn an_object_replaced_before_the_apply_arrives_is_left_alone() {
    let server = model().await;
    let cluster = server.cluster().await;
    let environment = environment(server.identity());
    let objects = environment_objects(&environment);
    apply_all(&cluster, &objects).await;
    let quota = objects
        .iter()
        .find(|object| object["kind"] == "ResourceQuota")
        .unwrap();
    let slow = Fault::Slow(Duration::from_millis(500));
    server
        .knobs()
        .fault(FaultRule::once(Verb::Apply, "resourcequotas", slow));
    let apply = cluster.apply(quota);
    let replacement = async {
        until("the apply is on its way", || async {
            (cluster.writes() > objects.len() as u64).then_some(())
        })
        .await;
        let (namespace, name) = (&environment.namespace, "codex-run");
        server.knobs().remove("resourcequotas", namespace, name);
        let foreign = serde_json::json!({"metadata": {}, "spec": {"hard": {"pods": "1"}}});
        server
            .knobs()
            .seed("resourcequotas", namespace, name, foreign);
    };
    let (applied, ()) = tokio::join!(apply, replacement);
    assert_eq!(applied.unwrap_err().class, ErrorClass::Conflict);
    let left = server
        .knobs()
        .object("resourcequotas", &environment.namespace, "codex-run")
        .unwrap();
    assert_eq!(left["spec"]["hard"], serde_json::json!({"pods": "1"}));
}

#[tokio::test]
async fn writes_are_server_side_applies_under_our_field_manager() {
    let server = model().await;
    let cluster = server.cluster().await;
    let objects = environment_objects(&environment(server.identity()));
    apply_all(&cluster, &objects).await;
    let writes = server.knobs().writes();
    assert_eq!(writes.len(), objects.len());
    assert!(
        writes
            .iter()
            .all(|write| write.verb == Verb::Apply && write.changed),
        "{writes:?}"
    );
    apply_all(&cluster, &objects).await;
    assert!(
        server.knobs().writes()[objects.len()..]
            .iter()
            .all(|write| !write.changed)
    );
    let policy = server.knobs().objects("networkpolicies").remove(0);
    assert_eq!(
        policy["metadata"]["managedFields"][0]["manager"],
        "codex-k8s"
    );
}

#[tokio::test]
async fn a_secrets_content_never_comes_back() {
    let server = model().await;
    // The platform may neither read nor list nor watch Secrets.
    for verb in [Verb::Get, Verb::List, Verb::Watch] {
        let refused = refusal(403, "Forbidden");
        server
            .knobs()
            .fault(FaultRule::always(verb, "secrets", refused));
    }
    let cluster = server.cluster().await;
    cluster.watch();
    let environment = environment(server.identity());
    let spec = attempt(&environment, &["codex-k8s", "agent"]);
    apply_all(&cluster, &whole_run(&environment, &spec)).await;
    let seen = cached(&cluster, "the Job beside it is shown", |seen| {
        !seen.jobs.is_empty()
    })
    .await;
    let listed = cluster.list_owned().await.unwrap();
    // Not even that it is there: who may list Secrets may read them.
    for rows in [&seen.objects, &listed.objects] {
        assert!(rows.iter().all(|row| row.kind != ObjectKind::Secret));
    }
    for text in [
        format!("{seen:?}"),
        format!("{listed:?}"),
        format!("{cluster:?}"),
    ] {
        assert!(!text.contains("token-of-the-run") && !text.contains("dG9rZW4tb2YtdGhlLXJ1bg"));
    }
}
