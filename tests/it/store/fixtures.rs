//! Rows to store, with as little in them as the schema allows.

use chrono::{DateTime, TimeDelta, Utc};
use codex_k8s::{
    domain::{
        event::{EventActor, EventKind, NewEvent},
        forge::{
            AccountKind, Actor, EditHistory, ForgeKind, Issue, IssueEvent, IssueEventKind,
            RepositoryRecord, SubjectState,
        },
        ids::{
            AttemptNo, BranchName, EventId, IssueNumber, LabelName, ProjectKey, RepositoryId,
            ReviewId, RunId, SlotNo, StageKind, Subject, UserId,
        },
        run::{Attempt, AttemptState, FrozenRun, Outcome, Run, RunState},
        trigger::{Disposition, Trigger, TriggerIdentity, TriggerKind, TriggerSource, WaitReason},
    },
    store::{HolderTx, LeaseGrant, NewBinding, RunChanges, Store, Transition},
};

use crate::support::postgres::{TestDatabase, acquire};

pub(crate) const REPOSITORY: RepositoryId = RepositoryId(7);

/// A database, the store and its lease.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) store: Store,
    pub(crate) grant: LeaseGrant,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::new().await;
        let store = database.store().await;
        let grant = acquire(&store, "first").await;
        Self {
            database,
            store,
            grant,
        }
    }

    /// One whose repository 7 is bound by project `shop`.
    pub(crate) async fn bound() -> Self {
        let world = Self::new().await;
        let mut tx = world.begin().await;
        let event = event(EventKind::RepositoryBound);
        assert!(
            tx.bind_repository(&binding(7, "shop"), &event)
                .await
                .unwrap()
        );
        tx.commit().await.unwrap();
        world
    }

    pub(crate) async fn begin(&self) -> HolderTx {
        self.store.begin_holder(&self.grant).await.unwrap()
    }

    /// Stores the pending run of issue `number` and its trigger.
    pub(crate) async fn pending_run(&self, number: i64) -> Run {
        let trigger = trigger(number);
        let run = run(&trigger);
        let mut tx = self.begin().await;
        let seen = event(EventKind::TriggerSeen);
        assert!(tx.insert_trigger(&trigger, &seen).await.unwrap());
        let enqueued = event(EventKind::RunEnqueued);
        assert!(tx.insert_run(&run, &enqueued).await.unwrap());
        tx.commit().await.unwrap();
        run
    }

    /// Stores the launched run of issue `number` in a slot, with its first attempt.
    pub(crate) async fn preparing_run(&self, number: i64, slot: i32) -> Run {
        let run = self.pending_run(number).await;
        let mut tx = self.begin().await;
        let launched = event(EventKind::RunLaunched);
        let step = launch(&run, slot, &launched);
        tx.transition_run(&step).await.unwrap();
        let started = event(EventKind::AttemptStarted);
        assert!(
            tx.insert_attempt(&attempt(run.id, 1), &started)
                .await
                .unwrap()
        );
        tx.commit().await.unwrap();
        self.run(run.id).await
    }

    pub(crate) async fn run(&self, run: RunId) -> Run {
        self.store.reads().get_run(run).await.unwrap().unwrap()
    }

    /// Moves a run one step.
    pub(crate) async fn step(&self, run: &Run, to: RunState, changes: RunChanges) -> Run {
        let event = event(EventKind::RunStarted);
        let mut tx = self.begin().await;
        tx.transition_run(&Transition {
            run: run.id,
            from: run.state,
            to,
            version: run.version,
            changes,
            event: &event,
        })
        .await
        .unwrap();
        tx.commit().await.unwrap();
        self.run(run.id).await
    }

    /// Ends a launched run, as its label was taken off.
    pub(crate) async fn cancelled(&self, run: &Run) -> Run {
        let stop = RunChanges {
            outcome: Some(Outcome::Cancelled),
            reason: Some("the label was taken off".to_owned()),
            ..RunChanges::default()
        };
        let stopping = self.step(run, RunState::Stopping, stop).await;
        let over = RunChanges::default();
        self.step(&stopping, RunState::Cancelled, over).await
    }
}

pub(crate) fn launch<'a>(run: &Run, slot: i32, event: &'a NewEvent) -> Transition<'a> {
    Transition {
        run: run.id,
        from: RunState::Pending,
        to: RunState::Preparing,
        version: run.version,
        changes: RunChanges {
            frozen: Some(frozen()),
            branch: Some(BranchName::new(format!("codex/issue-{}", run.work_item))),
            slot: Some(SlotNo(slot)),
            ..RunChanges::default()
        },
        event,
    }
}

pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_790_000_000 + seconds)
}

pub(crate) fn event(kind: EventKind) -> NewEvent {
    NewEvent {
        kind,
        correlation: "test".to_owned(),
        actor: EventActor::System,
        project: Some(ProjectKey::from("shop")),
        run: None,
        subject: None,
        payload: serde_json::json!({}),
    }
}

