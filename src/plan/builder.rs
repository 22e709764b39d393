//! The plan being made: idempotent `ensure`, backoff, and the finished value.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{
    action::{Action, ActionKind},
    index::Index,
    input::{PlanInput, Scope},
};
use crate::domain::{
    Timestamp,
    effect::EffectKey,
    ids::{RepositoryId, RepositoryName, Revision, RunId, SlotNo, Subject},
    report::{ReportLine, ReportState},
    run::{FrozenRun, Run, RunState},
};

/// A finished plan: an immutable value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What it is about.
    pub scope: Scope,
    /// The config revision it was made under.
    pub revision: Option<Revision>,
    /// What is to be done, by phase and key.
    pub actions: Vec<Action>,
    /// One line for every candidate, by candidate.
    pub report: Vec<ReportLine>,
}

impl Plan {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for action in &self.actions {
            writeln!(
                f,
                "{:<8} {:<20} {}",
                action.phase(),
                action.kind.name(),
                action.key
            )?;
        }
        for line in &self.report {
            writeln!(f, "{:<10} {}: {}", line.state, line.candidate, line.reason)?;
        }
        Ok(())
    }
}

/// What `ensure` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ensure {
    /// The action is in the plan.
    Added,
    /// It waits for its own backoff; the time is in the report.
    Backoff(Timestamp),
    /// Nothing may be planned for the run yet; why is in the report.
    Held,
    /// Exactly this was done before.
    NotNeeded,
}

/// Collects actions and report lines.
pub(super) struct PlanBuilder<'a> {
    input: &'a PlanInput,
    index: &'a Index<'a>,
    actions: BTreeMap<EffectKey, Action>,
    /// In the order in which they were written.
    report: Vec<ReportLine>,
    touched: BTreeSet<RunId>,
    /// Runs that something is planned for.
    acting: BTreeSet<RunId>,
    /// Runs that this plan begins to stop.
    stopping: BTreeSet<RunId>,
    /// Runs for which nothing may be planned yet, and why.
    unread: BTreeMap<RunId, String>,
}

impl<'a> PlanBuilder<'a> {
    pub(super) fn new(input: &'a PlanInput, index: &'a Index<'a>) -> Self {
        Self {
            input,
            index,
            actions: BTreeMap::new(),
            report: Vec::new(),
            touched: BTreeSet::new(),
            acting: BTreeSet::new(),
            stopping: BTreeSet::new(),
            unread: index
                .runs
                .values()
                .filter_map(|run| Some((run.id, index.unread(run.repository)?)))
                .collect(),
        }
    }

    /// Plans an action unless its key waits for its backoff, or the run's repository is not
    /// read whole: then the rows may be a restored database's, and lag behind the world.
    pub(super) fn ensure(
        &mut self,
        key: impl Into<String>,
        run: Option<RunId>,
        kind: ActionKind,
    ) -> Ensure {
        let key = EffectKey(key.into());
        if run.is_some_and(|run| self.unread.contains_key(&run)) {
            return Ensure::Held;
        }
        let now = self.input.now;
        if let Some(at) = self
            .index
            .effect(&key.0)
            .and_then(|effect| effect.retry_at(now))
        {
            return Ensure::Backoff(at);
        }
        if let Some(run) = run {
            self.acting.insert(run);
            if changes_run(&kind) {
                self.touched.insert(run);
            }
            if begins_to_stop(&kind) {
                self.stopping.insert(run);
            }
        }
        self.actions.insert(key.clone(), Action { key, run, kind });
        Ensure::Added
    }

    /// Plans a one-time effect: not again once exactly this content is done.
    pub(super) fn ensure_once(
        &mut self,
        key: impl Into<String>,
        run: Option<RunId>,
        kind: ActionKind,
    ) -> Ensure {
        let action = Action {
            key: EffectKey(key.into()),
            run,
            kind,
        };
        let effect = self.index.effect(&action.key.0);
        if effect.is_some_and(|effect| effect.is_done(&action.content_hash())) {
            return Ensure::NotNeeded;
        }
        self.ensure(action.key.0, run, action.kind)
    }

    /// Plans an effect that is done once and for all under its key, whatever its content.
    pub(super) fn ensure_ever(
        &mut self,
        key: impl Into<String>,
        run: Option<RunId>,
        kind: ActionKind,
    ) -> Ensure {
        let key = EffectKey(key.into());
        if self
            .index
            .effect(&key.0)
            .is_some_and(|effect| effect.done_at.is_some())
        {
            return Ensure::NotNeeded;
        }
        self.ensure(key.0, run, kind)
    }

