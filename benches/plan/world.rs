//! The benchmark's world: an organisation at rest, made by letting the planner itself launch runs
//! and taking its actions as done, until it plans nothing more.

mod done;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use chrono::{DateTime, TimeDelta};
use codex_k8s::{
    cluster::snapshot::ClusterSnapshot,
    desired::{
        load::{load, read_folder},
        model::{Desired, DesiredRepository},
    },
    domain::{
        Timestamp,
        forge::{
            AccountKind, Actor, EditHistory, ForgeKind, Issue, IssueEvent, IssueEventKind,
            LabelRecord, OwnIdentity, Permission, PullRequest, RepositoryRecord, SubjectState,
            VariableRecord,
        },
        ids::{
            BranchName, CommitSha, EventId, InstallationId, IssueNumber, LabelName, ProjectKey,
            RepositoryId, RepositoryName, ReviewId, UserId,
        },
        marker::pull_request_marker,
        mirror::{
            BranchHead, IdentityRecord, MirrorCursors, OwnerVariable, PermissionRecord,
            RepositoryMirror,
        },
        run::{Run, RunState},
        snapshot::{RepositoryLabel, RepositoryVariable, StoreSnapshot},
        trigger::{Disposition, Trigger, TriggerIdentity, TriggerKind, TriggerSource},
    },
    observed::model::Observed,
    plan::{Action, PlanInput, PlanSettings, Scope, plan},
};

/// Projects; each has its share of the repositories.
const PROJECTS: i64 = 25;

/// Open issues of each repository.
const ISSUES: i64 = 10;

/// Runs of each repository; each has an issue of its own. In every fifth repository the first is
/// at work and the second queued, the others are over.
const RUNS: i64 = 5;

#[derive(Clone, Copy, PartialEq)]
enum Stand {
    Live,
    Queued,
    Over,
}

/// Our own account.
const PLATFORM: i64 = 9_000;

/// Who labels.
const MEMBER: i64 = 1_001;

fn stand(repository: RepositoryId, number: i64) -> Stand {
    match number {
        1 if is_busy(repository) => Stand::Live,
        2 if is_busy(repository) => Stand::Queued,
        _ => Stand::Over,
    }
}

/// Every fifth repository of each project.
fn is_busy(repository: RepositoryId) -> bool {
    repository.0 / PROJECTS % 5 == 0
}

struct Made {
    now: Timestamp,
    installation: InstallationId,
    desired: Arc<Desired>,
    rows: StoreSnapshot,
    /// Labels and variables of the repositories, by name as the store has them.
    labels: BTreeMap<(RepositoryId, String), LabelRecord>,
    variables: BTreeMap<(RepositoryId, String), VariableRecord>,
    cluster: ClusterSnapshot,
    kind: TriggerKind,
    label: LabelName,
}

/// The input of every scope of a pass: the projects, and last the orphans.
pub(crate) fn settled(repositories: i64) -> Vec<PlanInput> {
    let mut made = Made::new(repositories);
    // A launch, its environment, its attempt, its comment: a step a round. Labels and variables
    // are put right meanwhile, all at once.
    for _ in 0..8 {
        let scopes = made.inputs(usize::MAX);
        let done: Vec<Action> = scopes
            .iter()
            .flat_map(|input| plan(input).actions)
            .collect();
        if done.is_empty() {
            break;
        }
        for action in done {
            made.take_as_done(&action);
        }
        made.cluster.normalise();
    }
    made.inputs(PlanSettings::default().upkeep_per_minute)
}

impl Made {
    fn new(repositories: i64) -> Self {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let desired = organisation(repositories);
        let dev = desired.labels.triggers.iter().find(|label| {
            desired.label(label.name.as_str()).is_some_and(|meaning| {
                matches!(meaning, codex_k8s::desired::model::LabelMeaning::Trigger(kind)
                    if kind.stage.as_str() == "dev" && !kind.revise)
            })
        });
        let label = dev.expect("the catalogue has it").name.clone();
        let mut made = Self {
            now,
            installation: "bench".parse().expect("it is an installation id"),
            kind: TriggerKind {
                stage: "dev".into(),
                revise: false,
            },
            label,
            desired: Arc::new(desired),
            rows: StoreSnapshot {
                now,
                identities: vec![IdentityRecord {
                    credential: "main".to_owned(),
                    identity: OwnIdentity {
                        actor: actor(PLATFORM, AccountKind::Bot),
                        app_slug: None,
                    },
                }],
                ..StoreSnapshot::default()
            },
            labels: BTreeMap::new(),
            variables: BTreeMap::new(),
            cluster: ClusterSnapshot::default(),
        };
        for id in 1..=repositories {
            made.add_repository(RepositoryId(id));
        }
        made
    }

    fn project(repository: RepositoryId) -> ProjectKey {
        ProjectKey::new(format!("project-{}", repository.0 % PROJECTS))
    }

