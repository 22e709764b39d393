//! From a run to its Kubernetes objects. Pure: same input, same bytes.
//!
//! ```text
//! RunEnvironment ─ environment_objects ─► Namespace, ServiceAccount, quota,
//!                                         limits, network policies, binding
//! AttemptSpec ──── attempt_job ─────────► Job
//! AttemptSpec + RunToken ─ attempt_secret ► Secret
//! ```
//!
//! It decides no policy: what an environment may do comes in as data. It reads
//! no secret except the run token that [`attempt_secret`] puts into the one
//! Secret; a plan holds the [`AttemptSpec`], apply resolves the token.
//!
//! Invariants: every object carries the owner labels and the input hash; the
//! Job satisfies Pod Security `restricted`; a secret value stands nowhere but
//! in the Secret's data.

mod attempt;
mod cidr;
mod environment;
mod hash;
mod input;
mod metadata;
mod names;
mod network;

#[cfg(test)]
mod tests;

use serde_json::Value;

pub use self::attempt::{TOKEN_FILE, WORK_DIR, attempt_job, attempt_secret};
pub use self::cidr::{Cidr, CidrError};
pub use self::environment::{environment_inventory, environment_objects};
pub use self::hash::input_hash;
pub use self::input::{
    AttemptSpec, CaBundle, ContainerLimits, DnsTarget, Egress, EgressRule, ImagePullPolicy,
    NetworkTarget, PodSecurityLevel, Port, Protocol, Quota, Resources, RunEnvironment, RunIdentity,
    RunToken,
};
pub use self::names::{attempt_name, binding_name, is_dns_label, label_value, namespace_name};

use super::kind::{ObjectRef, ObjectRefError};

/// The references of a list of whole objects, in their order.
pub fn references(objects: &[Value]) -> Result<Vec<ObjectRef>, ObjectRefError> {
    objects.iter().map(ObjectRef::of).collect()
}

/// Turns a typed object into the JSON that is applied.
fn to_value(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).expect("Kubernetes types serialise to JSON with string keys")
}
