//! `codex-k8s runs`: what ran, runs and waits, newest first; with a run's id, that run: its
//! fields, its attempts and what happened in it.
//!
//! It reads rows only. The prompt is for `codex-k8s prompt`, the log for `codex-k8s logs`.

use std::{collections::BTreeMap, fmt, process::ExitCode, str::FromStr};

use anyhow::{Context, bail, ensure};
use chrono::TimeDelta;
use clap::ValueEnum;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use strum::IntoEnumIterator;
use uuid::Uuid;

use super::printer::{Printer, Tone};
use crate::{
    api::RunView,
    domain::{
        Timestamp,
        event::{EventActor, FlowEvent},
        ids::{ProjectKey, RepositoryId, RunId},
        model_route::Amount,
        run::{Attempt, Run, RunState},
    },
    store::{ApiStore, ModelUse, RunFilter, Store, StoreSettings, ToolCall},
};

/// The fewest digits that stand for a run.
const LEAST_DIGITS: usize = 8;

/// How many runs an ambiguous beginning names.
const NAMED: i64 = 5;

/// Arguments of `runs`.
#[derive(Debug, clap::Args)]
pub struct RunsArgs {
    #[command(subcommand)]
    command: Option<Command>,
    /// A run to show: its id, or the first eight or more characters of it
    run: Option<RunRef>,
    #[command(flatten)]
    list: ListArgs,
    /// How it is printed
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Human)]
    output: Output,
    /// The database's address
    #[arg(
        long,
        global = true,
        env = "CODEXK8S_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<SecretString>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show one run: its fields, its attempts and its events
    Show {
        /// Its id, or the first eight or more characters of it
        run: RunRef,
    },
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// List those of this project only
    #[arg(long, conflicts_with = "run")]
    project: Option<String>,
    /// List those in this state only
    #[arg(long, conflicts_with = "run", value_parser = state)]
    state: Option<RunState>,
    /// List no more than so many, the newest
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1000))]
    limit: i64,
}

/// How runs are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Tables
    Human,
    /// One JSON document
    Json,
}

fn state(text: &str) -> Result<RunState, String> {
    text.parse().map_err(|_| {
        let states: Vec<_> = RunState::iter().map(|state| state.to_string()).collect();
        format!("there are {}", states.join(", "))
    })
}

/// A run by its id, or by a beginning of it that no other run has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRef {
    text: String,
    first: RunId,
    last: RunId,
}

impl FromStr for RunRef {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        ensure!(
            digits.chars().all(|c| c.is_ascii_hexdigit()) && digits.len() <= 32,
            "a run's id is a UUID"
        );
        ensure!(
            digits.len() >= LEAST_DIGITS,
            "give {LEAST_DIGITS} characters of a run's id or more"
        );
        let filled = |with: &str| {
            let rest = with.repeat(32 - digits.len());
            Uuid::parse_str(&format!("{digits}{rest}")).map(RunId)
        };
        Ok(Self {
            text: text.to_owned(),
            first: filled("0")?,
            last: filled("f")?,
        })
    }
}

impl fmt::Display for RunRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl RunRef {
    /// The run that it names.
    ///
    /// *Errors*: none or several begin so.
    pub(super) async fn found(&self, rows: &ApiStore) -> anyhow::Result<Run> {
        let mut runs = rows.runs_between(self.first, self.last, NAMED).await?;
        match (runs.pop(), runs.is_empty()) {
            (None, _) => bail!("no run {self}; hint: `codex-k8s runs` lists them"),
            (Some(run), true) => Ok(run),
            (Some(run), false) => {
                let ids = runs.iter().chain([&run]).map(|run| run.id.to_string());
                let ids: Vec<_> = ids.collect();
                bail!("{self} is ambiguous: it begins {}", ids.join(", "))
            }
        }
    }
}

/// The rows that commands about runs read.
pub(super) async fn rows(database_url: Option<&SecretString>) -> anyhow::Result<ApiStore> {
    let url = database_url.context("name the database: --database-url or CODEXK8S_DATABASE_URL")?;
    let store = Store::connect(&StoreSettings::new(url.expose_secret()))
        .await
        .context("connect to Postgres")?;
    Ok(store.reads())
}

