//! The forge observer: polls bound repositories into the mirror.
//!
//! ```text
//!  detect (batched) ─► moved? ─┐
//!  hot set, sweep ─────────────┴► ahead (batched): subjects, conversations, heads ─┐
//!                                  newest event unknown? ─► events ────────────────┼─► one batch =
//!  first sight ─► pin id, highest event and review ids, whole lists ───────────────┘   one transaction
//! ```
//!
//! What many repositories need is read for all of them together (`ahead`); a repository by
//! itself costs a request only where one of its subjects has a label or state event that was
//! not read yet. The first read, and a forge without such reads, go list by list (`reader`).
//!
//! It writes nothing but the mirror and concludes nothing: whether a label is a
//! trigger is the planner's question. A failed or partial read moves nothing
//! and leaves a reason. One broken repository slows or stops no other.
//!
//! The forge shows what it accepted a little late, and labels, events and lists
//! each at their own time. Therefore a repository that moved is read every
//! period until the visibility time has passed without another move.

mod ahead;
pub mod batch;
mod binding;
pub mod forecast;
pub mod hints;
mod hot;
mod light;
mod memory;
pub mod mirror;
pub mod observer;
mod parts;
mod reader;
pub mod report;
mod variables;

pub use batch::{Conversation, MirrorBatch, MirrorError, MirrorStore};
pub use hints::Hints;
pub use mirror::StoreMirror;
pub use observer::ForgeObserver;
pub use report::{
    PollReport, PollRequest, PollSettings, RepositoryBinding, RepositoryOutcome, RepositoryReport,
};
