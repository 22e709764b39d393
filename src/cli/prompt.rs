//! `codex-k8s prompt render OWNER/REPO#N`: the prompt that a run on an issue got, or would get.
//!
//! It reads rows only, as the last poll left them.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use secrecy::ExposeSecret;

use super::{explain::IssueRef, plan::observe};
use crate::{
    domain::{
        ids::{StageKind, Subject},
        run::FrozenRun,
        trigger::TriggerKind,
    },
    plan::preview::preview,
    settings::{self, Database, Sources},
    store::{RunFilter, Store, StoreSettings},
};

/// How many runs of an issue are looked through for the newest that was launched.
const RUNS: i64 = 50;

/// Arguments of `prompt`.
#[derive(Debug, clap::Args)]
pub struct PromptArgs {
    #[command(subcommand)]
    command: PromptCommand,
}

#[derive(Debug, Subcommand)]
enum PromptCommand {
    /// Print the prompt that a run on an issue got, or would get now
    Render(RenderArgs),
}

/// Arguments of `prompt render`.
#[derive(Debug, clap::Args)]
struct RenderArgs {
    /// The issue or pull request, as OWNER/REPO#N
    issue: IssueRef,
    /// The stage of a run that is imagined; without it the newest run's prompt is printed
    #[arg(long)]
    stage: Option<StageKind>,
    /// Imagine a revise of the stage
    #[arg(long, requires = "stage")]
    revise: bool,
    /// Settings file; environment variables go over it
    #[arg(long, env = "CODEXK8S_CONFIG")]
    config: Option<PathBuf>,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// How a prompt is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// The prompt on standard output, where it came from on standard error
    Human,
    /// One JSON document with everything that the launch fixed
    Json,
}

/// Prints.
pub async fn run(args: &PromptArgs) -> anyhow::Result<ExitCode> {
    let PromptCommand::Render(args) = &args.command;
    let frozen = match &args.stage {
        Some(stage) => imagined(args, stage).await?,
        None => newest(args).await?,
    };
    print(&frozen, args.output)?;
    Ok(ExitCode::SUCCESS)
}

/// What a run of a stage would carry.
async fn imagined(args: &RenderArgs, stage: &StageKind) -> anyhow::Result<FrozenRun> {
    let IssueRef { repository, number } = &args.issue;
    let inputs = observe(args.config.clone()).await?;
    let found = inputs.iter().find_map(|input| {
        let mut mirrors = input.rows.repositories.iter();
        let mirror = mirrors.find(|row| row.record.name == *repository)?;
        Some((input, mirror.id()))
    });
    let Some((input, id)) = found else {
        bail!(
            "repository {repository} is not bound; hint: is it in the config repo, and was it read?"
        );
    };
    let subject = Subject {
        repository: id,
        number: *number,
    };
    let kind = TriggerKind {
        stage: stage.clone(),
        revise: args.revise,
    };
    preview(input, subject, &kind).map_err(|why| anyhow!("no run could start: {why}"))
}

/// What the newest launched run on an issue carries, however long it is over.
async fn newest(args: &RenderArgs) -> anyhow::Result<FrozenRun> {
    let IssueRef { repository, number } = &args.issue;
    let database: Database = settings::load(&Sources::from_process(args.config.clone()))?;
    let store = Store::connect(&StoreSettings::new(database.url.expose_secret()))
        .await
        .context("connect to Postgres")?;
    let rows = store.reads();
    let Some(id) = rows.repository_named(repository).await? else {
        bail!(
            "repository {repository} is not bound; hint: is it in the config repo, and was it read?"
        );
    };
    let filter = RunFilter {
        subject: Some(Subject {
            repository: id,
            number: *number,
        }),
        ..RunFilter::default()
    };
    let runs = rows.list_runs(&filter, RUNS).await?.into_iter();
    let launched = runs.filter(|run| run.frozen.is_some());
    let newest = launched
        .max_by_key(|run| run.preparing_at)
        .context("no run was launched here; hint: name a stage with --stage to imagine one")?;
    // A list of runs is read without their prompts.
    let whole = rows.run_access(newest.id).await?;
    whole
        .and_then(|run| run.frozen)
        .with_context(|| format!("run {} is gone", newest.id))
}

fn print(frozen: &FrozenRun, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, frozen).context("write the prompt")?;
        return writeln!(out).context("write the prompt");
    }
    writeln!(
        io::stderr(),
        "template {} ({}{}), agent {}, model {} ({}), reasoning {} ({}), config {}, SHA-256 {}",
        frozen.template,
        match frozen.template_scope.as_str() {
            "" => String::new(),
            scope => format!("{scope}, "),
        },
        frozen.template_locale.as_ref().unwrap_or(&frozen.locale),
        frozen.agent,
        frozen.model.as_deref().unwrap_or("-"),
        frozen.model_source,
        frozen.reasoning.as_deref().unwrap_or("-"),
        frozen.reasoning_source,
        frozen.config_sha,
        frozen.prompt_hash,
    )
    .context("write where the prompt came from")?;
    writeln!(io::stdout(), "{}", frozen.prompt.trim_end()).context("write the prompt")
}
