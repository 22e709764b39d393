//! What pods do: they start, fail, vanish, push and hand in results.

use codex_k8s::{
    cluster::{
        ObjectKind,
        snapshot::{
            NamespacePhase, NamespaceRow, ObjectRow, Owner, PodPhase, PodRow, RunMark, Terminated,
        },
    },
    domain::{
        answer::{Answer, Explanation},
        approval::{ApprovalAction, ApprovalId},
        fact::{
            Fact, LabelsFact, PushFact, ResultRecord, ResultStatus, RunFact, WaitFact, WaitStage,
        },
        ids::{LabelName, RunId},
        run::{AttemptState, Run},
    },
};

use super::world::{World, sha};

impl World {
    fn pods_of(&mut self, run: RunId) -> impl Iterator<Item = &mut PodRow> {
        self.cluster
            .pods
            .iter_mut()
            .filter(move |pod| pod.owner.run == Some(run.0))
    }

    /// The run's pods run.
    pub(super) fn pod_runs(&mut self, run: RunId) {
        for pod in self.pods_of(run).filter(|pod| !pod.has_ended()) {
            pod.phase = PodPhase::Running;
            pod.waiting_reason = None;
        }
    }

    /// The run's pods end with a failure.
    pub(super) fn pod_fails(&mut self, run: RunId, exit_code: i32) {
        for pod in self.pods_of(run).filter(|pod| !pod.has_ended()) {
            pod.phase = PodPhase::Failed;
            pod.terminated = Some(Terminated {
                exit_code,
                reason: Some("Error".to_owned()),
            });
        }
    }

    /// The run's pods do not find their image.
    pub(super) fn pod_waits(&mut self, run: RunId, reason: &str) {
        for pod in self
            .pods_of(run)
            .filter(|pod| pod.phase == PodPhase::Pending)
        {
            pod.waiting_reason = Some(reason.to_owned());
        }
    }

    /// The run's pods, and their Jobs, are not there any more.
    pub(super) fn pod_vanishes(&mut self, run: RunId) {
        let of_run = |owner: &Owner| owner.run == Some(run.0);
        self.cluster.pods.retain(|pod| !of_run(&pod.owner));
        self.cluster.jobs.retain(|job| !of_run(&job.owner));
    }

    /// The attempt at work, if it still may say something.
    fn speaks(&self, run: RunId) -> Option<(Run, codex_k8s::domain::ids::AttemptNo)> {
        let found = self.run(run).clone();
        let attempts = self.rows.attempts.iter().filter(|row| row.run == run);
        let attempt = attempts.max_by_key(|row| row.number)?;
        let open = matches!(
            attempt.state,
            AttemptState::Starting | AttemptState::Running
        );
        let number = u32::try_from(attempt.number.0).ok();
        let there = self.cluster.pods.iter().any(|pod| {
            pod.owner.run == Some(run.0) && pod.owner.attempt == number && !pod.has_ended()
        });
        (found.state.takes_facts() && open && there).then_some((found, attempt.number))
    }

    fn tell(&mut self, run: RunId, attempt: codex_k8s::domain::ids::AttemptNo, what: Fact) {
        let id = self.next_id();
        let created_at = self.now;
        self.rows.facts.push(RunFact {
            id,
            run,
            attempt,
            what,
            created_at,
        });
        self.attempt_mut(run, attempt).heartbeat_at = Some(created_at);
    }

    /// The run's agent pushes one commit; says whether it could.
    pub(super) fn push(&mut self, run: RunId) -> bool {
        let Some((found, attempt)) = self.speaks(run) else {
            return false;
        };
        let branch = found.branch.expect("a launched run has a branch");
        let push = PushFact {
            // As the run API does: where the forge shows the branch to be.
            old: self.head(found.repository, &branch),
            branch,
            new: sha(self.next_id()),
            pack_bytes: 10,
        };
        self.tell(run, attempt, Fact::Push(push));
        true
    }

    /// The run's agent wants labels on and off; says whether it could.
    pub(super) fn wishes(&mut self, run: RunId, add: &[LabelName], remove: &[LabelName]) -> bool {
        let Some((found, attempt)) = self.speaks(run) else {
            return false;
        };
        let wanted = LabelsFact {
            number: found.work_item,
            add: add.to_vec(),
            remove: remove.to_vec(),
        };
        self.tell(run, attempt, Fact::Labels(wanted));
        true
    }

