//! The effects ledger: journal, outbox and backoff in one row per key.
//!
//! Order: commit the intent → call → commit `done` with its event. An intent
//! without `done` is looked up by its natural key before any retry.

use serde::{Deserialize, Serialize};

use super::{
    Timestamp,
    ids::{RepositoryId, RunId},
};

/// A stable name of one effect, such as `run/<id>/comment/status`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectKey(pub String);

impl EffectKey {
    /// The repository that it is about, where only the plans of that one's project ask for it.
    /// Labels and variables are none of these: what was written lately counts for all.
    pub fn repository(&self) -> Option<RepositoryId> {
        let mut parts = self.0.split('/');
        let id = match parts.next()? {
            "conflict" | "blocked" => parts.next(),
            "trigger" => parts.nth(1),
            "repository" if self.0.ends_with("/owner") => parts.next(),
            _ => None,
        };
        id?.parse().ok().map(RepositoryId)
    }
}

impl std::fmt::Display for EffectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Its key, unique.
    pub key: EffectKey,
    /// The run it serves, if any.
    pub run: Option<RunId>,
    /// The action's kind, such as `upsert_comment`.
    pub kind: String,
    /// Failed calls since it was last done.
    pub attempts: i32,
    /// No call before this time (database clock).
    pub next_at: Option<Timestamp>,
    /// The last error, without secrets.
    pub last_error: Option<String>,
    /// The forge's or cluster's id of what was made, such as a comment id.
    pub external_id: Option<String>,
    /// SHA-256 of the content that was last *done*, hexadecimal.
    pub content_hash: Option<String>,
    /// SHA-256 of the content that was last *intended*.
    pub intended_hash: Option<String>,
    /// When the last call's deadline passes or passed; set with the intent.
    pub attempted_at: Option<Timestamp>,
    /// When it was last done.
    pub done_at: Option<Timestamp>,
}

impl Effect {
    /// Whether exactly this content is done.
    pub fn is_done(&self, content_hash: &str) -> bool {
        self.done_at.is_some() && self.content_hash.as_deref() == Some(content_hash)
    }

    /// When the next call is due, if it has to wait.
    pub fn retry_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.next_at.filter(|next_at| *next_at > now)
    }
}

/// SHA-256 of a content in hexadecimal: the form of every content hash.
pub fn content_hash(content: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(content))
}
