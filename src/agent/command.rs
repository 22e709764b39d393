//! The agent command: its words, its environment, its files, its process group, its end.
//!
//! What is peculiar to a program is data ([`AgentCli`]). It is given the prompt on standard
//! input and as a file, and nothing of the runner's own environment but what every program
//! needs.

use std::{
    collections::BTreeMap,
    fs,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use crate::domain::{
    agent_cli::{AgentCli, placeholders},
    run_api::{MCP_PATH, MODELS_PATH, RunFacts},
};

use super::{
    client::Client,
    heard::Hearing,
    machine::CommandEnd,
    output::Output,
    places::Places,
    report::{MAX_RESULT_FILE_BYTES, command_end},
};

/// Passed on from the runner's environment.
const KEPT: [&str; 14] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];
/// How often a group is looked at while it ends.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What stands in the place of placeholders.
pub(crate) struct Fillings(BTreeMap<&'static str, String>);

impl Fillings {
    /// Of one start of the run's program, that goes on with `session`.
    pub(crate) fn of(
        facts: &RunFacts,
        places: &Places,
        client: &Client,
        session: Option<&str>,
    ) -> Self {
        let runner = std::env::current_exe().unwrap_or_else(|_| "codex-k8s".into());
        let effort = facts.reasoning.as_ref();
        let effort = effort.map(|effort| facts.cli.efforts.get(effort).unwrap_or(effort));
        let provider = facts.cli.provider.as_ref();
        let models = provider.map(|name| client.address(&format!("{MODELS_PATH}/{name}")));
        let filled = [
            ("{model}", facts.model.clone()),
            ("{reasoning}", effort.cloned()),
            ("{session}", session.map(str::to_owned)),
            ("{home}", Some(places.home.display().to_string())),
            ("{work_dir}", Some(places.repository.display().to_string())),
            (
                "{prompt_file}",
                Some(places.prompt_file().display().to_string()),
            ),
            (
                "{result_file}",
                Some(places.result_file().display().to_string()),
            ),
            ("{runner}", Some(runner.display().to_string())),
            ("{run_url}", Some(client.address(""))),
            ("{models_url}", models),
            ("{mcp_url}", Some(client.address(MCP_PATH))),
            ("{run_token}", Some(client.token().to_owned())),
        ];
        let filled = filled.into_iter();
        Self(
            filled
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
        )
    }

    /// The text with its placeholders filled, those without a value by nothing.
    fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        // A value is never looked into: the model's name may hold braces of its own.
        while let Some(name) = placeholders(rest).next() {
            let at = rest.find(name).unwrap_or_default();
            filled.push_str(&rest[..at]);
            filled.push_str(self.0.get(name).map_or("", String::as_str));
            rest = &rest[at + name.len()..];
        }
        filled.push_str(rest);
        filled
    }

    fn has_all(&self, words: &[String]) -> bool {
        let mut names = words.iter().flat_map(|word| placeholders(word));
        names.all(|name| self.0.contains_key(name))
    }

    /// Whether the program is told to go on with a session.
    fn resume(&self, cli: &AgentCli) -> bool {
        !cli.resume.is_empty() && self.0.contains_key("{session}")
    }

    fn all(&self, words: &[String]) -> Vec<String> {
        words.iter().map(|word| self.fill(word)).collect()
    }
}

/// The program's words: those of a session where it goes on with one.
fn words(cli: &AgentCli, fillings: &Fillings) -> Vec<String> {
    let mut words = fillings.all(&cli.command);
    for group in cli.options.iter().filter(|group| fillings.has_all(group)) {
        words.extend(fillings.all(group));
    }
    if fillings.resume(cli) {
        words.extend(fillings.all(&cli.resume));
    }
    words.extend(fillings.all(&cli.end));
    words
}

/// The program's environment: the run's own last, so that it wins.
fn environment(facts: &RunFacts, places: &Places, fillings: &Fillings) -> BTreeMap<String, String> {
    let kept = KEPT
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    let mut all: BTreeMap<_, _> = kept.collect();
    let cli = facts.cli.environment.iter();
    all.extend(cli.map(|(name, value)| (name.clone(), fillings.fill(value))));
    all.extend(facts.environment.clone());
    let home = places.home.display().to_string();
    all.insert(facts.cli.home_variable.clone(), home);
    let ours = [
        ("CODEXK8S_RUN_ID", facts.run.to_string()),
        ("CODEXK8S_RUN_ATTEMPT", facts.attempt.to_string()),
        ("CODEXK8S_RUN_KIND", facts.kind.to_string()),
        ("CODEXK8S_REPOSITORY", facts.repository.to_string()),
        ("CODEXK8S_ISSUE_NUMBER", facts.issue.to_string()),
        ("CODEXK8S_ISSUE_TITLE", facts.issue_title.clone()),
        ("CODEXK8S_BRANCH", facts.branch.to_string()),
        ("CODEXK8S_BASE_BRANCH", facts.base_branch.to_string()),
        ("CODEXK8S_LOCALE", facts.locale.to_string()),
        (
            "CODEXK8S_PROMPT_FILE",
            places.prompt_file().display().to_string(),
        ),
        (
            "CODEXK8S_RESULT_FILE",
            places.result_file().display().to_string(),
        ),
    ];
    all.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    all
}

