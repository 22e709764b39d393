//! The GitHub model, an observer that polls it, and a mirror in memory, with one stepped clock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use codex_k8s::{
    domain::{
        Timestamp,
        forge::{Issue, IssueEvent},
        ids::{
            BranchName, EventId, IssueNumber, LabelName, ProjectKey, RepositoryId, Subject, UserId,
        },
        mirror::RepositoryMirror,
    },
    forge::{
        Account, Forge, ForgeMetrics, OWNER_VARIABLE, OpenGate, RepositoryRef,
        github::{GithubCredential, GithubForge, GithubSettings, PauseClock},
    },
    observed::forge::{
        ForgeObserver, MirrorBatch, MirrorError, MirrorStore, PollRequest, PollSettings,
        RepositoryBinding, RepositoryOutcome,
    },
    sandbox::github::{
        AppSeed, ContractCheck, Counters, GitHubModel, GitHubModelConfig, Limits, Permission,
        RepositorySeed,
    },
};

/// Issues of each repository.
pub(crate) const ISSUES: i64 = 10;

/// The issue that a trigger is put on.
const LABELLED: u64 = 3;

const INSTALLATION: &str = "bench";

const KEY: &str = include_str!("../../tests/fixtures/github/app-key.pem");

/// A repository's name.
pub(crate) fn repository(index: i64) -> String {
    format!("example-org/repository-{index}")
}

/// How far the clock is ahead of the machine's.
type Ahead = Arc<Mutex<TimeDelta>>;

pub(crate) struct World {
    pub(crate) model: Arc<GitHubModel>,
    pub(crate) observer: ForgeObserver,
    pub(crate) mirror: Mirror,
    pub(crate) request: PollRequest,
    ahead: Ahead,
    /// Triggers that were not read yet: the repository and the polls since.
    unseen: BTreeMap<String, u32>,
    /// The first two polls of a trigger ask for its actor and its branch.
    fresh: BTreeMap<String, u32>,
    _dir: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new(repositories: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = GitHubModelConfig::new(dir.path());
        config.contract = ContractCheck::OFF;
        // Binding many repositories at once is not what is counted here.
        config.limits = Limits {
            core: 1_000_000,
            graphql: 1_000_000,
            writes_per_minute: 1_000_000,
        };
        let model = GitHubModel::start(config).await.unwrap();
        model.add_organization("example-org");
        model.add_user("ada");
        let (app_id, installation_id) = model
            .add_app(&AppSeed::new("codex", "example-org"))
            .unwrap();
        let ahead = Ahead::default();
        let forge = forge(&model, &ahead, app_id, installation_id);
        for index in 0..repositories {
            let seed = RepositorySeed::with_readme("A thing.\n")
                .label("run:dev")
                .label("state:in-review")
                .permission("ada", Permission::Write);
            model.add_repository(&repository(index), &seed).unwrap();
            for number in 1..=ISSUES {
                let title = format!("Issue {number}");
                let name = repository(index);
                model
                    .open_issue(&name, "ada", &title, "words", &[])
                    .unwrap();
            }
            own(&forge, &reference(&model, index)).await;
        }
        let bound = (0..repositories).map(|index| RepositoryBinding {
            project: ProjectKey::new("demo"),
            name: repository(index).parse().unwrap(),
            adopt_existing: false,
        });
        let request = PollRequest {
            bound: bound.collect(),
            sweep_labels: vec![LabelName::from("run:dev")],
            ..PollRequest::default()
        };
        let observer = ForgeObserver::new(
            Arc::new(forge),
            INSTALLATION.parse().unwrap(),
            PollSettings::default(),
        );
        Self {
            model: Arc::new(model),
            observer,
            mirror: Mirror::new(Arc::clone(&ahead)),
            request,
            ahead,
            unseen: BTreeMap::new(),
            fresh: BTreeMap::new(),
            _dir: dir,
        }
    }

    /// Binds and reads everything, and lets the world come to rest.
    pub(crate) async fn warm_up(&mut self, polls: i64, period_seconds: i64) {
        for _ in 0..polls {
            self.poll().await;
            self.advance(period_seconds);
        }
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.advance_by(TimeDelta::seconds(seconds));
    }

