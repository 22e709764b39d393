//! Who may talk to whom: the network policies that the builders and `manifests/` make,
//! evaluated, for networks that enforce them.

use codex_k8s::cluster::manifests::{
    EgressRule, PodSecurityLevel, RunEnvironment, attempt_job, environment_objects,
};
use codex_k8s::plan::PlanSettings;
use serde_json::{Map, Value, json};

use super::evaluate::{End, Pod, connects};
use super::files::{documents, manifests, objects};
use super::support::{attempt, environment};

/// A run whose run API is the platform's pods, with everything allowed that a platform can
/// allow: `0.0.0.0/0` but for the API server and the nodes.
fn run() -> RunEnvironment {
    let mut run = environment("test-network", PodSecurityLevel::Restricted, None);
    let range = |text: &str| text.parse().unwrap();
    run.egress.run_api = PlanSettings::default().run_api;
    run.egress.allow = vec![
        EgressRule {
            cidr: range("198.51.100.0/24"),
            except: vec![range("198.51.100.128/25")],
            ports: Vec::new(),
        },
        EgressRule {
            cidr: range("2001:db8::/32"),
            except: Vec::new(),
            ports: Vec::new(),
        },
        EgressRule {
            cidr: range("169.254.169.254/32"),
            except: Vec::new(),
            ports: Vec::new(),
        },
    ];
    run.egress.except = vec![range("198.51.100.7/32"), range("2001:db8:1::/48")];
    run
}

/// The same with everything but what is always excepted.
fn open_run() -> RunEnvironment {
    let mut run = run();
    let all = |text: &str| EgressRule {
        cidr: text.parse().unwrap(),
        except: Vec::new(),
        ports: Vec::new(),
    };
    run.egress.allow = vec![all("0.0.0.0/0"), all("::/0")];
    run.egress.except = vec![
        // API server, nodes, pods and Services.
        "10.0.0.0/8".parse().unwrap(),
        "2001:db8:1::/48".parse().unwrap(),
    ];
    run
}

fn labels(object: &Value) -> Map<String, Value> {
    object["labels"].as_object().cloned().unwrap_or_default()
}

fn policies(objects: &[Value]) -> Vec<Value> {
    let mut policies = objects.to_vec();
    policies.retain(|object| object["kind"] == "NetworkPolicy");
    policies
}

/// The pod of a run, as its Job makes it.
fn pod_of(name: &'static str, run: &RunEnvironment, address: &str) -> End {
    let job = attempt_job(&attempt(run));
    let namespace = &environment_objects(run)[0]["metadata"];
    End {
        name,
        address: address.parse().unwrap(),
        pod: Some(Pod {
            namespace: run.namespace.clone(),
            namespace_labels: with_name(labels(namespace), &run.namespace),
            labels: labels(&job["spec"]["template"]["metadata"]),
            ports: Vec::new(),
        }),
    }
}

/// The API server gives each namespace its name as a label.
fn with_name(mut labels: Map<String, Value>, name: &str) -> Map<String, Value> {
    labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
    labels
}

/// A pod of somebody else.
fn stranger(name: &'static str, address: &str, namespace: &str, more: &Value, own: &Value) -> End {
    let more = more.as_object().unwrap().clone();
    End {
        name,
        address: address.parse().unwrap(),
        pod: Some(Pod {
            namespace: namespace.to_owned(),
            namespace_labels: with_name(more, namespace),
            labels: own.as_object().unwrap().clone(),
            ports: Vec::new(),
        }),
    }
}

fn outside(name: &'static str, address: &str) -> End {
    End {
        name,
        address: address.parse().unwrap(),
        pod: None,
    }
}

