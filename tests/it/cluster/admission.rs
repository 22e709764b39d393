//! The policy of pods, with everything before it out of the way: who asks has all rights,
//! and the namespace's Pod Security level refuses nothing.

use codex_k8s::cluster::manifests::{
    PodSecurityLevel, RunToken, attempt_job, attempt_name, attempt_secret,
};
use serde_json::{Value, json};

use super::support::{ALMIGHTY, Caller, JOB_CONTROLLER, PLATFORM, Run, attempt, installed};

const SECRET: &str = "mounts a Secret that it was not given";
const HOST: &str = "uses the host's network, processes or memory";
const VOLUME: &str = "has a volume of a kind that runs may not use";
const ACCOUNT: &str = "takes a service account that is not the run's own";

/// What makes pods: the path below a namespace's, and the object around a pod's spec.
pub(crate) fn makers(pod: &Value) -> Vec<(&'static str, Value)> {
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": pod});
    let mut ends = template.clone();
    ends["spec"]["restartPolicy"] = json!("Never");
    let apps = |kind: &str, more: Value| {
        let mut spec = json!({"selector": {"matchLabels": {"app": "x"}}, "template": template});
        for (name, value) in more.as_object().unwrap() {
            spec[name] = value.clone();
        }
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec})
    };
    vec![
        (
            "pods",
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}),
        ),
        (
            "podtemplates",
            json!({"apiVersion": "v1", "kind": "PodTemplate",
            "metadata": {"name": "x"}, "template": template}),
        ),
        (
            "replicationcontrollers",
            json!({"apiVersion": "v1", "kind": "ReplicationController",
            "metadata": {"name": "x"}, "spec": {"selector": {"app": "x"}, "template": template}}),
        ),
        ("deployments", apps("Deployment", json!({}))),
        ("replicasets", apps("ReplicaSet", json!({}))),
        ("daemonsets", apps("DaemonSet", json!({}))),
        (
            "statefulsets",
            apps("StatefulSet", json!({"serviceName": "x"})),
        ),
        (
            "jobs",
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"},
            "spec": {"template": ends}}),
        ),
        (
            "cronjobs",
            json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x"},
            "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": ends}}}}),
        ),
    ]
}

/// The path of a maker's resource.
pub(crate) fn collection(namespace: &str, maker: &(&str, Value)) -> String {
    let group = match maker.1["apiVersion"].as_str().unwrap() {
        "v1" => "/api/v1".to_owned(),
        group => format!("/apis/{group}"),
    };
    format!("{group}/namespaces/{namespace}/{}", maker.0)
}

/// A pod that nothing is wrong with.
pub(crate) fn fine() -> Value {
    json!({
        "serviceAccountName": "codex-runner",
        "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 10001,
            "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container()],
        "volumes": [
            {"name": "c", "configMap": {"name": "c"}},
            {"name": "e", "emptyDir": {}},
            {"name": "d", "downwardAPI": {"items": []}},
            {"name": "v", "persistentVolumeClaim": {"claimName": "v"}},
            {"name": "p", "projected": {"sources": [
                {"configMap": {"name": "c"}}, {"serviceAccountToken": {"path": "token"}}]}},
        ],
    })
}

pub(crate) fn container() -> Value {
    json!({"name": "x", "image": "x", "env": [
            {"name": "A", "value": "a"},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}],
        "envFrom": [{"configMapRef": {"name": "c"}}],
        "ports": [{"containerPort": 80}],
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}})
}

/// What a container may not have: a merge patch over a fine one, and why.
fn bad_containers() -> Vec<(Value, &'static str)> {
    let key = json!({"name": "s", "key": "k"});
    vec![
        (
            json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": key}}]}),
            "takes a variable from a Secret",
        ),
        (
            json!({"envFrom": [{"secretRef": {"name": "s"}}]}),
            "takes its variables from a Secret",
        ),
        (
            json!({"ports": [{"containerPort": 80, "hostPort": 80}]}),
            "listens on a port of the host",
        ),
    ]
}