pub(crate) fn subject(number: i64) -> Subject {
    Subject {
        repository: REPOSITORY,
        number: IssueNumber(number),
    }
}

pub(crate) fn ada() -> Actor {
    Actor {
        id: UserId(11),
        login: "ada".to_owned(),
        kind: AccountKind::User,
    }
}

pub(crate) fn binding(id: i64, project: &str) -> NewBinding {
    let name = format!("example-org/repository-{id}");
    NewBinding {
        forge: ForgeKind::Github,
        project: ProjectKey::from(project),
        configured_name: name.parse().unwrap(),
        record: RepositoryRecord {
            id: RepositoryId(id),
            name: name.parse().unwrap(),
            default_branch: BranchName::from("main"),
            default_head: None,
            archived: false,
            html_url: format!("https://forge.example/{name}"),
            clone_url: format!("https://forge.example/{name}.git"),
        },
        binding_event: EventId(0),
        binding_review: ReviewId(0),
        adopt_existing: false,
    }
}

pub(crate) fn issue(number: i64, labels: &[&str]) -> Issue {
    Issue {
        repository: REPOSITORY,
        number: IssueNumber(number),
        node_id: format!("I_{number}"),
        title: "Greet politely".to_owned(),
        body: String::new(),
        state: SubjectState::Open,
        is_pull_request: false,
        author: Some(ada()),
        labels: labels.iter().map(|label| LabelName::from(*label)).collect(),
        created_at: at(0),
        updated_at: at(1),
        edits: EditHistory::Unread,
        html_url: format!("https://forge.example/{number}"),
    }
}

pub(crate) fn labeled(id: i64, number: i64) -> IssueEvent {
    IssueEvent {
        id: EventId(id),
        repository: REPOSITORY,
        number: IssueNumber(number),
        what: IssueEventKind::Labeled {
            label: LabelName::from("run:dev"),
        },
        actor: Some(ada()),
        via_app: None,
        created_at: at(id),
    }
}

/// The trigger of issue `number`, whose event has the id `number + 1000`.
pub(crate) fn trigger(number: i64) -> Trigger {
    Trigger {
        identity: TriggerIdentity {
            forge: ForgeKind::Github,
            repository: REPOSITORY,
            source: TriggerSource::Label,
            source_id: (number + 1000).to_string(),
        },
        project: ProjectKey::from("shop"),
        number: IssueNumber(number),
        kind: TriggerKind {
            stage: StageKind::from("dev"),
            revise: false,
        },
        label: Some(LabelName::from("run:dev")),
        actor: Some(ada()),
        via_app: None,
        occurred_at: at(number),
        content_hash: None,
        first_seen_at: at(number),
        disposition: Disposition::Waiting(WaitReason::New),
        withdrawn_by: None,
        settled: false,
    }
}

pub(crate) fn run(trigger: &Trigger) -> Run {
    Run {
        id: trigger.identity.run_id(&"tests".parse().unwrap()),
        trigger: trigger.identity.clone(),
        project: trigger.project.clone(),
        repository: trigger.identity.repository,
        number: trigger.number,
        work_item: trigger.number,
        kind: trigger.kind.clone(),
        label: trigger.label.clone(),
        actor: trigger.actor.clone(),
        state: RunState::Pending,
        outcome: None,
        reason: None,
        held: None,
        priority: 0,
        frozen: None,
        branch: None,
        slot: None,
        accepted_head: None,
        pull_request: None,
        result: None,
        timeout_at: None,
        waiting_since: None,
        created_at: at(0),
        preparing_at: None,
        started_at: None,
        stopping_at: None,
        finished_at: None,
        finalized_at: None,
        version: 1,
    }
}

pub(crate) fn attempt(run: RunId, number: i32) -> Attempt {
    Attempt {
        run,
        number: AttemptNo(number),
        state: AttemptState::Starting,
        key_version: 1,
        job_uid: None,
        reason: None,
        created_at: at(0),
        started_at: None,
        ended_at: None,
        heartbeat_at: None,
    }
}

pub(crate) fn frozen() -> FrozenRun {
    serde_json::from_value(serde_json::json!({
        "revision": 1, "config_sha": "c0ffee", "repository_name": "example-org/repository-7",
        "agent": "coder", "policy": "default", "image": "registry.example/agent:1",
        "cli": { "command": ["codex", "exec"] }, "environment": {}, "model": null, "reasoning": null,
        "locale": "en", "template": "dev", "prompt": "Work.", "prompt_hash": "00",
        "base_branch": "main", "issue_title": "Greet politely", "pull_request": "required",
        "closes_issue": true, "learning": false,
        "namespace": "codex-run-1", "timeout_seconds": 7200, "max_attempts": 3,
        "success_labels": [], "question_labels": [], "failure_labels": [], "clear_labels": [],
        "allow_workflow_pushes": false, "rbac_profile": null, "requests": {}, "limits": {},
        "runtime_class": null, "author": {"name": "Agent", "email": "agent@forge.example"},
        "revises": null
    }))
    .unwrap()
}
