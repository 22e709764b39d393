//! The whole world around `serve`: database, GitHub model, Kubernetes, config repo.
//!
//! ```text
//!  SandboxWorld ─┬─ private Postgres (or a database on DATABASE_URL's server)
//!                ├─ GitHub model ── example-org, its people, the platform's account
//!                ├─ Kubernetes model, pods as processes (or a cluster of yours)
//!                ├─ config repo ── bare Git repository with the example organisation
//!                └─ serve ── child; its settings are all `CODEXK8S_*` variables
//! ```
//!
//! The world survives the death of `serve` in any way, and `serve` does not
//! survive the world. Dropping the world ends and removes everything; where this
//! process is killed, its cleaner does that. A cluster that was given is cleaned by
//! [`SandboxWorld::end`] alone.

mod cleaner;
mod config_repo;
mod database;
mod ports;
mod serve;
mod told;

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use self::{cleaner::Cleaner, database::WorldDatabase, ports::Ports, told::Told};
use super::{
    github::{ContractCheck, GitHubModel, GitHubModelConfig, Lag},
    given_cluster::GivenCluster,
    kubernetes::{KubernetesModel, ProcessRunner},
    models::{ModelScript, ScriptedModel},
    postgres::PrivatePostgres,
    seed::{self, AgentProgram, SeededAgent},
};
use crate::store::{Store, StoreSettings};

pub use self::{
    config_repo::ConfigRepo,
    serve::{ServeChild, ServeCommand},
};

/// The platform's own namespace in the cluster.
const MODEL_KEYS: &str = "model-keys";
const PROVIDERS: [&str; 2] = ["openai", "anthropic"];
const PLATFORM_NAMESPACE: &str = "codex-k8s";
/// How long `serve` may take to end when asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How a world is set up.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// The program that `serve`, `agent` and the scripted agent are; ours where none is named.
    pub binary: Option<PathBuf>,
    /// A server to make the database on, instead of a private one.
    pub database_url: Option<SecretString>,
    /// A cluster, instead of the model.
    pub kubeconfig: Option<PathBuf>,
    /// The image of the agents' pods, in a cluster that is given; the example's own where
    /// none is named.
    pub image: Option<String>,
    /// Where `serve` listens for pods, and what they are told.
    pub run_address: IpAddr,
    /// Leave the world's folder behind.
    pub keep: bool,
    /// A real program as the agent, with a scripted model, instead of the scripted agent.
    pub program: Option<AgentProgram>,
    /// A folder of programs that pods as processes find beside those on our own `PATH`.
    pub programs: Option<PathBuf>,
    /// How long the scripted agent works.
    pub agent_seconds: f64,
    /// Read-after-write delays of the GitHub model.
    pub lag: Lag,
    /// Draws the delays.
    pub seed: u64,
    /// What is done about exchanges that break GitHub's contract.
    pub contract: ContractCheck,
    /// Settings that win over the world's own.
    pub settings: BTreeMap<String, String>,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            binary: None,
            database_url: None,
            kubeconfig: None,
            image: None,
            run_address: Ipv4Addr::LOCALHOST.into(),
            keep: false,
            program: None,
            programs: None,
            agent_seconds: 2.0,
            lag: Lag::default(),
            seed: 1,
            contract: ContractCheck::OFF,
            settings: BTreeMap::new(),
        }
    }
}

/// Where people and programs find things.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The staff API.
    pub api: String,
    /// Health and metrics.
    pub ops: String,
    /// The bearer token of the staff API.
    pub api_token: String,
}

/// The world. See the module.
#[derive(Debug)]
pub struct SandboxWorld {
    // In the order in which they must end.
    serve: Option<ServeChild>,
    kubernetes: Option<Kubernetes>,
    github: GitHubModel,
    database: WorldDatabase,
    _cleaner: Cleaner,
    _ports: Ports,
    config: ConfigRepo,
    model: Option<ScriptedModel>,
    command: ServeCommand,
    addresses: Addresses,
    kubeconfig: PathBuf,
    folder: PathBuf,
}