/// What a pod may not have: a merge patch over a fine one, and why.
fn bad_pods(namespace: &str) -> Vec<(Value, &'static str)> {
    let volume = |volume: Value| {
        let mut volume = volume;
        volume["name"] = json!("bad");
        json!({"volumes": [volume]})
    };
    let given = format!("agent-{}-1", &namespace[namespace.len() - 12..]);
    let projected = json!({"secret": {"name": "s"}});
    let token = json!({"serviceAccountToken": {"path": "t", "audience": "vault"}});
    let mut bad = vec![
        (volume(json!({"secret": {"secretName": "s"}})), SECRET),
        // Not even its run's own, which is for the platform to mount.
        (volume(json!({"secret": {"secretName": given}})), SECRET),
        (
            volume(json!({"projected": {"sources": [projected]}})),
            SECRET,
        ),
        (
            volume(json!({"csi": {"driver": "secrets-store.csi.k8s.io",
            "nodePublishSecretRef": {"name": "s"}}})),
            VOLUME,
        ),
        (volume(json!({"hostPath": {"path": "/"}})), VOLUME),
        (
            volume(json!({"nfs": {"server": "192.0.2.1", "path": "/"}})),
            VOLUME,
        ),
        (
            volume(json!({"cephfs": {"monitors": ["192.0.2.1"], "secretRef": {"name": "s"}}})),
            VOLUME,
        ),
        (
            volume(json!({"azureFile": {"secretName": "s", "shareName": "x"}})),
            VOLUME,
        ),
        (
            json!({"imagePullSecrets": [{"name": "s"}]}),
            "pulls its images with a Secret",
        ),
        (json!({"hostNetwork": true}), HOST),
        (json!({"hostPID": true}), HOST),
        (json!({"hostIPC": true}), HOST),
        (json!({"serviceAccountName": "other"}), ACCOUNT),
        (
            json!({"nodeName": "node"}),
            "names its node, past the scheduler",
        ),
        (
            json!({"priorityClassName": "system-node-critical"}),
            "takes the priority of a system component",
        ),
        (
            volume(json!({"projected": {"sources": [token]}})),
            "asks for a token of its service account for another audience",
        ),
    ];
    for (change, why) in bad_containers() {
        let mut first = container();
        first["name"] = json!("first");
        merge(&mut first, &change);
        bad.push((json!({"initContainers": [first]}), why));
        let mut only = container();
        merge(&mut only, &change);
        bad.push((json!({"containers": [only]}), why));
    }
    bad
}

pub(crate) fn merge(into: &mut Value, change: &Value) {
    let Some(fields) = change.as_object().filter(|_| into.is_object()) else {
        *into = change.clone();
        return;
    };
    for (name, value) in fields {
        merge(&mut into[name], value);
    }
}

#[tokio::test]
async fn every_workload_is_refused_for_what_its_pods_would_do() {
    let Some(cluster) = installed().await else {
        return;
    };
    let run = Run::start(&cluster, PodSecurityLevel::Privileged, None).await;
    let almighty = Caller::new(&cluster, ALMIGHTY).await;
    let place = format!("/api/v1/namespaces/{}/serviceaccounts", run.namespace());
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other"}});
    almighty.make(&place, &account).await;
    for maker in makers(&fine()) {
        let taken = almighty
            .create(&collection(run.namespace(), &maker), &maker.1)
            .await;
        taken.unwrap_or_else(|error| panic!("{}: {error}", maker.0));
    }
    for (change, why) in bad_pods(run.namespace()) {
        let mut pod = fine();
        merge(&mut pod, &change);
        for maker in makers(&pod) {
            let path = collection(run.namespace(), &maker);
            let refused = almighty.create(&path, &maker.1).await;
            let refused = refused.expect_err(&format!("{} with {change} is taken", maker.0));
            assert!(
                refused.contains(why),
                "{} with {change}: {refused}",
                maker.0
            );
        }
    }
    run.end().await;
}

#[tokio::test]
async fn privilege_is_refused_unless_the_namespace_allows_it() {
    let Some(cluster) = installed().await else {
        return;
    };
    let strict = Run::start(&cluster, PodSecurityLevel::Baseline, None).await;
    let open = Run::start(&cluster, PodSecurityLevel::Privileged, None).await;
    let almighty = Caller::new(&cluster, ALMIGHTY).await;
    for context in [
        json!({"privileged": true}),
        json!({"capabilities": {"add": ["SYS_ADMIN"]}}),
    ] {
        let mut pod = fine();
        pod["containers"][0]["securityContext"] = context;
        for maker in makers(&pod) {
            let path = collection(strict.namespace(), &maker);
            let refused = almighty.create(&path, &maker.1).await;
            let refused = refused.expect_err(&format!("{} is taken", maker.0));
            // Pods are refused by Pod Security before.
            let why = ["is privileged or adds capabilities", "violates PodSecurity"];
            assert!(why.iter().any(|why| refused.contains(why)), "{refused}");
            assert!(maker.0 == "pods" || refused.contains(why[0]), "{refused}");
            let taken = almighty
                .create(&collection(open.namespace(), &maker), &maker.1)
                .await;
            taken.unwrap_or_else(|error| panic!("{}: {error}", maker.0));
        }
    }
    strict.end().await;
    open.end().await;
}

