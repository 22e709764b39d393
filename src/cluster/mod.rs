//! The cluster port, the pure object builders and the Kubernetes adapter.
//!
//! The port says what the platform needs of a cluster: apply an object, delete
//! one by uid, list what carries our installation label, follow it, read logs.
//! It makes no choices: names, contents and preconditions come from the plan.
//!
//! Invariants:
//! - an object without our installation label is never changed or deleted;
//! - every deletion names the uid it means;
//! - Secrets are only ever seen as metadata;
//! - a request that changes something is sent only while the [`WriteGate`] is
//!   open, asked right before sending.

mod error;
mod gate;
mod kind;
pub mod kube;
pub mod labels;
pub mod manifests;
mod port;
pub mod snapshot;

pub use self::error::{ClusterError, ErrorClass};
pub use self::gate::{NotSent, OpenGate, WriteGate};
pub use self::kind::{ObjectKind, ObjectRef, ObjectRefError};
pub use self::port::{
    AppliedObject, Cluster, ClusterCache, DeleteTarget, Deleted, LeaseRecord, LogRequest,
    ObjectMeta, Propagation,
};