    fn advance_by(&self, by: TimeDelta) {
        *self.ahead.lock().unwrap() += by;
        self.model.advance(by);
    }

    /// Whose rights are asked for when somebody labels.
    fn labeller(&self) -> Account {
        let ada = i64::try_from(self.model.user_id("ada").unwrap()).unwrap();
        Account {
            id: UserId(ada),
            login: "ada".to_owned(),
        }
    }

    /// One poll; nothing may be unknown after it.
    pub(crate) async fn poll(&mut self) {
        let report = self.observer.poll(&self.request, &self.mirror).await;
        for line in &report.repositories {
            let read = matches!(
                line.outcome,
                RepositoryOutcome::Read { .. } | RepositoryOutcome::Unchanged
            );
            assert!(read, "{line:?}");
        }
        let state = self.mirror.state.lock().unwrap();
        let labelled = |name: &String| {
            let id = id_of(&self.model, name);
            let mut events = state.events.values();
            events.any(|event| event.repository == id)
        };
        self.unseen.retain(|name, _| !labelled(name));
        drop(state);
        for polls in self.unseen.values_mut().chain(self.fresh.values_mut()) {
            *polls += 1;
        }
        self.fresh.retain(|_, polls| *polls <= 2);
        let fresh: Vec<RepositoryId> = self
            .fresh
            .keys()
            .map(|name| id_of(&self.model, name))
            .collect();
        let is_fresh = |id: &RepositoryId| fresh.contains(id);
        self.request.actors.retain(|(id, _)| is_fresh(id));
        self.request.branches.retain(|(id, _)| is_fresh(id));
    }

    /// Somebody writes a comment.
    pub(crate) fn comment(&self, name: &str, chance: i64) {
        let number = u64::try_from(chance * 7 % ISSUES + 1).unwrap();
        self.model.comment(name, number, "ada", "A word.").unwrap();
    }

    /// Somebody labels an issue; from then on it is hot.
    pub(crate) fn trigger(&mut self, name: String) {
        self.model
            .add_label(&name, LABELLED, "ada", "run:dev")
            .unwrap();
        let repository = id_of(&self.model, &name);
        let number = IssueNumber(i64::try_from(LABELLED).unwrap());
        self.request.hot.push(Subject { repository, number });
        self.request.actors.push((repository, self.labeller()));
        let branch = BranchName::new(format!("codex/issue-{number}"));
        self.request.branches.push((repository, branch));
        self.unseen.insert(name.clone(), 0);
        self.fresh.insert(name, 0);
    }

    /// The run ends: the platform comments, exchanges the labels, and lets the issue go.
    pub(crate) fn finish(&mut self, name: &str) {
        let bot = "codex[bot]";
        let model = &self.model;
        model.comment(name, LABELLED, bot, "Done.").unwrap();
        model
            .add_label(name, LABELLED, bot, "state:in-review")
            .unwrap();
        model.remove_label(name, LABELLED, bot, "run:dev").unwrap();
        let id = id_of(model, name);
        self.request.hot.retain(|subject| subject.repository != id);
    }

    /// Triggers whose event was not read by the second poll.
    pub(crate) fn unseen_triggers(&self) -> Vec<String> {
        let late = self.unseen.iter().filter(|(_, polls)| **polls >= 2);
        late.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn counted(&self) -> Counted {
        Counted(self.model.counters())
    }
}

/// What the model counted.
pub(crate) struct Counted(Counters);

impl Counted {
    /// What was counted since an earlier look.
    pub(crate) fn since(mut self, before: &Self) -> Self {
        for (now, then) in [
            (&mut self.0.requests, &before.0.requests),
            (&mut self.0.points, &before.0.points),
        ] {
            for (name, count) in now.iter_mut() {
                *count -= then.get(name).copied().unwrap_or(0);
            }
        }
        self
    }

    pub(crate) fn graphql(&self) -> u64 {
        self.of("POST /graphql")
    }

    pub(crate) fn rest(&self) -> u64 {
        self.0.requests.values().sum::<u64>() - self.graphql()
    }

    pub(crate) fn points(&self) -> u64 {
        self.0.points.get("graphql").copied().unwrap_or(0)
    }

