//! The agent command: its words, its environment, its process group, its end.
//!
//! It is given the prompt on standard input and as a file, and nothing of the
//! runner's own environment but what every program needs.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
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

use crate::domain::run_api::RunFacts;

use super::{
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

/// The command's words: placeholders filled, and for `codex exec` the model and
/// the session to go on from.
pub(crate) fn words(facts: &RunFacts, places: &Places, resumed: bool) -> Vec<String> {
    let runner = std::env::current_exe().unwrap_or_else(|_| "codex-k8s".into());
    let filled = [
        ("{prompt_file}", places.prompt_file().display().to_string()),
        ("{result_file}", places.result_file().display().to_string()),
        ("{work_dir}", places.repository.display().to_string()),
        ("{model}", facts.model.clone().unwrap_or_default()),
        ("{reasoning}", facts.reasoning.clone().unwrap_or_default()),
        ("{runner}", runner.display().to_string()),
    ];
    let fill = |word: &String| {
        let fill = |text: String, (name, value): &(&str, String)| text.replace(name, value);
        filled.iter().fold(word.clone(), fill)
    };
    let mut words: Vec<_> = facts.command.iter().map(fill).collect();
    if is_codex_exec(&words) {
        for_codex(&mut words, facts, resumed);
    }
    words
}

fn is_codex_exec(words: &[String]) -> bool {
    let program = words.first().map(Path::new).and_then(Path::file_name);
    program.is_some_and(|name| name == "codex") && words.get(1).is_some_and(|w| w == "exec")
}

fn for_codex(words: &mut Vec<String>, facts: &RunFacts, resumed: bool) {
    let mut options = Vec::new();
    if let Some(model) = &facts.model {
        options.extend(["--model".to_owned(), model.clone()]);
    }
    if let Some(reasoning) = &facts.reasoning {
        let setting = format!("model_reasoning_effort=\"{reasoning}\"");
        options.extend(["--config".to_owned(), setting]);
    }
    words.splice(2..2, options);
    if resumed && words.last().is_some_and(|word| word == "-") {
        let at = words.len() - 1;
        words.splice(at..at, ["resume".to_owned(), "--last".to_owned()]);
    }
}

/// The command's environment: the run's own last, so that it wins.
pub(crate) fn environment(facts: &RunFacts, places: &Places) -> BTreeMap<String, String> {
    let kept = KEPT
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    let mut all: BTreeMap<_, _> = kept.collect();
    all.extend(facts.environment.clone());
    let ours = [
        ("CODEX_HOME", places.codex_home.display().to_string()),
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

/// Runs the command to its end, or ends it when told to.
pub(crate) async fn run(
    facts: &RunFacts,
    places: &Places,
    output: &Output,
    resumed: bool,
    end: CancellationToken,
) -> anyhow::Result<CommandEnd> {
    drop(fs::remove_file(places.result_file()));
    fs::write(places.prompt_file(), &facts.prompt).context("write the prompt")?;
    let words = words(facts, places, resumed);
    let (program, arguments) = words.split_first().context("the command is empty")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment(facts, places))
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
    let followed = follow(&mut child, facts, output);
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
    Ok(told(status, places, output))
}

fn told(status: ExitStatus, places: &Places, output: &Output) -> CommandEnd {
    let file = places.result_file();
    let small = file
        .metadata()
        .is_ok_and(|file| file.is_file() && file.len() <= MAX_RESULT_FILE_BYTES);
    let file = small.then(|| fs::read(&file).ok()).flatten();
    command_end(status.code(), file.as_deref(), &output.tail())
}

fn follow(
    child: &mut Child,
    facts: &RunFacts,
    output: &Output,
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
        let output = output.clone();
        tasks.push(tokio::spawn(async move { output.follow(stdout).await }));
    }
    if let Some(stderr) = child.stderr.take() {
        let output = output.clone();
        tasks.push(tokio::spawn(async move { output.follow(stderr).await }));
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
