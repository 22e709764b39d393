//! What a launch fixed, written down where the workload stands: from this and the
//! live trigger the row of a run is rebuilt after its database was lost.

use std::borrow::Cow;

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
pub struct LaunchRecord<'a> {
    /// The issue or pull request that carries the trigger.
    pub number: IssueNumber,
    /// The work item.
    pub work_item: IssueNumber,
    /// What the run does.
    pub kind: Cow<'a, TriggerKind>,
    /// The trigger label's name.
    pub label: Option<Cow<'a, LabelName>>,
    /// The branch.
    pub branch: Cow<'a, BranchName>,
    /// The slot.
    pub slot: SlotNo,
    /// Everything fixed at launch.
    pub frozen: Cow<'a, FrozenRun>,
}

impl<'a> LaunchRecord<'a> {
    /// The record of a launched run.
    pub fn of(run: &'a Run) -> Option<Self> {
        Some(Self {
            number: run.number,
            work_item: run.work_item,
            kind: Cow::Borrowed(&run.kind),
            label: run.label.as_ref().map(Cow::Borrowed),
            branch: Cow::Borrowed(run.branch.as_ref()?),
            slot: run.slot?,
            frozen: Cow::Borrowed(run.frozen.as_ref()?),
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
    pub fn from_text(text: &str) -> Option<LaunchRecord<'static>> {
        serde_json::from_str(text).ok()
    }
}
