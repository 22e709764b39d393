//! Applies plans to the world as the apply room does: rows by compare-and-set, the cluster's
//! objects, and the forge, each with its row in the ledger.

mod approvals;
mod cluster;
mod forge;

use chrono::Duration;
use codex_k8s::{
    domain::{
        effect::Effect,
        event::NewEvent,
        fact::PushOutcome,
        ids::{AttemptNo, RunId},
        run::{AttemptState, Environment, EnvironmentState, Outcome, RunState},
        snapshot::SlotRow,
        trigger::{Disposition, TriggerIdentity},
    },
    plan::{Action, ActionKind, Phase, Plan, RunChange},
};

use super::world::World;

/// How long after an intent its call may still be under way.
const CALL_SECONDS: i64 = 15;

impl World {
    /// Applies a plan, phase after phase.
    pub(super) fn apply(&mut self, plan: &Plan) {
        let phases = [
            Phase::Record,
            Phase::Stop,
            Phase::Build,
            Phase::Publish,
            Phase::Clean,
        ];
        for phase in phases {
            for action in plan.actions.iter().filter(|action| action.phase() == phase) {
                self.perform(action);
            }
        }
    }

    fn perform(&mut self, action: &Action) {
        if self.failing.contains(&action.kind.name()) {
            self.fail(action);
            return;
        }
        let run = || action.run.expect("the action serves a run");
        match &action.kind {
            kind if kind.is_record() => {
                if let Err(conflict) = self.record(action) {
                    self.conflicts.push(format!("{}: {conflict}", action.key));
                }
            }
            ActionKind::ApplyEnvironment {
                environment,
                input_hash,
                event,
            } => {
                self.intend(action);
                let uid = self.apply_environment(environment, input_hash);
                self.put_environment(run(), &environment.namespace, &uid, input_hash);
                self.done(action, Some(&uid), event);
            }
            ActionKind::ApplyAttempt {
                number,
                spec,
                event,
            } => {
                self.intend(action);
                let uid = self.apply_attempt(spec);
                let attempt = self.attempt_mut(run(), *number);
                attempt.job_uid = Some(uid.clone());
                self.done(action, Some(&uid), event);
            }
            ActionKind::DeleteObject { target, event } => {
                self.delete_object(target.object.kind, &target.uid);
                self.done(action, Some(&target.uid), event);
            }
            ActionKind::DeleteNamespace {
                target,
                orphan,
                event,
            } => {
                self.delete_namespace(&target.uid);
                self.done(action, Some(&target.uid), event);
                if !orphan {
                    self.move_environment(run(), EnvironmentState::Deleting);
                }
            }
            _ => self.write_forge(action),
        }
    }

    fn record(&mut self, action: &Action) -> Result<(), String> {
        match &action.kind {
            ActionKind::RecordTrigger { trigger, event } => {
                let known =
                    |row: &&codex_k8s::domain::trigger::Trigger| row.identity == trigger.identity;
                if self.rows.triggers.iter().find(known).is_none() {
                    self.rows.triggers.push(trigger.as_ref().clone());
                    self.recorded.push(event.clone());
                }
            }
            ActionKind::DecideTrigger {
                identity,
                from,
                to,
                withdrawn_by,
                settled,
                event,
            } => {
                if withdrawn_by.is_some() {
                    self.trigger_mut(identity)
                        .withdrawn_by
                        .clone_from(withdrawn_by);
                }
                self.set_disposition(identity, from, to)?;
                self.trigger_mut(identity).settled |= *settled;
                self.recorded.push(event.clone());
            }
            ActionKind::SettleTrigger { identity } => self.trigger_mut(identity).settled = true,
            ActionKind::EnqueueRun { new, from, event } => {
                if self.rows.runs.iter().any(|run| run.id == new.id) {
                    return Err("the run is there already".to_owned());
                }
                let to = Disposition::Run { run: new.id };
                self.set_disposition(&new.trigger, from, &to)?;
                self.rows.runs.push(new.as_ref().clone());
                self.recorded.push(event.clone());
            }
            ActionKind::LaunchRun { .. } => self.launch(action)?,
            ActionKind::MoveRun {
                from,
                to,
                version,
                change,
                event,
            } => {
                let run = action.run.ok_or("no run")?;
                self.move_run(run, *from, *to, *version)?;
                self.change_run(run, change);
                self.recorded.push(event.clone());
            }
            ActionKind::UpdateRun { version, change } => {
                let run = action.run.ok_or("no run")?;
                if self.run(run).version != *version {
                    return Err("the run has moved on".to_owned());
                }
                self.run_mut(run).version += 1;
                self.change_run(run, change);
            }
            _ => self.record_rest(action)?,
        }
        Ok(())
    }

