//! The kinds of object we own, and a reference to one object. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::IntoEnumIterator;
use thiserror::Error;

/// A kind of object that the platform writes or follows.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumIter,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
)]
pub enum ObjectKind {
    /// `v1 Namespace`.
    Namespace,
    /// `v1 ServiceAccount`.
    ServiceAccount,
    /// `v1 ConfigMap`.
    ConfigMap,
    /// `v1 Secret`: only its metadata is ever read, one by one.
    Secret,
    /// `v1 ResourceQuota`.
    ResourceQuota,
    /// `v1 LimitRange`.
    LimitRange,
    /// `networking.k8s.io/v1 NetworkPolicy`.
    NetworkPolicy,
    /// `rbac.authorization.k8s.io/v1 RoleBinding`.
    RoleBinding,
    /// `batch/v1 Job`.
    Job,
    /// `v1 Pod`: made by the Job controller, deleted by us.
    Pod,
    /// `coordination.k8s.io/v1 Lease`.
    Lease,
}

impl ObjectKind {
    /// Every kind, in a fixed order.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The kinds that are followed as metadata only. Secrets are not followed: who may list
    /// their metadata may list their contents.
    pub const METADATA_ONLY: [Self; 5] = [
        Self::ServiceAccount,
        Self::ResourceQuota,
        Self::LimitRange,
        Self::NetworkPolicy,
        Self::RoleBinding,
    ];

    /// The API group; empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "networking.k8s.io",
            Self::RoleBinding => "rbac.authorization.k8s.io",
            Self::Job => "batch",
            Self::Lease => "coordination.k8s.io",
            _ => "",
        }
    }

    /// The version inside the group.
    pub fn version(self) -> &'static str {
        "v1"
    }

    /// The `apiVersion` field of an object of this kind.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// The name used in paths.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::ServiceAccount => "serviceaccounts",
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
            Self::ResourceQuota => "resourcequotas",
            Self::LimitRange => "limitranges",
            Self::NetworkPolicy => "networkpolicies",
            Self::RoleBinding => "rolebindings",
            Self::Job => "jobs",
            Self::Pod => "pods",
            Self::Lease => "leases",
        }
    }

    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        self != Self::Namespace
    }
}

/// One object by kind and name. It says nothing about whether it exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// The kind.
    pub kind: ObjectKind,
    /// The namespace; empty for a Namespace itself.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// Why a JSON value is not an object we know how to write.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ObjectRefError {
    /// The kind is missing or not one of ours.
    #[error("object of unknown kind {0:?}")]
    UnknownKind(String),
    /// The `apiVersion` does not belong to the kind.
    #[error("{kind} has apiVersion {found:?}, expected {expected:?}")]
    WrongVersion {
        /// The kind.
        kind: ObjectKind,
        /// What the object says.
        found: String,
        /// What the kind has.
        expected: String,
    },
    /// The object has no name, or no namespace where it needs one.
    #[error("{kind} lacks metadata.{field}")]
    Missing {
        /// The kind.
        kind: ObjectKind,
        /// The field that is not there.
        field: &'static str,
    },
}

impl ObjectRef {
    /// A reference to an object in a namespace.
    pub fn namespaced(
        kind: ObjectKind,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// A reference to a namespace.
    pub fn namespace(name: impl Into<String>) -> Self {
        Self {
            kind: ObjectKind::Namespace,
            namespace: String::new(),
            name: name.into(),
        }
    }

    /// Reads the reference out of a whole object.
    pub fn of(object: &serde_json::Value) -> Result<Self, ObjectRefError> {
        let text = |pointer: &str| object.pointer(pointer).and_then(serde_json::Value::as_str);
        let kind_name = text("/kind").unwrap_or_default();
        let kind: ObjectKind = kind_name
            .parse()
            .map_err(|_| ObjectRefError::UnknownKind(kind_name.to_owned()))?;
        let found = text("/apiVersion").unwrap_or_default();
        let expected = kind.api_version();
        if found != expected {
            return Err(ObjectRefError::WrongVersion {
                kind,
                found: found.to_owned(),
                expected,
            });
        }
        let name = text("/metadata/name").filter(|name| !name.is_empty());
        let name = name.ok_or(ObjectRefError::Missing {
            kind,
            field: "name",
        })?;
        if !kind.is_namespaced() {
            return Ok(Self {
                kind,
                namespace: String::new(),
                name: name.to_owned(),
            });
        }
        let namespace = text("/metadata/namespace").filter(|namespace| !namespace.is_empty());
        let namespace = namespace.ok_or(ObjectRefError::Missing {
            kind,
            field: "namespace",
        })?;
        Ok(Self::namespaced(kind, namespace, name))
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reference_is_read_out_of_a_whole_object() {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "agent-1", "namespace": "ns"}});
        let reference = ObjectRef::of(&job).unwrap();
        assert_eq!(
            reference,
            ObjectRef::namespaced(ObjectKind::Job, "ns", "agent-1")
        );
        assert_eq!(reference.to_string(), "Job ns/agent-1");
    }

    #[test]
    fn a_foreign_kind_version_or_missing_name_is_refused() {
        let foreign = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
        assert_eq!(
            ObjectRef::of(&foreign),
            Err(ObjectRefError::UnknownKind("Node".into()))
        );
        let beta = json!({"apiVersion": "batch/v1beta1", "kind": "Job", "metadata": {}});
        assert!(matches!(
            ObjectRef::of(&beta),
            Err(ObjectRefError::WrongVersion { .. })
        ));
        let nameless = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
        let missing = ObjectRefError::Missing {
            kind: ObjectKind::Secret,
            field: "namespace",
        };
        assert_eq!(ObjectRef::of(&nameless), Err(missing));
    }
}
