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
//!
//! The forge shows what it accepted a little late, and labels, events and lists
//! each at their own time. Therefore a repository that moved is read every
//! period until the visibility time has passed without another move.

pub mod batch;
mod binding;
pub mod hints;
mod hot;
mod memory;
pub mod mirror;
pub mod observer;
mod reader;
pub mod report;

pub use batch::{Conversation, MirrorBatch, MirrorError, MirrorStore};
pub use hints::Hints;
pub use mirror::StoreMirror;
pub use observer::ForgeObserver;
pub use report::{
    PollReport, PollRequest, PollSettings, RepositoryBinding, RepositoryOutcome, RepositoryReport,
};
