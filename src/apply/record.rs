//! Rows: actions that change nothing outside Postgres, each one holder transaction.

use super::{ActionError, Outcome, Performing};
use crate::{
    domain::{
        event::NewEvent,
        fact::PushOutcome,
        ids::{AttemptNo, RunId},
        run::{Attempt, AttemptState, Environment, EnvironmentState, RunState},
        trigger::{Disposition, TriggerIdentity},
    },
    plan::{ActionKind, RunChange},
    store::{Change, Edge, HolderTx, RunChanges, Transition},
};

impl Performing<'_> {
    /// Performs an action of the record phase.
    pub(super) async fn record(&self) -> Result<Outcome, ActionError> {
        let mut tx = self.begin().await?;
        self.record_in(&mut tx).await?;
        self.edge(Edge::AfterCall).await;
        tx.commit().await?;
        Ok(Outcome::Done)
    }

    async fn record_in(&self, tx: &mut HolderTx) -> Result<(), ActionError> {
        match &self.action.kind {
            ActionKind::RecordTrigger { trigger, event } => {
                tx.insert_trigger(trigger, event).await?;
            }
            ActionKind::DecideTrigger { .. } => self.decide_trigger(tx).await?,
            ActionKind::SettleTrigger { identity } => {
                tx.mark_trigger_settled(identity).await?;
            }
            ActionKind::EnqueueRun { new, from, event } => {
                tx.insert_run(new, event).await?;
                let to = Disposition::Run { run: new.id };
                tx.set_disposition(&new.trigger, from, &to, None).await?;
            }
            ActionKind::LaunchRun { .. } => self.launch(tx).await?,
            ActionKind::MoveRun {
                from,
                to,
                version,
                change,
                event,
            } => {
                let changes = self.run_changes(change);
                let step = Transition {
                    run: self.run_id()?,
                    from: *from,
                    to: *to,
                    version: *version,
                    changes,
                    event,
                };
                tx.transition_run(&step).await?;
            }
            ActionKind::UpdateRun { version, change } => {
                tx.update_run_fields(self.run_id()?, *version, &self.run_changes(change))
                    .await?;
            }
            ActionKind::StartAttempt { attempt, event } => {
                tx.insert_attempt(attempt, event).await?;
            }
            ActionKind::MoveAttempt {
                number,
                from,
                to,
                reason,
                event,
            } => {
                let attempt = self.attempt(*number, *to, reason.clone())?;
                tx.update_attempt(*from, &attempt, event.as_ref()).await?;
            }
            ActionKind::RecordApproval { .. }
            | ActionKind::MoveApproval { .. }
            | ActionKind::RenewApproval { .. }
            | ActionKind::SettleApproval { .. } => self.record_approval(tx).await?,
            ActionKind::RefusePush {
                fact,
                reason,
                event,
            } => {
                let outcome = PushOutcome::Refused {
                    reason: reason.clone(),
                };
                tx.record_push_outcome(*fact, &outcome).await?;
                tx.insert_event(event).await?;
            }
            ActionKind::FinalizeRun { trigger, event, .. } => {
                finalize(tx, self.run_id()?, trigger, event).await?;
            }
            ActionKind::RetainEnvironment { event } => {
                self.environment(tx, EnvironmentState::Retained, Some(event))
                    .await?;
            }
            ActionKind::NoteEnvironmentGone { event } => {
                self.environment(tx, EnvironmentState::Gone, Some(event))
                    .await?;
            }
            ActionKind::NoteOrphan { event, .. } => self.done(tx, None, false, event).await?,
            _ => {}
        }
        Ok(())
    }

    async fn decide_trigger(&self, tx: &mut HolderTx) -> Result<(), ActionError> {
        let ActionKind::DecideTrigger {
            identity,
            from,
            to,
            withdrawn_by,
            settled,
            event,
        } = &self.action.kind
        else {
            return Ok(());
        };
        if let Some(by) = withdrawn_by {
            tx.mark_trigger_withdrawn(identity, by).await?;
        }
        if from == to {
            tx.insert_event(event).await?;
        } else {
            tx.set_disposition(identity, from, to, Some(event)).await?;
        }
        if *settled {
            tx.mark_trigger_settled(identity).await?;
        }
        Ok(())
    }

    async fn launch(&self, tx: &mut HolderTx) -> Result<(), ActionError> {
        let ActionKind::LaunchRun {
            version,
            frozen,
            branch,
            head,
            slot,
            event,
            ..
        } = &self.action.kind
        else {
            return Ok(());
        };
        let run = self.run_id()?;
        let changes = RunChanges {
            frozen: Some(frozen.as_ref().clone()),
            branch: Some(branch.clone()),
            slot: Some(*slot),
            accepted_head: head.clone(),
            // One that is taken over from a lost database may have been held again meanwhile.
            held: Change::Clear,
            ..RunChanges::default()
        };
        let step = Transition {
            run,
            from: RunState::Pending,
            to: RunState::Preparing,
            version: *version,
            changes,
            event,
        };
        tx.transition_run(&step).await?;
        let environment = Environment {
            run,
            namespace: frozen.namespace.clone(),
            state: EnvironmentState::Active,
            uid: None,
            input_hash: None,
            created_at: self.now,
            retained_at: None,
            deleting_at: None,
        };
        tx.upsert_environment(&environment, None).await?;
        Ok(())
    }

    fn run_changes(&self, change: &RunChange) -> RunChanges {
        let timeout = change
            .timeout_seconds
            .map(|seconds| self.now + chrono::Duration::seconds(seconds));
        RunChanges {
            outcome: change.outcome,
            reason: change.reason.clone(),
            held: match &change.held {
                None => Change::Keep,
                Some(None) => Change::Clear,
                Some(Some(reason)) => Change::Set(reason.clone()),
            },
            accepted_head: change.accepted_head.clone(),
            pull_request: change.pull_request,
            result: change.result.clone(),
            timeout_at: timeout.map_or(Change::Keep, Change::Set),
            ..RunChanges::default()
        }
    }

    /// The run that the action serves.
    pub(super) fn run_id(&self) -> Result<RunId, ActionError> {
        self.action
            .run
            .ok_or_else(|| ActionError::Missing(format!("action {} names no run", self.action.key)))
    }

    /// An attempt's row with what a move changes.
    pub(super) fn attempt(
        &self,
        number: AttemptNo,
        state: AttemptState,
        reason: Option<String>,
    ) -> Result<Attempt, ActionError> {
        Ok(Attempt {
            run: self.run_id()?,
            number,
            state,
            key_version: 0,
            job_uid: None,
            reason,
            created_at: self.now,
            started_at: None,
            ended_at: None,
            heartbeat_at: None,
        })
    }

    /// Moves a run's environment, keeping everything else of its row.
    pub(super) async fn environment(
        &self,
        tx: &mut HolderTx,
        state: EnvironmentState,
        event: Option<&NewEvent>,
    ) -> Result<(), ActionError> {
        let run = self.run_id()?;
        let Some(mut row) = tx.environment_of(run).await? else {
            return Err(ActionError::Missing(format!(
                "run {run} has no environment"
            )));
        };
        row.state = state;
        tx.upsert_environment(&row, event).await?;
        Ok(())
    }
}

async fn finalize(
    tx: &mut HolderTx,
    run: RunId,
    trigger: &TriggerIdentity,
    event: &NewEvent,
) -> Result<(), ActionError> {
    tx.set_finalized(run, event).await?;
    tx.mark_trigger_settled(trigger).await?;
    tx.prune_heartbeats(run).await?;
    Ok(())
}
