//! The files of `manifests/`, without a cluster: they are whole, they name what the code
//! names, and the settings in them are ones that the platform starts with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use codex_k8s::plan::PlanSettings;
use codex_k8s::settings::{Settings, Sources};
use serde_json::Value;

/// Everything that makes pods, as the policies name it.
const POD_MAKERS: [&str; 10] = [
    "/pods",
    "/pods/ephemeralcontainers",
    "/podtemplates",
    "/replicationcontrollers",
    "apps/daemonsets",
    "apps/deployments",
    "apps/replicasets",
    "apps/statefulsets",
    "batch/cronjobs",
    "batch/jobs",
];

pub(super) fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

/// The YAML files below a folder.
fn yaml_files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|it| it == "yaml") {
            found.insert(path);
        }
    }
    found
}

/// The documents of a file.
pub(super) fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| {
            serde::Deserialize::deserialize(document)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .collect()
}

/// All objects of a kind below `base` and the overlays, by name.
pub(super) fn objects(kind: &str) -> BTreeMap<String, Value> {
    yaml_files(&manifests())
        .iter()
        // A patch is a part of an object.
        .filter(|path| !path.ends_with("split/reconciler.yaml"))
        .flat_map(|path| documents(path))
        .filter(|object| object["kind"] == kind)
        .filter(|object| object.get("apiVersion").is_some())
        .map(|object| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            (name.to_owned(), object)
        })
        .collect()
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().map_or(&[][..], Vec::as_slice);
    list.iter()
        .map(|text| text.as_str().expect("a text").to_owned())
        .collect()
}

#[test]
fn every_file_is_part_of_a_kustomization_and_every_part_is_there() {
    let mut named = BTreeSet::from([manifests().join("migrate/job.yaml")]);
    for path in yaml_files(&manifests()) {
        if !path.ends_with("kustomization.yaml") {
            continue;
        }
        let folder = path.parent().unwrap();
        let kustomization = documents(&path).remove(0);
        named.insert(path.clone());
        let generators = kustomization["configMapGenerator"].as_array();
        let files = generators
            .into_iter()
            .flatten()
            .flat_map(|it| texts(&it["files"]));
        let patches = kustomization["patches"].as_array();
        let patches = patches.into_iter().flatten();
        let patches = patches.map(|it| it["path"].as_str().unwrap().to_owned());
        for part in texts(&kustomization["resources"])
            .into_iter()
            .chain(files)
            .chain(patches)
        {
            let part = folder.join(part);
            assert!(part.exists(), "{} names {}", path.display(), part.display());
            named.insert(part);
        }
    }
    let alone: Vec<_> = yaml_files(&manifests())
        .difference(&named)
        .cloned()
        .collect();
    assert!(alone.is_empty(), "no kustomization names {alone:?}");
}

#[test]
fn the_platform_may_bind_the_roles_that_it_binds_and_no_other() {
    let bound: BTreeSet<String> = PlanSettings::default().roles.into_values().collect();
    let roles = objects("ClusterRole");
    let agents: BTreeSet<String> = roles
        .keys()
        .filter(|name| name.starts_with("codex-k8s-agent-"))
        .cloned()
        .collect();
    assert_eq!(agents, bound);
    let mut may_bind = BTreeSet::new();
    for rule in roles["codex-k8s-platform"]["rules"].as_array().unwrap() {
        let verbs = texts(&rule["verbs"]);
        for verb in ["*", "escalate", "impersonate", "deletecollection", "update"] {
            assert!(!verbs.contains(&verb.to_owned()), "{verb} in {rule}");
        }
        if verbs.contains(&"bind".to_owned()) {
            assert_eq!(verbs, ["bind"]);
            let names = texts(&rule["resourceNames"]);
            assert!(!names.is_empty(), "{rule} binds every role");
            may_bind.extend(names);
        }
    }
    assert_eq!(may_bind, bound);
}

#[test]
fn the_policy_of_pods_names_everything_that_makes_pods() {
    let policy = &objects("ValidatingAdmissionPolicy")["codex-k8s-run-pods"];
    let mut named = BTreeSet::new();
    for rule in policy["spec"]["matchConstraints"]["resourceRules"]
        .as_array()
        .unwrap()
    {
        assert_eq!(texts(&rule["operations"]), ["CREATE", "UPDATE"]);
        for group in texts(&rule["apiGroups"]) {
            let resources = texts(&rule["resources"]);
            named.extend(
                resources
                    .iter()
                    .map(|resource| format!("{group}/{resource}")),
            );
        }
    }
    assert_eq!(named, BTreeSet::from(POD_MAKERS.map(str::to_owned)));
}

#[test]
fn every_policy_is_bound_to_refuse_and_says_why() {
    let (policies, bindings) = (
        objects("ValidatingAdmissionPolicy"),
        objects("ValidatingAdmissionPolicyBinding"),
    );
    assert_eq!(policies.len(), 5);
    for (name, policy) in &policies {
        assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{name}");
        let bound = &bindings[name]["spec"];
        assert_eq!(bound["policyName"], name.as_str());
        assert_eq!(texts(&bound["validationActions"]), ["Deny"], "{name}");
        for validation in policy["spec"]["validations"].as_array().unwrap() {
            let message = validation["message"].as_str().unwrap_or_default();
            assert!(message.len() > 15, "{name}: {validation}");
        }
    }
}

