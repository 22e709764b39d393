//! The world: everything a plan is made from, and who plans in it.
//!
//! It has its own clock, and its ids grow by one, so that the same steps give
//! the same bytes. Reads at the forge are at once and whole unless a test says
//! otherwise.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use chrono::{DateTime, Duration};
use codex_k8s::{
    cluster::snapshot::ClusterSnapshot,
    desired::model::{Desired, ProjectSpec},
    domain::{
        Timestamp,
        answer::{AnswerPart, AskedPart},
        approval::ApprovalState,
        event::NewEvent,
        forge::{
            AccountKind, Actor, ContentEdit, EditHistory, ForgeKind, Issue, OwnIdentity,
            Permission, RepositoryRecord, SubjectState,
        },
        ids::{
            BranchName, EventId, InstallationId, IssueNumber, ProjectKey, RepositoryId, ReviewId,
            Revision, RunId, Subject, UserId,
        },
        mirror::{
            BranchHead, IdentityRecord, MirrorCursors, OwnerVariable, PermissionRecord,
            RepositoryMirror,
        },
        run::Run,
        snapshot::StoreSnapshot,
    },
    observed::model::Observed,
    plan::{ActionName, Plan, PlanInput, PlanSettings, Scope, check, deciders, editors, plan},
};

use crate::{desired::example::example, support::answers::told};

/// The repository that scripts mean when they name none.
pub(super) const HELLO: RepositoryId = RepositoryId(1);

/// The project's second repository.
pub(super) const NOTES: RepositoryId = RepositoryId(2);

/// A subject in [`HELLO`].
pub(super) fn at(number: i64) -> Subject {
    Subject {
        repository: HELLO,
        number: IssueNumber(number),
    }
}

/// Who can act in the world.
pub(super) fn actor(login: &str) -> Actor {
    let (id, kind) = match login {
        "ada" => (1001, AccountKind::User),
        "grace" => (1002, AccountKind::User),
        "margaret" => (2001, AccountKind::User),
        "platform" => (9000, AccountKind::Bot),
        "mender" => (9001, AccountKind::Bot),
        other => panic!("nobody is called {other}"),
    };
    Actor {
        id: UserId(id),
        login: login.to_owned(),
        kind,
    }
}

/// Everything a plan is made from.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a trouble of its own, which a script makes and ends"
)]
#[derive(Clone)]
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) desired: Arc<Desired>,
    pub(super) settings: PlanSettings,
    pub(super) rows: StoreSnapshot,
    pub(super) cluster: ClusterSnapshot,
    /// Why the cluster is not known.
    pub(super) blind: Option<String>,
    pub(super) swept_at: Option<Timestamp>,
    /// Permissions at the forge; `None` while they cannot be read.
    pub(super) permissions: Option<BTreeMap<UserId, Permission>>,
    /// Every event recorded, in order.
    pub(super) recorded: Vec<NewEvent>,
    /// Keys and contents whose event is recorded.
    pub(super) evented: BTreeSet<(String, String)>,
    /// Actions of these kinds fail when performed.
    pub(super) failing: BTreeSet<ActionName>,
    /// Actions of these kinds are performed and the answers to them lost.
    pub(super) losing: BTreeSet<ActionName>,
    /// The mirror does not show what is written at the forge of labels and variables.
    pub(super) lagging: bool,
    /// Pods stay a while when they are deleted.
    pub(super) lingering: bool,
    /// Namespaces stay in Terminating.
    pub(super) stuck: bool,
    /// What apply refused because the rows had moved on: a planner that reads the rows it
    /// plans on never causes one.
    pub(super) conflicts: Vec<String>,
    /// What the next results ask people.
    pub(super) questions: Vec<String>,
    /// What agents say to what their stage asks for besides.
    pub(super) says: fn(&[AskedPart]) -> BTreeMap<String, AnswerPart>,
    pub(super) last_id: i64,
    pub(super) last_number: i64,
    /// Whether nobody reads what accounts may do; what was read stays.
    pub(super) permissions_unread: bool,
    /// Who edited what, whatever a read says of it.
    pub(super) edits: BTreeMap<Subject, Vec<ContentEdit>>,
}