/// A pod of the platform, as its Deployment makes it.
fn platform(name: &'static str, deployment: &str, address: &str) -> End {
    let namespace = &objects("Namespace")["codex-k8s"]["metadata"];
    let template = &objects("Deployment")[deployment]["spec"]["template"];
    let mut own = labels(&template["metadata"]);
    // What every kustomization of ours adds to templates.
    own.insert("app.kubernetes.io/name".to_owned(), json!("codex-k8s"));
    let ports = template["spec"]["containers"][0]["ports"].as_array();
    let port = |port: &Value| {
        let name = port["name"].as_str().unwrap().to_owned();
        (name, port["containerPort"].as_u64().unwrap())
    };
    End {
        name,
        address: address.parse().unwrap(),
        pod: Some(Pod {
            namespace: "codex-k8s".to_owned(),
            namespace_labels: with_name(labels(namespace), "codex-k8s"),
            labels: own,
            ports: ports.unwrap().iter().map(port).collect(),
        }),
    }
}

/// The platform's own policies.
fn of_platform() -> Vec<Value> {
    let mut found = documents(&manifests().join("base/network-policies.yaml"));
    for policy in &mut found {
        policy["metadata"]["namespace"] = json!("codex-k8s");
    }
    assert_eq!(found.len(), 5);
    found
}

