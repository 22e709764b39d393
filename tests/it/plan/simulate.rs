//! Applies plans to the world as the apply room does: rows by compare-and-set, the cluster's
//! objects, and the forge, each with its row in the ledger.

use chrono::Duration;
use codex_k8s::{
    cluster::{
        ObjectKind,
        manifests::{AttemptSpec, RunEnvironment, environment_objects, references},
        snapshot::{
            JobOutcome, JobRow, NamespacePhase, NamespaceRow, ObjectRow, Owner, PodPhase, PodRow,
            RunMark,
        },
    },
    domain::{
        effect::Effect,
        event::NewEvent,
        fact::{PushFact, PushOutcome},
        forge::{Comment, Issue, IssueEventKind, PullRequest, SubjectState},
        ids::{
            AttemptNo, BranchName, CommentId, IssueNumber, LabelName, RepositoryId, RunId, Subject,
        },
        mirror::{BranchHead, OwnerVariable},
        run::{AttemptState, Environment, EnvironmentState, Outcome, RunState},
        snapshot::{PushOutcomeRow, RepositoryLabel, SlotRow},
        trigger::{Disposition, TriggerIdentity},
    },
    plan::{Action, ActionKind, CommentContent, Phase, Plan, PullRequestContent, RunChange},
};

use super::world::{World, actor};

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
                if matches!(to, AttemptState::Reported | AttemptState::Lost) {
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

/// The cluster.
impl World {
    fn apply_environment(&mut self, environment: &RunEnvironment, input_hash: &str) -> String {
        let owner = Owner {
            run: Some(environment.identity.run),
            attempt: None,
        };
        let name = &environment.namespace;
        let known = self
            .cluster
            .namespaces
            .iter()
            .position(|row| row.name == *name);
        let at = known.unwrap_or_else(|| {
            let uid = format!("namespace-{}", self.next_id());
            self.cluster.namespaces.push(NamespaceRow {
                name: name.clone(),
                uid,
                resource_version: "1".to_owned(),
                phase: NamespacePhase::Active,
                deletion_timestamp: None,
                owner: owner.clone(),
                mark: RunMark {
                    trigger: Some(environment.identity.trigger.clone()),
                    launch: environment.launch.clone(),
                    ..RunMark::default()
                },
                input_hash: None,
            });
            self.cluster.namespaces.len() - 1
        });
        self.cluster.namespaces[at].input_hash = Some(input_hash.to_owned());
        for reference in references(&environment_objects(environment)).expect("objects") {
            if reference.kind == ObjectKind::Namespace {
                continue;
            }
            let objects = &mut self.cluster.objects;
            if let Some(row) = objects.iter_mut().find(|row| row.reference() == reference) {
                row.input_hash = Some(input_hash.to_owned());
                continue;
            }
            let uid = format!("object-{}", self.next_id());
            self.cluster.objects.push(ObjectRow {
                kind: reference.kind,
                namespace: reference.namespace,
                name: reference.name,
                uid,
                resource_version: "1".to_owned(),
                owner: owner.clone(),
                input_hash: Some(input_hash.to_owned()),
            });
        }
        self.cluster.normalise();
        let mut rows = self.cluster.namespaces.iter();
        rows.find(|row| row.name == *name)
            .expect("just applied")
            .uid
            .clone()
    }

    fn apply_attempt(&mut self, spec: &AttemptSpec) -> String {
        let owner = Owner {
            run: Some(spec.identity.run),
            attempt: Some(spec.attempt),
        };
        let name = format!("attempt-{}", spec.attempt);
        let uid = format!("job-{}", self.next_id());
        self.cluster.jobs.push(JobRow {
            namespace: spec.namespace.clone(),
            name: name.clone(),
            uid: uid.clone(),
            resource_version: "1".to_owned(),
            owner: owner.clone(),
            deletion_timestamp: None,
            active: 1,
            succeeded: 0,
            failed: 0,
            outcome: JobOutcome::Open,
            token_key_version: i32::try_from(spec.token_key_version).ok(),
            input_hash: None,
        });
        let pod = format!("pod-{}", self.next_id());
        self.cluster.pods.push(PodRow {
            namespace: spec.namespace.clone(),
            name: format!("{name}-pod"),
            uid: pod,
            resource_version: "1".to_owned(),
            owner,
            phase: PodPhase::Pending,
            waiting_reason: None,
            terminated: None,
            reason: None,
            node: None,
            deletion_timestamp: None,
            ready: false,
            node_unreachable_since: None,
        });
        self.cluster.normalise();
        uid
    }

    fn delete_object(&mut self, kind: ObjectKind, uid: &str) {
        let now = self.now;
        match kind {
            ObjectKind::Job => {
                let job = self.cluster.jobs.iter().find(|job| job.uid == uid).cloned();
                self.cluster.jobs.retain(|row| row.uid != uid);
                let Some(job) = job else { return };
                let of_job =
                    |pod: &PodRow| pod.namespace == job.namespace && pod.owner == job.owner;
                if self.lingering {
                    let pods = self.cluster.pods.iter_mut().filter(|pod| of_job(pod));
                    for pod in pods {
                        pod.deletion_timestamp.get_or_insert(now);
                    }
                } else {
                    self.cluster.pods.retain(|pod| !of_job(pod));
                }
            }
            ObjectKind::Pod => self.cluster.pods.retain(|pod| pod.uid != uid),
            other => self
                .cluster
                .objects
                .retain(|row| row.kind != other || row.uid != uid),
        }
    }

    fn delete_namespace(&mut self, uid: &str) {
        let now = self.now;
        if let Some(row) = self
            .cluster
            .namespaces
            .iter_mut()
            .find(|row| row.uid == uid)
        {
            row.phase = NamespacePhase::Terminating;
            row.deletion_timestamp = Some(now);
        }
        if !self.stuck {
            self.finish_terminating();
        }
    }

    /// Lets namespaces in Terminating go.
    pub(super) fn finish_terminating(&mut self) {
        let going: Vec<String> = self
            .cluster
            .namespaces
            .iter()
            .filter(|row| row.phase == NamespacePhase::Terminating)
            .map(|row| row.name.clone())
            .collect();
        let stays = |namespace: &String| !going.contains(namespace);
        self.cluster.namespaces.retain(|row| stays(&row.name));
        self.cluster.jobs.retain(|row| stays(&row.namespace));
        self.cluster.pods.retain(|row| stays(&row.namespace));
        self.cluster.objects.retain(|row| stays(&row.namespace));
    }
}

/// The forge.
impl World {
    fn write_forge(&mut self, action: &Action) {
        match &action.kind {
            ActionKind::PushBranch {
                fact, push, event, ..
            } => self.push_branch(action, *fact, push, event),
            ActionKind::OpenPullRequest {
                content,
                subject,
                event,
            } => {
                self.intend(action);
                let number = self.open_pull(content, subject.repository);
                self.done(action, Some(&number.to_string()), event);
            }
            ActionKind::EditPullRequest {
                number,
                content,
                subject,
                event,
            } => {
                let mut pulls = self.rows.pulls.iter_mut();
                let pull = pulls
                    .find(|row| row.repository == subject.repository && row.number == *number)
                    .expect("the pull request is there");
                pull.body.clone_from(&content.body);
                pull.title.clone_from(&content.title);
                self.edit(
                    Subject {
                        number: *number,
                        ..*subject
                    },
                    "platform",
                );
                self.done(action, Some(&number.to_string()), event);
            }
            ActionKind::UpsertComment { content, event } => {
                self.intend(action);
                let id = self.upsert_comment(content);
                self.done(action, Some(&id.to_string()), event);
            }
            ActionKind::AddLabels {
                subject,
                labels,
                event,
                ..
            } => {
                for label in labels {
                    self.put_label(*subject, label, "platform", None);
                }
                self.done(action, None, event);
            }
            ActionKind::RemoveLabel {
                subject,
                label,
                event,
                ..
            } => {
                self.take_label(*subject, label, "platform");
                self.done(action, None, event);
            }
            ActionKind::EnsureLabel {
                repository_id,
                label,
                event,
                ..
            } => {
                self.rows.labels.push(RepositoryLabel {
                    repository: *repository_id,
                    label: label.clone(),
                });
                self.done(action, None, event);
            }
            ActionKind::SetOwnerVariable {
                repository_id,
                event,
                ..
            } => {
                self.repository_mut(*repository_id).owner_variable = OwnerVariable::Ours;
                self.done(action, None, event);
            }
            other => panic!("{} is not written at the forge", other.name()),
        }
    }

    fn push_outcome(&mut self, action: &Action, fact: i64, outcome: PushOutcome) {
        let run = action.run.expect("pushes are of runs");
        if !self.rows.push_outcomes.iter().any(|row| row.fact == fact) {
            self.rows
                .push_outcomes
                .push(PushOutcomeRow { fact, run, outcome });
        }
    }

    fn push_branch(&mut self, action: &Action, fact: i64, push: &PushFact, event: &NewEvent) {
        self.intend(action);
        let id = action.run.expect("pushes are of runs");
        let repository = self.run(id).repository;
        let head = self.head(repository, &push.branch);
        if head != push.old && head.as_ref() != Some(&push.new) {
            let reason = "the branch moved at the forge: fetch first".to_owned();
            self.push_outcome(action, fact, PushOutcome::Refused { reason });
            self.done(action, None, event);
            return;
        }
        self.push_outcome(action, fact, PushOutcome::Accepted);
        self.set_head(repository, &push.branch, &push.new);
        let run = self.run_mut(id);
        run.accepted_head = Some(push.new.clone());
        run.version += 1;
        self.done(action, Some(push.new.as_str()), event);
    }

    pub(super) fn head(
        &self,
        repository: RepositoryId,
        branch: &BranchName,
    ) -> Option<codex_k8s::domain::ids::CommitSha> {
        let mut rows = self.rows.branches.iter();
        let row = rows.find(|row| row.repository == repository && row.branch == *branch);
        row.and_then(|row| row.head.clone())
    }

    fn set_head(
        &mut self,
        repository: RepositoryId,
        branch: &BranchName,
        head: &codex_k8s::domain::ids::CommitSha,
    ) {
        self.rows
            .branches
            .retain(|row| !(row.repository == repository && row.branch == *branch));
        self.rows.branches.push(BranchHead {
            repository,
            branch: branch.clone(),
            head: Some(head.clone()),
            ours: true,
        });
        let pulls = self.rows.pulls.iter_mut();
        let of_branch = |row: &&mut PullRequest| {
            row.repository == repository && row.head == *branch && row.state == SubjectState::Open
        };
        for pull in pulls.filter(of_branch) {
            pull.head_sha = head.clone();
        }
    }

    fn open_pull(&mut self, content: &PullRequestContent, repository: RepositoryId) -> IssueNumber {
        let twin = self.rows.pulls.iter().any(|row| {
            row.repository == repository
                && row.head == content.head
                && row.state == SubjectState::Open
        });
        assert!(!twin, "a second pull request for {}", content.head);
        self.last_number += 1;
        let number = IssueNumber(self.last_number);
        let head_sha = self
            .head(repository, &content.head)
            .expect("the branch was pushed");
        self.open_issue(Subject { repository, number });
        let issue: &mut Issue = self
            .issue_mut(Subject { repository, number })
            .expect("just opened");
        issue.is_pull_request = true;
        issue.title.clone_from(&content.title);
        issue.body.clone_from(&content.body);
        issue.author = Some(actor("platform"));
        self.rows.pulls.push(PullRequest {
            repository,
            number,
            title: content.title.clone(),
            body: content.body.clone(),
            state: SubjectState::Open,
            merged: false,
            author: Some(actor("platform")),
            head: content.head.clone(),
            head_repository: Some(repository),
            head_sha,
            base: content.base.clone(),
            html_url: format!("https://forge.example/pull/{number}"),
            updated_at: self.now,
        });
        number
    }

    fn upsert_comment(&mut self, content: &CommentContent) -> CommentId {
        let now = self.now;
        let subject = content.subject;
        let mut comments = self.rows.comments.iter_mut();
        if let Some(known) = comments.find(|row| {
            row.repository == subject.repository
                && row.number == subject.number
                && row.body.contains(&content.marker)
        }) {
            known.body.clone_from(&content.body);
            known.updated_at = now;
            return known.id;
        }
        assert!(
            content.body.contains(&content.marker),
            "a comment carries its mark"
        );
        let id = CommentId(self.next_id());
        self.rows.comments.push(Comment {
            id,
            repository: subject.repository,
            number: subject.number,
            author: Some(actor("platform")),
            body: content.body.clone(),
            created_at: now,
            updated_at: now,
            place: None,
        });
        id
    }

    /// Puts a label on, with its event.
    pub(super) fn put_label(
        &mut self,
        subject: Subject,
        label: &LabelName,
        by: &str,
        via_app: Option<&str>,
    ) {
        let Some(issue) = self.issue_mut(subject) else {
            return;
        };
        if issue.labels.contains(label) {
            return;
        }
        issue.labels.push(label.clone());
        let label = label.clone();
        self.event(subject, IssueEventKind::Labeled { label }, by, via_app);
    }

    /// Takes a label off, with its event.
    pub(super) fn take_label(&mut self, subject: Subject, label: &LabelName, by: &str) {
        let Some(issue) = self.issue_mut(subject) else {
            return;
        };
        if !issue.labels.contains(label) {
            return;
        }
        issue.labels.retain(|other| other != label);
        let label = label.clone();
        self.event(subject, IssueEventKind::Unlabeled { label }, by, None);
    }
}
