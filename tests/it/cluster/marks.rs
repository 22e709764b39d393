//! The policies of marks and of the platform's own writes.

use codex_k8s::cluster::manifests::{
    PodSecurityLevel, RunToken, attempt_job, attempt_name, attempt_secret, environment_objects,
};
use serde_json::{Value, json};

use super::support::{ALMIGHTY, Caller, PLATFORM, Run, attempt, installed};

const LABEL: &str = "a label under codex-k8s.dev/, which is the platform's";
const ANNOTATION: &str = "an annotation under codex-k8s.dev/, which is the platform's";

#[tokio::test]
async fn marks_of_a_runs_objects_are_the_platforms_alone() {
    let Some(cluster) = installed().await else {
        return;
    };
    let run = Run::start(&cluster, PodSecurityLevel::Restricted, None).await;
    let spec = attempt(&run.environment);
    let secret = attempt_secret(&spec, &RunToken::new("a-token".to_owned()));
    run.apply(&[secret, attempt_job(&spec)]).await;
    let almighty = Caller::new(&cluster, ALMIGHTY).await;
    let name = attempt_name(run.environment.identity.run, 1);
    let of = |group: &str, rest: &str| format!("{group}/namespaces/{}/{rest}", run.namespace());
    let places = [
        of("/apis/batch/v1", &format!("jobs/{name}")),
        of("/api/v1", "serviceaccounts/codex-runner"),
        of(
            "/apis/networking.k8s.io/v1",
            "networkpolicies/codex-default-deny",
        ),
    ];
    for place in &places {
        for (change, why) in [
            (
                json!({"labels": {"codex-k8s.dev/run-id": "another"}}),
                LABEL,
            ),
            (
                json!({"labels": {"codex-k8s.dev/installation": null}}),
                LABEL,
            ),
            (json!({"labels": {"codex-k8s.dev/new": "x"}}), LABEL),
            (
                json!({"annotations": {"codex-k8s.dev/input-hash": "another"}}),
                ANNOTATION,
            ),
            (
                json!({"annotations": {"codex-k8s.dev/trigger": null}}),
                ANNOTATION,
            ),
        ] {
            let refused = almighty.patch(place, &json!({"metadata": change})).await;
            let refused = refused.expect_err(&format!("{place}: {change} is taken"));
            assert!(refused.contains(why), "{place}: {change}: {refused}");
        }
        let change = json!({"metadata": {"labels": {"mine": "yes"}, "annotations": {"a": "b"}}});
        almighty
            .patch(place, &change)
            .await
            .expect("it is not the platform's");
    }
    run.end().await;
}