impl World {
    /// The example organisation, bound and read, with its labels made.
    pub(super) fn example() -> Self {
        static EXAMPLE: LazyLock<Arc<Desired>> = LazyLock::new(|| {
            let mut desired = example();
            desired.revision = Some(Revision(1));
            Arc::new(desired)
        });
        let desired = Arc::clone(&EXAMPLE);
        let now: Timestamp = DateTime::UNIX_EPOCH + Duration::days(365 * 50);
        let mut world = Self {
            now,
            desired,
            settings: PlanSettings::default(),
            rows: StoreSnapshot::default(),
            cluster: ClusterSnapshot::default(),
            blind: None,
            swept_at: None,
            permissions: Some(
                [
                    ("ada", Permission::Admin),
                    ("grace", Permission::Write),
                    ("margaret", Permission::Read),
                ]
                .map(|(login, permission)| (actor(login).id, permission))
                .into(),
            ),
            recorded: Vec::new(),
            evented: BTreeSet::new(),
            failing: BTreeSet::new(),
            losing: BTreeSet::new(),
            lagging: false,
            lingering: false,
            stuck: false,
            conflicts: Vec::new(),
            questions: Vec::new(),
            says: told,
            last_id: 100,
            last_number: 50,
            permissions_unread: false,
            edits: BTreeMap::new(),
        };
        world.identify();
        world.rows.repositories = [(HELLO, "hello"), (NOTES, "notes")]
            .map(|(id, name)| world.mirror(id, name))
            .into();
        world.make_labels();
        world.publish_labels();
        world
    }

    /// Makes our own identities known.
    pub(super) fn identify(&mut self) {
        self.rows.identities = vec![IdentityRecord {
            credential: "default".to_owned(),
            identity: OwnIdentity {
                actor: actor("platform"),
                app_slug: Some("platform".to_owned()),
            },
        }];
    }

    fn mirror(&self, id: RepositoryId, name: &str) -> RepositoryMirror {
        let name: codex_k8s::domain::ids::RepositoryName =
            format!("example-org/{name}").parse().expect("a valid name");
        RepositoryMirror {
            forge: ForgeKind::Github,
            project: ProjectKey::from("demo"),
            configured_name: name.clone(),
            record: RepositoryRecord {
                id,
                html_url: format!("https://forge.example/{name}"),
                clone_url: format!("https://forge.example/{name}.git"),
                name,
                default_branch: BranchName::from("main"),
                default_head: Some(sha(1)),
                archived: false,
            },
            bound_at: self.now,
            binding_event: EventId(self.last_id),
            binding_review: ReviewId(0),
            adopt_existing: false,
            cursors: MirrorCursors::default(),
            unknown: None,
            complete: true,
            owner_variable: OwnerVariable::Ours,
        }
    }

    /// The project's own document, to be changed.
    pub(super) fn spec(&mut self) -> &mut ProjectSpec {
        let projects = &mut Arc::make_mut(&mut self.desired).projects;
        let project = projects.get_mut(&ProjectKey::from("demo"));
        &mut project.expect("the example has it").spec
    }

    /// The key of a provider becomes one of a subscription.
    pub(super) fn subscribe(&mut self, provider: &str) {
        let models = &mut Arc::make_mut(&mut self.desired).platform.models;
        let providers = models.providers.iter_mut();
        for it in providers.filter(|it| it.name.as_str() == provider) {
            it.subscription = true;
        }
    }

    pub(super) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    /// Opens an issue where there is none yet.
    pub(super) fn open_issue(&mut self, subject: Subject) {
        if self.issue(subject).is_some() {
            return;
        }
        let number = subject.number;
        self.rows.issues.push(Issue {
            repository: subject.repository,
            number,
            node_id: format!("I_{}_{number}", subject.repository),
            title: format!("Issue {number}"),
            body: format!("Please do {number}."),
            state: SubjectState::Open,
            is_pull_request: false,
            author: Some(actor("margaret")),
            labels: Vec::new(),
            created_at: self.now,
            updated_at: self.now,
            edits: EditHistory::Read { edits: Vec::new() },
            html_url: format!("https://forge.example/example-org/{number}"),
        });
    }

    pub(super) fn issue(&self, subject: Subject) -> Option<&Issue> {
        let mut issues = self.rows.issues.iter();
        issues.find(|row| row.repository == subject.repository && row.number == subject.number)
    }

    pub(super) fn issue_mut(&mut self, subject: Subject) -> Option<&mut Issue> {
        let mut issues = self.rows.issues.iter_mut();
        issues.find(|row| row.repository == subject.repository && row.number == subject.number)
    }

    pub(super) fn repository_mut(&mut self, id: RepositoryId) -> &mut RepositoryMirror {
        let mut rows = self.rows.repositories.iter_mut();
        rows.find(|row| row.id() == id)
            .expect("the repository is bound")
    }

