//! A cluster that people gave to the sandbox.
//!
//! What `manifests/` installs for the platform's own rights is applied to it: its
//! namespace, its ServiceAccount with RBAC, the agents' roles and the admission
//! policies. `serve` then talks to it under that ServiceAccount, never with the
//! kubeconfig that was given. At the end everything of the sandbox's own
//! installation is removed; what was installed stays.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Namespace, ServiceAccount},
};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
};
use serde::Deserialize;
use serde_json::json;

/// Who writes what is installed.
const FIELD_MANAGER: &str = "codex-k8s-sandbox";
/// The namespace and the ServiceAccount of the platform, as `manifests/` names both.
const PLATFORM: &str = "codex-k8s";
/// How long `serve` may use its token, in seconds.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;
/// The label that carries the installation.
const INSTALLATION: &str = "codex-k8s.dev/installation";

/// What `manifests/base` gives the platform in any installation, in the order of its needs.
const MANIFESTS: [&str; 9] = [
    include_str!("../../manifests/base/namespace.yaml"),
    include_str!("../../manifests/base/service-account.yaml"),
    include_str!("../../manifests/base/rbac/platform.yaml"),
    include_str!("../../manifests/base/rbac/agents.yaml"),
    include_str!("../../manifests/base/admission/run-pods.yaml"),
    include_str!("../../manifests/base/admission/run-marks.yaml"),
    include_str!("../../manifests/base/admission/run-objects.yaml"),
    include_str!("../../manifests/base/admission/namespace-marks.yaml"),
    include_str!("../../manifests/base/admission/platform-writes.yaml"),
];

/// A cluster behind a kubeconfig, with the platform's rights installed.
pub(super) struct GivenCluster {
    client: Client,
    installation: String,
}

impl std::fmt::Debug for GivenCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GivenCluster")
            .field("installation", &self.installation)
            .finish_non_exhaustive()
    }
}

impl GivenCluster {
    /// Installs the platform's rights and writes `serve`'s kubeconfig into `folder`.
    pub(super) async fn prepare(
        given: &Path,
        folder: &Path,
        installation: &str,
    ) -> anyhow::Result<(Self, PathBuf)> {
        let file = Kubeconfig::read_from(given)
            .with_context(|| format!("read the kubeconfig {}", given.display()))?;
        let config = Config::from_custom_kubeconfig(file.clone(), &KubeConfigOptions::default())
            .await
            .with_context(|| format!("use the kubeconfig {}", given.display()))?;
        let client = Client::try_from(config).context("make a client of the cluster")?;
        install(&client).await?;
        let token = token(&client).await?;
        let path = folder.join("kubeconfig");
        write_private(&path, &platform_kubeconfig(&file, &token)?)
            .context("write serve's kubeconfig")?;
        let cluster = Self {
            client,
            installation: installation.to_owned(),
        };
        Ok((cluster, path))
    }

    /// Removes what the sandbox's runs left: their namespaces and the copied lease.
    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        let ours = ListParams::default().labels(&format!("{INSTALLATION}={}", self.installation));
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let left = namespaces.list(&ours).await.context("list namespaces")?;
        for namespace in left {
            let name = namespace.metadata.name.unwrap_or_default();
            forget_absence(namespaces.delete(&name, &DeleteParams::default()).await)
                .with_context(|| format!("delete namespace {name}"))?;
        }
        let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
            Api::namespaced(self.client.clone(), PLATFORM);
        for lease in leases.list(&ours).await.context("list leases")? {
            let name = lease.metadata.name.unwrap_or_default();
            forget_absence(leases.delete(&name, &DeleteParams::default()).await)
                .with_context(|| format!("delete lease {name}"))?;
        }
        Ok(())
    }
}

fn forget_absence<T>(answer: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

/// Server-side applies the manifests; again, it changes nothing.
async fn install(client: &Client) -> anyhow::Result<()> {
    for object in manifests()? {
        let types = object.types.clone().unwrap_or_default();
        let name = object.metadata.name.clone().unwrap_or_default();
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let params = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .with_context(|| format!("install {} {name}", types.kind))?;
    }
    Ok(())
}

/// The objects of the manifests, each with its namespace: what kustomize sets.
fn manifests() -> anyhow::Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for text in MANIFESTS {
        for document in serde_yaml::Deserializer::from_str(text) {
            let mut object = DynamicObject::deserialize(document).context("read a manifest")?;
            let kind = object.types.as_ref().map(|types| types.kind.as_str());
            if matches!(kind, Some("ServiceAccount" | "Role" | "RoleBinding")) {
                object.metadata.namespace = Some(PLATFORM.to_owned());
            }
            objects.push(object);
        }
    }
    Ok(objects)
}

/// A token of the platform's ServiceAccount.
async fn token(client: &Client) -> anyhow::Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), PLATFORM);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(PLATFORM, &PostParams::default(), &request)
        .await
        .context("ask for a token of the platform's ServiceAccount")?;
    let token = answer.status.map(|status| status.token);
    token.context("the answer holds no token")
}

/// The given kubeconfig's current cluster, with the platform's token and no other credential.
fn platform_kubeconfig(given: &Kubeconfig, token: &str) -> anyhow::Result<String> {
    let current = given.current_context.as_deref();
    let context = given
        .contexts
        .iter()
        .find(|named| Some(named.name.as_str()) == current)
        .and_then(|named| named.context.as_ref())
        .context("the kubeconfig names no current context")?;
    let cluster = given
        .clusters
        .iter()
        .find(|named| named.name == context.cluster)
        .and_then(|named| named.cluster.clone());
    ensure!(
        cluster.is_some(),
        "the kubeconfig has no cluster {}",
        context.cluster
    );
    let file = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": PLATFORM,
        "clusters": [{ "name": PLATFORM, "cluster": cluster }],
        "users": [{ "name": PLATFORM, "user": { "token": token } }],
        "contexts": [{
            "name": PLATFORM,
            "context": { "cluster": PLATFORM, "user": PLATFORM },
        }],
    });
    serde_yaml::to_string(&file).context("write a kubeconfig")
}

/// Writes a file that nobody else may read.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_is_read_and_knows_where_it_stands() {
        let objects = manifests().unwrap();
        assert!(objects.len() > MANIFESTS.len());
        for object in objects {
            let kind = object.types.unwrap().kind;
            let cluster_wide = kind.starts_with("Cluster")
                || kind.starts_with("Validating")
                || kind == "Namespace";
            assert_eq!(object.metadata.namespace.is_none(), cluster_wide, "{kind}");
        }
    }
}
