//! The message catalogue: every text that people read at the forge, per locale.
//!
//! Input structs in, Markdown out; the planner renders with it and actions
//! carry the text, so nothing here depends on a clock and no text changes
//! while its subject does not (times are moments, never "5 minutes ago").
//! Which refusal is answered at all is decided by [`is_answered`].
//!
//! Invariants: every word has a text in every locale (an exhaustive `match`
//! and a test); words of agents and of people at the forge go through
//! [`neutralise`], so that they mention nobody, close nothing and carry no
//! mark; a body ends with its mark from [`marker`](super::marker).

mod answers;
mod approval;
mod asked;
mod catalogue;
mod learning;
mod neutral;
mod pull_request;
mod reasons;
mod rules;
mod status;
mod tools;
mod trigger;
mod words;

#[cfg(test)]
mod tests;

pub use answers::answers_block;
pub use approval::{approval_comment, approval_comment_key};
pub use asked::asked_block;
pub use learning::{learning_block, learning_comment, learning_comment_key};
pub use neutral::{neutralise, one_line, without_marks};
pub use pull_request::{PullRequestBody, pull_request_body, pull_request_title};
pub use reasons::{is_known_reason, reason_for};
pub use rules::rules_block;
pub use status::{
    Leaves, Phase, StatusComment, StopCause, TimelineEntry, TimelineStep, status_comment,
    status_comment_key,
};
pub use tools::tools_block;
pub use trigger::{
    BlockedComment, ConflictComment, ConflictState, Obstacle, RefusalComment, blocked_comment,
    blocked_comment_key, conflict_comment, conflict_comment_key, is_answered, refusal_comment,
    refusal_comment_key,
};

use super::ids::Locale;

/// A language that the catalogue speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter)]
pub(super) enum Language {
    English,
    Russian,
}

impl Language {
    /// The language of a locale such as `ru` or `ru-RU`; English for all that are not spoken.
    fn of(locale: &Locale) -> Self {
        let tag = locale.as_str().to_ascii_lowercase();
        match tag.split(['-', '_']).next() {
            Some("ru") => Self::Russian,
            _ => Self::English,
        }
    }
}
