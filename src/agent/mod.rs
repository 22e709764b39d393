//! The runner inside the pod; speaks only the run API.
//!
//! ```text
//!  facts ─► workspace ─► session ─► command ─► commit ─► push ─► save ─► flush ─► result
//!                                      │ stop, silence, signal
//!                                      └► end it ─► save ─► flush ─► (notice) ─► exit
//! ```
//!
//! [`machine`] decides, purely, one event at a time; `executor` performs and
//! reports back. Killed at any point and started again with the same run and
//! attempt it goes on where it was: what it finished stands in its work folder,
//! what it handed in stands at the run API, and a commit or push that is there
//! already is not made again.
//!
//! It holds no credential but the run token, which no child but `git` is given.
//!
//! # Exit codes
//!
//! | code | meaning |
//! |---|---|
//! | 0 | the result is handed in, now or before |
//! | 3 | stopped by order of the platform |
//! | 4 | ended itself: no heartbeat was accepted for too long |
//! | 5 | workspace, session or repository failed |
//! | 6 | the platform does not take this attempt (any more) |
//! | 143 | ended by a signal |

mod client;
mod command;
mod executor;
mod heard;
pub mod machine;
mod output;
mod places;
pub mod report;
pub mod session;
mod workspace;

pub use executor::{AgentSettings, run};