    /// The run's agent waits for what people decide on a label; says whether it could.
    pub(super) fn waits(&mut self, run: RunId, label: &LabelName, stage: WaitStage) -> bool {
        let Some((_, attempt)) = self.speaks(run) else {
            return false;
        };
        let approval = ApprovalId::of(&run, ApprovalAction::StartStage, label);
        self.tell(run, attempt, Fact::Wait(WaitFact { approval, stage }));
        true
    }

    /// The run's agent hands in a result that names the newest commit; says whether it could.
    pub(super) fn result(&mut self, run: RunId, status: ResultStatus) -> bool {
        self.result_asking(run, status, &[])
    }

    /// The same, with a request for these labels.
    pub(super) fn result_asking(
        &mut self,
        run: RunId,
        status: ResultStatus,
        requests: &[LabelName],
    ) -> bool {
        let Some((found, attempt)) = self.speaks(run) else {
            return false;
        };
        let said = self.rows.facts.iter().any(|fact| {
            fact.run == run && fact.attempt == attempt && matches!(fact.what, Fact::Result(_))
        });
        if said {
            return false;
        }
        let branch = found.branch.clone().expect("a launched run has a branch");
        let head = self.head(found.repository, &branch);
        let result = ResultRecord {
            status,
            answer: Answer {
                summary: "All done.".to_owned(),
                questions: self.questions.clone(),
                explanations: explained(&found),
                requests: requests.to_vec(),
                parts: found
                    .frozen
                    .iter()
                    .flat_map(|frozen| (self.says)(&frozen.asked))
                    .collect(),
                ..Answer::default()
            },
            head,
            exit_code: Some(i32::from(status == ResultStatus::Failed)),
        };
        self.tell(run, attempt, Fact::Result(result));
        true
    }

    /// Somebody deletes an object of a run.
    pub(super) fn delete_by_hand(&mut self, kind: &str, name: &str) {
        let kind: ObjectKind = kind.parse().expect("a kind");
        let of = |row: &ObjectRow| row.kind == kind && row.name == name;
        assert!(
            self.cluster.objects.iter().any(of),
            "there is no {kind} {name}"
        );
        self.cluster.objects.retain(|row| !of(row));
    }

    /// A namespace with our mark that no run explains.
    pub(super) fn stray_namespace(&mut self, name: &str) {
        if self.cluster.namespaces.iter().any(|row| row.name == name) {
            return;
        }
        let uid = format!("namespace-{}", self.next_id());
        self.cluster.namespaces.push(NamespaceRow {
            name: name.to_owned(),
            uid,
            resource_version: "1".to_owned(),
            phase: NamespacePhase::Active,
            deletion_timestamp: None,
            owner: Owner {
                run: Some(uuid::Uuid::from_u128(7)),
                attempt: None,
            },
            mark: RunMark::default(),
            input_hash: None,
        });
        self.cluster.normalise();
    }

    /// What honest pods do on their own: start, push once, hand in their result.
    pub(super) fn pods_work(&mut self) {
        let live: Vec<RunId> = self
            .rows
            .runs
            .iter()
            .filter(|run| run.state.takes_facts())
            .map(|run| run.id)
            .collect();
        for run in live {
            self.pod_runs(run);
            let pushed = self
                .rows
                .facts
                .iter()
                .any(|fact| fact.run == run && matches!(fact.what, Fact::Push(_)));
            let outstanding = self.rows.facts.iter().any(|fact| {
                fact.run == run
                    && matches!(fact.what, Fact::Push(_))
                    && !self
                        .rows
                        .push_outcomes
                        .iter()
                        .any(|row| row.fact == fact.id)
            });
            if !pushed {
                self.push(run);
            } else if !outstanding {
                self.result(run, ResultStatus::Completed);
            }
        }
    }
}

/// What an honest agent explains where it is asked to.
fn explained(run: &Run) -> Vec<Explanation> {
    let learning = run.frozen.as_ref().is_some_and(|frozen| frozen.learning);
    let explanation = Explanation {
        file: Some("greeting.md".to_owned()),
        why: "People asked @ada for it.".to_owned(),
        gains: "Fewer questions.".to_owned(),
        alternatives: "A longer greeting, which nobody reads.".to_owned(),
    };
    learning.then_some(explanation).into_iter().collect()
}
