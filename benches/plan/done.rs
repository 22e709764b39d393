//! Taking the planner's actions as done: rows and cluster as they stand when an action has been
//! performed, as far as the next plan looks at them.

use chrono::TimeDelta;
use codex_k8s::{
    cluster::{
        ObjectKind,
        manifests::{RunEnvironment, environment_objects, references},
        snapshot::{
            JobOutcome, JobRow, NamespacePhase, NamespaceRow, ObjectRow, Owner, PodPhase, PodRow,
            RunMark,
        },
    },
    domain::{
        effect::Effect,
        ids::RunId,
        run::{Attempt, AttemptState, Environment, EnvironmentState, Run, RunState},
        snapshot::SlotRow,
    },
    plan::{Action, ActionKind},
};

use super::Made;

impl Made {
    fn run_mut(&mut self, id: RunId) -> &mut Run {
        // Runs are made once and never moved: looked up by where their trigger's event says.
        let at = self.rows.runs.iter().position(|run| run.id == id);
        &mut self.rows.runs[at.expect("the planner acts on runs that are there")]
    }

    /// Takes an action as done, as far as the next plan looks at it.
    pub(super) fn take_as_done(&mut self, action: &Action) {
        let (now, done) = (self.now, self.now - TimeDelta::hours(1));
        match (&action.kind, action.run) {
            (
                ActionKind::LaunchRun {
                    frozen,
                    branch,
                    slot,
                    ..
                },
                Some(id),
            ) => {
                let run = self.run_mut(id);
                run.state = RunState::Running;
                run.frozen = Some(frozen.as_ref().clone());
                run.branch = Some(branch.clone());
                run.slot = Some(*slot);
                run.timeout_at = Some(now + TimeDelta::hours(1));
                (run.preparing_at, run.started_at) = (Some(now), Some(now));
                let project = run.project.clone();
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
                    uid: Some(format!("namespace-{id}")),
                    input_hash: None,
                    created_at: now,
                    retained_at: None,
                    deleting_at: None,
                });
            }
            (
                ActionKind::ApplyEnvironment {
                    environment,
                    input_hash,
                    ..
                },
                Some(id),
            ) => self.apply_environment(id, environment, input_hash),
            (ActionKind::StartAttempt { attempt, .. }, Some(id)) => {
                self.rows.attempts.push(Attempt {
                    state: AttemptState::Running,
                    job_uid: Some(format!("job-{id}")),
                    started_at: Some(now),
                    heartbeat_at: Some(now),
                    ..attempt.clone()
                });
                self.add_workload(id);
            }
            (
                ActionKind::EnsureLabel {
                    repository_id,
                    label,
                    ..
                },
                _,
            ) => {
                let key = (*repository_id, label.name.as_str().to_owned());
                self.labels.insert(key, label.clone());
                // Done long since: by then the store reads its effect no more.
                return;
            }
            (
                ActionKind::SetVariable {
                    repository_id,
                    variable,
                    ..
                },
                _,
            ) => {
                let key = (*repository_id, variable.name.clone());
                self.variables.insert(key, variable.clone());
                return;
            }
            _ => {}
        }
        self.rows.effects.push(Effect {
            key: action.key.clone(),
            run: action.run,
            kind: action.kind.name().to_string(),
            attempts: 0,
            next_at: None,
            last_error: None,
            external_id: None,
            content_hash: Some(action.content_hash()),
            intended_hash: None,
            attempted_at: Some(done),
            done_at: Some(done),
        });
    }

    fn apply_environment(&mut self, run: RunId, environment: &RunEnvironment, hash: &str) {
        let mut rows = self.rows.environments.iter_mut();
        let row = rows.find(|row| row.run == run).expect("a launch made it");
        row.input_hash = Some(hash.to_owned());
        let owner = Owner {
            run: Some(run.0),
            attempt: None,
        };
        self.cluster.namespaces.push(NamespaceRow {
            name: environment.namespace.clone(),
            uid: format!("namespace-{run}"),
            resource_version: "1".to_owned(),
            phase: NamespacePhase::Active,
            deletion_timestamp: None,
            owner: owner.clone(),
            mark: RunMark {
                trigger: Some(environment.identity.trigger.clone()),
                launch: environment.launch.clone(),
                ..RunMark::default()
            },
            input_hash: Some(hash.to_owned()),
        });
        for object in references(&environment_objects(environment)).expect("they are objects") {
            if object.kind == ObjectKind::Namespace {
                continue;
            }
            self.cluster.objects.push(ObjectRow {
                kind: object.kind,
                uid: format!("{}-{run}", object.name),
                namespace: object.namespace,
                name: object.name,
                resource_version: "1".to_owned(),
                owner: owner.clone(),
                input_hash: Some(hash.to_owned()),
            });
        }
    }

    fn add_workload(&mut self, id: RunId) {
        let owner = Owner {
            run: Some(id.0),
            attempt: Some(1),
        };
        let mut rows = self.rows.environments.iter();
        let row = rows.find(|row| row.run == id).expect("a launch made it");
        let (namespace, name) = (row.namespace.clone(), "attempt-1".to_owned());
        self.cluster.jobs.push(JobRow {
            namespace: namespace.clone(),
            name: name.clone(),
            uid: format!("job-{id}"),
            resource_version: "1".to_owned(),
            owner: owner.clone(),
            deletion_timestamp: None,
            active: 1,
            succeeded: 0,
            failed: 0,
            outcome: JobOutcome::Open,
            token_key_version: Some(1),
            input_hash: None,
        });
        self.cluster.pods.push(PodRow {
            namespace,
            name: format!("{name}-pod"),
            uid: format!("pod-{id}"),
            resource_version: "1".to_owned(),
            owner,
            phase: PodPhase::Running,
            waiting_reason: None,
            terminated: None,
            reason: None,
            node: None,
            deletion_timestamp: None,
            ready: true,
            node_unreachable_since: None,
        });
    }
}
