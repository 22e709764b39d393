//! Properties of the builders, and one whole run as a snapshot.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::{kind::ObjectKind, labels};
use super::*;

/// A token that is easy to find again, however it was encoded.
const TOKEN: &str = "ckt_0123456789abcdef0123456789abcdef";

fn encoded_token() -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(TOKEN)
}

fn identity() -> RunIdentity {
    RunIdentity {
        installation: "acme-production".to_owned(),
        run: Uuid::from_u128(0x1234_5678_9abc_5def_8123_4567_89ab_cdef),
        project: "shop".to_owned(),
        repository_id: 4_711,
        repository: "example-org/shop".to_owned(),
        issue: 7,
        trigger: "github/4711/label/99".to_owned(),
        correlation_id: "c-42".to_owned(),
    }
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn environment() -> RunEnvironment {
    let identity = identity();
    RunEnvironment {
        namespace: namespace_name(
            "codex-issue",
            &identity.project,
            identity.issue,
            identity.run,
        ),
        identity,
        launch: None,
        pod_security: PodSecurityLevel::Restricted,
        service_account: "codex-runner".to_owned(),
        agent_role: Some("codex-k8s-agent-dev".to_owned()),
        quota: Quota::default(),
        limits: ContainerLimits::default(),
        egress: Egress {
            dns: DnsTarget::default(),
            run_api: NetworkTarget::Pods {
                namespace_labels: BTreeMap::from([(
                    "kubernetes.io/metadata.name".to_owned(),
                    "codex-k8s".to_owned(),
                )]),
                pod_labels: BTreeMap::from([("app".to_owned(), "codex-k8s".to_owned())]),
                port: 8_082,
            },
            proxy: Some(NetworkTarget::Range {
                cidr: cidr("10.9.0.1/32"),
                port: 3_128,
            }),
            allow: vec![EgressRule {
                cidr: cidr("0.0.0.0/0"),
                except: vec![cidr("192.168.0.0/16")],
                ports: vec![Port {
                    protocol: Protocol::Tcp,
                    port: 443,
                }],
            }],
            except: vec![cidr("10.0.0.1/32"), cidr("172.16.0.0/12")],
        },
    }
}

fn attempt() -> AttemptSpec {
    let environment = environment();
    AttemptSpec {
        identity: environment.identity,
        namespace: environment.namespace,
        attempt: 2,
        service_account: environment.service_account,
        mount_api_token: true,
        image: "registry.example.org/agent@sha256:00".to_owned(),
        image_pull_policy: ImagePullPolicy::IfNotPresent,
        command: vec!["codex-k8s".to_owned(), "agent".to_owned()],
        run_url: "https://run.example.org".to_owned(),
        token_key_version: 1,
        ca_bundle: Some(CaBundle {
            config_map: "ca".to_owned(),
            key: "bundle.pem".to_owned(),
        }),
        active_deadline_seconds: 10_800,
        termination_grace_seconds: 60,
        requests: Resources::new("500m", "1Gi", "2Gi"),
        limits: Resources::new("2", "4Gi", "8Gi"),
        runtime_class: Some("gvisor".to_owned()),
        extra_env: BTreeMap::from([("HTTPS_PROXY".to_owned(), "http://10.9.0.1:3128".to_owned())]),
    }
}

fn token() -> RunToken {
    RunToken::new(TOKEN.to_owned())
}

fn whole_run(environment: &RunEnvironment, spec: &AttemptSpec) -> Vec<Value> {
    let mut objects = environment_objects(environment);
    objects.push(attempt_secret(spec, &token()));
    objects.push(attempt_job(spec));
    objects
}

#[test]
fn a_whole_run_looks_like_this() {
    let objects = whole_run(&environment(), &attempt());
    let documents: Vec<String> = objects
        .iter()
        .map(|object| serde_yaml::to_string(object).unwrap())
        .collect();
    insta::assert_snapshot!("whole_run", documents.join("---\n"));
}

/// Pod Security `restricted`, written down apart from the builder.
fn breaks_restricted(pod: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    let mut want = |fine: bool, rule: &str| {
        if !fine {
            broken.push(rule.to_owned());
        }
    };
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        want(pod[field] != true, field);
    }
    let allowed = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let source = volume
            .as_object()
            .unwrap()
            .keys()
            .find(|key| *key != "name");
        want(
            source.is_some_and(|source| allowed.contains(&source.as_str())),
            "volume type",
        );
    }
    let outer = &pod["securityContext"];
    for container in pod["containers"].as_array().unwrap() {
        let inner = &container["securityContext"];
        let either = |field: &str| {
            if inner[field].is_null() {
                &outer[field]
            } else {
                &inner[field]
            }
        };
        want(
            inner["allowPrivilegeEscalation"] == false,
            "allowPrivilegeEscalation",
        );
        want(inner["privileged"] != true, "privileged");
        want(
            inner["capabilities"]["drop"] == json!(["ALL"]),
            "capabilities",
        );
        want(inner["capabilities"]["add"].is_null(), "added capabilities");
        want(either("runAsNonRoot") == true, "runAsNonRoot");
        want(*either("runAsUser") != 0, "runAsUser");
        want(
            either("seccompProfile")["type"] == "RuntimeDefault",
            "seccomp",
        );
    }
    broken
}

