//! What a launch fixed, written down where the workload stands: from this and the
//! live trigger the row of a run is rebuilt after its database was lost.

use serde::{Deserialize, Serialize};

use super::{
    ids::{BranchName, IssueNumber, LabelName, SlotNo},
    run::{FrozenRun, Run},
    trigger::TriggerKind,
};

/// The most that is written down; an object's annotations may have 256 KiB in all.
const MAX_BYTES: usize = 200 * 1024;

/// A launch as it is written down. It never holds a secret: nothing in a [`FrozenRun`] does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaunchRecord {
    /// The issue or pull request that carries the trigger.
    pub number: IssueNumber,
    /// The work item.
    pub work_item: IssueNumber,
    /// What the run does.
    pub kind: TriggerKind,
    /// The trigger label's name.
    pub label: Option<LabelName>,
    /// The branch.
    pub branch: BranchName,
    /// The slot.
    pub slot: SlotNo,
    /// Everything fixed at launch.
    pub frozen: FrozenRun,
}

impl LaunchRecord {
    /// The record of a launched run.
    pub fn of(run: &Run) -> Option<Self> {
        Some(Self {
            number: run.number,
            work_item: run.work_item,
            kind: run.kind.clone(),
            label: run.label.clone(),
            branch: run.branch.clone()?,
            slot: run.slot?,
            frozen: run.frozen.clone()?,
        })
    }

    /// The record as text; `None` where it is too long to be kept. A run without one is
    /// launched anew beside its workload, from what config and issue say then.
    ///
    /// # Panics
    ///
    /// Never: a record is plain data, which always serialises.
    pub fn to_text(&self) -> Option<String> {
        let text = serde_json::to_string(self).expect("a launch record is plain data");
        (text.len() <= MAX_BYTES).then_some(text)
    }

    /// Reads a record; `None` for anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}