#[test]
fn the_policies_know_the_platform_by_the_account_that_it_runs_as() {
    let account = &objects("ServiceAccount")["codex-k8s"];
    let name = account["metadata"]["name"].as_str().unwrap();
    let namespace = objects("Namespace").into_keys().next().unwrap();
    let base = documents(&manifests().join("base/kustomization.yaml")).remove(0);
    assert_eq!(base["namespace"], namespace.as_str());
    let user = format!("'system:serviceaccount:{namespace}:{name}'");
    for (policy, object) in objects("ValidatingAdmissionPolicy") {
        // It is about the accounts of runs, and nobody else.
        let of_runs = policy == "codex-k8s-run-objects";
        assert_eq!(object.to_string().contains(&user), !of_runs, "{policy}");
    }
    let deployment = &objects("Deployment")["codex-k8s"]["spec"]["template"]["spec"];
    assert_eq!(deployment["serviceAccountName"], name);
    let binding = &objects("ClusterRoleBinding")["codex-k8s-platform"];
    assert_eq!(binding["subjects"][0]["name"], name);
    assert_eq!(binding["subjects"][0]["namespace"], namespace.as_str());
}

/// The pods of the platform itself, by the workload's name.
fn own_pods() -> BTreeMap<String, Value> {
    let mut pods = BTreeMap::new();
    for kind in ["Deployment", "Job"] {
        for (name, object) in objects(kind) {
            let pod = object["spec"]["template"]["spec"].clone();
            pods.insert(format!("{kind} {name}"), pod);
        }
    }
    assert_eq!(pods.len(), 3);
    pods
}

#[test]
fn the_platforms_own_pods_have_no_privilege_and_limits() {
    for (name, pod) in own_pods() {
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert!(
            pod["securityContext"]["runAsUser"].as_i64() > Some(0),
            "{name}"
        );
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        for container in pod["containers"].as_array().unwrap() {
            let context = &container["securityContext"];
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(texts(&context["capabilities"]["drop"]), ["ALL"], "{name}");
            for amount in ["cpu", "memory"] {
                assert!(
                    container["resources"]["requests"][amount].is_string(),
                    "{name}"
                );
                assert!(
                    container["resources"]["limits"][amount].is_string(),
                    "{name}"
                );
            }
        }
    }
    let apis = &own_pods()["Deployment codex-k8s-api"];
    assert_eq!(apis["automountServiceAccountToken"], false);
}

/// The keys of the Secret in the example overlay.
fn secret_keys() -> BTreeSet<String> {
    let text = fs::read_to_string(manifests().join("overlays/example/secrets.env")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (key, value) = line.split_once('=').expect("KEY=VALUE");
            assert_eq!(value, "fill-in", "no secret stands in the repository");
            key.to_owned()
        })
        .collect()
}

#[test]
fn the_platform_starts_with_these_settings_and_needs_each_secret_of_the_example() {
    let folder = tempfile::tempdir().unwrap();
    let secret = |key: &str| match key {
        "run-token-keys" => format!("1:{}", "ab".repeat(32)),
        key if key.ends_with("database-url") => "postgres://user:word@host/name".to_owned(),
        _ => "a-token".to_owned(),
    };
    for key in secret_keys() {
        fs::write(folder.path().join(&key), secret(&key)).unwrap();
    }
    let mut needed = BTreeSet::new();
    for (name, pod) in own_pods() {
        let variables = pod["containers"][0]["env"].as_array().unwrap();
        let mut environment = BTreeMap::new();
        for variable in variables {
            let name = variable["name"].as_str().unwrap().to_owned();
            if let Some(key) = variable["valueFrom"]["secretKeyRef"]["key"].as_str() {
                needed.insert(key.to_owned());
                continue;
            }
            let value = variable["value"].as_str().unwrap();
            let Some(key) = value.strip_prefix("/etc/codex-k8s/secrets/") else {
                assert_eq!(name, "CODEXK8S_CONFIG");
                continue;
            };
            needed.insert(key.to_owned());
            environment.insert(name, folder.path().join(key).display().to_string());
        }
        if name.starts_with("Job") {
            continue;
        }
        for settings in ["base", "overlays/example"] {
            let sources = Sources {
                file: Some(manifests().join(settings).join("settings.yaml")),
                environment: environment.clone(),
            };
            assert_eq!(sources.unknown_variables(), Vec::<&str>::new());
            let loaded = Settings::load(&sources);
            let loaded = loaded.unwrap_or_else(|error| panic!("{name}, {settings}: {error}"));
            assert_eq!(loaded.run.listen.port(), 8082);
            assert_eq!(loaded.ops.listen.port(), 8081);
        }
    }
    assert_eq!(needed, secret_keys());
}

#[test]
fn each_pod_of_the_platform_mounts_the_secrets_that_it_reads_and_no_other() {
    let pods = own_pods();
    let apis = &pods["Deployment codex-k8s-api"];
    let mut named: BTreeSet<String> = BTreeSet::new();
    for variable in apis["containers"][0]["env"].as_array().unwrap() {
        let path = variable["value"].as_str().unwrap_or_default();
        let key = path.strip_prefix("/etc/codex-k8s/secrets/");
        named.extend(key.map(str::to_owned));
    }
    let volumes = apis["volumes"].as_array().unwrap();
    let secret = |name: &str| {
        let volume = volumes.iter().find(|volume| volume["name"] == name);
        volume.expect("it is there")["secret"].clone()
    };
    let items = secret("secrets")["items"].clone();
    let items = items.as_array().expect("not the whole Secret");
    let mounted: BTreeSet<String> = items
        .iter()
        .map(|item| item["key"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(mounted, named);
    assert!(!mounted.contains("forge-token") && !mounted.contains("database-url"));
    // A key for each provider, whoever they are.
    assert!(secret("models").get("items").is_none());
}