    fn record_rest(&mut self, action: &Action) -> Result<(), String> {
        match &action.kind {
            ActionKind::StartAttempt { attempt, event } => {
                let twin = |row: &&codex_k8s::domain::run::Attempt| {
                    (row.run, row.number) == (attempt.run, attempt.number)
                };
                if self.rows.attempts.iter().find(twin).is_some() {
                    return Err("the attempt is there already".to_owned());
                }
                self.rows.attempts.push(attempt.clone());
                self.recorded.push(event.clone());
            }
            ActionKind::MoveAttempt {
                number,
                from,
                to,
                reason,
                event,
            } => {
                let now = self.now;
                let attempt = self.attempt_mut(action.run.ok_or("no run")?, *number);
                if attempt.state != *from {
                    return Err("the attempt has moved on".to_owned());
                }
                attempt.state = *to;
                attempt.reason = reason.clone().or(attempt.reason.take());
                attempt.started_at.get_or_insert(now);
                if matches!(
                    to,
                    AttemptState::Reported | AttemptState::Lost | AttemptState::Parked
                ) {
                    attempt.ended_at.get_or_insert(now);
                }
                self.recorded.extend(event.clone());
            }
            ActionKind::RefusePush {
                fact,
                reason,
                event,
            } => {
                let reason = reason.clone();
                self.push_outcome(action, *fact, PushOutcome::Refused { reason });
                self.recorded.push(event.clone());
            }
            ActionKind::FinalizeRun { trigger, event, .. } => {
                let now = self.now;
                let run = self.run_mut(action.run.ok_or("no run")?);
                if run.finalized_at.is_some() || run.finished_at.is_none() {
                    return Err("the run has moved on".to_owned());
                }
                run.finalized_at = Some(now);
                run.version += 1;
                self.trigger_mut(trigger).settled = true;
                self.recorded.push(event.clone());
            }
            ActionKind::RetainEnvironment { event } => {
                self.move_environment(action.run.ok_or("no run")?, EnvironmentState::Retained);
                self.recorded.push(event.clone());
            }
            ActionKind::NoteEnvironmentGone { event } => {
                self.move_environment(action.run.ok_or("no run")?, EnvironmentState::Gone);
                self.recorded.push(event.clone());
            }
            ActionKind::NoteOrphan { event, .. } => self.done(action, None, event),
            ActionKind::RecordApproval { .. }
            | ActionKind::MoveApproval { .. }
            | ActionKind::RenewApproval { .. }
            | ActionKind::SettleApproval { .. } => self.record_approval(action)?,
            other => panic!("{} is no record", other.name()),
        }
        Ok(())
    }

    fn launch(&mut self, action: &Action) -> Result<(), String> {
        let ActionKind::LaunchRun {
            version,
            frozen,
            branch,
            head,
            slot,
            event,
            ..
        } = &action.kind
        else {
            return Ok(());
        };
        let id = action.run.ok_or("no run")?;
        let (project, work) = (self.run(id).project.clone(), self.run(id).work_subject());
        let repository = work.repository;
        let mut active = self.rows.runs.iter().filter(|run| run.state.is_active());
        if active.any(|run| {
            run.work_subject() == work
                || (run.repository == repository && run.branch.as_ref() == Some(branch))
        }) {
            return Err("work item or branch is taken".to_owned());
        }
        if self
            .rows
            .slots
            .iter()
            .any(|row| row.project == project && row.slot == *slot)
        {
            return Err("the slot is taken".to_owned());
        }
        self.move_run(id, RunState::Pending, RunState::Preparing, *version)?;
        let now = self.now;
        let run = self.run_mut(id);
        run.frozen = Some(frozen.as_ref().clone());
        run.branch = Some(branch.clone());
        run.slot = Some(*slot);
        run.accepted_head.clone_from(head);
        self.rows.slots.push(SlotRow {
            project,
            slot: *slot,
            run: id,
            leased_at: now,
        });
        self.rows.environments.push(Environment {
            run: id,
            namespace: frozen.namespace.clone(),
            state: EnvironmentState::Active,
            uid: None,
            input_hash: None,
            created_at: now,
            retained_at: None,
            deleting_at: None,
        });
        self.recorded.push(event.clone());
        Ok(())
    }

    fn move_run(
        &mut self,
        id: RunId,
        from: RunState,
        to: RunState,
        version: i64,
    ) -> Result<(), String> {
        let now = self.now;
        let run = self.run_mut(id);
        if run.state != from || run.version != version || !from.may_become(to) {
            return Err(format!("run {id} may not go from {from} to {to}"));
        }
        run.state = to;
        run.version += 1;
        run.waiting_since = to.waits().then_some(now);
        match to {
            RunState::Preparing => run.preparing_at = Some(now),
            RunState::Running => {
                run.started_at.get_or_insert(now);
            }
            RunState::Stopping => run.stopping_at = Some(now),
            _ => {}
        }
        if to.is_terminal() {
            run.finished_at = Some(now);
            run.slot = None;
            self.rows.slots.retain(|row| row.run != id);
        }
        Ok(())
    }

