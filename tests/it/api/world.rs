//! A run API over rows in memory, a forge with real Git, and a lease holder that
//! passes pushes on.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use codex_k8s::{
    api::{
        ApiMetrics, ModelCallRecord, ModelKeys, RunApi, RunApiParts, RunApiSettings, TokensUsed,
        mcp::ToolCallRecord,
        port::{GitRemote, GitRemotes, Inserted, PortError, RunAccess, RunStore, SessionBlob},
        run_router, serve,
    },
    domain::{
        agent_cli::AgentCli,
        approval::{Approval, ApprovalId},
        fact::{Fact, LabelsFact, PushFact, PushOutcome, ResultRecord, WaitFact},
        forge::ForgeKind,
        ids::{
            AttemptNo, CommitSha, IssueNumber, LabelName, ProjectKey, RepositoryId, RepositoryName,
            RunId, Subject,
        },
        run::{ChoiceSource, CommitIdentity, FrozenRun, PullRequestRule, Run, RunState},
        run_api::LogChunk,
        run_keys::RunKeys,
        tools::{ToolGrant, ToolName},
        trigger::{TriggerIdentity, TriggerKind, TriggerSource},
    },
    sandbox::github::{GitHubModel, GitHubModelConfig, Lag, Permission, RepositorySeed, TokenSeed},
};
use strum::IntoEnumIterator as _;
use tokio_util::sync::CancellationToken;

pub(crate) const REPO: &str = "example-org/app";
pub(crate) const BRANCH: &str = "codex/issue-7";

/// What the rows say.
pub(crate) struct Rows {
    pub(crate) run: Run,
    pub(crate) attempt: AttemptNo,
    pub(crate) away: bool,
    /// Whether pushes wait for their outcome for ever.
    pub(crate) stuck: bool,
    pub(crate) results: BTreeMap<AttemptNo, ResultRecord>,
    pub(crate) ended: Vec<String>,
    pub(crate) heartbeats: usize,
    pub(crate) pushes: Vec<(AttemptNo, PushFact)>,
    pub(crate) outcomes: BTreeMap<i64, PushOutcome>,
    pub(crate) logs: BTreeMap<(AttemptNo, i64), String>,
    pub(crate) session: Option<SessionBlob>,
    pub(crate) model_calls: Vec<ModelCallRecord>,
    /// Tokens that other runs of the project used today.
    pub(crate) used_by_others: u64,
    /// What the agent wants of labels.
    pub(crate) wishes: Vec<LabelsFact>,
    /// What each attempt said of its waiting.
    pub(crate) waits: Vec<(AttemptNo, WaitFact, chrono::DateTime<chrono::Utc>)>,
    pub(crate) approvals: Vec<Approval>,
    /// The labels of the run's issue.
    pub(crate) labels: Vec<LabelName>,
    pub(crate) tool_calls: Vec<ToolCallRecord>,
}

pub(crate) struct World {
    pub(crate) model: GitHubModel,
    pub(crate) url: String,
    pub(crate) keys: Arc<RunKeys>,
    memory: Arc<Memory>,
    stop: CancellationToken,
    pub(crate) dir: tempfile::TempDir,
}

struct Memory {
    rows: Mutex<Rows>,
    forge_url: String,
}