#[tokio::test]
async fn nobody_makes_objects_or_pods_that_look_like_the_platforms() {
    let Some(cluster) = installed().await else {
        return;
    };
    let run = Run::start(&cluster, PodSecurityLevel::Restricted, None).await;
    let almighty = Caller::new(&cluster, ALMIGHTY).await;
    let core = format!("/api/v1/namespaces/{}", run.namespace());
    let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
    almighty
        .create(&format!("{core}/configmaps"), &map)
        .await
        .expect("it is fine");
    map["metadata"]["labels"] = json!({"codex-k8s.dev/installation": "mine"});
    let refused = almighty
        .create(&format!("{core}/configmaps"), &map)
        .await
        .unwrap_err();
    assert!(refused.contains(LABEL), "{refused}");
    let labels = json!({"app": "x", "codex-k8s.dev/installation": "mine"});
    let template = json!({"metadata": {"labels": labels}, "spec": {
        "restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}});
    let apps = format!("/apis/apps/v1/namespaces/{}", run.namespace());
    let batch = format!("/apis/batch/v1/namespaces/{}", run.namespace());
    let always = |mut template: Value| {
        template["spec"]["restartPolicy"] = json!("Always");
        template
    };
    let spec =
        json!({"selector": {"matchLabels": {"app": "x"}}, "template": always(template.clone())});
    for (place, object) in [
        (
            format!("{apps}/deployments"),
            json!({"kind": "Deployment", "spec": spec}),
        ),
        (
            format!("{batch}/jobs"),
            json!({"kind": "Job", "spec": {"template": template}}),
        ),
        (
            format!("{batch}/cronjobs"),
            json!({"kind": "CronJob", "spec": {"schedule": "0 0 * * *",
            "jobTemplate": {"spec": {"template": template}}}}),
        ),
        (
            format!("{core}/podtemplates"),
            json!({"kind": "PodTemplate",
            "template": always(template.clone())}),
        ),
    ] {
        let mut object = object;
        let version = place.split("/namespaces").next().unwrap();
        object["apiVersion"] = json!(
            version
                .trim_start_matches("/apis/")
                .trim_start_matches("/api/")
        );
        object["metadata"] = json!({"name": "x"});
        let refused = almighty.create(&place, &object).await;
        let refused = refused.expect_err(&format!("{place} is taken"));
        // A Job takes over its template's labels before it is judged.
        let why = ["on the pods it makes", LABEL];
        assert!(
            why.iter().any(|why| refused.contains(why)),
            "{place}: {refused}"
        );
    }
    run.end().await;
}

#[tokio::test]
async fn a_namespaces_mark_stays_as_the_platform_made_it() {
    let Some(cluster) = installed().await else {
        return;
    };
    let run = Run::start(&cluster, PodSecurityLevel::Restricted, None).await;
    let almighty = Caller::new(&cluster, ALMIGHTY).await;
    let place = format!("/api/v1/namespaces/{}", run.namespace());
    for change in [
        json!({"labels": {"codex-k8s.dev/managed-by": null}}),
        json!({"labels": {"codex-k8s.dev/installation": "another"}}),
        json!({"labels": {"codex-k8s.dev/run-id": null}}),
        json!({"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}),
        json!({"labels": {"pod-security.kubernetes.io/enforce": null}}),
        json!({"annotations": {"codex-k8s.dev/trigger": "another"}}),
    ] {
        let refused = almighty.patch(&place, &json!({"metadata": change})).await;
        let refused = refused.expect_err(&format!("{change} is taken"));
        assert!(refused.contains("codex-k8s-namespace-marks"), "{refused}");
    }
    let change = json!({"metadata": {"labels": {"team": "shop"}}});
    almighty
        .patch(&place, &change)
        .await
        .expect("it is not the platform's");
    let mut object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "looks-alike",
        "labels": {"codex-k8s.dev/managed-by": "codex-k8s"}}});
    let refused = almighty
        .create("/api/v1/namespaces", &object)
        .await
        .unwrap_err();
    assert!(refused.contains("the platform's mark"), "{refused}");
    // What opens the platform's ports is no mark.
    object["metadata"]["labels"] = json!({"codex-k8s.dev/reaches-ops": "true"});
    almighty
        .create("/api/v1/namespaces", &object)
        .await
        .expect("it is fine");
    run.end().await;
}

#[tokio::test]
async fn the_platform_writes_nowhere_but_in_its_own_namespaces() {
    let Some(cluster) = installed().await else {
        return;
    };
    let run = Run::start(&cluster, PodSecurityLevel::Restricted, None).await;
    let platform = Caller::new(&cluster, PLATFORM).await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}});
    for namespace in ["default", "kube-system", "codex-k8s"] {
        let place = format!("/api/v1/namespaces/{namespace}/secrets");
        let refused = platform.create(&place, &secret).await.unwrap_err();
        assert!(
            refused.contains("only in namespaces with its mark"),
            "{refused}"
        );
        let place = format!("/api/v1/namespaces/{namespace}");
        let mark = json!({"metadata": {"labels": {"codex-k8s.dev/managed-by": "codex-k8s"}}});
        let refused = platform.patch(&place, &mark).await.unwrap_err();
        assert!(
            refused.contains("no namespace without its mark"),
            "{refused}"
        );
        // Some nobody may delete.
        let refused = platform.delete(&place).await.unwrap_err();
        let why = ["no namespace without its mark", "may not be deleted"];
        assert!(why.iter().any(|why| refused.contains(why)), "{refused}");
        let place = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
        let change = json!({"metadata": {"labels": {"a": "b"}}});
        let refused = platform.patch(&place, &change).await.unwrap_err();
        assert!(
            refused.contains("only in namespaces with its mark"),
            "{refused}"
        );
    }
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "unmarked"}});
    let refused = platform
        .create("/api/v1/namespaces", &object)
        .await
        .unwrap_err();
    assert!(
        refused.contains("no namespace without its mark"),
        "{refused}"
    );
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "codex-k8s-x"}});
    let leases =
        |namespace: &str| format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    platform
        .create(&leases("codex-k8s"), &lease)
        .await
        .expect("its own lease");
    platform
        .create(&leases(run.namespace()), &lease)
        .await
        .expect_err("no other");
    run.end().await;
}

#[tokio::test]
async fn the_platform_gives_its_roles_to_runs_and_no_other_roles() {
    let Some(cluster) = installed().await else {
        return;
    };
    let role = "codex-k8s-agent-edit";
    let run = Run::start(&cluster, PodSecurityLevel::Restricted, Some(role)).await;
    let platform = Caller::new(&cluster, PLATFORM).await;
    let objects = environment_objects(&run.environment);
    let binding = objects
        .iter()
        .find(|object| object["kind"] == "RoleBinding")
        .unwrap();
    let group = "/apis/rbac.authorization.k8s.io/v1";
    let place = format!("{group}/namespaces/{}/rolebindings", run.namespace());
    let with = |change: Value| {
        let mut binding = binding.clone();
        binding["metadata"]["name"] = json!("another");
        for (name, value) in change.as_object().unwrap() {
            binding[name] = value.clone();
        }
        binding
    };
    platform
        .create(&place, &with(json!({})))
        .await
        .expect("it is the run's");
    let subject = |name: &str, namespace: &str| json!({"subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]});
    for change in [
        subject("default", run.namespace()),
        subject("codex-runner", "default"),
        json!({"subjects": [{"kind": "User", "name": "codex-runner",
            "apiGroup": "rbac.authorization.k8s.io"}]}),
        json!({"subjects": [{"kind": "Group", "name": "system:authenticated",
            "apiGroup": "rbac.authorization.k8s.io"}]}),
    ] {
        let refused = platform.create(&place, &with(change.clone())).await;
        let refused = refused.expect_err(&format!("{change} is taken"));
        assert!(
            refused.contains("the run's own service account only"),
            "{refused}"
        );
    }
    for role in ["cluster-admin", "admin", "view", "codex-k8s-platform"] {
        let change = json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole", "name": role}});
        let refused = platform.create(&place, &with(change)).await;
        let refused = refused.expect_err(&format!("{role} is bound"));
        let why = [
            "attempting to grant RBAC permissions",
            "binds the roles of agents only",
        ];
        assert!(
            why.iter().any(|why| refused.contains(why)),
            "{role}: {refused}"
        );
    }
    run.end().await;
}