    fn change_run(&mut self, id: RunId, change: &RunChange) {
        let now = self.now;
        let run = self.run_mut(id);
        run.outcome = change.outcome.or(run.outcome);
        run.reason = change.reason.clone().or(run.reason.take());
        run.pull_request = change.pull_request.or(run.pull_request);
        if change.accepted_head.is_some() {
            run.accepted_head.clone_from(&change.accepted_head);
        }
        run.result = change.result.clone().or(run.result.take());
        if let Some(held) = &change.held {
            run.held.clone_from(held);
        }
        if let Some(seconds) = change.timeout_seconds {
            run.timeout_at = Some(now + Duration::seconds(seconds));
        }
        if run.state == RunState::Stopping {
            assert!(run.outcome.is_some(), "a run stops with an outcome");
        }
        if run.state == RunState::Succeeded {
            assert_eq!(run.outcome, Some(Outcome::Succeeded));
        }
    }

    fn trigger_mut(
        &mut self,
        identity: &TriggerIdentity,
    ) -> &mut codex_k8s::domain::trigger::Trigger {
        let mut rows = self.rows.triggers.iter_mut();
        rows.find(|row| row.identity == *identity)
            .expect("the trigger is there")
    }

    fn set_disposition(
        &mut self,
        identity: &TriggerIdentity,
        from: &Disposition,
        to: &Disposition,
    ) -> Result<(), String> {
        let trigger = self.trigger_mut(identity);
        if std::mem::discriminant(&trigger.disposition) != std::mem::discriminant(from) {
            return Err(format!("trigger {identity} has moved on"));
        }
        trigger.disposition = to.clone();
        Ok(())
    }

    pub(super) fn attempt_mut(
        &mut self,
        run: RunId,
        number: AttemptNo,
    ) -> &mut codex_k8s::domain::run::Attempt {
        let mut rows = self.rows.attempts.iter_mut();
        rows.find(|row| (row.run, row.number) == (run, number))
            .expect("the attempt is there")
    }

    fn move_environment(&mut self, run: RunId, to: EnvironmentState) {
        let now = self.now;
        let mut rows = self.rows.environments.iter_mut();
        let row = rows
            .find(|row| row.run == run)
            .expect("the environment is there");
        row.state = to;
        match to {
            EnvironmentState::Retained => {
                row.retained_at.get_or_insert(now);
            }
            EnvironmentState::Deleting => {
                row.deleting_at.get_or_insert(now);
            }
            EnvironmentState::Active | EnvironmentState::Gone => {}
        }
    }

    fn put_environment(&mut self, run: RunId, namespace: &str, uid: &str, input_hash: &str) {
        let mut rows = self.rows.environments.iter_mut();
        let row = rows
            .find(|row| row.run == run)
            .expect("a launch made the row");
        assert_eq!(row.namespace, namespace);
        row.state = EnvironmentState::Active;
        row.uid = Some(uid.to_owned());
        row.input_hash = Some(input_hash.to_owned());
    }

    fn effect_mut(&mut self, action: &Action) -> &mut Effect {
        let at = self
            .rows
            .effects
            .iter()
            .position(|row| row.key == action.key);
        let at = at.unwrap_or_else(|| {
            self.rows.effects.push(Effect {
                key: action.key.clone(),
                run: action.run,
                kind: action.kind.name().to_string(),
                attempts: 0,
                next_at: None,
                last_error: None,
                external_id: None,
                content_hash: None,
                intended_hash: None,
                attempted_at: None,
                done_at: None,
            });
            self.rows.effects.len() - 1
        });
        &mut self.rows.effects[at]
    }

    fn intend(&mut self, action: &Action) {
        let deadline = self.now + Duration::seconds(CALL_SECONDS);
        let effect = self.effect_mut(action);
        effect.intended_hash = Some(action.content_hash());
        effect.attempted_at = Some(deadline);
    }

    fn done(&mut self, action: &Action, external_id: Option<&str>, event: &NewEvent) {
        if self.losing.contains(&action.kind.name()) {
            self.fail(action);
            return;
        }
        let now = self.now;
        let hash = action.content_hash();
        let effect = self.effect_mut(action);
        effect.attempts = 0;
        effect.next_at = None;
        effect.last_error = None;
        effect.content_hash = Some(hash.clone());
        effect.intended_hash = Some(hash.clone());
        effect.external_id = external_id.map(str::to_owned).or(effect.external_id.take());
        effect.done_at = Some(now);
        if self.evented.insert((action.key.0.clone(), hash)) {
            self.recorded.push(event.clone());
        }
    }

    fn fail(&mut self, action: &Action) {
        let now = self.now;
        let effect = self.effect_mut(action);
        effect.next_at = Some(now + Duration::seconds(1 << effect.attempts.min(8)));
        effect.attempts += 1;
        effect.last_error = Some("it was told to fail".to_owned());
    }
}
