//! What an agent with the strongest profile tries at the API server, and what refuses it.

use serde_json::{Value, json};

use super::{
    attack::{Attack, Audit, Kind, attack, request, with_body},
    objects,
};
use crate::cluster::admission::{collection, container, fine, makers, merge};

/// Of a validating admission policy.
pub(super) const INVALID: i64 = 422;

static SECRETS: Kind = Kind {
    what: "read or make a Secret, or a token of its account",
    guard: "RBAC: no role of agents holds `secrets` or `serviceaccounts/token`",
    audit: Audit::ApiServer,
};
static MOUNTS: Kind = Kind {
    what: "be given a Secret by a pod, of every workload kind",
    guard: "admission policy `codex-k8s-run-pods`",
    audit: Audit::ApiServer,
};
static PODS: Kind = Kind {
    what: "make a pod with power over its node, of every workload kind",
    guard: "Pod Security `restricted`; admission policy `codex-k8s-run-pods`",
    audit: Audit::ApiServer,
};
static INSIDE: Kind = Kind {
    what: "go into another pod, or round the API server",
    guard: "RBAC",
    audit: Audit::ApiServer,
};
static HOLDS: Kind = Kind {
    what: "change what holds it: role, quota, limits, network policies, account, admission",
    guard: "RBAC",
    audit: Audit::ApiServer,
};
static OTHERS: Kind = Kind {
    what: "touch another namespace, or its own as such",
    guard: "RBAC: roles are bound in the run's namespace alone",
    audit: Audit::ApiServer,
};
static IDENTITY: Kind = Kind {
    what: "be somebody else",
    guard: "RBAC",
    audit: Audit::ApiServer,
};
static KUBELET: Kind = Kind {
    what: "speak to the node's kubelet with its account's token, or with none",
    guard: "the kubelet's own authentication and authorization",
    audit: Audit::Nowhere,
};

/// Where its own objects are.
pub(super) const HOME: &str = "/api/v1/namespaces/{{namespace}}";

/// All of them.
pub(super) fn attacks() -> Vec<Attack> {
    let mut all = forbidden();
    all.extend(bad_pods());
    all.extend(objects::attacks());
    all.extend(at_the_kubelet());
    all
}

/// A request that RBAC refuses: what, verb and resource as it says them, method and path.
type Forbidden = (&'static Kind, &'static str, &'static str, String, Value);

fn forbidden() -> Vec<Attack> {
    let mut all = secrets();
    all.extend(inside());
    all.extend(holds());
    all.extend(elsewhere());
    let mut all: Vec<Attack> = all
        .into_iter()
        .map(|(kind, right, method, path, body)| {
            let (verb, resource) = right.split_once(' ').unwrap();
            let name = format!("{right} at {path}");
            let step = if body.is_null() {
                request(&name, "api", method, &path)
            } else {
                with_body(&name, method, &path, body)
            };
            let words = format!("cannot {verb} resource \\\"{resource}\\\"");
            attack(kind, step, 403, &[&words])
        })
        .collect();
    all.push(impersonation("system:admin", "users"));
    all.push(impersonation(
        "system:serviceaccount:codex-k8s:codex-k8s",
        "serviceaccounts",
    ));
    all
}

fn impersonation(user: &str, resource: &str) -> Attack {
    let name = format!("impersonate {user}");
    let mut step = request(&name, "api", "GET", &format!("{HOME}/secrets"));
    step["head"] = json!([format!("Impersonate-User: {user}")]);
    let words = format!("cannot impersonate resource \\\"{resource}\\\"");
    attack(&IDENTITY, step, 403, &[&words])
}

fn secrets() -> Vec<Forbidden> {
    let get = |right, path: &str| (&SECRETS, right, "GET", path.to_owned(), Value::Null);
    let token_secret = json!({"apiVersion": "v1", "kind": "Secret",
        "type": "kubernetes.io/service-account-token", "metadata": {"name": "loot-token",
        "annotations": {"kubernetes.io/service-account.name": "codex-runner"}}});
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": [], "expirationSeconds": 86400}});
    let account = format!("{HOME}/serviceaccounts/codex-runner/token");
    vec![
        get("get secrets", &format!("{HOME}/secrets/{{{{secret}}}}")),
        get("list secrets", &format!("{HOME}/secrets")),
        get("watch secrets", &format!("{HOME}/secrets?watch=true")),
        get("list secrets", "/api/v1/secrets"),
        get("list secrets", "/api/v1/namespaces/codex-k8s/secrets"),
        get(
            "list secrets",
            "/api/v1/namespaces/{{other_namespace}}/secrets",
        ),
        (
            &SECRETS,
            "create secrets",
            "POST",
            format!("{HOME}/secrets"),
            token_secret,
        ),
        (
            &SECRETS,
            "delete secrets",
            "DELETE",
            format!("{HOME}/secrets/{{{{secret}}}}"),
            Value::Null,
        ),
        (
            &SECRETS,
            "create serviceaccounts/token",
            "POST",
            account,
            request,
        ),
    ]
}

fn inside() -> Vec<Forbidden> {
    let get = |right, path: &str| (&INSIDE, right, "GET", path.to_owned(), Value::Null);
    let other = "/api/v1/namespaces/{{other_namespace}}/pods/{{other_pod}}";
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "{{image}}",
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "{{secret}}", "key": "token"}}}]}]}});
    let ephemeral = format!("{HOME}/pods/{{{{pod}}}}/ephemeralcontainers");
    vec![
        get(
            "get pods/exec",
            &format!("{other}/exec?command=id&stdout=true"),
        ),
        get("get pods/attach", &format!("{other}/attach?stdout=true")),
        get(
            "get pods/portforward",
            &format!("{other}/portforward?ports=80"),
        ),
        get("get pods/log", &format!("{other}/log")),
        get("get pods", other),
        get("get pods/proxy", &format!("{HOME}/pods/{{{{pod}}}}/proxy/")),
        get(
            "get services/proxy",
            "/api/v1/namespaces/codex-k8s/services/codex-k8s-api:api/proxy/",
        ),
        get("get nodes/proxy", "/api/v1/nodes/{{node_name}}/proxy/pods"),
        (
            &INSIDE,
            "delete pods",
            "DELETE",
            other.to_owned(),
            Value::Null,
        ),
        (
            &INSIDE,
            "patch pods/ephemeralcontainers",
            "PATCH",
            ephemeral,
            debug,
        ),
    ]
}