impl World {
    pub(crate) async fn new(command: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = GitHubModelConfig::new(dir.path().join("forge")).with_lag(Lag::NONE);
        let model = GitHubModel::start(config).await.unwrap();
        model.add_organization("example-org");
        model.add_user("ada");
        let seed = RepositorySeed::with_readme("An app.\n").permission("ada", Permission::Write);
        model.add_repository(REPO, &seed).unwrap();
        model
            .add_token("ada", "ada-token", &TokenSeed::default())
            .unwrap();
        let forge_url = model.git_url(REPO);
        let memory = Arc::new(Memory {
            rows: Mutex::new(rows(command)),
            forge_url,
        });
        let key = b"a key for the tests of the run API".to_vec().into();
        let keys = Arc::new(RunKeys::new(BTreeMap::from([(1, key)])).unwrap());
        let mut settings = RunApiSettings::production(dir.path().join("git"));
        settings.heartbeat = Duration::from_secs(1);
        settings.grace = Duration::from_secs(2);
        settings.push_wait = Duration::from_secs(20);
        settings.push_bytes = 256 * 1024;
        settings.tool_hold = Duration::from_millis(1_200);
        let api = RunApi::new(RunApiParts {
            models: ModelKeys::new(Some(dir.path().join("keys")), None, None).unwrap(),
            store: memory.clone(),
            remotes: memory.clone(),
            keys: keys.clone(),
            settings,
            metrics: ApiMetrics::register(&prometheus::Registry::new()).unwrap(),
        })
        .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, run_router(api), stop.clone()));
        Self {
            model,
            url,
            keys,
            memory,
            stop,
            dir,
        }
    }

    pub(crate) fn rows(&self) -> MutexGuard<'_, Rows> {
        self.memory.rows.lock().unwrap()
    }

    pub(crate) fn token(&self, attempt: i32) -> String {
        let run = self.rows().run.id;
        let token = self.keys.token(1, run, AttemptNo(attempt)).unwrap();
        token.expose().to_owned()
    }

    pub(crate) fn branch_head(&self) -> Option<String> {
        self.model.branch_commit(REPO, BRANCH)
    }

    /// A clone through the run API.
    pub(crate) async fn cloned(&self, token: &str) -> std::path::PathBuf {
        let clone = self.dir.path().join("clone");
        let remote = self.url.replace("http://", &format!("http://run:{token}@"));
        let remote = format!("{remote}/run/v1/git");
        let target = clone.display().to_string();
        let (ok, said) = git(self.dir.path(), &["clone", "-q", &remote, &target]).await;
        assert!(ok, "{said}");
        clone
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Real git, with what it said.
pub(crate) async fn git(folder: &Path, args: &[&str]) -> (bool, String) {
    let output = tokio::process::Command::new("git")
        .args(["-c", "user.name=ada", "-c", "user.email=ada@example.org"])
        .args(args)
        .current_dir(folder)
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

/// Waits for a condition, but not for ever.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

impl Memory {
    fn rows(&self) -> Result<MutexGuard<'_, Rows>, PortError> {
        let rows = self.rows.lock().unwrap();
        if rows.away {
            return Err(PortError::Unavailable(anyhow::anyhow!("switched off")));
        }
        Ok(rows)
    }

    /// What the lease holder does with a push.
    async fn pass_on(&self, push: &PushFact, pack: Vec<u8>) -> PushOutcome {
        let dir = tempfile::tempdir().unwrap();
        let url = self
            .forge_url
            .replace("http://", "http://x-access-token:ada-token@");
        let (ok, said) = git(dir.path(), &["clone", "-q", "--bare", &url, "."]).await;
        assert!(ok, "{said}");
        let mut index = tokio::process::Command::new("git")
            .args(["index-pack", "--stdin", "--fix-thin", "--strict"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = index.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stdin, &pack)
            .await
            .unwrap();
        drop(stdin);
        assert!(index.wait().await.unwrap().success(), "the pack is sound");
        let refspec = format!("{}:refs/heads/{}", push.new, push.branch);
        let (ok, reason) = git(dir.path(), &["push", "-q", &url, &refspec]).await;
        if ok {
            PushOutcome::Accepted
        } else {
            PushOutcome::Refused { reason }
        }
    }
}

#[async_trait]
impl RunStore for Memory {
    async fn run_access(&self, run: RunId) -> Result<Option<RunAccess>, PortError> {
        let rows = self.rows()?;
        let row = &rows.run;
        Ok((row.id == run).then(|| RunAccess {
            run,
            project: row.project.clone(),
            repository: row.repository,
            state: row.state,
            attempt: rows.attempt,
            key_version: 1,
            branch: row.branch.clone(),
            accepted_head: row.accepted_head.clone(),
            frozen: row.frozen.clone(),
            stopping_at: row.stopping_at,
            now: chrono::Utc::now(),
        }))
    }

    async fn get_run(&self, _run: RunId) -> Result<Option<Run>, PortError> {
        Ok(Some(self.rows()?.run.clone()))
    }

    async fn has_result(&self, _run: RunId, attempt: AttemptNo) -> Result<bool, PortError> {
        Ok(self.rows()?.results.contains_key(&attempt))
    }

    async fn insert_fact(
        &self,
        _run: RunId,
        attempt: AttemptNo,
        fact: &Fact,
    ) -> Result<Inserted, PortError> {
        let mut rows = self.rows()?;
        match fact {
            Fact::Heartbeat => rows.heartbeats += 1,
            Fact::Ended { reason } => rows.ended.push(reason.clone()),
            Fact::Result(record) => match rows.results.get(&attempt) {
                Some(first) if first == record => return Ok(Inserted::Repeated),
                Some(_) => return Ok(Inserted::Differs),
                None => {
                    rows.results.insert(attempt, record.clone());
                }
            },
            Fact::Push(_) => panic!("pushes come with their pack"),
            Fact::Labels(labels) => rows.wishes.push(labels.clone()),
            Fact::Wait(wait) => rows.waits.push((attempt, wait.clone(), chrono::Utc::now())),
        }
        Ok(Inserted::New)
    }

    async fn insert_push(
        &self,
        _run: RunId,
        attempt: AttemptNo,
        push: &PushFact,
        pack: Vec<u8>,
    ) -> Result<i64, PortError> {
        let (fact, stuck) = {
            let mut rows = self.rows()?;
            let known =
                |known: &(AttemptNo, PushFact)| known.0 == attempt && known.1.new == push.new;
            if let Some(at) = rows.pushes.iter().position(known) {
                return Ok(i64::try_from(at).unwrap());
            }
            rows.pushes.push((attempt, push.clone()));
            (i64::try_from(rows.pushes.len() - 1).unwrap(), rows.stuck)
        };
        if !stuck {
            let outcome = self.pass_on(push, pack).await;
            let mut rows = self.rows()?;
            if outcome == PushOutcome::Accepted {
                rows.run.accepted_head = Some(push.new.clone());
            }
            rows.outcomes.insert(fact, outcome);
        }
        Ok(fact)
    }

    async fn push_outcome(&self, fact: i64) -> Result<Option<PushOutcome>, PortError> {
        Ok(self.rows()?.outcomes.get(&fact).cloned())
    }

    async fn append_log_chunks(
        &self,
        _run: RunId,
        attempt: AttemptNo,
        chunks: &[LogChunk],
    ) -> Result<(), PortError> {
        let mut rows = self.rows()?;
        for chunk in chunks {
            let text = chunk.text.clone();
            rows.logs.entry((attempt, chunk.sequence)).or_insert(text);
        }
        Ok(())
    }

    async fn save_session(
        &self,
        _run: RunId,
        _attempt: AttemptNo,
        session: SessionBlob,
    ) -> Result<(), PortError> {
        self.rows()?.session = Some(session);
        Ok(())
    }

    async fn latest_session(&self, _run: RunId) -> Result<Option<SessionBlob>, PortError> {
        Ok(self.rows()?.session.clone())
    }

    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, PortError> {
        let rows = self.rows()?;
        Ok(rows.approvals.iter().find(|row| row.id == id).cloned())
    }

    async fn approvals_of(&self, _run: RunId) -> Result<Vec<Approval>, PortError> {
        Ok(self.rows()?.approvals.clone())
    }

    async fn labels_of(&self, subject: Subject) -> Result<Option<Vec<LabelName>>, PortError> {
        let rows = self.rows()?;
        Ok((subject == rows.run.work_subject()).then(|| rows.labels.clone()))
    }

    async fn wait_of(
        &self,
        _run: RunId,
        attempt: AttemptNo,
    ) -> Result<Option<(WaitFact, chrono::DateTime<chrono::Utc>)>, PortError> {
        let rows = self.rows()?;
        let newest = rows.waits.iter().rfind(|wait| wait.0 == attempt);
        Ok(newest.map(|(_, wait, at)| (wait.clone(), *at)))
    }

    async fn insert_tool_call(
        &self,
        _run: RunId,
        _attempt: AttemptNo,
        call: &ToolCallRecord,
    ) -> Result<(), PortError> {
        self.rows()?.tool_calls.push(call.clone());
        Ok(())
    }

    async fn tokens_used(
        &self,
        _run: RunId,
        _project: &ProjectKey,
    ) -> Result<TokensUsed, PortError> {
        let rows = self.rows()?;
        let told = rows.model_calls.iter().map(|call| call.usage);
        let used = told
            .map(|usage| usage.input.unwrap_or(0) + usage.output.unwrap_or(0))
            .sum();
        Ok(TokensUsed {
            run: used,
            project_today: used + rows.used_by_others,
        })
    }

    async fn insert_model_call(
        &self,
        _run: RunId,
        _attempt: AttemptNo,
        _project: &ProjectKey,
        call: &ModelCallRecord,
    ) -> Result<(), PortError> {
        self.rows()?.model_calls.push(call.clone());
        Ok(())
    }
}

#[async_trait]
impl GitRemotes for Memory {
    async fn remote(
        &self,
        _repository: RepositoryId,
        _name: &RepositoryName,
    ) -> anyhow::Result<GitRemote> {
        // `x-access-token:ada-token`
        let header = "Basic eC1hY2Nlc3MtdG9rZW46YWRhLXRva2Vu".to_owned();
        Ok(GitRemote {
            url: self.forge_url.parse()?,
            authorization: Some(header.into()),
        })
    }
}

fn rows(command: &[&str]) -> Rows {
    Rows {
        run: run(command),
        attempt: AttemptNo(1),
        away: false,
        stuck: false,
        results: BTreeMap::new(),
        ended: Vec::new(),
        heartbeats: 0,
        pushes: Vec::new(),
        outcomes: BTreeMap::new(),
        logs: BTreeMap::new(),
        session: None,
        model_calls: Vec::new(),
        used_by_others: 0,
        wishes: Vec::new(),
        waits: Vec::new(),
        approvals: Vec::new(),
        labels: Vec::new(),
        tool_calls: Vec::new(),
    }
}

fn run(command: &[&str]) -> Run {
    Run {
        id: RunId(uuid::Uuid::from_u128(77)),
        trigger: TriggerIdentity {
            forge: ForgeKind::Github,
            repository: RepositoryId(1),
            source: TriggerSource::Label,
            source_id: "1".to_owned(),
        },
        project: "app".into(),
        repository: RepositoryId(1),
        number: IssueNumber(7),
        work_item: IssueNumber(7),
        kind: TriggerKind {
            stage: "dev".into(),
            revise: false,
        },
        label: None,
        actor: None,
        state: RunState::Running,
        outcome: None,
        reason: None,
        held: None,
        priority: 0,
        frozen: Some(frozen(command)),
        branch: Some(BRANCH.into()),
        slot: None,
        accepted_head: None,
        pull_request: None,
        result: None,
        timeout_at: None,
        waiting_since: None,
        created_at: chrono::Utc::now(),
        preparing_at: None,
        started_at: None,
        stopping_at: None,
        finished_at: None,
        finalized_at: None,
        version: 1,
    }
}

fn frozen(command: &[&str]) -> FrozenRun {
    FrozenRun {
        revision: codex_k8s::domain::ids::Revision(1),
        config_sha: CommitSha::new("c".repeat(40)),
        repository_name: REPO.parse().unwrap(),
        agent: "coder".into(),
        policy: "default".to_owned(),
        runtime_mode: "full-env".to_owned(),
        image: "agent".to_owned(),
        cli: AgentCli::plain(command.iter().map(|word| (*word).to_owned()).collect()),
        models: None,
        tools: ToolGrant {
            tools: ToolName::iter().collect(),
            requests: ["run:qa".into()].into(),
            labels: ["need:qa".into()].into(),
            reserved: ["run:dev".into(), "state:blocked".into()].into(),
            patterns: ["area/*".to_owned()].into(),
        },
        environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        model: None,
        model_source: ChoiceSource::default(),
        reasoning: None,
        reasoning_source: ChoiceSource::default(),
        locale: "en".into(),
        template: "dev".to_owned(),
        template_scope: String::new(),
        template_locale: None,
        template_hash: String::new(),
        prompt: "Greet people.".to_owned(),
        prompt_hash: String::new(),
        base_branch: "main".into(),
        issue_title: "Greet people".to_owned(),
        pull_request: PullRequestRule::Required,
        closes_issue: true,
        learning: false,
        asked: Vec::new(),
        namespace: "run".to_owned(),
        timeout_seconds: 600,
        wait_seconds: 3_600,
        max_attempts: 3,
        success_labels: Vec::new(),
        question_labels: Vec::new(),
        failure_labels: Vec::new(),
        clear_labels: Vec::new(),
        allow_workflow_pushes: false,
        rbac_profile: None,
        requests: BTreeMap::new(),
        limits: BTreeMap::new(),
        runtime_class: None,
        author: CommitIdentity {
            name: "coder".to_owned(),
            email: "coder@example.org".to_owned(),
        },
        revises: None,
        reviews: Vec::new(),
    }
}