#[track_caller]
fn check(policies: &[Value], table: &[(&End, &End, &str, u64, bool)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter(|(from, to, protocol, port, may)| {
            connects(policies, from, to, (protocol, *port)) != *may
        })
        .map(|(from, to, protocol, port, may)| {
            let word = if *may { "cannot" } else { "can" };
            format!(
                "{} {word} reach {} at {protocol} {port}",
                from.name, to.name
            )
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_run_reaches_the_run_api_names_and_what_is_allowed_and_nobody_reaches_a_run() {
    let (run, other) = (run(), open_run());
    let all = [
        policies(&environment_objects(&run)),
        policies(&environment_objects(&other)),
        of_platform(),
    ]
    .concat();
    let (agent, neighbour) = (
        pod_of("the agent", &run, "10.244.0.5"),
        pod_of("another run", &other, "10.244.0.6"),
    );
    let sibling = pod_of("a pod of its own", &run, "10.244.0.7");
    let single = platform("the platform", "codex-k8s", "10.244.0.2");
    let apis = platform("the APIs", "codex-k8s-api", "10.244.0.3");
    let none = json!({});
    let dns_labels = json!({"k8s-app": "kube-dns"});
    let dns = stranger("DNS", "10.244.0.8", "kube-system", &none, &dns_labels);
    let system = stranger("a system pod", "10.244.0.9", "kube-system", &none, &none);
    let false_dns = stranger(
        "a pod called DNS",
        "10.244.0.10",
        "shop",
        &none,
        &dns_labels,
    );
    let pod = stranger("anybody's pod", "10.244.0.11", "shop", &none, &none);
    let server = outside("the API server", "198.51.100.7");
    let service = outside("the API server's Service", "10.0.0.1");
    let node = outside("a node", "10.1.0.1");
    let metadata = outside("the metadata service", "169.254.169.254");
    let metadata_6 = outside("the metadata service over IPv6", "fd00:ec2::254");
    let allowed = outside("an allowed address", "198.51.100.20");
    let allowed_6 = outside("an allowed IPv6 address", "2001:db8:2::1");
    let excepted = outside("an excepted address", "198.51.100.200");
    let excepted_6 = outside("an excepted IPv6 address", "2001:db8:1::1");
    let proxy = outside("the proxy", "10.1.2.4");
    let internet = outside("the internet", "192.0.2.80");
    let table = [
        (&agent, &apis, "TCP", 8082, true),
        (&agent, &single, "TCP", 8082, true),
        (&agent, &dns, "UDP", 53, true),
        (&agent, &dns, "TCP", 53, true),
        (&agent, &allowed, "TCP", 443, true),
        (&agent, &allowed_6, "TCP", 443, true),
        (&agent, &proxy, "TCP", 3128, true),
        // The platform's other ports, and the same ports of others.
        (&agent, &apis, "TCP", 8080, false),
        (&agent, &apis, "TCP", 8081, false),
        (&agent, &single, "TCP", 8080, false),
        (&agent, &single, "TCP", 8081, false),
        (&agent, &apis, "UDP", 8082, false),
        (&agent, &pod, "TCP", 8082, false),
        (&agent, &dns, "TCP", 443, false),
        (&agent, &system, "UDP", 53, false),
        (&agent, &false_dns, "UDP", 53, false),
        (&agent, &proxy, "TCP", 443, false),
        // Other runs, and even its own pods.
        (&agent, &neighbour, "TCP", 80, false),
        (&neighbour, &agent, "TCP", 80, false),
        (&agent, &sibling, "TCP", 80, false),
        // What no range may open.
        (&agent, &server, "TCP", 443, false),
        (&agent, &service, "TCP", 443, false),
        (&agent, &node, "TCP", 10_250, false),
        (&agent, &metadata, "TCP", 80, false),
        (&agent, &metadata_6, "TCP", 80, false),
        (&agent, &excepted, "TCP", 443, false),
        (&agent, &excepted_6, "TCP", 443, false),
        (&agent, &internet, "TCP", 443, false),
        // With everything allowed but what is protected.
        (&neighbour, &internet, "TCP", 443, true),
        (&neighbour, &service, "TCP", 443, false),
        (&neighbour, &node, "TCP", 10_250, false),
        (&neighbour, &metadata, "TCP", 80, false),
        (&neighbour, &metadata_6, "TCP", 80, false),
        (&neighbour, &excepted_6, "TCP", 443, false),
        (&neighbour, &apis, "TCP", 8080, false),
        // Into a run: nobody.
        (&single, &agent, "TCP", 8082, false),
        (&pod, &agent, "TCP", 80, false),
        (&system, &agent, "TCP", 80, false),
        (&internet, &agent, "TCP", 80, false),
    ];
    check(&all, &table);
}

#[test]
fn the_platform_is_reached_by_whom_it_is_opened_to_and_reaches_no_run() {
    let run = run();
    let all = [policies(&environment_objects(&run)), of_platform()].concat();
    let single = platform("the platform", "codex-k8s", "10.244.0.2");
    let apis = platform("the APIs", "codex-k8s-api", "10.244.0.3");
    let agent = pod_of("the agent", &run, "10.244.0.5");
    let door = json!({"codex-k8s.dev/reaches-api": "true"});
    let ingress = stranger(
        "the ingress controller",
        "10.244.0.20",
        "ingress",
        &door,
        &json!({}),
    );
    let door = json!({"codex-k8s.dev/reaches-ops": "true"});
    let monitoring = stranger("Prometheus", "10.244.0.21", "monitoring", &door, &json!({}));
    let pod = stranger(
        "anybody's pod",
        "10.244.0.11",
        "shop",
        &json!({}),
        &json!({}),
    );
    let forge = outside("the forge", "192.0.2.10");
    let metadata = outside("the metadata service", "169.254.169.254");
    let table = [
        (&ingress, &apis, "TCP", 8080, true),
        (&ingress, &apis, "TCP", 8081, false),
        (&ingress, &apis, "TCP", 8082, false),
        (&monitoring, &apis, "TCP", 8081, true),
        (&monitoring, &apis, "TCP", 8080, false),
        (&monitoring, &single, "TCP", 8082, false),
        (&pod, &apis, "TCP", 8080, false),
        (&pod, &apis, "TCP", 8082, false),
        (&single, &forge, "TCP", 443, true),
        (&single, &forge, "TCP", 22, false),
        (&single, &metadata, "TCP", 443, false),
        (&single, &agent, "TCP", 443, false),
    ];
    check(&all, &table);
}

#[test]
fn without_a_policy_everything_is_open_and_the_table_notices() {
    let run = run();
    let agent = pod_of("the agent", &run, "10.244.0.5");
    let internet = outside("the internet", "192.0.2.80");
    assert!(connects(&[], &agent, &internet, ("TCP", 443)));
    let mut closed = policies(&environment_objects(&run));
    assert!(!connects(&closed, &agent, &internet, ("TCP", 443)));
    // Each opening closes as well, so that the agent stays in by any of them.
    closed.retain(|policy| policy["metadata"]["name"] == "codex-default-deny");
    assert!(!connects(&closed, &agent, &internet, ("TCP", 443)));
    assert!(!connects(&closed, &internet, &agent, ("TCP", 80)));
}
