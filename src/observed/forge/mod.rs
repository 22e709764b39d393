//! The forge observer: polls bound repositories into the mirror.
//!
//! ```text
//!  detect (batched) ─► moved? ─► issues, events, labels, pulls ─┐
//!  hot set ─────────► differs? ─► events, reviews, comments ────┼─► one batch = one transaction
//!  first sight ─────► pin id, highest event and review ids ─────┘
//! ```
//!
//! It writes nothing but the mirror and concludes nothing: whether a label is a
//! trigger is the planner's question. A failed or partial read moves nothing
//! and leaves a reason. One broken repository slows or stops no other.

pub mod batch;
pub mod report;

pub use batch::{Conversation, MirrorBatch, MirrorError, MirrorStore};
pub use report::{
    PollReport, PollRequest, PollSettings, RepositoryBinding, RepositoryOutcome, RepositoryReport,
};
