//! Report lines: one for every candidate that a pass looked at, saying why
//! something happens or does not. Stored only when state or reason changes, so a
//! line holds no durations, counters or request ids.

use serde::{Deserialize, Serialize};

use super::ids::{ProjectKey, RunId, Subject};

/// What a pass did or found for a candidate.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::EnumIter,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ReportState {
    /// Something is planned for it in this pass.
    Acting,
    /// It is at work and needs nothing.
    Running,
    /// It is in the queue.
    Queued,
    /// It waits for something that comes by itself.
    Waiting,
    /// It failed before and is tried again later.
    Retrying,
    /// It was refused for good.
    Refused,
    /// It was taken back.
    Withdrawn,
    /// It is over and done with.
    Done,
    /// What is known of it does not suffice to act.
    Unknown,
    /// A rule forbids to go on; people must look.
    Stalled,
}

/// One candidate's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportLine {
    /// The candidate: `trigger/<identity>`, `label/<repository>/<number>/<label>`, `run/<id>`, `environment/<id>`, `repository/<name>`,
    /// `orphan/<namespace>`, `project/<key>`; unique in a report.
    pub candidate: String,
    /// The project, where there is one.
    pub project: Option<ProjectKey>,
    /// The issue or pull request, where there is one.
    pub subject: Option<Subject>,
    /// The run, where there is one.
    pub run: Option<RunId>,
    /// In one word.
    pub state: ReportState,
    /// In one sentence for people, naming what it waits for, is behind of, or was refused for.
    pub reason: String,
}
