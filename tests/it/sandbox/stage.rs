//! A world with the real `serve` in it, and waits for what people would see.

use std::{
    collections::BTreeMap,
    io::Write as _,
    panic::Location,
    path::PathBuf,
    time::{Duration, Instant},
};

use codex_k8s::{
    domain::{
        event::EventKind,
        ids::RunId,
        run::{Run, RunState},
    },
    sandbox::{
        github::ContractCheck,
        seed::{AgentProgram, PERSON, PLATFORM_LOGIN, REPOSITORY},
        world::{SandboxWorld, WorldOptions},
    },
    store::{RunFilter, Store},
};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sqlx::PgPool;

use crate::support::cluster::RealCluster;

/// No wait is longer, unless a test says what it promises.
pub(super) const DEADLINE: Duration = Duration::from_mins(5);
/// The metric that counts passes.
pub(super) const PASSES: &str = "codexk8s_pass_duration_seconds_count";
/// What `make image` calls it.
const RUNNER_IMAGE: &str = "codex-k8s/runner:latest";
const AGENT_IMAGE: &str = "codex-k8s/agent:latest";
/// Secrets that nothing here makes use of: what is found of them was given away.
const PLANTED: [(&str, &str); 2] = [
    ("CODEXK8S_WEBHOOK_SECRET", "canary-of-the-webhook-5e1fa07c"),
    ("CODEXK8S_CONFIG_TOKEN", "canary-of-the-config-90ab3d42"),
];
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The world, its rows and its people.
pub(super) struct Stage {
    pub(super) world: SandboxWorld,
    pub(super) store: Store,
    pub(super) db: PgPool,
}

impl Stage {
    /// A world whose agent works this long, with `serve` running and the repositories read.
    pub(super) async fn start(agent_seconds: f64, settings: &[(&str, &str)]) -> Self {
        let mut stage = Self::prepare(agent_seconds, settings).await;
        stage.serve().await;
        stage
    }

    /// The same before `serve` runs.
    pub(super) async fn prepare(agent_seconds: f64, settings: &[(&str, &str)]) -> Self {
        Self::with(given_server(), options(agent_seconds, settings)).await
    }

    /// The same on a server of its own, which a test may restart.
    pub(super) async fn prepare_alone(agent_seconds: f64, settings: &[(&str, &str)]) -> Self {
        Self::with(None, options(agent_seconds, settings)).await
    }

    /// The same on a real Kubernetes, its node holding the runner's image.
    pub(super) async fn on(cluster: &RealCluster, agent_seconds: f64) -> Self {
        let options = WorldOptions {
            kubeconfig: Some(cluster.kubeconfig.clone()),
            image: Some(RUNNER_IMAGE.to_owned()),
            run_address: cluster.host_address.parse().unwrap(),
            ..options(agent_seconds, &[])
        };
        Self::with(given_server(), options).await
    }

    /// A world whose agents are a real program from this folder, with a scripted model.
    pub(super) async fn of_program(program: AgentProgram, programs: PathBuf) -> Self {
        let mut stage = Self::prepare_program(program, programs).await;
        stage.serve().await;
        stage
    }

    /// The same before `serve` runs.
    pub(super) async fn prepare_program(program: AgentProgram, programs: PathBuf) -> Self {
        let options = WorldOptions {
            program: Some(program),
            programs: Some(programs),
            ..options(0.0, &PLANTED)
        };
        Self::with(given_server(), options).await
    }

    /// The same on a real Kubernetes, its node holding the agent's image, which policy wants
    /// named by its digest.
    pub(super) async fn of_program_on(cluster: &RealCluster, program: AgentProgram) -> Self {
        let options = WorldOptions {
            kubeconfig: Some(cluster.kubeconfig.clone()),
            image: Some(cluster.pinned(AGENT_IMAGE)),
            run_address: cluster.host_address.parse().unwrap(),
            program: Some(program),
            ..options(0.0, &PLANTED)
        };
        let mut stage = Self::with(given_server(), options).await;
        stage.serve().await;
        stage
    }