fn holds() -> Vec<Forbidden> {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let home = format!("{rbac}/namespaces/{{{{namespace}}}}");
    let network = "/apis/networking.k8s.io/v1/namespaces/{{namespace}}/networkpolicies";
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "more"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "codex-runner", "namespace": "{{namespace}}"}]});
    let mut wide = binding.clone();
    wide["kind"] = json!("ClusterRoleBinding");
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "more"}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    let open = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "open"},
        "spec": {"podSelector": {}, "ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]}});
    let hook = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "more"}, "webhooks": []});
    let larger = json!({"spec": {"hard": {"pods": "1000", "services.nodeports": "9"}}});
    let mounts = json!({"automountServiceAccountToken": true, "secrets": [{"name": "{{secret}}"}]});
    let delete = |right, path: String| (&HOLDS, right, "DELETE", path, Value::Null);
    let post = |right, path: String, body| (&HOLDS, right, "POST", path, body);
    let patch = |right, path: String, body| (&HOLDS, right, "PATCH", path, body);
    vec![
        post(
            "create rolebindings",
            format!("{home}/rolebindings"),
            binding,
        ),
        post(
            "create clusterrolebindings",
            format!("{rbac}/clusterrolebindings"),
            wide,
        ),
        post("create roles", format!("{home}/roles"), role),
        patch(
            "patch clusterroles",
            format!("{rbac}/clusterroles/codex-k8s-agent-admin"),
            json!({"rules": []}),
        ),
        patch(
            "patch rolebindings",
            format!("{home}/rolebindings/codex-k8s-agent-admin"),
            json!({"subjects": []}),
        ),
        patch(
            "patch resourcequotas",
            format!("{HOME}/resourcequotas/codex-run"),
            larger,
        ),
        delete(
            "delete resourcequotas",
            format!("{HOME}/resourcequotas/codex-run"),
        ),
        delete(
            "delete limitranges",
            format!("{HOME}/limitranges/codex-run"),
        ),
        post("create networkpolicies", network.to_owned(), open),
        patch(
            "patch networkpolicies",
            format!("{network}/codex-default-deny"),
            json!({"spec": {"egress": [{}]}}),
        ),
        delete(
            "delete networkpolicies",
            format!("{network}/codex-default-deny"),
        ),
        patch(
            "patch serviceaccounts",
            format!("{HOME}/serviceaccounts/codex-runner"),
            mounts,
        ),
        delete(
            "delete validatingadmissionpolicies",
            format!("{admission}/validatingadmissionpolicies/codex-k8s-run-pods"),
        ),
        delete(
            "delete validatingadmissionpolicybindings",
            format!("{admission}/validatingadmissionpolicybindings/codex-k8s-run-pods"),
        ),
        post(
            "create validatingwebhookconfigurations",
            format!("{admission}/validatingwebhookconfigurations"),
            hook,
        ),
    ]
}

