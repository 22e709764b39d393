//! The resources that the model serves, and their paths.

/// One resource type.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) namespaced: bool,
}

impl Resource {
    const fn namespaced(group: &'static str, plural: &'static str, kind: &'static str) -> Self {
        Self {
            group,
            plural,
            kind,
            namespaced: true,
        }
    }

    const fn cluster(group: &'static str, plural: &'static str, kind: &'static str) -> Self {
        Self {
            group,
            plural,
            kind,
            namespaced: false,
        }
    }

    /// The `apiVersion` of its objects.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            "v1".to_owned()
        } else {
            format!("{}/v1", self.group)
        }
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";

/// Every resource, all at version `v1`.
pub(super) static RESOURCES: &[Resource] = &[
    Resource::cluster("", "namespaces", "Namespace"),
    Resource::cluster("", "nodes", "Node"),
    Resource::namespaced("", "pods", "Pod"),
    Resource::namespaced("", "secrets", "Secret"),
    Resource::namespaced("", "configmaps", "ConfigMap"),
    Resource::namespaced("", "serviceaccounts", "ServiceAccount"),
    Resource::namespaced("", "resourcequotas", "ResourceQuota"),
    Resource::namespaced("", "limitranges", "LimitRange"),
    Resource::namespaced("", "events", "Event"),
    Resource::namespaced("batch", "jobs", "Job"),
    Resource::namespaced("coordination.k8s.io", "leases", "Lease"),
    Resource::namespaced("networking.k8s.io", "networkpolicies", "NetworkPolicy"),
    Resource::cluster(RBAC, "clusterroles", "ClusterRole"),
    Resource::cluster(RBAC, "clusterrolebindings", "ClusterRoleBinding"),
    Resource::namespaced(RBAC, "roles", "Role"),
    Resource::namespaced(RBAC, "rolebindings", "RoleBinding"),
];

/// The resource of a group by its plural name.
pub(super) fn find(group: &str, plural: &str) -> Option<&'static Resource> {
    RESOURCES
        .iter()
        .find(|resource| resource.group == group && resource.plural == plural)
}

/// The resource by plural name alone; no two of ours share one.
pub(super) fn by_plural(plural: &str) -> &'static Resource {
    RESOURCES
        .iter()
        .find(|resource| resource.plural == plural)
        .expect("asked for with the names of the table only")
}

/// What a request path points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) resource: &'static Resource,
    /// `None` means all namespaces, or a resource that lives in none.
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

/// Reads `/api/v1/…` and `/apis/GROUP/v1/…`.
pub(super) fn parse(path: &str) -> Option<Target> {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let group = match parts.first() {
        Some(&"api") => {
            parts.remove(0);
            ""
        }
        Some(&"apis") if parts.len() > 1 => {
            parts.remove(0);
            parts.remove(0)
        }
        _ => return None,
    };
    if parts.is_empty() || parts.remove(0) != "v1" {
        return None;
    }
    let mut namespace = None;
    if parts.len() >= 3 && parts[0] == "namespaces" && find(group, parts[2]).is_some() {
        namespace = Some(parts[1].to_owned());
        parts.drain(..2);
    }
    let resource = find(group, parts.first()?)?;
    if parts.len() > 3 || (!resource.namespaced && namespace.is_some()) {
        return None;
    }
    let part = |position: usize| parts.get(position).map(|part| (*part).to_owned());
    Some(Target {
        resource,
        namespace,
        name: part(1),
        subresource: part(2),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_point_at_collections_objects_and_subresources() {
        let target = parse("/api/v1/namespaces/ns/pods/p/log").unwrap();
        assert_eq!(
            (target.resource.kind, target.namespace.as_deref()),
            ("Pod", Some("ns"))
        );
        assert_eq!(
            (target.name.as_deref(), target.subresource.as_deref()),
            (Some("p"), Some("log"))
        );
        let target = parse("/apis/batch/v1/jobs").unwrap();
        assert_eq!(
            (target.resource.kind, target.namespace, target.name),
            ("Job", None, None)
        );
        let target = parse("/api/v1/namespaces/ns").unwrap();
        assert_eq!(
            (target.resource.kind, target.name.as_deref()),
            ("Namespace", Some("ns"))
        );
        for path in [
            "/apis/batch/v1beta1/jobs",
            "/api/v1/widgets",
            "/apis",
            "/metrics",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }
}