#[test]
fn the_pod_is_restricted_read_only_and_tried_once() {
    let job = attempt_job(&attempt());
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(breaks_restricted(pod), Vec::<String>::new());
    assert_eq!(
        pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"],
        true
    );
    assert_eq!(pod["restartPolicy"], "Never");
    assert_eq!(job["spec"]["backoffLimit"], 0);
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 10_800);
    assert_eq!(pod["runtimeClassName"], "gvisor");
}

#[test]
fn the_api_token_is_mounted_only_where_a_role_is_bound() {
    for bound in [true, false] {
        let spec = AttemptSpec {
            mount_api_token: bound,
            ..attempt()
        };
        let job = attempt_job(&spec);
        assert_eq!(
            job["spec"]["template"]["spec"]["automountServiceAccountToken"],
            bound
        );
    }
    let environment = RunEnvironment {
        agent_role: None,
        ..environment()
    };
    let objects = environment_objects(&environment);
    assert!(objects.iter().all(|object| object["kind"] != "RoleBinding"));
}

#[test]
fn the_run_token_prints_as_nothing() {
    assert!(!format!("{:?}", token()).contains("ckt_"));
}

#[test]
fn another_role_is_another_binding() {
    let names = |role: &str| binding_name(role);
    assert_ne!(names("agent-dev"), names("agent-qa"));
}

#[test]
fn an_excepted_range_is_cut_out_of_every_allowed_one() {
    let policies = |egress: Egress| -> Vec<Value> {
        let environment = RunEnvironment {
            egress,
            ..environment()
        };
        let all = environment_objects(&environment);
        all.into_iter()
            .filter(|object| object["kind"] == "NetworkPolicy")
            .collect()
    };
    let ranges = |policies: &[Value]| {
        policies
            .iter()
            .find(|policy| policy["metadata"]["name"] == "codex-egress-ranges")
            .cloned()
    };
    let base = environment().egress;
    let open = ranges(&policies(base.clone())).unwrap();
    let block = &open["spec"]["egress"][0]["to"][0]["ipBlock"];
    assert_eq!(block["cidr"], "0.0.0.0/0");
    let except = [
        "10.0.0.1/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
    ];
    assert_eq!(block["except"], json!(except));

    // What lies wholly in an excepted range is not allowed at all.
    let inside = EgressRule {
        cidr: cidr("172.16.5.0/24"),
        except: vec![],
        ports: vec![],
    };
    let closed = Egress {
        allow: vec![inside],
        ..base.clone()
    };
    assert_eq!(ranges(&policies(closed)), None);
    let metadata = EgressRule {
        cidr: cidr("169.254.169.254/32"),
        except: vec![],
        ports: vec![],
    };
    assert_eq!(
        ranges(&policies(Egress {
            allow: vec![metadata],
            ..base
        })),
        None
    );
}

#[test]
fn the_inventory_names_what_is_made_and_nothing_else() {
    let mut bare = environment();
    bare.agent_role = None;
    bare.egress.proxy = None;
    bare.egress.allow.clear();
    let mut cut_out = environment();
    cut_out.egress.allow[0].cidr = cidr("10.0.0.1/32");
    for environment in [environment(), bare, cut_out] {
        let made: BTreeSet<_> = references(&environment_objects(&environment))
            .unwrap()
            .into_iter()
            .filter(|made| made.kind != ObjectKind::Namespace)
            .map(|made| (made.kind, made.name))
            .collect();
        assert_eq!(environment_inventory(&environment), made);
    }
}