    pub(crate) fn renewals(&self) -> u64 {
        let all = self.0.requests.iter();
        all.filter(|(route, _)| route.ends_with("/access_tokens"))
            .map(|(_, count)| count)
            .sum()
    }

    fn of(&self, route: &str) -> u64 {
        self.0.requests.get(route).copied().unwrap_or(0)
    }

    pub(crate) fn print(&self, name: &str) {
        println!(
            "polling {name}: {} GraphQL requests of {} points",
            self.graphql(),
            self.points()
        );
        for (route, count) in self.0.requests.iter().filter(|(_, count)| **count > 0) {
            println!("polling {name}: {count:>6} {route}");
        }
    }
}

fn forge(model: &GitHubModel, ahead: &Ahead, app_id: u64, installation_id: u64) -> GithubForge {
    let credential = GithubCredential::App {
        app_id,
        installation_id,
        private_key: KEY.into(),
    };
    let mut settings = GithubSettings::new(model.rest_url().parse().unwrap(), "app", credential);
    settings.request_timeout = Duration::from_mins(2);
    settings.writes_per_minute = 1_000_000;
    let clock = Arc::clone(ahead);
    settings.clock = PauseClock::new(move || {
        Instant::now() + clock.lock().unwrap().to_std().unwrap_or_default()
    });
    GithubForge::new(
        settings,
        Arc::new(OpenGate),
        Arc::new(ForgeMetrics::default()),
    )
    .unwrap()
}

fn id_of(model: &GitHubModel, name: &str) -> RepositoryId {
    RepositoryId(i64::try_from(model.repository_id(name).unwrap()).unwrap())
}

fn reference(model: &GitHubModel, index: i64) -> RepositoryRef {
    let name = repository(index);
    RepositoryRef {
        id: id_of(model, &name),
        name: name.parse().unwrap(),
    }
}

/// Writes the variable that the platform writes when it binds a repository.
async fn own(forge: &GithubForge, repository: &RepositoryRef) {
    forge
        .set_variable(repository, OWNER_VARIABLE, INSTALLATION)
        .await
        .unwrap();
}

/// A mirror in memory.
#[derive(Debug)]
pub(crate) struct Mirror {
    ahead: Ahead,
    state: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    mirrors: BTreeMap<RepositoryId, RepositoryMirror>,
    issues: BTreeMap<(RepositoryId, IssueNumber), Issue>,
    events: BTreeMap<EventId, IssueEvent>,
}

impl Mirror {
    fn new(ahead: Ahead) -> Self {
        Self {
            ahead,
            state: Mutex::default(),
        }
    }
}

#[async_trait]
impl MirrorStore for Mirror {
    async fn now(&self) -> Result<Timestamp, MirrorError> {
        Ok(Utc::now() + *self.ahead.lock().unwrap())
    }

    async fn mirrors(&self) -> Result<Vec<RepositoryMirror>, MirrorError> {
        let state = self.state.lock().unwrap();
        Ok(state.mirrors.values().cloned().collect())
    }

    async fn issues(
        &self,
        repository: RepositoryId,
        numbers: &[IssueNumber],
    ) -> Result<Vec<Issue>, MirrorError> {
        let state = self.state.lock().unwrap();
        let rows = numbers
            .iter()
            .filter_map(|number| state.issues.get(&(repository, *number)));
        Ok(rows.cloned().collect())
    }

    async fn commit(&self, batch: MirrorBatch) -> Result<u64, MirrorError> {
        let mut state = self.state.lock().unwrap();
        for issue in batch.issues {
            state.issues.insert((issue.repository, issue.number), issue);
        }
        for event in batch.events {
            state.events.insert(event.id, event);
        }
        if let Some(mirror) = batch.mirror {
            state.mirrors.insert(mirror.id(), mirror);
        }
        Ok(1)
    }

    async fn mark_unknown(&self, id: RepositoryId, reason: &str) -> Result<(), MirrorError> {
        let mut state = self.state.lock().unwrap();
        if let Some(mirror) = state.mirrors.get_mut(&id) {
            mirror.unknown = Some(reason.to_owned());
        }
        Ok(())
    }
}