    pub(super) fn run(&self, id: RunId) -> &Run {
        let mut runs = self.rows.runs.iter();
        runs.find(|run| run.id == id).expect("the run is there")
    }

    pub(super) fn run_mut(&mut self, id: RunId) -> &mut Run {
        let mut runs = self.rows.runs.iter_mut();
        runs.find(|run| run.id == id).expect("the run is there")
    }

    /// The newest run of an issue.
    pub(super) fn run_of(&self, subject: Subject) -> Option<&Run> {
        let of = self.rows.runs.iter().filter(|run| {
            run.repository == subject.repository
                && (run.number == subject.number || run.work_item == subject.number)
        });
        of.max_by_key(|run| (run.created_at, run.finalized_at.is_none()))
    }

    /// Reads what the pollers would have read by now: permissions of the actors of live
    /// triggers, and branches of their work items.
    pub(super) fn poll(&mut self) {
        if let Some(permissions) = self
            .permissions
            .clone()
            .filter(|_| !self.permissions_unread)
        {
            let hot = self.rows.triggers.iter().filter(|trigger| !trigger.settled);
            let deciders = deciders(&self.desired, &self.rows).into_iter();
            let editors = editors(&self.desired, &self.rows);
            let deciders = deciders.chain(editors);
            let actors: BTreeSet<_> = hot
                .filter_map(|trigger| {
                    Some((trigger.identity.repository, trigger.actor.as_ref()?.id))
                })
                .chain(deciders.map(|(repository, actor)| (repository, actor.id)))
                .collect();
            for (repository, user) in actors {
                self.rows
                    .permissions
                    .retain(|row| (row.repository, row.user) != (repository, user));
                self.rows.permissions.push(PermissionRecord {
                    repository,
                    user,
                    permission: permissions.get(&user).copied().unwrap_or(Permission::None),
                    read_at: self.now,
                });
            }
        }
        let live = self.rows.triggers.iter().filter(|trigger| !trigger.settled);
        let wanted: BTreeSet<_> = live
            .map(|trigger| (trigger.identity.repository, trigger.number))
            .chain(
                self.rows
                    .runs
                    .iter()
                    .map(|run| (run.repository, run.work_item)),
            )
            .collect();
        for (repository, number) in wanted {
            let branch = BranchName::new(format!("codex/issue-{number}"));
            let read = |row: &BranchHead| row.repository == repository && row.branch == branch;
            if !self.rows.branches.iter().any(read) {
                self.rows.branches.push(BranchHead {
                    repository,
                    branch,
                    head: None,
                    ours: false,
                });
            }
        }
    }

    /// The rows that a pass loads: of hot subjects, of live runs and of those on hot subjects.
    pub(super) fn loaded(&self) -> StoreSnapshot {
        let mut rows = self.rows.clone();
        rows.now = self.now;
        let hot = self.hot();
        let is_hot = |repository, number| hot.contains(&Subject { repository, number });
        let gone: BTreeSet<RunId> = rows
            .environments
            .iter()
            .filter(|row| row.state == codex_k8s::domain::run::EnvironmentState::Gone)
            .map(|row| row.run)
            .collect();
        let launched: BTreeSet<RunId> = rows.environments.iter().map(|row| row.run).collect();
        rows.runs.retain(|run| {
            run.finalized_at.is_none()
                || (launched.contains(&run.id) && !gone.contains(&run.id))
                || is_hot(run.repository, run.work_item)
                || is_hot(run.repository, run.number)
                || run
                    .pull_request
                    .is_some_and(|number| is_hot(run.repository, number))
        });
        let ids: BTreeSet<RunId> = rows.runs.iter().map(|run| run.id).collect();
        let live: BTreeSet<RunId> = rows
            .runs
            .iter()
            .filter(|run| run.finalized_at.is_none())
            .map(|run| run.id)
            .collect();
        rows.issues.retain(|row| is_hot(row.repository, row.number));
        rows.events.retain(|row| is_hot(row.repository, row.number));
        rows.pulls.retain(|row| is_hot(row.repository, row.number));
        rows.reviews
            .retain(|row| is_hot(row.repository, row.number));
        rows.comments
            .retain(|row| is_hot(row.repository, row.number));
        rows.triggers
            .retain(|row| !row.settled || is_hot(row.identity.repository, row.number));
        rows.attempts.retain(|row| ids.contains(&row.run));
        rows.environments.retain(|row| ids.contains(&row.run));
        rows.facts.retain(|row| live.contains(&row.run));
        rows.push_outcomes.retain(|row| live.contains(&row.run));
        rows.approvals
            .retain(|row| !row.settled || is_hot(row.repository, row.number));
        let open: BTreeSet<_> = rows
            .approvals
            .iter()
            .filter(|row| row.state == ApprovalState::Requested)
            .map(|row| row.id)
            .collect();
        rows.decisions.retain(|row| open.contains(&row.approval));
        rows.effects
            .retain(|row| row.done_at.is_none() || row.run.is_none_or(|run| ids.contains(&run)));
        rows
    }