impl SandboxWorld {
    /// Starts everything but `serve`; `progress` hears what is there and how long it took.
    pub async fn start(
        options: WorldOptions,
        mut progress: impl FnMut(&str, Duration),
    ) -> anyhow::Result<Self> {
        let folder = make_folder().context("make the sandbox's folder")?;
        let cleaner = Cleaner::start(&folder, options.keep).context("start the cleaner")?;
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => std::env::current_exe().context("find this program")?,
        };
        let began = Instant::now();
        let database = WorldDatabase::make(options.database_url.clone()).await?;
        progress("Postgres, migrated, with two logins", began.elapsed());
        let began = Instant::now();
        let secrets = Secrets::draw();
        let github = start_github(&folder, &options, &secrets).await?;
        progress("GitHub model with example-org", began.elapsed());
        let began = Instant::now();
        let installation = installation(&options);
        let (kubernetes, kubeconfig) =
            Kubernetes::start(&folder, &options, &binary, &installation).await?;
        progress(kubernetes.describe(), began.elapsed());
        let began = Instant::now();
        let model = match options.program {
            None => None,
            Some(_) => Some(start_model(&folder, &secrets.model_key).await?),
        };
        let agent = match options.program.zip(model.as_ref()) {
            None => SeededAgent::Scripted(options.agent_seconds),
            Some((program, model)) => SeededAgent::Program(program, model.url()),
        };
        let files = seed::config_files(&agent, options.image.as_deref());
        let config = ConfigRepo::create(&folder.join("config.git"), &files)
            .context("make the config repo")?;
        progress("config repo with the example organisation", began.elapsed());
        let ports = Ports::take().context("find ports for serve")?;
        let addresses = addresses(ports.numbers, &secrets);
        let mut settings = Told {
            folder: &folder,
            options: &options,
            secrets: &secrets,
            github: &github,
            database: &database,
            config: &config,
            kubeconfig: &kubeconfig,
            installation: &installation,
            ports: ports.numbers,
        }
        .settings();
        settings.extend(options.settings.clone());
        Ok(Self {
            serve: None,
            kubernetes: Some(kubernetes),
            github,
            database,
            _cleaner: cleaner,
            _ports: ports,
            config,
            model,
            command: ServeCommand {
                binary,
                arguments: Vec::new(),
                settings,
                log: folder.join("serve.log"),
                pid_file: folder.join("serve.pid"),
            },
            addresses,
            kubeconfig,
            folder,
        })
    }

    /// The GitHub model.
    pub fn github(&self) -> &GitHubModel {
        &self.github
    }

    /// The Kubernetes model; none where a cluster was given.
    pub fn kubernetes(&self) -> Option<&KubernetesModel> {
        match &self.kubernetes {
            Some(Kubernetes::Model(model)) => Some(model),
            _ => None,
        }
    }

    /// The scripted model; none where the agent is scripted itself.
    pub fn model(&self) -> Option<&ScriptedModel> {
        self.model.as_ref()
    }

    /// The key of the scripted model, which nobody but the run API may know.
    pub fn model_key(&self) -> std::io::Result<String> {
        fs::read_to_string(self.folder.join(MODEL_KEYS).join(PROVIDERS[0]))
    }

    /// The config repo.
    pub fn config(&self) -> &ConfigRepo {
        &self.config
    }

    /// The database as the reconciler's login.
    pub fn database_url(&self) -> &SecretString {
        &self.database.url
    }

    /// All `CODEXK8S_*` variables of `serve`; a copy can be changed for a further one.
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.command.settings
    }

    /// Changes a setting for the next start of `serve`.
    pub fn set(&mut self, variable: &str, value: &str) {
        let settings = &mut self.command.settings;
        settings.insert(variable.to_owned(), value.to_owned());
    }

    /// Where people and programs find things.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The kubeconfig file in use.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The world's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file that `serve` logs to.
    pub fn serve_log(&self) -> &Path {
        &self.command.log
    }

    /// The last lines that `serve` logged.
    pub fn serve_log_tail(&self, lines: usize) -> String {
        self.command.log_tail(lines)
    }

    /// Reads of the platform's rows.
    pub async fn store(&self) -> anyhow::Result<Store> {
        let mut settings = StoreSettings::new(self.database.url.expose_secret());
        settings.max_connections = 2;
        "codex-k8s sandbox".clone_into(&mut settings.application_name);
        Store::connect(&settings)
            .await
            .context("connect to the database")
    }

    /// Starts `serve`; where one runs, it is killed first.
    pub fn start_serve(&mut self) -> anyhow::Result<u32> {
        self.serve = None;
        let child = self.command.spawn().context("start serve")?;
        let id = child.id();
        self.serve = Some(child);
        Ok(id)
    }

    /// The running `serve`, if there is one.
    pub fn serve(&mut self) -> Option<&mut ServeChild> {
        self.serve.as_mut()
    }

    /// How `serve` is started; a changed copy starts a further one.
    pub fn command(&self) -> &ServeCommand {
        &self.command
    }

    /// The private Postgres; none where the database is on a server that was given.
    pub fn postgres(&self) -> Option<&PrivatePostgres> {
        self.database.private()
    }

    /// A further `serve` beside the first, with settings of its own.
    pub fn spawn_other(&self, change: &[(&str, &str)]) -> std::io::Result<ServeChild> {
        let mut command = self.command.clone();
        for (variable, value) in change {
            let settings = &mut command.settings;
            settings.insert((*variable).to_owned(), (*value).to_owned());
        }
        command.pid_file = self.folder.join("other.pid");
        command.spawn()
    }

    /// Kills `serve` as a crash does.
    pub fn kill_serve(&mut self) -> anyhow::Result<()> {
        if let Some(child) = self.serve.take() {
            child.kill().context("kill serve")?;
        }
        Ok(())
    }

    /// Asks `serve` to end and waits for that.
    pub async fn stop_serve(&mut self) -> anyhow::Result<()> {
        if let Some(child) = self.serve.take() {
            child.stop(STOP_PATIENCE).await.context("stop serve")?;
        }
        Ok(())
    }

    /// Ends everything in good order; what dropping does, and a database that was made on a
    /// shared server is removed as well.
    pub async fn end(mut self) -> anyhow::Result<()> {
        self.stop_serve().await?;
        if let Some(Kubernetes::Given(cluster)) = self.kubernetes.take() {
            cluster.clean().await.context("clean the cluster")?;
        }
        self.database.remove().await.context("remove the database")
    }
}