    async fn with(given: Option<String>, options: WorldOptions) -> Self {
        let options = WorldOptions {
            binary: Some(PathBuf::from(env!("CARGO_BIN_EXE_codex-k8s"))),
            database_url: given.map(SecretString::from),
            contract: ContractCheck::enforcing(),
            ..options
        };
        let world = SandboxWorld::start(options, |_, _| {}).await.unwrap();
        let store = world.store().await.unwrap();
        let db = PgPool::connect(world.database_url().expose_secret())
            .await
            .unwrap();
        Self { world, store, db }
    }

    /// Starts `serve` and waits until the repositories are read.
    pub(super) async fn serve(&mut self) {
        self.world.start_serve().unwrap();
        let stage = &*self;
        stage
            .until("both repositories are read, and passes run", || async {
                let mirrors = stage.store.mirrors().await.unwrap();
                let read = mirrors
                    .iter()
                    .filter(|mirror| mirror.complete && mirror.unknown.is_none());
                let passes = stage.metric(PASSES).await;
                (read.count() == 2 && passes > 0.0).then_some(())
            })
            .await;
    }

    /// Waits for a condition; what happened so far is shown where it does not come.
    #[track_caller]
    pub(super) fn until<T, F>(
        &self,
        what: &str,
        check: impl FnMut() -> F,
    ) -> impl Future<Output = T>
    where
        F: Future<Output = Option<T>>,
    {
        self.within(DEADLINE, what, check)
    }