    /// Whether an action of this plan already changes the run's row.
    pub(super) fn touches(&self, run: &RunId) -> bool {
        self.touched.contains(run)
    }

    /// Whether this plan begins to stop the run.
    pub(super) fn stops(&self, run: &RunId) -> bool {
        self.stopping.contains(run)
    }

    /// Launches in this plan: the slot and what is frozen.
    pub(super) fn launches(&self) -> impl Iterator<Item = (SlotNo, &FrozenRun)> {
        self.actions
            .values()
            .filter_map(|action| match &action.kind {
                ActionKind::LaunchRun { slot, frozen, .. } => Some((*slot, frozen.as_ref())),
                _ => None,
            })
    }

    /// Runs that enter the queue in this plan.
    pub(super) fn enqueued(&self) -> impl Iterator<Item = &Run> {
        self.actions
            .values()
            .filter_map(|action| match &action.kind {
                ActionKind::EnqueueRun { new, .. } => Some(new.as_ref()),
                _ => None,
            })
    }

    /// Whether anything is planned for a run.
    pub(super) fn acts_on(&self, run: &RunId) -> bool {
        self.acting.contains(run)
    }

    /// A bound repository's present name.
    pub(super) fn repository_name(&self, id: RepositoryId) -> Option<RepositoryName> {
        let row = self.index.repositories.get(&id)?;
        Some(row.record.name.clone())
    }

    /// What a run's repository is called by now; the name at its launch where it is bound no more.
    pub(super) fn repository_of(&self, run: &Run) -> Option<RepositoryName> {
        let frozen = run.frozen.as_ref();
        self.repository_name(run.repository)
            .or_else(|| frozen.map(|frozen| frozen.repository_name.clone()))
    }

    /// Writes a candidate's line; a later step's word replaces an earlier one's.
    pub(super) fn report(&mut self, line: ReportLine) {
        self.report.push(line);
    }

    /// Writes a run's line.
    pub(super) fn report_run(&mut self, run: &Run, state: ReportState, reason: impl Into<String>) {
        self.report(ReportLine {
            candidate: format!("run/{}", run.id),
            project: Some(run.project.clone()),
            subject: Some(run.subject()),
            run: Some(run.id),
            state,
            reason: reason.into(),
        });
    }

    /// Writes a line for what `ensure` found: acting, or when it is tried again.
    pub(super) fn report_effect(&mut self, run: &Run, found: Ensure, doing: &str) {
        match found {
            Ensure::Added => self.report_run(run, ReportState::Acting, doing),
            Ensure::Backoff(at) => self.report_run(
                run,
                ReportState::Retrying,
                format!(
                    "{doing}: failed before, retried at {}",
                    at.format("%Y-%m-%dT%H:%M:%SZ")
                ),
            ),
            Ensure::Held => {
                let reason = self.unread.get(&run.id).cloned().unwrap_or_default();
                self.report_run(run, ReportState::Unknown, reason);
            }
            Ensure::NotNeeded => {}
        }
    }

    /// Writes a line of any other candidate.
    pub(super) fn report_other(
        &mut self,
        candidate: impl Into<String>,
        subject: Option<Subject>,
        state: ReportState,
        reason: impl Into<String>,
    ) {
        let project = match &self.input.scope {
            Scope::Project { project } => Some(project.clone()),
            Scope::Orphans => None,
        };
        self.report(ReportLine {
            candidate: candidate.into(),
            project,
            subject,
            run: None,
            state,
            reason: reason.into(),
        });
    }

    /// Orders everything.
    pub(super) fn finish(self) -> Plan {
        let mut actions: Vec<_> = self.actions.into_values().collect();
        actions.sort_by(|a, b| (a.phase(), &a.key).cmp(&(b.phase(), &b.key)));
        let mut report = self.report;
        // The last word on each candidate comes first, and stays.
        report.reverse();
        report.sort_by(|a, b| a.candidate.cmp(&b.candidate));
        report.dedup_by(|a, b| a.candidate == b.candidate);
        Plan {
            scope: self.input.scope.clone(),
            revision: self
                .input
                .desired
                .as_ref()
                .and_then(|desired| desired.revision),
            actions,
            report,
        }
    }
}

fn begins_to_stop(kind: &ActionKind) -> bool {
    matches!(
        kind,
        ActionKind::MoveRun {
            to: RunState::Stopping,
            ..
        }
    )
}

fn changes_run(kind: &ActionKind) -> bool {
    matches!(
        kind,
        ActionKind::LaunchRun { .. }
            | ActionKind::MoveRun { .. }
            | ActionKind::UpdateRun { .. }
            | ActionKind::FinalizeRun { .. }
    )
}