struct Secrets {
    tokens: seed::Tokens,
    run_key: String,
    model_key: String,
    api_token: String,
    control: String,
}

impl Secrets {
    fn draw() -> Self {
        let word = || Uuid::new_v4().simple().to_string();
        Self {
            tokens: seed::Tokens {
                writing: word(),
                reading: word(),
            },
            run_key: format!("{}{}", word(), word()),
            model_key: format!("sk-model-{}", word()),
            api_token: word(),
            control: word(),
        }
    }
}

fn make_folder() -> std::io::Result<PathBuf> {
    let folder = tempfile::Builder::new()
        .prefix("codex-k8s-sandbox-")
        .tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
    // The cleaner removes it.
    let folder = folder.keep();
    folder.canonicalize()
}

async fn start_github(
    folder: &Path,
    options: &WorldOptions,
    secrets: &Secrets,
) -> anyhow::Result<GitHubModel> {
    let mut config = GitHubModelConfig::new(folder.join("github"))
        .with_lag(options.lag)
        .with_seed(options.seed);
    config.control_secret.clone_from(&secrets.control);
    config.contract = options.contract.clone();
    let github = GitHubModel::start(config)
        .await
        .context("start the GitHub model")?;
    seed::fill(&github, &secrets.tokens).context("fill the GitHub model")?;
    Ok(github)
}

/// Starts a model for real programs, with its key where the run API finds it.
async fn start_model(folder: &Path, key: &str) -> anyhow::Result<ScriptedModel> {
    let keys = folder.join(MODEL_KEYS);
    fs::create_dir_all(&keys).context("make the folder of model keys")?;
    for provider in PROVIDERS {
        fs::write(keys.join(provider), key).context("write a model's key")?;
    }
    ScriptedModel::start(key, ModelScript::example()).await
}

/// Where pods run.
#[derive(Debug)]
enum Kubernetes {
    /// The model in this process.
    Model(KubernetesModel),
    /// Somebody's cluster.
    Given(GivenCluster),
}

impl Kubernetes {
    /// Starts the model, or prepares the cluster that was given; with `serve`'s kubeconfig.
    async fn start(
        folder: &Path,
        options: &WorldOptions,
        binary: &Path,
        installation: &str,
    ) -> anyhow::Result<(Self, PathBuf)> {
        if let Some(given) = &options.kubeconfig {
            let (cluster, path) = GivenCluster::prepare(given, folder, installation).await?;
            return Ok((Self::Given(cluster), path));
        }
        let mut runner = ProcessRunner::new(folder.join("pods"), binary);
        if let Some(programs) = &options.programs {
            let path = std::env::var("PATH").unwrap_or_default();
            runner = runner.with_env("PATH", &format!("{}:{path}", programs.display()));
        }
        let model = KubernetesModel::start(Arc::new(runner))
            .await
            .context("start the Kubernetes model")?;
        model.ensure_namespace(PLATFORM_NAMESPACE);
        let path = folder.join("kubeconfig");
        fs::write(&path, model.kubeconfig()).context("write the kubeconfig")?;
        Ok((Self::Model(model), path))
    }

    fn describe(&self) -> &'static str {
        match self {
            Self::Model(_) => "Kubernetes model, pods as processes",
            Self::Given(_) => "your Kubernetes, the platform's rights installed",
        }
    }
}

/// One of its own where others may use the same cluster.
fn installation(options: &WorldOptions) -> String {
    match options.kubeconfig {
        None => "sandbox".to_owned(),
        Some(_) => format!("sandbox-{}", &Uuid::new_v4().simple().to_string()[..8]),
    }
}

fn addresses([_, api, ops]: [u16; 3], secrets: &Secrets) -> Addresses {
    Addresses {
        api: format!("http://127.0.0.1:{api}"),
        ops: format!("http://127.0.0.1:{ops}"),
        api_token: secrets.api_token.clone(),
    }
}
