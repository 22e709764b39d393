//! Reads: one object's metadata, everything of ours, a log.

use std::collections::BTreeMap;
use std::future::Future;

use chrono::{DateTime, Utc};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, LogParams};
use kube::core::{GroupVersionKind, ObjectMeta as KubeMeta, PartialObjectMeta};
use serde::de::DeserializeOwned;

use super::super::error::{ClusterError, ErrorClass};
use super::super::kind::{ObjectKind, ObjectRef};
use super::super::labels;
use super::super::port::{LogRequest, ObjectMeta};
use super::super::snapshot::ClusterSnapshot;
use super::{KubeCluster, failure, rows};

/// The client's description of a kind.
pub(super) fn resource(kind: ObjectKind) -> ApiResource {
    let name: &'static str = kind.into();
    let gvk = GroupVersionKind::gvk(kind.group(), kind.version(), name);
    ApiResource::from_gvk_with_plural(&gvk, kind.plural())
}

impl KubeCluster {
    /// Calls for one object, wherever it lives.
    pub(super) fn api_of(&self, object: &ObjectRef) -> Api<DynamicObject> {
        let resource = resource(object.kind);
        if object.kind.is_namespaced() {
            Api::namespaced_with(self.client.clone(), &object.namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        }
    }

    /// Runs a call under the request time-out and classifies its failure.
    pub(super) async fn call<T>(
        &self,
        verb: &'static str,
        object: &(impl std::fmt::Display + Sync),
        request: impl Future<Output = Result<T, kube::Error>> + Send,
    ) -> Result<T, ClusterError> {
        match tokio::time::timeout(self.options.request_timeout, request).await {
            Ok(answer) => answer.map_err(|error| failure::classify(verb, object, error)),
            Err(_) => Err(failure::timed_out(verb, object)),
        }
    }

    /// One object's metadata; `None` where it does not exist.
    pub(super) async fn read_metadata(
        &self,
        verb: &'static str,
        object: &ObjectRef,
    ) -> Result<Option<KubeMeta>, ClusterError> {
        let api = self.api_of(object);
        let found = self
            .call(verb, object, api.get_metadata_opt(&object.name))
            .await?;
        Ok(found.map(|partial| partial.metadata))
    }

    /// Whether metadata carries our installation label.
    pub(super) fn is_ours(&self, meta: &KubeMeta) -> bool {
        let label = meta
            .labels
            .as_ref()
            .and_then(|all| all.get(labels::INSTALLATION));
        label == Some(&self.options.installation)
    }

    /// What callers see of metadata.
    pub(super) fn object_meta(&self, meta: &KubeMeta) -> ObjectMeta {
        ObjectMeta {
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            ours: self.is_ours(meta),
            deleting: meta.deletion_timestamp.is_some(),
            input_hash: meta
                .annotations
                .as_ref()
                .and_then(|all| all.get(labels::INPUT_HASH).cloned()),
        }
    }

    /// Everything of ours, whole or an error.
    pub(super) async fn list_all(&self) -> Result<ClusterSnapshot, ClusterError> {
        let client = || self.client.clone();
        let selector = labels::installation_selector(&self.options.installation);
        let mut snapshot = ClusterSnapshot::default();
        let namespaces = self.list_kind(Api::<Namespace>::all(client()), Some(&selector));
        snapshot.namespaces = namespaces.await?.iter().map(rows::namespace).collect();
        let jobs = self.list_kind(Api::<Job>::all(client()), Some(&selector));
        snapshot.jobs = jobs.await?.iter().map(rows::job).collect();
        let pods = self.list_kind(Api::<Pod>::all(client()), Some(&selector));
        snapshot.pods = pods.await?.iter().map(rows::pod).collect();
        for kind in ObjectKind::METADATA_ONLY {
            let api: Api<PartialObjectMeta<DynamicObject>> =
                Api::all_with(client(), &resource(kind));
            let listed = self.list_kind(api, Some(&selector)).await?;
            let objects = listed
                .iter()
                .map(|partial| rows::object(kind, &partial.metadata));
            snapshot.objects.extend(objects);
        }
        let unreachable = self.unreachable_nodes().await?;
        for pod in &mut snapshot.pods {
            pod.node_unreachable_since = pod
                .node
                .as_ref()
                .and_then(|node| unreachable.get(node).copied());
        }
        snapshot.normalise();
        Ok(snapshot)
    }

    /// Nodes that do not answer. Where we may not read nodes, none is known.
    async fn unreachable_nodes(&self) -> Result<BTreeMap<String, DateTime<Utc>>, ClusterError> {
        let nodes = self
            .list_kind(Api::<Node>::all(self.client.clone()), None)
            .await;
        let nodes = match nodes {
            Err(error) if error.class == ErrorClass::Forbidden => Vec::new(),
            other => other?,
        };
        let since =
            |node: &Node| Some((node.metadata.name.clone()?, rows::unreachable_since(node)?));
        Ok(nodes.iter().filter_map(since).collect())
    }

    async fn list_kind<K>(
        &self,
        api: Api<K>,
        selector: Option<&str>,
    ) -> Result<Vec<K>, ClusterError>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug + kube::Resource + Send,
    {
        let mut all = Vec::new();
        let mut params = ListParams::default().limit(self.options.page_size);
        params.label_selector = selector.map(str::to_owned);
        loop {
            let page = self
                .call("list", &api.resource_url(), api.list(&params))
                .await?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(all),
            }
        }
    }

    /// A pod's log.
    pub(super) async fn read_logs(&self, request: &LogRequest) -> Result<String, ClusterError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &request.namespace);
        let params = LogParams {
            tail_lines: request.tail_lines.map(i64::from),
            limit_bytes: request.limit_bytes.map(i64::from),
            ..LogParams::default()
        };
        let object = ObjectRef::namespaced(ObjectKind::Pod, &request.namespace, &request.pod);
        self.call("logs", &object, api.logs(&request.pod, &params))
            .await
    }
}
