//! What an agent tries by objects that its role lets it write, and what refuses it.

use serde_json::{Value, json};

use super::{
    attack::{Attack, Audit, Kind, attack, with_body},
    cluster::{HOME, INVALID},
};
use crate::cluster::admission::{collection, fine, makers};

static MARKS: Kind = Kind {
    what: "pass for the platform's own object, or its pod for another's",
    guard: "admission policy `codex-k8s-run-marks`",
    audit: Audit::ApiServer,
};
static OBJECTS: Kind = Kind {
    what: "keep an object from being deleted; catch or lead traffic by a Service",
    guard: "admission policy `codex-k8s-run-objects`",
    audit: Audit::ApiServer,
};
static PORTS: Kind = Kind {
    what: "open a port of the nodes or a load balancer",
    guard: "ResourceQuota `codex-run`",
    audit: Audit::ApiServer,
};

/// All of them.
pub(super) fn attacks() -> Vec<Attack> {
    let mut all = marks();
    all.extend(finalizers());
    all.extend(services());
    all
}

fn own_pod() -> String {
    format!("{HOME}/pods/{{{{pod}}}}")
}

fn map(metadata: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
}

/// A Deployment whose pods have this metadata, and where it is made.
fn deployment(metadata: &Value) -> (String, Value) {
    let all = makers(&fine()).into_iter();
    let mut found = all.filter(|one| one.0 == "deployments");
    let mut deployment = found.next().unwrap();
    let path = collection("{{namespace}}", &deployment);
    deployment.1["spec"]["template"]["metadata"] = metadata.clone();
    (path, deployment.1)
}

fn marks() -> Vec<Attack> {
    let refused = |name: &str, method: &str, path: &str, body: Value| {
        let step = with_body(name, method, path, body);
        attack(&MARKS, step, INVALID, &["codex-k8s-run-marks"])
    };
    let marked = json!({"codex-k8s.dev/run": "{{other_run}}"});
    let object = map(&json!({"name": "marked", "labels": marked}));
    let (deployments, of_deployment) =
        deployment(&json!({"labels": {"app": "x", "codex-k8s.dev/run": "{{other_run}}"}}));
    let another = json!({"metadata": {"labels": marked}});
    let none = json!({"metadata": {"labels": {"codex-k8s.dev/managed-by": null}}});
    let maps = format!("{HOME}/configmaps");
    let own = own_pod();
    vec![
        refused("mark an object", "POST", &maps, object),
        refused("mark its own pod as another run's", "PATCH", &own, another),
        refused("take the mark off its own pod", "PATCH", &own, none),
        refused(
            "mark the pods of a Deployment",
            "POST",
            &deployments,
            of_deployment,
        ),
    ]
}

fn finalizers() -> Vec<Attack> {
    let refused = |name: &str, method: &str, path: &str, body: Value| {
        let step = with_body(&format!("hold {name}"), method, path, body);
        attack(&OBJECTS, step, INVALID, &["codex-k8s-run-objects"])
    };
    let job = "/apis/batch/v1/namespaces/{{namespace}}/jobs/{{job}}";
    let held = json!(["example.org/stay"]);
    // The Job controller's own is there already.
    let of_pod = json!(["batch.kubernetes.io/job-tracking", "example.org/stay"]);
    let of_pod = json!({"metadata": {"finalizers": of_pod}});
    let of_job = json!({"metadata": {"finalizers": held}});
    let of_object = map(&json!({"name": "stay", "finalizers": held}));
    let (deployments, of_pods) = deployment(&json!({"labels": {"app": "x"}, "finalizers": held}));
    let maps = format!("{HOME}/configmaps");
    vec![
        refused("its own pod by a finalizer", "PATCH", &own_pod(), of_pod),
        refused("its own Job by a finalizer", "PATCH", job, of_job),
        refused(
            "its namespace by an object's finalizer",
            "POST",
            &maps,
            of_object,
        ),
        refused(
            "its namespace by the pods of a Deployment",
            "POST",
            &deployments,
            of_pods,
        ),
    ]
}

fn services() -> Vec<Attack> {
    let path = format!("{HOME}/services");
    let service = |name: &str, spec: Value| {
        let named = name.replace(' ', "-");
        let body = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": named}, "spec": spec});
        with_body(name, "POST", &path, body)
    };
    let ports = json!([{"port": 443}]);
    let catch = json!({"externalIPs": ["192.0.2.1"], "ports": ports, "selector": {"app": "x"}});
    let lead = json!({"type": "ExternalName", "externalName": "codex-k8s-api.codex-k8s.svc"});
    let policy = ["codex-k8s-run-objects"];
    let quota = ["exceeded quota: codex-run"];
    let of_type = |kind: &str| json!({"type": kind, "ports": ports});
    vec![
        attack(
            &OBJECTS,
            service("catch the traffic to an address", catch),
            INVALID,
            &policy,
        ),
        attack(&OBJECTS, service("lead to a name", lead), INVALID, &policy),
        attack(
            &PORTS,
            service("a port of all nodes", of_type("NodePort")),
            403,
            &quota,
        ),
        attack(
            &PORTS,
            service("a load balancer", of_type("LoadBalancer")),
            403,
            &quota,
        ),
    ]
}