#[tokio::test]
async fn a_change_is_judged_like_a_new_workload() {
    let Some(cluster) = installed().await else {
        return;
    };
    let run = Run::start(&cluster, PodSecurityLevel::Privileged, None).await;
    let almighty = Caller::new(&cluster, ALMIGHTY).await;
    let makers = makers(&fine());
    let deployment = makers
        .iter()
        .find(|maker| maker.0 == "deployments")
        .unwrap();
    let path = collection(run.namespace(), deployment);
    let mut object = deployment.1.clone();
    object["spec"]["replicas"] = json!(0);
    almighty.make(&path, &object).await;
    let place = format!("{path}/x");
    let change = json!({"spec": {"template": {"spec": {"hostNetwork": true}}}});
    let refused = almighty.patch(&place, &change).await.unwrap_err();
    assert!(refused.contains(HOST), "{refused}");
    let change = json!({"spec": {"replicas": 0}, "metadata": {"labels": {"mine": "yes"}}});
    almighty.patch(&place, &change).await.expect("it is fine");
    run.end().await;
}

#[tokio::test]
async fn a_container_added_to_a_running_pod_is_judged_as_well() {
    let Some(cluster) = installed().await else {
        return;
    };
    let run = Run::start(&cluster, PodSecurityLevel::Privileged, None).await;
    let almighty = Caller::new(&cluster, ALMIGHTY).await;
    let makers = makers(&fine());
    let path = collection(run.namespace(), &makers[0]);
    let mut pod = makers[0].1.clone();
    // No node has it, so that it stays as it is.
    pod["spec"]["nodeSelector"] = json!({"codex-k8s-tests": "nowhere"});
    almighty.make(&path, &pod).await;
    let place = format!("{path}/x/ephemeralcontainers");
    let mut debug = json!({"name": "debug", "image": "x"});
    let change = |container: &Value| json!({"spec": {"ephemeralContainers": [container]}});
    almighty
        .patch(&place, &change(&debug))
        .await
        .expect("it is fine");
    let key = json!({"name": "s", "key": "k"});
    debug["env"] = json!([{"name": "A", "valueFrom": {"secretKeyRef": key}}]);
    let refused = almighty.patch(&place, &change(&debug)).await.unwrap_err();
    assert!(
        refused.contains("takes a variable from a Secret"),
        "{refused}"
    );
    run.end().await;
}

#[tokio::test]
async fn the_runs_secret_is_mounted_by_the_platforms_job_and_its_pod_alone() {
    let Some(cluster) = installed().await else {
        return;
    };
    let run = Run::start(&cluster, PodSecurityLevel::Restricted, None).await;
    let spec = attempt(&run.environment);
    let (secret, job) = (
        attempt_secret(&spec, &RunToken::new("a-token".to_owned())),
        attempt_job(&spec),
    );
    let jobs = format!("/apis/batch/v1/namespaces/{}/jobs", run.namespace());
    let almighty = Caller::new(&cluster, ALMIGHTY).await;
    // The same Job from somebody else; without the marks, which are refused as well.
    let mut theirs = job.clone();
    for part in ["/metadata", "/spec/template/metadata"] {
        let part = theirs.pointer_mut(part).unwrap().as_object_mut().unwrap();
        part.remove("labels");
        part.remove("annotations");
    }
    let refused = almighty.create(&jobs, &theirs).await.unwrap_err();
    assert!(refused.contains(SECRET), "{refused}");
    run.apply(&[secret, job.clone()]).await;
    let name = attempt_name(run.environment.identity.run, 1);
    let platform = Caller::new(&cluster, PLATFORM).await;
    let made: Value = almighty
        .send(
            "GET",
            &format!("{jobs}/{name}"),
            "application/json",
            &Value::Null,
        )
        .await
        .unwrap();
    // Its pod, as the Job controller makes it; and as others would.
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "its-pod", "labels": job["spec"]["template"]["metadata"]["labels"],
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": name,
                "uid": made["metadata"]["uid"], "controller": true}]},
        "spec": job["spec"]["template"]["spec"]});
    let pods = format!("/api/v1/namespaces/{}/pods", run.namespace());
    let controller = Caller::new(&cluster, JOB_CONTROLLER).await;
    controller
        .create(&pods, &pod)
        .await
        .expect("the Job's pod is taken");
    pod["metadata"]["ownerReferences"][0]["name"] = json!("another");
    let refused = controller.create(&pods, &pod).await.unwrap_err();
    assert!(refused.contains(SECRET), "{refused}");
    pod["metadata"].as_object_mut().unwrap().remove("labels");
    let refused = almighty.create(&pods, &pod).await.unwrap_err();
    assert!(refused.contains(SECRET), "{refused}");
    // The platform itself makes no pods.
    let refused = platform.create(&pods, &pod).await.unwrap_err();
    assert!(
        refused.contains("cannot create resource \"pods\""),
        "{refused}"
    );
    run.end().await;
}
