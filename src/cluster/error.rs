//! What can go wrong with a cluster, sorted by what the caller does about it.
//!
//! It holds no retry: the caller's next pass is the retry.

use std::error::Error as StdError;
use std::fmt;

use super::gate::NotSent;

/// What a failure means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ErrorClass {
    /// Network, time-out, 429 or 5xx: it may work later. Whether a changing
    /// request took effect is unknown.
    Transient,
    /// The object, or the namespace it lives in, does not exist.
    NotFound,
    /// The object is not what the request expected: another uid or version,
    /// a field owned by someone else, or a namespace that is being deleted.
    Conflict,
    /// The object exists and does not carry our installation label.
    NotOurs,
    /// The server forbids it: RBAC or an admission policy.
    Forbidden,
    /// The server refuses the object itself.
    Invalid,
    /// A quota of the namespace is used up.
    QuotaExceeded,
    /// The version to continue from is too old: start from a new list.
    Gone,
    /// The credentials were refused.
    Unauthorized,
    /// The write gate was closed: nothing was sent.
    NotSent,
}

impl ErrorClass {
    /// The stable name, for metrics and reports.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether a changing request that failed so may have taken effect.
    pub fn outcome_unknown(self) -> bool {
        self == Self::Transient
    }
}

/// A failed call to the cluster: what was tried on what, and why it failed.
#[derive(Debug)]
pub struct ClusterError {
    /// What the caller does about it.
    pub class: ErrorClass,
    /// The call: "apply", "delete", "list".
    pub verb: &'static str,
    /// What it was about: "Job codex-issue-shop-i7-r0123/agent-1".
    pub object: String,
    /// The server's or the transport's words.
    pub message: String,
    /// What lies beneath, where something does.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ClusterError {
    /// A failure without a cause of its own beneath.
    pub fn new(
        class: ErrorClass,
        verb: &'static str,
        object: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self {
            class,
            verb,
            object: object.to_string(),
            message: message.into(),
            source: None,
        }
    }

    /// The failure of a request that the gate held back.
    pub fn not_sent(verb: &'static str, object: impl fmt::Display, why: &NotSent) -> Self {
        Self::new(ErrorClass::NotSent, verb, object, why.reason.clone())
    }
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            class,
            verb,
            object,
            message,
            ..
        } = self;
        write!(f, "{verb} {object}: {message} ({})", class.as_str())
    }
}

impl StdError for ClusterError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