    /// Waits no longer than what is promised.
    #[track_caller]
    pub(super) fn within<T, F>(
        &self,
        limit: Duration,
        what: &str,
        mut check: impl FnMut() -> F,
    ) -> impl Future<Output = T>
    where
        F: Future<Output = Option<T>>,
    {
        let place = Location::caller();
        async move {
            let began = Instant::now();
            loop {
                if let Some(found) = check().await {
                    return found;
                }
                if began.elapsed() > limit {
                    let history = self.history().await;
                    panic!("{place}: not within {limit:?}: {what}\n{history}");
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// All that the platform wrote anywhere, each with its place: rows, its log, what is on the
    /// forge, its metrics.
    pub(super) async fn everything_written(&self) -> Vec<(String, String)> {
        let tables: Vec<String> = sqlx::query_scalar(
            "select table_name::text from information_schema.tables where table_schema = 'public'",
        )
        .fetch_all(&self.db)
        .await
        .unwrap();
        let mut queries: Vec<(String, String)> = tables
            .iter()
            .map(|table| {
                (
                    format!("table {table}"),
                    format!("select t::text from {table} t"),
                )
            })
            .collect();
        for table in ["log_chunks", "sessions"] {
            let query = format!("select encode(bytes, 'escape') from {table}");
            queries.push((format!("bytes of {table}"), query));
        }
        let mut written = Vec::new();
        for (place, query) in queries {
            let rows = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(query));
            let rows = rows.fetch_all(&self.db).await.unwrap();
            written.push((place, rows.join("\n")));
        }
        let log = std::fs::read_to_string(self.world.serve_log()).unwrap();
        written.push(("serve's log".to_owned(), log));
        let forge = self.world.github().state_json().to_string();
        written.push(("the forge".to_owned(), forge));
        let metrics = format!("{}/metrics", self.world.addresses().ops);
        let metrics = reqwest::get(metrics).await.unwrap().text().await.unwrap();
        written.push(("metrics".to_owned(), metrics));
        written
    }

    /// Everything that helps to see why something did not come.
    pub(super) async fn history(&self) -> String {
        let mut lines = vec!["events:".to_owned()];
        let reads = self.store.reads();
        for event in reads.events_since(0, 10_000).await.unwrap_or_default() {
            let new = &event.event;
            let on = new.subject.map(|subject| subject.number.0);
            lines.push(format!(
                "  {} {on:?} {} {}",
                event.created_at, new.kind, new.payload
            ));
        }
        lines.push("report:".to_owned());
        for line in reads.report_lines(None).await.unwrap_or_default() {
            lines.push(format!(
                "  {} {}: {}",
                line.candidate, line.state, line.reason
            ));
        }
        lines.push(format!(
            "forge: {:#}",
            self.world.github().state_json()["repositories"][0]
        ));
        let exchanges = self.world.github().exchanges();
        lines.push(format!("against the contract: {:#?}", exchanges.violations));
        lines.push(format!("serve's log:\n{}", self.world.serve_log_tail(40)));
        lines.join("\n")
    }

    /// Puts a label on an issue of the repository.
    pub(super) fn label(&self, number: u64, label: &str) {
        self.label_as(PERSON, number, label);
    }

    pub(super) fn label_as(&self, login: &str, number: u64, label: &str) {
        self.world
            .github()
            .add_label(REPOSITORY, number, login, label)
            .unwrap();
    }

    pub(super) fn unlabel(&self, number: u64, label: &str) {
        self.world
            .github()
            .remove_label(REPOSITORY, number, PERSON, label)
            .unwrap();
    }

    /// An issue or pull request as the forge has it, without lag.
    pub(super) fn issue(&self, number: u64) -> Value {
        let state = self.world.github().state_json();
        let all = state["repositories"].as_array().unwrap();
        let repository = all.iter().find(|one| one["name"] == REPOSITORY).unwrap();
        let issues = repository["issues"].as_array().unwrap();
        issues
            .iter()
            .find(|issue| issue["number"] == number)
            .unwrap()
            .clone()
    }

    pub(super) fn labels(&self, number: u64) -> Vec<String> {
        let issue = self.issue(number);
        let labels = issue["labels"].as_array().unwrap().iter();
        labels
            .map(|label| label.as_str().unwrap().to_owned())
            .collect()
    }

    /// Numbers of the repository's pull requests.
    pub(super) fn pulls(&self) -> Vec<u64> {
        let state = self.world.github().state_json();
        let all = state["repositories"].as_array().unwrap().iter();
        let issues = all.flat_map(|repository| repository["issues"].as_array().unwrap().clone());
        let pulls = issues.filter(|issue| !issue["pull"].is_null());
        pulls.map(|pull| pull["number"].as_u64().unwrap()).collect()
    }

    /// The platform's comments on a subject.
    pub(super) fn comments(&self, number: u64) -> Vec<String> {
        let issue = self.issue(number);
        let comments = issue["comments"].as_array().unwrap().iter();
        comments
            .filter(|comment| comment["author"] == PLATFORM_LOGIN)
            .map(|comment| comment["body"].as_str().unwrap().to_owned())
            .collect()
    }

    /// All runs, oldest first.
    pub(super) async fn runs(&self) -> Vec<Run> {
        let mut runs = self
            .store
            .reads()
            .list_runs(&RunFilter::default(), 100)
            .await
            .unwrap();
        runs.sort_by_key(|run| run.created_at);
        runs
    }

    /// Runs of an issue's label, oldest first.
    pub(super) async fn runs_on(&self, number: i64) -> Vec<Run> {
        let mut runs = self.runs().await;
        runs.retain(|run| run.number.0 == number);
        runs
    }

    /// Waits until an issue's newest run is in a state.
    #[track_caller]
    pub(super) fn run_in(&self, number: i64, state: RunState) -> impl Future<Output = Run> {
        let place = Location::caller();
        async move {
            let what = format!("{place}: the newest run on {number} is {state}");
            self.until(&what, || async {
                let newest = self.runs_on(number).await.pop()?;
                (newest.state == state).then_some(newest)
            })
            .await
        }
    }

    /// Waits until an issue's newest run has been in a state, or is past it.
    #[track_caller]
    pub(super) fn passed(&self, number: i64, state: RunState) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            let what = format!("{place}: the newest run on {number} was {state}");
            self.until(&what, || async {
                let newest = self.runs_on(number).await.pop()?;
                (newest.state >= state).then_some(())
            })
            .await;
        }
    }

    /// Waits until a run ended and its finishing chain is through.
    #[track_caller]
    pub(super) fn finished(&self, number: i64, state: RunState) -> impl Future<Output = Run> {
        let place = Location::caller();
        async move {
            let what = format!("{place}: the newest run on {number} is {state} and finished");
            self.until(&what, || async {
                let newest = self.runs_on(number).await.pop()?;
                let through = newest.finalized_at.is_some() && self.namespace_gone(newest.id).await;
                (newest.state == state && through).then_some(newest)
            })
            .await
        }
    }

    async fn namespace_gone(&self, run: RunId) -> bool {
        let events = self.store.reads().events_of(run).await.unwrap();
        let had = events
            .iter()
            .any(|event| event.event.kind == EventKind::NamespacePrepared);
        let cleaned = events
            .iter()
            .any(|event| event.event.kind == EventKind::NamespaceCleaned);
        cleaned || !had
    }

    /// Namespaces of runs that the cluster still has.
    pub(super) fn run_namespaces(&self) -> Vec<String> {
        let all = self.world.kubernetes().unwrap().objects("namespaces");
        let names = all
            .iter()
            .map(|one| one["metadata"]["name"].as_str().unwrap().to_owned());
        names
            .filter(|name| name.starts_with("codex-issue-"))
            .collect()
    }

    /// Processes that work in some pod's folder.
    pub(super) fn pod_processes(&self) -> Vec<u32> {
        let pods = self.world.folder().join("pods");
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let folder = std::fs::read_link(entry.path().join("cwd")).ok()?;
            folder.starts_with(&pods).then_some(id)
        })
        .collect()
    }

    /// Processes of the scripted agent itself.
    pub(super) fn agents(&self) -> Vec<u32> {
        let mut all = self.pod_processes();
        all.retain(|id| {
            let words = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains("sandbox-agent")
        });
        all
    }

    /// A counter or count of `serve`'s metrics, summed over its labels.
    pub(super) async fn metric(&self, name: &str) -> f64 {
        let url = format!("{}/metrics", self.world.addresses().ops);
        let Ok(answer) = reqwest::get(url).await else {
            return 0.0;
        };
        let text = answer.text().await.unwrap_or_default();
        let of = |line: &&str| line.split(['{', ' ']).next() == Some(name);
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        text.lines().filter(of).filter_map(value).sum()
    }

    /// Rows written so far by table, the lease aside, as Postgres counts them.
    pub(super) async fn rows_written(&self) -> BTreeMap<String, i64> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "select relname::text, n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables
             where relname <> 'lease'",
        )
        .fetch_all(&self.db)
        .await
        .unwrap();
        rows.into_iter().collect()
    }

    /// A table's rows as JSON.
    pub(super) async fn table(&self, name: &str) -> Value {
        let statement = format!("select coalesce(jsonb_agg(to_jsonb(t)), '[]') from {name} t");
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_one(&self.db)
            .await
            .unwrap()
    }

    /// A file of the config repo as it is now.
    pub(super) fn config_file(&self, path: &str) -> String {
        let git = git2::Repository::open_bare(self.world.config().path()).unwrap();
        let tree = git.revparse_single("main^{tree}").unwrap();
        let file = tree.as_tree().unwrap().get_path(path.as_ref()).unwrap();
        let text = git.find_blob(file.id()).unwrap().content().to_owned();
        String::from_utf8(text).unwrap()
    }

    /// Asks for a pass and waits until it is through, again and again.
    pub(super) async fn force_passes(&mut self, passes: usize) {
        let id = self.world.serve().unwrap().id();
        let process = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        let stage = &*self;
        for _ in 0..passes {
            let before = stage.metric(PASSES).await;
            kill_process(process, Signal::USR1).unwrap();
            stage
                .until("the pass is through", || async {
                    (stage.metric(PASSES).await > before).then_some(())
                })
                .await;
        }
    }

    /// Ends the world in good order.
    pub(super) async fn end(self) {
        self.store.close().await;
        self.db.close().await;
        self.world.end().await.unwrap();
    }
}

/// A PostgreSQL that was given for tests.
fn given_server() -> Option<String> {
    let given = std::env::var("DATABASE_URL").ok();
    given.filter(|url| !url.is_empty())
}

fn options(agent_seconds: f64, settings: &[(&str, &str)]) -> WorldOptions {
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    WorldOptions {
        agent_seconds,
        settings: settings.collect(),
        ..WorldOptions::default()
    }
}

/// A line for whoever reads the test's output.
pub(super) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
