//! Runs: inserted as pending, then moved along the transition table by
//! compare-and-set on (id, state, version), each step with its event and its
//! slot in one transaction.

use sqlx::types::Json;

use super::{
    HolderTx, StoreError,
    enums::{PgForge, PgOutcome, PgRunState, PgTriggerSource},
    events,
};
use crate::domain::{
    Timestamp,
    event::NewEvent,
    fact::ResultRecord,
    ids::{BranchName, CommitSha, IssueNumber, LabelName, RunId, SlotNo},
    run::{FrozenRun, Outcome, Run, RunState},
};

/// What happens to a field that may be empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Change<T> {
    /// It stays.
    #[default]
    Keep,
    /// It gets this value.
    Set(T),
    /// It becomes empty.
    Clear,
}

impl<T> Change<T> {
    fn is_change(&self) -> bool {
        !matches!(self, Self::Keep)
    }

    fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }
}

/// Fields of a run to change; what is `None` or `Keep` stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunChanges {
    /// How it ends.
    pub outcome: Option<Outcome>,
    /// Why it ends so.
    pub reason: Option<String>,
    /// Why it is held back in the queue.
    pub held: Change<String>,
    /// Its place in the queue.
    pub priority: Option<i32>,
    /// Everything fixed at launch.
    pub frozen: Option<FrozenRun>,
    /// Its branch.
    pub branch: Option<BranchName>,
    /// The slot to lease with this step.
    pub slot: Option<SlotNo>,
    /// The head of its branch that was pushed or accepted last.
    pub accepted_head: Option<CommitSha>,
    /// Its pull request.
    pub pull_request: Option<IssueNumber>,
    /// Its accepted result.
    pub result: Option<ResultRecord>,
    /// When its time is up.
    pub timeout_at: Change<Timestamp>,
}

/// One step along the transition table.
#[derive(Debug, Clone)]
pub struct Transition<'a> {
    /// The run.
    pub run: RunId,
    /// The state that it must be in.
    pub from: RunState,
    /// The state that it goes to.
    pub to: RunState,
    /// The version that its row must have.
    pub version: i64,
    /// What changes with it.
    pub changes: RunChanges,
    /// The step's event.
    pub event: &'a NewEvent,
}

impl HolderTx {
    /// Puts a run into the queue with its event; says whether it was new. Its state must be
    /// `pending`; the same id a second time changes nothing (invariant I3).
    pub async fn insert_run(&mut self, run: &Run, event: &NewEvent) -> Result<bool, StoreError> {
        if run.state != RunState::Pending {
            return Err(StoreError::conflict(format_args!(
                "run {} would begin as {}",
                run.id, run.state
            )));
        }
        let inserted = sqlx::query!(
            "insert into runs
                 (run_id, forge, repository_id, source, source_id, project, number, work_item,
                  stage, revise, label, actor, state, reason, held, priority,
                  created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'pending', $13, $14, $15,
                     $16)
             on conflict (run_id) do nothing",
            run.id.0,
            PgForge::from(run.trigger.forge) as _,
            run.repository.0,
            PgTriggerSource::from(run.trigger.source) as _,
            run.trigger.source_id,
            run.project.as_str(),
            run.number.0,
            run.work_item.0,
            run.kind.stage.as_str(),
            run.kind.revise,
            run.label.as_ref().map(LabelName::as_str),
            run.actor.as_ref().map(Json) as _,
            run.reason,
            run.held,
            run.priority,
            run.created_at,
        )
        .execute(self.db())
        .await?;
        let new = inserted.rows_affected() == 1;
        if new {
            events::insert(self.db(), event).await?;
        }
        Ok(new)
    }

    /// Moves a run one step and records its event; returns the row's new version.
    ///
    /// The times of the step are set here. A slot in the changes is leased with it; the step to
    /// a terminal state releases the slot. [`StoreError::Conflict`] where the table forbids the
    /// step, the row has moved on, or work item, branch or slot is taken (invariant I5).
    pub async fn transition_run(&mut self, step: &Transition<'_>) -> Result<i64, StoreError> {
        if !step.from.may_become(step.to) {
            return Err(StoreError::conflict(format_args!(
                "run {} may not go from {} to {}",
                step.run, step.from, step.to
            )));
        }
        let version = self
            .change_run(
                step.run,
                Some((step.from, step.to)),
                step.version,
                &step.changes,
            )
            .await?;
        if step.to.is_terminal() {
            self.release_slot(step.run).await?;
        }
        events::insert(self.db(), step.event).await?;
        Ok(version)
    }