fn elsewhere() -> Vec<Forbidden> {
    let data = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}});
    let pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mine"}, "spec": fine()});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}});
    let label =
        json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
    let request = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": "mine"}, "spec": {"request": "LS0=", "usages": ["client auth"],
        "signerName": "kubernetes.io/kube-apiserver-client"}});
    let mut all: Vec<Forbidden> = vec![
        (
            &OTHERS,
            "list namespaces",
            "GET",
            "/api/v1/namespaces".to_owned(),
            Value::Null,
        ),
        (
            &OTHERS,
            "create namespaces",
            "POST",
            "/api/v1/namespaces".to_owned(),
            namespace,
        ),
        (&OTHERS, "patch namespaces", "PATCH", HOME.to_owned(), label),
        (
            &OTHERS,
            "delete namespaces",
            "DELETE",
            "/api/v1/namespaces/{{other_namespace}}".to_owned(),
            Value::Null,
        ),
        (
            &OTHERS,
            "list pods",
            "GET",
            "/api/v1/pods".to_owned(),
            Value::Null,
        ),
        (
            &OTHERS,
            "list nodes",
            "GET",
            "/api/v1/nodes".to_owned(),
            Value::Null,
        ),
        (
            &IDENTITY,
            "create certificatesigningrequests",
            "POST",
            "/apis/certificates.k8s.io/v1/certificatesigningrequests".to_owned(),
            request,
        ),
    ];
    for place in ["{{other_namespace}}", "codex-k8s", "kube-system", "default"] {
        let at = |resource: &str| format!("/api/v1/namespaces/{place}/{resource}");
        all.push((&OTHERS, "list pods", "GET", at("pods"), Value::Null));
        all.push((&OTHERS, "create pods", "POST", at("pods"), pod.clone()));
        all.push((
            &OTHERS,
            "create configmaps",
            "POST",
            at("configmaps"),
            data.clone(),
        ));
    }
    all
}

/// A pod that is refused: its name, a merge patch over a fine one, what the policy says, and
/// what refuses a bare pod before it, if something does.
struct Bad {
    name: &'static str,
    kind: &'static Kind,
    change: Value,
    why: &'static str,
    before: Option<(i64, &'static str)>,
}

fn bad_pods() -> Vec<Attack> {
    let mut all = Vec::new();
    for bad in mounting().into_iter().chain(powerful()) {
        let mut pod = fine();
        merge(&mut pod, &bad.change);
        for mut maker in makers(&pod) {
            let name = format!("{} with {}", maker.0, bad.name);
            let path = collection("{{namespace}}", &maker);
            let named = bad.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
            maker.1["metadata"]["name"] = json!(named.to_lowercase());
            let step = with_body(&name, "POST", &path, maker.1);
            let policy = "codex-k8s-run-pods";
            let made = match (maker.0, bad.before) {
                // Kept for the control plane's own use: no role of agents writes them.
                ("podtemplates", _) => attack(bad.kind, step, 403, &["cannot create resource"]),
                ("pods", Some((status, before))) => attack(bad.kind, step, status, &[before]),
                _ => attack(bad.kind, step, INVALID, &[policy, bad.why]),
            };
            all.push(made);
        }
    }
    all
}

fn volume(name: &'static str, volume: &Value, why: &'static str) -> Bad {
    let mut volume = volume.clone();
    volume["name"] = json!("bad");
    Bad {
        name,
        kind: &MOUNTS,
        change: json!({"volumes": [volume]}),
        why,
        before: None,
    }
}

fn in_container(name: &'static str, change: &Value, why: &'static str) -> Bad {
    let mut only = container();
    merge(&mut only, change);
    Bad {
        name,
        kind: &MOUNTS,
        change: json!({"containers": [only]}),
        why,
        before: None,
    }
}

fn mounting() -> Vec<Bad> {
    let not_given = "mounts a Secret that it was not given";
    let projected = json!({"projected": {"sources": [{"secret": {"name": "{{secret}}"}}]}});
    let audience = json!({"projected": {"sources": [
        {"serviceAccountToken": {"path": "t", "audience": "vault"}}]}});
    let key = json!({"name": "{{secret}}", "key": "token"});
    let csi = json!({"csi": {"driver": "secrets-store.csi.k8s.io", "nodePublishSecretRef": {"name": "{{secret}}"}}});
    vec![
        volume(
            "a mount",
            &json!({"secret": {"secretName": "{{secret}}"}}),
            not_given,
        ),
        volume("a projected mount", &projected, not_given),
        volume(
            "a storage driver",
            &csi,
            "has a volume of a kind that runs may not use",
        ),
        volume(
            "a token for another audience",
            &audience,
            "asks for a token of its service account for another audience",
        ),
        in_container(
            "a variable",
            &json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": key}}]}),
            "takes a variable from a Secret",
        ),
        in_container(
            "all variables",
            &json!({"envFrom": [{"secretRef": {"name": "{{secret}}"}}]}),
            "takes its variables from a Secret",
        ),
        Bad {
            name: "an image pull secret",
            kind: &MOUNTS,
            change: json!({"imagePullSecrets": [{"name": "{{secret}}"}]}),
            why: "pulls its images with a Secret",
            before: None,
        },
    ]
}

fn powerful() -> Vec<Bad> {
    let security = "violates PodSecurity";
    let host = "uses the host's network, processes or memory";
    let of_pod = |name, change, why, before| Bad {
        name,
        kind: &PODS,
        change,
        why,
        before,
    };
    let of_container = |name, change: Value, why| Bad {
        kind: &PODS,
        before: Some((403, security)),
        ..in_container(name, &change, why)
    };
    let path = json!({"hostPath": {"path": "/"}});
    vec![
        of_pod(
            "the host's network",
            json!({"hostNetwork": true}),
            host,
            Some((403, security)),
        ),
        of_pod(
            "the host's processes",
            json!({"hostPID": true}),
            host,
            Some((403, security)),
        ),
        of_pod(
            "the host's memory",
            json!({"hostIPC": true}),
            host,
            Some((403, security)),
        ),
        Bad {
            kind: &PODS,
            before: Some((403, security)),
            ..volume(
                "the host's files",
                &path,
                "has a volume of a kind that runs may not use",
            )
        },
        of_container(
            "privilege",
            json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": true}}),
            "is privileged or adds capabilities",
        ),
        of_container(
            "capabilities",
            json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}),
            "is privileged or adds capabilities",
        ),
        of_container(
            "a port of the host",
            json!({"ports": [{"containerPort": 80, "hostPort": 80}]}),
            "listens on a port of the host",
        ),
        of_pod(
            "a node of its choice",
            json!({"nodeName": "{{node_name}}"}),
            "names its node, past the scheduler",
            None,
        ),
        of_pod(
            "a system priority",
            json!({"priorityClassName": "system-node-critical"}),
            "takes the priority of a system component",
            None,
        ),
        of_pod(
            "another account",
            json!({"serviceAccountName": "codex-k8s"}),
            "takes a service account that is not the run's own",
            Some((403, "service account")),
        ),
    ]
}