/// Lists runs, or shows one.
pub async fn run(args: &RunsArgs) -> anyhow::Result<ExitCode> {
    let asked = match &args.command {
        Some(Command::Show { run }) => {
            let narrowed = args.list.project.is_some() || args.list.state.is_some();
            ensure!(
                !narrowed && args.run.is_none(),
                "`runs show` takes one run and nothing else"
            );
            Some(run)
        }
        None => args.run.as_ref(),
    };
    let rows = rows(args.database_url.as_ref()).await?;
    match asked {
        Some(run) => show(&rows, run, args.output).await?,
        None => list(&rows, &args.list, args.output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Listed {
    items: Vec<RunView>,
}

async fn list(rows: &ApiStore, args: &ListArgs, output: Output) -> anyhow::Result<()> {
    let filter = RunFilter {
        project: args.project.as_deref().map(ProjectKey::from),
        state: args.state,
        ..RunFilter::default()
    };
    let runs = rows.list_runs(&filter, args.limit).await?;
    let printer = Printer::new();
    if output == Output::Json {
        let items = runs.into_iter().map(RunView::from).collect();
        return Ok(printer.json(&Listed { items })?);
    }
    if runs.is_empty() {
        return Ok(printer.line(Tone::Plain, "No runs.")?);
    }
    let now = rows.now().await?;
    let names = names(rows, &runs).await?;
    let lines = runs.iter().map(|run| {
        vec![
            run.id.to_string(),
            run.project.to_string(),
            issue(run, &names),
            run.kind.to_string(),
            run.state.to_string(),
            age(now - run.created_at),
            reason(run).replace('\n', " "),
        ]
    });
    let header = ["id", "project", "issue", "stage", "state", "age", "reason"];
    Ok(printer.table(&header, lines)?)
}

type Names = BTreeMap<RepositoryId, String>;

async fn names(rows: &ApiStore, runs: &[Run]) -> anyhow::Result<Names> {
    let ids: Vec<_> = runs.iter().map(|run| run.repository).collect();
    Ok(rows.repository_names(&ids).await?)
}

/// `OWNER/REPO#N` of the work item.
fn issue(run: &Run, names: &Names) -> String {
    let frozen = run.frozen.as_ref();
    let name = names.get(&run.repository).cloned();
    let name = name.or_else(|| frozen.map(|frozen| frozen.repository_name.to_string()));
    let name = name.unwrap_or_else(|| run.repository.to_string());
    format!("{name}#{}", run.work_item)
}

/// Why it stands where it does.
fn reason(run: &Run) -> &str {
    let reason = run.held.as_deref().or(run.reason.as_deref());
    reason.unwrap_or_default()
}

/// A span in its largest unit that is worth two of the next.
fn age(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[derive(Serialize)]
struct Shown {
    run: RunView,
    attempts: Vec<Attempt>,
    models: ModelUse,
    tools: Vec<ToolCall>,
    events: Vec<FlowEvent>,
}

async fn show(rows: &ApiStore, asked: &RunRef, output: Output) -> anyhow::Result<()> {
    let run = asked.found(rows).await?;
    let attempts = rows.attempts_of(run.id).await?;
    let models = rows.model_use(run.id).await?;
    let tools = rows.tool_calls(run.id).await?;
    let events = rows.events_of(run.id).await?;
    let printer = Printer::new();
    if output == Output::Json {
        let run = run.into();
        return Ok(printer.json(&Shown {
            run,
            attempts,
            models,
            tools,
            events,
        })?);
    }
    let names = names(rows, std::slice::from_ref(&run)).await?;
    let used = [("models", model_use(&models))];
    for (name, value) in fields(&run, &names).into_iter().chain(used) {
        if let Some(value) = value {
            printer.line(Tone::Plain, &format!("{name:<14}{value}"))?;
        }
    }
    if !attempts.is_empty() {
        printer.line(Tone::Plain, "")?;
        printer.table(
            &["attempt", "state", "began", "ended", "reason"],
            attempts.iter().map(attempt_line),
        )?;
    }
    if !tools.is_empty() {
        printer.line(Tone::Plain, "")?;
        printer.table(
            &["at", "tool", "outcome", "with", "why"],
            tools.iter().map(tool_line),
        )?;
    }
    if !events.is_empty() {
        printer.line(Tone::Plain, "")?;
        printer.table(
            &["at", "event", "by", "with"],
            events.iter().map(event_line),
        )?;
    }
    Ok(())
}

/// What is known of a run, by name.
fn fields(run: &Run, names: &Names) -> Vec<(&'static str, Option<String>)> {
    let frozen = run.frozen.as_ref();
    let text = |value: &dyn fmt::Display| Some(value.to_string());
    vec![
        ("id", text(&run.id)),
        ("project", text(&run.project)),
        ("issue", Some(issue(run, names))),
        ("stage", text(&run.kind)),
        ("asked by", run.actor.as_ref().map(|who| who.login.clone())),
        ("state", text(&run.state)),
        ("reason", run.reason.clone()),
        ("held", run.held.clone()),
        ("agent", frozen.map(|frozen| frozen.agent.to_string())),
        ("model", frozen.and_then(|frozen| frozen.model.clone())),
        ("branch", run.branch.as_ref().map(ToString::to_string)),
        ("head", run.accepted_head.as_ref().map(ToString::to_string)),
        (
            "pull request",
            run.pull_request.map(|pull| format!("#{pull}")),
        ),
        ("namespace", frozen.map(|frozen| frozen.namespace.clone())),
        ("slot", run.slot.map(|slot| slot.to_string())),
        ("created", Some(moment(run.created_at))),
        ("launched", run.preparing_at.map(moment)),
        ("started", run.started_at.map(moment)),
        ("times out", run.timeout_at.map(moment)),
        ("waits since", run.waiting_since.map(moment)),
        ("stopping", run.stopping_at.map(moment)),
        ("finished", run.finished_at.map(moment)),
    ]
}

/// What a run used of models, where it called any.
fn model_use(used: &ModelUse) -> Option<String> {
    if used.calls == 0 {
        return None;
    }
    let cost = used.cost.and_then(|cost| u64::try_from(cost).ok());
    let cost = cost.map_or_else(|| "unknown".to_owned(), |cost| Amount(cost).to_string());
    let text = format!(
        "{} calls, {} tokens in ({} cached), {} out, cost {cost}",
        used.calls, used.input_tokens, used.cached_tokens, used.output_tokens
    );
    Some(match used.unknown {
        0 => text,
        unknown => format!("{text}; of {unknown} calls the tokens are unknown"),
    })
}

fn tool_line(call: &ToolCall) -> Vec<String> {
    vec![
        moment(call.at),
        call.tool.clone(),
        call.outcome.clone(),
        call.arguments.to_string(),
        call.detail.clone().unwrap_or_default().replace('\n', " "),
    ]
}

fn attempt_line(attempt: &Attempt) -> Vec<String> {
    vec![
        attempt.number.to_string(),
        attempt.state.to_string(),
        moment(attempt.started_at.unwrap_or(attempt.created_at)),
        attempt.ended_at.map(moment).unwrap_or_default(),
        attempt
            .reason
            .clone()
            .unwrap_or_default()
            .replace('\n', " "),
    ]
}

fn event_line(event: &FlowEvent) -> Vec<String> {
    let by = match &event.event.actor {
        EventActor::System => "platform".to_owned(),
        EventActor::Agent { .. } => "agent".to_owned(),
        EventActor::Human { login, .. } => login.clone(),
    };
    vec![
        moment(event.created_at),
        event.event.kind.to_string(),
        by,
        event.event.payload.to_string(),
    ]
}

fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_its_id_or_a_beginning() {
        let whole: RunRef = "0F5C2D1A-3b4c-5d6e-8f70-112233445566".parse().unwrap();
        assert_eq!(whole.first, whole.last);
        let some: RunRef = "0f5c2d1a-3".parse().unwrap();
        assert_eq!(
            (some.first.to_string(), some.last.to_string()),
            (
                "0f5c2d1a-3000-0000-0000-000000000000".to_owned(),
                "0f5c2d1a-3fff-ffff-ffff-ffffffffffff".to_owned()
            )
        );
        for (bad, why) in [
            ("0f5c2d1", "8 characters"),
            ("-------", "8 characters"),
            ("something", "UUID"),
            ("0f5c2d1a-3b4c-5d6e-8f70-1122334455667", "UUID"),
        ] {
            let error = bad.parse::<RunRef>().unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn ages_are_short() {
        for (seconds, wanted) in [
            (-3, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_200, "2h"),
            (200_000, "2d"),
        ] {
            assert_eq!(age(TimeDelta::seconds(seconds)), wanted);
        }
    }
}