    fn add_repository(&mut self, id: RepositoryId) {
        self.rows.repositories.push(mirror(id));
        for label in catalogue(&self.desired) {
            let key = (id, label.name.as_str().to_owned());
            self.labels.insert(key, label);
        }
        self.rows.permissions.push(PermissionRecord {
            repository: id,
            user: UserId(MEMBER),
            permission: Permission::Write,
            read_at: self.now,
        });
        for number in 1..=ISSUES {
            let mut issue = issue(id, number);
            self.add_event(id, number, "bug", true, MEMBER);
            self.add_event(id, number, "bug", false, MEMBER);
            if number <= RUNS {
                let stand = stand(id, number);
                let label = self.label.clone();
                let event = self.add_event(id, number, label.as_str(), true, MEMBER);
                if stand == Stand::Over {
                    self.add_event(id, number, label.as_str(), false, PLATFORM);
                } else {
                    issue.labels.push(label);
                }
                self.add_run(id, number, event, stand);
            }
            self.rows.issues.push(issue);
        }
    }

    fn add_event(
        &mut self,
        repository: RepositoryId,
        number: i64,
        label: &str,
        on: bool,
        by: i64,
    ) -> EventId {
        let id = EventId(i64::try_from(self.rows.events.len()).unwrap_or(0) + 1);
        let label = LabelName::from(label);
        let what = if on {
            IssueEventKind::Labeled { label }
        } else {
            IssueEventKind::Unlabeled { label }
        };
        self.rows.events.push(IssueEvent {
            id,
            repository,
            number: IssueNumber(number),
            what,
            actor: Some(actor(by, AccountKind::User)),
            via_app: None,
            created_at: DateTime::UNIX_EPOCH,
        });
        id
    }

    fn add_run(&mut self, repository: RepositoryId, number: i64, event: EventId, stand: Stand) {
        let identity = TriggerIdentity {
            forge: ForgeKind::Github,
            repository,
            source: TriggerSource::Label,
            source_id: event.to_string(),
        };
        let run = self.run(identity.clone(), number, stand);
        self.rows.triggers.push(Trigger {
            identity,
            project: Self::project(repository),
            number: IssueNumber(number),
            kind: self.kind.clone(),
            label: Some(self.label.clone()),
            actor: Some(actor(MEMBER, AccountKind::User)),
            via_app: None,
            occurred_at: DateTime::UNIX_EPOCH,
            content_hash: None,
            first_seen_at: self.now,
            disposition: Disposition::Run { run: run.id },
            withdrawn_by: None,
            settled: stand == Stand::Over,
        });
        if let Some(number) = run.pull_request {
            self.rows.pulls.push(pull(&run, number));
        }
        self.rows.branches.push(BranchHead {
            repository,
            branch: BranchName::new(format!("codex/issue-{number}")),
            head: None,
            ours: stand == Stand::Over,
        });
        self.rows.runs.push(run);
    }

    fn run(&self, trigger: TriggerIdentity, number: i64, stand: Stand) -> Run {
        let over = stand == Stand::Over;
        // The slots go to the oldest, so that those that are to live are launched.
        let age = TimeDelta::hours(if stand == Stand::Live { 2 } else { 1 });
        Run {
            id: trigger.run_id(&self.installation),
            project: Self::project(trigger.repository),
            repository: trigger.repository,
            number: IssueNumber(number),
            work_item: IssueNumber(number),
            kind: self.kind.clone(),
            label: Some(self.label.clone()),
            actor: Some(actor(MEMBER, AccountKind::User)),
            state: if over {
                RunState::Succeeded
            } else {
                RunState::Pending
            },
            outcome: None,
            reason: None,
            held: None,
            priority: 0,
            frozen: None,
            branch: over.then(|| BranchName::new(format!("codex/issue-{number}"))),
            slot: None,
            accepted_head: None,
            pull_request: over.then_some(IssueNumber(100 + number)),
            result: None,
            timeout_at: None,
            waiting_since: None,
            created_at: self.now - age,
            preparing_at: None,
            started_at: None,
            stopping_at: None,
            finished_at: over.then_some(self.now),
            finalized_at: over.then_some(self.now),
            version: 0,
            trigger,
        }
    }

