//! The API server takes everything in `manifests/` and everything that the builders make.

use codex_k8s::cluster::manifests::{
    PodSecurityLevel, RunEnvironment, RunToken, attempt_job, attempt_secret, environment_objects,
};
use codex_k8s::plan::PlanSettings;
use serde_json::{Value, json};

use super::support::{Caller, PLATFORM, Run, attempt, environment, installed, kubectl, path};

#[tokio::test]
async fn the_server_takes_the_base_every_overlay_and_the_migration() {
    let Some(cluster) = installed().await else {
        return;
    };
    for folder in [
        "base",
        "overlays/single",
        "overlays/split",
        "overlays/example",
    ] {
        let arguments = ["apply", "--dry-run=server", "-k", &path(folder)];
        let taken = kubectl(&cluster, &arguments, None);
        let taken = taken.unwrap_or_else(|error| panic!("{folder}: {error}"));
        assert!(taken.contains("deployment.apps/codex-k8s "), "{taken}");
        let apis = taken.contains("deployment.apps/codex-k8s-api ");
        assert_eq!(apis, folder == "overlays/split", "{taken}");
    }
    let arguments = ["create", "--dry-run=server", "-f", &path("migrate")];
    kubectl(&cluster, &arguments, None).expect("the migration is taken");
}

#[tokio::test]
async fn no_policy_has_an_expression_that_the_server_warns_of() {
    let Some(cluster) = installed().await else {
        return;
    };
    let arguments = ["get", "validatingadmissionpolicies", "-o", "json"];
    let listed = kubectl(&cluster, &arguments, None).unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let items = listed["items"].as_array().unwrap();
    let ours = items.iter().filter(|item| {
        let name = item["metadata"]["name"].as_str().unwrap_or_default();
        name.starts_with("codex-k8s-")
    });
    let mut seen = 0;
    for policy in ours {
        seen += 1;
        let warnings = &policy["status"]["typeChecking"]["expressionWarnings"];
        assert!(
            warnings.is_null(),
            "{}: {warnings}",
            policy["metadata"]["name"]
        );
    }
    assert_eq!(seen, 5);
}

/// Environments with each level, and each role or none.
fn variants() -> Vec<RunEnvironment> {
    let levels = [
        PodSecurityLevel::Restricted,
        PodSecurityLevel::Baseline,
        PodSecurityLevel::Privileged,
    ];
    let roles = PlanSettings::default().roles;
    let roles = roles.values().map(|role| Some(role.as_str()));
    let mut variants = Vec::new();
    for role in roles.chain([None]) {
        for level in levels {
            variants.push(environment("test-variants", level, role));
        }
    }
    let mut bare = environment("test-variants", PodSecurityLevel::Restricted, None);
    bare.egress.proxy = None;
    bare.egress.allow.clear();
    variants.push(bare);
    variants
}

#[tokio::test]
async fn the_server_takes_what_the_builders_make_from_the_platform() {
    let Some(cluster) = installed().await else {
        return;
    };
    // Objects in a namespace are only judged where it is there: one stands for all.
    let run = Run::start(&cluster, PodSecurityLevel::Restricted, None).await;
    let platform = Caller::new(&cluster, PLATFORM).await;
    for variant in variants() {
        let spec = attempt(&variant);
        let mut objects = environment_objects(&variant);
        objects.push(attempt_secret(&spec, &RunToken::new("a-token".to_owned())));
        objects.push(attempt_job(&spec));
        for mut object in objects {
            if object["kind"] != "Namespace" {
                object["metadata"]["namespace"] = json!(run.namespace());
            }
            let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
            for subject in subjects.into_iter().flatten() {
                subject["namespace"] = json!(run.namespace());
            }
            let place = place(&object);
            let media = "application/apply-patch+yaml";
            let query = "dryRun=All&fieldManager=codex-k8s&force=true&fieldValidation=Strict";
            let taken = platform
                .send("PATCH", &format!("{place}?{query}"), media, &object)
                .await;
            taken.unwrap_or_else(|error| panic!("{place}: {error}"));
        }
    }
    run.end().await;
}

/// The path of an object.
fn place(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap();
    let name = object["metadata"]["name"].as_str().unwrap();
    let group = match object["apiVersion"].as_str().unwrap() {
        "v1" => "/api/v1".to_owned(),
        group => format!("/apis/{group}"),
    };
    let plural = match kind {
        "NetworkPolicy" => "networkpolicies".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}/{name}"),
        None => format!("{group}/{plural}/{name}"),
    }
}