    /// Changes fields of a run without moving it; returns the row's new version.
    pub async fn update_run_fields(
        &mut self,
        run: RunId,
        version: i64,
        changes: &RunChanges,
    ) -> Result<i64, StoreError> {
        self.change_run(run, None, version, changes).await
    }

    /// Records that a run's finishing chain is through, with its event; says whether that was news.
    pub async fn set_finalized(
        &mut self,
        run: RunId,
        event: &NewEvent,
    ) -> Result<bool, StoreError> {
        let updated = sqlx::query!(
            "update runs set finalized_at = platform_now(), updated_at = platform_now(),
                 version = version + 1
             where run_id = $1 and finalized_at is null and finished_at is not null",
            run.0,
        )
        .execute(self.db())
        .await?;
        let new = updated.rows_affected() == 1;
        if new {
            events::insert(self.db(), event).await?;
        }
        Ok(new)
    }

    async fn change_run(
        &mut self,
        run: RunId,
        step: Option<(RunState, RunState)>,
        version: i64,
        changes: &RunChanges,
    ) -> Result<i64, StoreError> {
        let (from, to) = step.map_or((None, None), |(from, to)| (Some(from), Some(to)));
        let row = sqlx::query!(
            r#"update runs set
                 state = coalesce($4, state),
                 outcome = coalesce($5, outcome),
                 reason = coalesce($6, reason),
                 held = case when $7 then $8 else held end,
                 priority = coalesce($9, priority),
                 frozen = coalesce($10, frozen),
                 branch = coalesce($11, branch),
                 slot = case when $18 then null else coalesce($12, slot) end,
                 accepted_head = coalesce($13, accepted_head),
                 pull_request = coalesce($14, pull_request),
                 result = coalesce($15, result),
                 timeout_at = case when $16 then $17 else timeout_at end,
                 waiting_since = case when $4 in ('waiting_mcp', 'waiting_owner_review')
                         then platform_now()
                     when $4 is not null then null else waiting_since end,
                 preparing_at = case when $4 = 'preparing' then platform_now() else preparing_at end,
                 started_at = case when $4 = 'running' then coalesce(started_at, platform_now())
                     else started_at end,
                 stopping_at = case when $4 = 'stopping' then platform_now() else stopping_at end,
                 finished_at = case when $18 then platform_now() else finished_at end,
                 updated_at = platform_now(),
                 version = version + 1
               where run_id = $1 and version = $2 and state = coalesce($3, state)
                 and ($12::integer is null or slot is null)
               returning version, project"#,
            run.0,
            version,
            from.map(PgRunState::from) as _,
            to.map(PgRunState::from) as _,
            changes.outcome.map(PgOutcome::from) as _,
            changes.reason,
            changes.held.is_change(),
            changes.held.value(),
            changes.priority,
            changes.frozen.as_ref().map(Json) as _,
            changes.branch.as_ref().map(BranchName::as_str),
            changes.slot.map(|slot| slot.0),
            changes.accepted_head.as_ref().map(CommitSha::as_str),
            changes.pull_request.map(|number| number.0),
            changes.result.as_ref().map(Json) as _,
            changes.timeout_at.is_change(),
            changes.timeout_at.value(),
            to.is_some_and(RunState::is_terminal),
        )
        .fetch_optional(self.db())
        .await?
        .ok_or_else(|| StoreError::conflict(format_args!("run {run} has moved on")))?;
        if let Some(slot) = changes.slot {
            self.lease_slot(&row.project, slot, run).await?;
        }
        Ok(row.version)
    }

    async fn lease_slot(
        &mut self,
        project: &str,
        slot: SlotNo,
        run: RunId,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into slots (project, slot, run_id) values ($1, $2, $3)",
            project,
            slot.0,
            run.0,
        )
        .execute(self.db())
        .await?;
        Ok(())
    }

    async fn release_slot(&mut self, run: RunId) -> Result<(), StoreError> {
        sqlx::query!("delete from slots where run_id = $1", run.0)
            .execute(self.db())
            .await?;
        Ok(())
    }
}