    fn inputs(&mut self, upkeep_per_minute: usize) -> Vec<PlanInput> {
        let labels = self.labels.iter();
        self.rows.labels = labels
            .map(|((repository, _), label)| RepositoryLabel {
                is_confirmed: true,
                repository: *repository,
                label: label.clone(),
            })
            .collect();
        let variables = self.variables.iter();
        self.rows.variables = variables
            .map(|((repository, _), variable)| RepositoryVariable {
                repository: *repository,
                variable: variable.clone(),
            })
            .collect();
        let projects = self.desired.projects.keys().cloned();
        let parts = self.rows.clone().by_project(projects).into_iter();
        let scopes = parts
            .map(|(project, rows)| (rows, Scope::Project { project }))
            .chain([(self.rows.clone(), Scope::Orphans)]);
        let cluster = Arc::new(self.cluster.clone());
        scopes
            .map(|(rows, scope)| PlanInput {
                now: self.now,
                installation: self.installation.clone(),
                scope,
                desired: Some(Arc::clone(&self.desired)),
                settings: PlanSettings {
                    upkeep_per_minute,
                    ..PlanSettings::default()
                },
                rows,
                cluster: Observed::Known {
                    at: self.now,
                    value: Arc::clone(&cluster),
                },
                swept_at: None,
            })
            .collect()
    }
}

/// The example organisation with its one project copied, each with room for the runs that are
/// to live and no more.
fn organisation(repositories: i64) -> Desired {
    let state = Path::new(env!("CARGO_MANIFEST_DIR")).join("state");
    let files = read_folder(&state).expect("the example organisation is in the tree");
    let mut desired = load(CommitSha::new("0".repeat(40)), files).expect("it validates");
    let demo = desired.projects.remove(&ProjectKey::new("demo"));
    let demo = demo.expect("the example has it");
    for id in 1..=repositories {
        let project = desired
            .projects
            .entry(Made::project(RepositoryId(id)))
            .or_insert_with(|| {
                let mut project = demo.clone();
                project.repositories.clear();
                project.spec.slots = 0;
                project
            });
        let name = repository_name(RepositoryId(id));
        project.repositories.insert(
            name.name.as_str().into(),
            DesiredRepository {
                on_push: Vec::new(),
                name,
                forge: ForgeKind::Github,
                base_branch: None,
                credential: None,
            },
        );
        project.spec.slots += u32::from(is_busy(RepositoryId(id)));
        let slots = project.spec.slots;
        project.spec.limits.max_runs = Some(slots);
        for limit in project.spec.limits.per_agent.values_mut() {
            *limit = slots;
        }
    }
    for policy in desired.policies.values_mut() {
        policy.max_parallel_runs = 1_000;
    }
    desired
}

fn repository_name(id: RepositoryId) -> RepositoryName {
    let name = format!("example-org/repository-{id}");
    name.parse().expect("it is a repository's name")
}

fn actor(id: i64, kind: AccountKind) -> Actor {
    Actor {
        id: UserId(id),
        login: format!("user-{id}"),
        kind,
    }
}

fn catalogue(desired: &Desired) -> Vec<LabelRecord> {
    let labels = desired.labels.entries();
    let names = labels.map(|(label, ..)| label.clone());
    names
        .chain([LabelName::from("bug")])
        .map(|name| LabelRecord {
            name,
            colour: "1f6feb".to_owned(),
            description: String::new(),
        })
        .collect()
}

fn mirror(id: RepositoryId) -> RepositoryMirror {
    let name = repository_name(id);
    RepositoryMirror {
        forge: ForgeKind::Github,
        project: Made::project(id),
        configured_name: name.clone(),
        record: RepositoryRecord {
            id,
            name,
            default_branch: BranchName::new("main"),
            default_head: Some(CommitSha::new("1".repeat(40))),
            archived: false,
            html_url: String::new(),
            clone_url: String::new(),
        },
        bound_at: DateTime::UNIX_EPOCH,
        binding_event: EventId(0),
        binding_review: ReviewId(0),
        adopt_existing: false,
        cursors: MirrorCursors::default(),
        unknown: None,
        complete: true,
        owner_variable: OwnerVariable::Ours,
    }
}

fn issue(repository: RepositoryId, number: i64) -> Issue {
    Issue {
        repository,
        number: IssueNumber(number),
        node_id: format!("I_{repository}_{number}"),
        title: "A title".to_owned(),
        body: "A body of some words. ".repeat(20),
        state: SubjectState::Open,
        is_pull_request: false,
        author: Some(actor(MEMBER, AccountKind::User)),
        labels: vec![LabelName::from("bug")],
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        edits: EditHistory::Read { edits: Vec::new() },
        html_url: String::new(),
    }
}

fn pull(run: &Run, number: IssueNumber) -> PullRequest {
    let branch = run.branch.clone();
    PullRequest {
        repository: run.repository,
        number,
        title: "A change".to_owned(),
        body: pull_request_marker(&run.id),
        state: SubjectState::Open,
        merged: false,
        author: Some(actor(PLATFORM, AccountKind::Bot)),
        head: branch.expect("what is over has a branch"),
        head_repository: Some(run.repository),
        head_sha: CommitSha::new("2".repeat(40)),
        base: BranchName::new("main"),
        html_url: String::new(),
        updated_at: DateTime::UNIX_EPOCH,
    }
}