fn at_the_kubelet() -> Vec<Attack> {
    let place = "https://{{node}}:10250";
    let with_token = request("the kubelet's pods", place, "GET", "/pods");
    let mut anonymous = request("the kubelet's pods as nobody", place, "GET", "/pods");
    anonymous["token"] = json!("");
    let exec = "/run/{{other_namespace}}/{{other_pod}}/agent?cmd=id";
    vec![
        attack(&KUBELET, with_token, 403, &["Forbidden"]),
        attack(&KUBELET, anonymous, 401, &["Unauthorized"]),
        attack(
            &KUBELET,
            request("a command by the kubelet", place, "POST", exec),
            403,
            &["Forbidden"],
        ),
    ]
}

/// What it may do, by the same means: were these refused as well, nothing would be proven.
pub(super) fn controls() -> Vec<(Value, i64, &'static str)> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "of-its-own"}, "spec": fine()});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "of-its-own"}});
    let own = format!("{HOME}/pods");
    let mut all = vec![
        (request("list its pods", "api", "GET", &own), 200, "PodList"),
        (
            request(
                "read its quota",
                "api",
                "GET",
                &format!("{HOME}/resourcequotas/codex-run"),
            ),
            200,
            "ResourceQuota",
        ),
        (
            with_body(
                "a ConfigMap of its own",
                "POST",
                &format!("{HOME}/configmaps"),
                map,
            ),
            201,
            "of-its-own",
        ),
        (
            with_body(
                "a pod of its own",
                "POST",
                &format!("{own}?dryRun=All"),
                pod,
            ),
            201,
            "of-its-own",
        ),
        (
            with_body(
                "a label of its own",
                "PATCH",
                &format!("{own}/{{{{pod}}}}"),
                json!({"metadata": {"labels": {"mine": "yes"}}}),
            ),
            200,
            "mine",
        ),
        // Let in, and told how exec is to be asked for.
        (
            request(
                "a command in its own pod",
                "api",
                "GET",
                &format!("{own}/{{{{pod}}}}/exec?command=id&stdout=true"),
            ),
            400,
            "pgrade",
        ),
    ];
    for maker in makers(&fine()) {
        if !matches!(maker.0, "pods" | "podtemplates") {
            let path = format!("{}?dryRun=All", collection("{{namespace}}", &maker));
            let name = format!("{} of its own", maker.0);
            all.push((
                with_body(&name, "POST", &path, maker.1),
                201,
                "creationTimestamp",
            ));
        }
    }
    all
}
