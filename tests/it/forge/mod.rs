//! The GitHub adapter and the observer against the GitHub model, and against
//! small stubs where the model behaves too well.

mod adapter;
mod observer;
mod polling;
mod stub;
mod threads;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use codex_k8s::{
    domain::ids::{BranchName, CommitSha, IssueNumber, LabelName, RepositoryId, RepositoryName},
    forge::{
        ForgeMetrics, RepositoryRef, WriteGate,
        github::{GithubCredential, GithubForge, GithubSettings},
    },
    sandbox::github::{
        Fault, FaultRule, GitHubModel, GitHubModelConfig, Lag, Permission, RepositorySeed,
        TokenSeed,
    },
};

pub(crate) const REPO: &str = "example-org/app";

/// A gate that a test opens and closes.
#[derive(Debug, Default)]
pub(crate) struct Latch {
    pub(crate) closed: AtomicBool,
}

impl WriteGate for Latch {
    fn may_write(&self) -> Result<(), String> {
        if self.closed.load(Ordering::SeqCst) {
            return Err("the lease ends in 1 s".to_owned());
        }
        Ok(())
    }
}

/// Settings for a server on this machine.
fn settings(rest_url: &str, token: &str) -> GithubSettings {
    let credential = GithubCredential::Token(token.into());
    let mut settings = GithubSettings::new(rest_url.parse().unwrap(), "writer", credential);
    settings.request_timeout = Duration::from_secs(5);
    settings
}

fn forge_with(settings: GithubSettings, latch: &Arc<Latch>) -> GithubForge {
    let metrics = Arc::new(ForgeMetrics::default());
    GithubForge::new(settings, Arc::clone(latch) as Arc<dyn WriteGate>, metrics).unwrap()
}

/// The model with an organisation, three people and two repositories.
pub(crate) struct Scene {
    pub(crate) model: GitHubModel,
    pub(crate) latch: Arc<Latch>,
    dir: tempfile::TempDir,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with_lag(Lag::NONE).await
    }

    pub(crate) async fn with_lag(lag: Lag) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = GitHubModelConfig::new(dir.path()).with_lag(lag);
        let model = GitHubModel::start(config).await.unwrap();
        model.add_organization("example-org");
        for login in ["ada", "grace", "codex"] {
            model.add_user(login);
        }
        for name in [REPO, "example-org/lib"] {
            let seed = RepositorySeed::with_readme("A thing.\n")
                .label("run:dev")
                .permission("ada", Permission::Write)
                .permission("grace", Permission::Read)
                .permission("codex", Permission::Admin);
            model.add_repository(name, &seed).unwrap();
        }
        let everything = TokenSeed::default();
        model
            .add_token("codex", "codex-token", &everything)
            .unwrap();
        let latch = Arc::default();
        Self { model, latch, dir }
    }

    pub(crate) fn forge(&self) -> GithubForge {
        forge_with(settings(&self.model.rest_url(), "codex-token"), &self.latch)
    }

    /// The same, but the server has no GraphQL.
    async fn forge_without_graphql(&self) -> GithubForge {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nowhere = format!("http://{}/graphql", listener.local_addr().unwrap());
        let router = axum::Router::new();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let mut settings = settings(&self.model.rest_url(), "codex-token");
        settings.graphql_url = Some(nowhere.parse().unwrap());
        forge_with(settings, &self.latch)
    }

    pub(crate) fn repo(&self, name: &str) -> RepositoryRef {
        RepositoryRef {
            id: RepositoryId(i64::try_from(self.model.repository_id(name).unwrap()).unwrap()),
            name: name.parse().unwrap(),
        }
    }

    pub(crate) fn open(&self, title: &str) -> IssueNumber {
        let number = self
            .model
            .open_issue(REPO, "ada", title, "words", &[])
            .unwrap();
        IssueNumber(i64::try_from(number).unwrap())
    }

    fn label(&self, number: IssueNumber) {
        let number = u64::try_from(number.0).unwrap();
        self.model
            .add_label(REPO, number, "ada", "run:dev")
            .unwrap();
    }
}

fn requests(forge: &GithubForge, result: &str) -> u64 {
    let all: BTreeMap<_, _> = forge.metrics().snapshot().requests;
    all.iter()
        .filter(|((_, it), _)| *it == result)
        .map(|(_, count)| count)
        .sum()
}

fn label(name: &str) -> LabelName {
    LabelName::from(name)
}

fn branch(name: &str) -> BranchName {
    BranchName::new(name)
}

fn sha(text: &str) -> CommitSha {
    CommitSha::new(text)
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}