    fn hot(&self) -> BTreeSet<Subject> {
        let rows = &self.rows;
        let subject = |repository, number| Subject { repository, number };
        let open_pulls: BTreeSet<Subject> = rows
            .pulls
            .iter()
            .filter(|row| row.state == SubjectState::Open)
            .map(|row| subject(row.repository, row.number))
            .collect();
        let kept: BTreeSet<RunId> = rows
            .environments
            .iter()
            .filter(|row| row.state != codex_k8s::domain::run::EnvironmentState::Gone)
            .map(|row| row.run)
            .collect();
        let live = rows.runs.iter().filter(|run| {
            run.finalized_at.is_none()
                || kept.contains(&run.id)
                || run
                    .pull_request
                    .is_some_and(|number| open_pulls.contains(&subject(run.repository, number)))
        });
        let of_runs = live.flat_map(|run| {
            [Some(run.number), Some(run.work_item), run.pull_request]
                .into_iter()
                .flatten()
                .map(move |number| subject(run.repository, number))
        });
        let open = rows
            .issues
            .iter()
            .filter(|row| row.state == SubjectState::Open);
        let unsettled = rows.triggers.iter().filter(|row| !row.settled);
        let from_branches = rows.pulls.iter().filter(|pull| {
            let mut triggers = unsettled.clone();
            triggers.any(|row| {
                row.identity.repository == pull.repository
                    && pull.head.as_str() == format!("codex/issue-{}", row.number)
            })
        });
        let from_branches: Vec<_> = from_branches
            .map(|pull| subject(pull.repository, pull.number))
            .collect();
        let earlier = unsettled.clone().flat_map(|row| {
            let repository = row.identity.repository;
            let runs = rows
                .runs
                .iter()
                .filter(move |run| (run.repository, run.work_item) == (repository, row.number));
            runs.filter_map(move |run| Some(subject(repository, run.pull_request?)))
        });
        let asked = rows.approvals.iter().filter(|row| !row.settled);
        of_runs
            .chain(from_branches)
            .chain(earlier)
            .chain(asked.map(codex_k8s::domain::approval::Approval::subject))
            .chain(open.map(|row| subject(row.repository, row.number)))
            .chain(unsettled.map(|row| subject(row.identity.repository, row.number)))
            .chain(open_pulls.iter().copied())
            .collect()
    }

    /// A plan's input as it stands.
    pub(super) fn input(&self, scope: Scope) -> PlanInput {
        PlanInput {
            now: self.now,
            installation: installation(),
            scope,
            desired: Some(Arc::clone(&self.desired)),
            settings: self.settings.clone(),
            rows: self.loaded(),
            cluster: match &self.blind {
                None => Observed::Known {
                    at: self.now,
                    value: Arc::new(self.cluster.clone()),
                },
                Some(reason) => Observed::unknown(reason.clone()),
            },
            swept_at: self.swept_at,
        }
    }

    /// Plans one scope; what our own rules find in it is a failure.
    pub(super) fn plan(&self, scope: Scope) -> Plan {
        let input = self.input(scope);
        let (plan, violations) = check::check(&input, plan(&input));
        assert_eq!(violations, [], "our own rules find something");
        plan
    }

    /// One pass: polls, plans the project and the orphans, applies both, a second later.
    pub(super) fn pass(&mut self) -> Vec<Plan> {
        self.poll();
        let plans = [project(), Scope::Orphans].map(|scope| self.plan(scope));
        for plan in &plans {
            self.apply(plan);
        }
        self.now += Duration::seconds(1);
        plans.into()
    }
}

/// The example project's scope.
pub(super) fn project() -> Scope {
    Scope::Project {
        project: ProjectKey::from("demo"),
    }
}

/// The installation of all tests.
pub(super) fn installation() -> InstallationId {
    "test".parse().expect("a valid id")
}

/// A commit.
pub(super) fn sha(number: i64) -> codex_k8s::domain::ids::CommitSha {
    codex_k8s::domain::ids::CommitSha::new(format!("{number:040x}"))
}