#[test]
fn every_pod_is_denied_everything_first() {
    let objects = environment_objects(&environment());
    let deny = objects
        .iter()
        .find(|o| o["metadata"]["name"] == "codex-default-deny")
        .unwrap();
    assert_eq!(deny["spec"]["podSelector"], json!({}));
    assert_eq!(deny["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(
        (&deny["spec"]["ingress"], &deny["spec"]["egress"]),
        (&Value::Null, &Value::Null)
    );
    let ingress = |object: &&Value| object["spec"]["ingress"] != Value::Null;
    assert_eq!(
        objects.iter().find(ingress),
        None,
        "something may connect to a run's pods"
    );
}

#[test]
fn the_namespace_comes_first_and_policies_before_accounts() {
    let references = references(&environment_objects(&environment())).unwrap();
    let kinds: Vec<String> = references.iter().map(|one| one.kind.to_string()).collect();
    assert_eq!(kinds[0], "Namespace");
    let last_policy = kinds
        .iter()
        .rposition(|kind| kind == "NetworkPolicy")
        .unwrap();
    let account = kinds
        .iter()
        .position(|kind| kind == "ServiceAccount")
        .unwrap();
    assert!(last_policy < account, "{kinds:?}");
    let all: BTreeSet<_> = references.iter().collect();
    assert_eq!(all.len(), references.len(), "two objects share a name");
}

fn any_identity() -> impl Strategy<Value = RunIdentity> {
    let ids = (
        any::<u128>(),
        1..u64::from(u32::MAX),
        1..u64::from(u32::MAX),
    );
    (ids, "[A-Za-z0-9._-]{1,80}", "\\PC{0,40}").prop_map(|(ids, project, free)| RunIdentity {
        run: Uuid::from_u128(ids.0),
        repository_id: ids.1,
        issue: ids.2,
        project,
        repository: format!("example-org/{free}"),
        trigger: free.clone(),
        correlation_id: free,
        ..identity()
    })
}

proptest! {
    #[test]
    fn a_namespace_name_is_a_dns_label_whatever_goes_in(
        prefix in "\\PC{0,90}", project in "\\PC{0,90}", issue: u64, run: u128,
    ) {
        let name = namespace_name(&prefix, &project, issue, Uuid::from_u128(run));
        prop_assert!(is_dns_label(&name), "{name:?}");
        let tail = Uuid::from_u128(run).simple().to_string();
        let ending = format!("i{issue}-r{}", &tail[..12]);
        prop_assert!(name.ends_with(&ending), "{name}");
    }

    #[test]
    fn other_names_and_label_values_are_valid(text in "\\PC{0,90}", attempt: u32, run: u128) {
        let role = format!("r{text}");
        prop_assert!(is_dns_label(&binding_name(&role)));
        prop_assert!(is_dns_label(&attempt_name(Uuid::from_u128(run), attempt)));
        let value = label_value(&text);
        prop_assert!(value.len() <= 63);
        let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
        prop_assert!(edge(value.chars().next()) && edge(value.chars().last()), "{value:?}");
    }

    #[test]
    fn every_object_is_marked_ours_and_tells_its_run(identity in any_identity()) {
        let namespace = namespace_name("codex-issue", &identity.project, identity.issue, identity.run);
        let environment =
            RunEnvironment { identity: identity.clone(), namespace: namespace.clone(), ..environment() };
        let spec = AttemptSpec { identity: identity.clone(), namespace, ..attempt() };
        for object in whole_run(&environment, &spec) {
            let reference = ObjectRef::of(&object).unwrap();
            let marks = &object["metadata"]["labels"];
            prop_assert_eq!(&marks[labels::INSTALLATION], "acme-production");
            prop_assert_eq!(&marks[labels::MANAGED_BY], "codex-k8s");
            prop_assert_eq!(&marks[labels::RUN_ID], &json!(identity.run.to_string()));
            prop_assert_eq!(&marks[labels::ISSUE], &json!(identity.issue.to_string()));
            let notes = &object["metadata"]["annotations"];
            prop_assert_eq!(&notes[labels::REPOSITORY], &json!(identity.repository));
            prop_assert_eq!(&notes[labels::TRIGGER], &json!(identity.trigger));
            prop_assert_eq!(&notes[labels::PROJECT_KEY], &json!(identity.project));
            prop_assert!(notes[labels::INPUT_HASH].is_string());
            for value in marks.as_object().unwrap().values() {
                prop_assert!(value.as_str().unwrap().len() <= 63, "{reference}: {value}");
            }
            if reference.kind.is_namespaced() {
                prop_assert_eq!(&reference.namespace, &environment.namespace);
            }
        }
    }

    #[test]
    fn the_token_stands_in_the_secrets_data_alone(identity in any_identity(), attempts in 1_u32..9) {
        let spec = AttemptSpec { identity, attempt: attempts, ..attempt() };
        let mut secret = attempt_secret(&spec, &token());
        prop_assert_eq!(&secret["data"]["token"], &json!(encoded_token()));
        secret.as_object_mut().unwrap().remove("data");
        let rest = [secret, attempt_job(&spec), super::to_value(&spec)];
        for object in rest.iter().chain(&environment_objects(&environment())) {
            let text = object.to_string();
            prop_assert!(!text.contains(TOKEN) && !text.contains(&encoded_token()), "{text}");
        }
        let hidden = format!("{spec:?}");
        prop_assert!(!hidden.contains(TOKEN));
        // The token is a file: no variable is fed from a Secret.
        let job = attempt_job(&spec);
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        prop_assert!(container["envFrom"].is_null());
        for variable in container["env"].as_array().unwrap() {
            prop_assert!(variable["valueFrom"].is_null());
        }
    }

    #[test]
    fn equal_inputs_give_equal_bytes_and_the_hash_follows_the_input(
        identity in any_identity(), pods in 1_u32..99,
    ) {
        let one = RunEnvironment { identity, ..environment() };
        let text = serde_json::to_string(&one).unwrap();
        let same: RunEnvironment = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&one, &same);
        prop_assert_eq!(environment_objects(&one), environment_objects(&same));
        let mut other = one.clone();
        other.quota.pods = pods;
        prop_assert_eq!(input_hash(&one) == input_hash(&other), one == other);
        let hash = json!(input_hash(&one));
        for object in environment_objects(&one) {
            prop_assert_eq!(&object["metadata"]["annotations"][labels::INPUT_HASH], &hash);
        }
    }
}
