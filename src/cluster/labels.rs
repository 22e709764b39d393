//! The labels and annotations by which the platform knows its own objects. Pure.
//!
//! Labels select, annotations inform: what a label value cannot hold in full
//! (a repository's name, a trigger's identity) stands in an annotation.

/// Who made an object; always [`MANAGED_BY_VALUE`].
pub const MANAGED_BY: &str = "codex-k8s.dev/managed-by";
/// The value of [`MANAGED_BY`].
pub const MANAGED_BY_VALUE: &str = "codex-k8s";
/// The installation that owns an object. Without it nothing is ours.
pub const INSTALLATION: &str = "codex-k8s.dev/installation";
/// The run's id.
pub const RUN_ID: &str = "codex-k8s.dev/run-id";
/// The project's key, shortened to a label value.
pub const PROJECT: &str = "codex-k8s.dev/project";
/// The repository's immutable forge id.
pub const REPOSITORY_ID: &str = "codex-k8s.dev/repository-id";
/// The issue's number.
pub const ISSUE: &str = "codex-k8s.dev/issue";
/// The attempt's number; only on what belongs to one attempt.
pub const ATTEMPT: &str = "codex-k8s.dev/attempt";

/// Annotation: the project's key in full.
pub const PROJECT_KEY: &str = "codex-k8s.dev/project-key";
/// Annotation: `owner/name` as read at launch.
pub const REPOSITORY: &str = "codex-k8s.dev/repository";
/// Annotation: the identity of the trigger that made the run.
pub const TRIGGER: &str = "codex-k8s.dev/trigger";
/// Annotation: the run's correlation id.
pub const CORRELATION_ID: &str = "codex-k8s.dev/correlation-id";
/// Annotation of a run's namespace: what its launch fixed, as JSON.
pub const LAUNCH: &str = "codex-k8s.dev/launch";
/// Label of an attempt's objects: the version of the key its run token was made with.
pub const TOKEN_KEY_VERSION: &str = "codex-k8s.dev/token-key-version";
/// Annotation: the hash of what the object was built from.
pub const INPUT_HASH: &str = "codex-k8s.dev/input-hash";
/// Annotation of the Lease object: the epoch of the copied lease.
pub const LEASE_EPOCH: &str = "codex-k8s.dev/lease-epoch";
/// Annotation of the Lease object: the beat of the copied lease.
pub const LEASE_BEAT: &str = "codex-k8s.dev/lease-beat";

/// The field manager of every server-side apply.
pub const FIELD_MANAGER: &str = "codex-k8s";

/// The selector for everything that belongs to an installation.
pub fn installation_selector(installation: &str) -> String {
    format!("{INSTALLATION}={installation}")
}