/// Writes the program's files: before each start, whatever a session or an earlier start left.
fn write_files(cli: &AgentCli, places: &Places, fillings: &Fillings) -> anyhow::Result<()> {
    for (path, text) in &cli.files {
        let file = places.home.join(path);
        let folder = file.parent().context("a file has a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        // A link that a session left would lead the text elsewhere.
        drop(fs::remove_file(&file));
        fs::write(&file, fillings.fill(text))
            .with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// Runs the program to its end, or ends it when told to; `None` where it was to go on with a
/// session and did not even begin.
pub(crate) async fn run(
    facts: &RunFacts,
    places: &Places,
    output: &Output,
    fillings: &Fillings,
    end: CancellationToken,
) -> anyhow::Result<Option<CommandEnd>> {
    drop(fs::remove_file(places.result_file()));
    fs::write(places.prompt_file(), &facts.prompt).context("write the prompt")?;
    write_files(&facts.cli, places, fillings)?;
    let words = words(&facts.cli, fillings);
    let (program, arguments) = words.split_first().context("the command is empty")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment(facts, places, fillings))
        .current_dir(&places.repository)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let group = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let group = group.context("the command ended before it began")?;
    remember(places, group)?;
    let hearing = Hearing::new(facts.cli.output, places.session_file());
    let followed = follow(&mut child, facts, output, &hearing);
    let grace = Duration::from_secs(facts.pace.grace_seconds);
    let status = tokio::select! {
        status = child.wait() => status,
        () = end.cancelled() => {
            end_group(group, grace).await;
            child.wait().await
        }
    };
    // What the command left running would write into the commit.
    end_group(group, Duration::from_secs(1).min(grace)).await;
    for task in followed {
        // A process that left the group may hold the pipe open for ever.
        drop(tokio::time::timeout(Duration::from_secs(2), task).await);
    }
    drop(fs::remove_file(places.group_file()));
    let status = status.context("wait for the command")?;
    let resumed = fillings.resume(&facts.cli);
    if resumed && !status.success() && !end.is_cancelled() && hearing.has_not_begun() {
        return Ok(None);
    }
    Ok(Some(told(facts, status, places, output, &hearing)))
}

fn told(
    facts: &RunFacts,
    status: ExitStatus,
    places: &Places,
    output: &Output,
    hearing: &Hearing,
) -> CommandEnd {
    let file = places.result_file();
    let small = file
        .metadata()
        .is_ok_and(|file| file.is_file() && file.len() <= MAX_RESULT_FILE_BYTES);
    let file = small.then(|| fs::read(&file).ok()).flatten();
    let message = hearing.message();
    command_end(
        &facts.asked,
        status.code(),
        file.as_deref(),
        message.as_deref(),
        &output.tail(),
    )
}

fn follow(
    child: &mut Child,
    facts: &RunFacts,
    output: &Output,
    hearing: &Hearing,
) -> Vec<tokio::task::JoinHandle<()>> {
    if let Some(mut stdin) = child.stdin.take() {
        let prompt = facts.prompt.clone();
        tokio::spawn(async move {
            // A command that does not read its input closes it.
            drop(stdin.write_all(prompt.as_bytes()).await);
        });
    }
    let mut tasks = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let (output, hearing) = (output.clone(), hearing.clone());
        tasks.push(tokio::spawn(async move {
            output.follow(stdout, |line| hearing.hear(line)).await;
        }));
    }
    if let Some(stderr) = child.stderr.take() {
        let output = output.clone();
        tasks.push(tokio::spawn(async move {
            output.follow(stderr, |_| {}).await;
        }));
    }
    tasks
}

/// Ends what an earlier start of this runner left running.
pub(crate) async fn end_leftover(places: &Places, grace: Duration) {
    let Ok(text) = fs::read_to_string(places.group_file()) else {
        return;
    };
    let mut words = text.split_whitespace();
    let group = words
        .next()
        .and_then(|word| word.parse().ok())
        .and_then(Pid::from_raw);
    // The same number may belong to another program by now.
    if let Some(group) = group
        && words.next().map(str::to_owned) == started_at(group)
    {
        end_group(group, grace).await;
    }
    drop(fs::remove_file(places.group_file()));
}

fn remember(places: &Places, group: Pid) -> anyhow::Result<()> {
    let started = started_at(group).unwrap_or_default();
    let text = format!("{} {started}", group.as_raw_nonzero());
    super::places::replace(&places.group_file(), text.as_bytes()).context("remember the command")
}

/// When a process began, in the kernel's ticks.
fn started_at(pid: Pid) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The program's name may hold blanks and brackets; what follows it does not.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

/// Ends a process group: politely, and after the grace time not.
async fn end_group(group: Pid, grace: Duration) {
    if kill_process_group(group, Signal::TERM).is_err() {
        return;
    }
    let deadline = tokio::time::Instant::now() + grace;
    while tokio::time::Instant::now() < deadline {
        if !is_alive(group) {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if let Err(error) = kill_process_group(group, Signal::KILL) {
        tracing::debug!(error = %error, "the command had ended");
    }
}

/// Whether a group has a member besides ended ones that nobody has waited for.
fn is_alive(group: Pid) -> bool {
    if test_kill_process_group(group).is_err() {
        return false;
    }
    let Ok(entries) = fs::read_dir("/proc") else {
        return true;
    };
    let group = group.as_raw_nonzero().to_string();
    entries.flatten().any(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, fields)) = stat.rsplit_once(')') else {
            return false;
        };
        let fields: Vec<_> = fields.split_whitespace().take(3).collect();
        matches!(fields.as_slice(), [state, _, of] if *of == group && !matches!(*state, "Z" | "X"))
    })
}
