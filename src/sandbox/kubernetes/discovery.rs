//! What a client asks a server about itself.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::resource::RESOURCES;

/// The release whose behaviour the model follows.
const RELEASE: &str = "v1.34.0+codex-k8s.model";

/// The document at a path that names no object.
pub(super) fn document(path: &str) -> Option<Value> {
    match path {
        "/version" => Some(json!({"major": "1", "minor": "34", "gitVersion": RELEASE,
            "gitCommit": "", "gitTreeState": "clean", "buildDate": "", "goVersion": "",
            "compiler": "", "platform": ""})),
        "/healthz" | "/livez" | "/readyz" => Some(json!("ok")),
        "/api" => Some(json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": []})),
        "/apis" => Some(groups()),
        "/api/v1" => Some(resources("")),
        other => {
            let group = other.strip_prefix("/apis/")?.strip_suffix("/v1")?;
            RESOURCES
                .iter()
                .any(|resource| resource.group == group)
                .then(|| resources(group))
        }
    }
}

fn groups() -> Value {
    let names: BTreeSet<&str> = RESOURCES
        .iter()
        .map(|resource| resource.group)
        .filter(|group| !group.is_empty())
        .collect();
    let group = |name: &str| {
        let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    let groups: Vec<Value> = names.into_iter().map(group).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn resources(group: &str) -> Value {
    let verbs = json!(["create", "delete", "get", "list", "patch", "watch"]);
    let all = RESOURCES.iter().filter(|resource| resource.group == group);
    let all: Vec<Value> = all
        .map(|resource| {
            json!({"name": resource.plural, "singularName": resource.kind.to_ascii_lowercase(),
                "namespaced": resource.namespaced, "kind": resource.kind, "verbs": verbs})
        })
        .collect();
    let version = if group.is_empty() {
        "v1".to_owned()
    } else {
        format!("{group}/v1")
    };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": all})
}
