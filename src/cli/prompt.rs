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

use super::{explain::IssueRef, plan::observe};
use crate::{
    domain::{
        ids::{RepositoryName, StageKind, Subject},
        run::{FrozenRun, Run},
        trigger::TriggerKind,
    },
    plan::{PlanInput, preview::preview},
};

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
    let inputs = observe(args.config.clone()).await?;
    let (input, subject) = place(&inputs, &args.issue.repository, args)?;
    let frozen = match &args.stage {
        Some(stage) => {
            let kind = TriggerKind {
                stage: stage.clone(),
                revise: args.revise,
            };
            preview(input, subject, &kind).map_err(|why| anyhow!("no run could start: {why}"))?
        }
        None => newest(input, subject)?,
    };
    print(&frozen, args.output)?;
    Ok(ExitCode::SUCCESS)
}

fn place<'a>(
    inputs: &'a [PlanInput],
    name: &RepositoryName,
    args: &RenderArgs,
) -> anyhow::Result<(&'a PlanInput, Subject)> {
    let found = inputs.iter().find_map(|input| {
        let mut mirrors = input.rows.repositories.iter();
        let mirror = mirrors.find(|row| row.record.name == *name)?;
        Some((input, mirror.id()))
    });
    let Some((input, repository)) = found else {
        bail!("repository {name} is not bound; hint: is it in the config repo, and was it read?");
    };
    let number = args.issue.number;
    Ok((input, Subject { repository, number }))
}

/// What the newest launched run on an issue carries.
fn newest(input: &PlanInput, subject: Subject) -> anyhow::Result<FrozenRun> {
    let on = |run: &&Run| run.subject() == subject || run.work_subject() == subject;
    let runs = input.rows.runs.iter().filter(on);
    let launched = runs.filter(|run| run.frozen.is_some());
    launched
        .max_by_key(|run| run.preparing_at)
        .and_then(|run| run.frozen.clone())
        .context("no run was launched here; hint: name a stage with --stage to imagine one")
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
