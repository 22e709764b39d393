//! `codex-k8s agent`: the runner inside a pod.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    agent::{self, AgentSettings},
    domain::{
        ids::{AttemptNo, RunId},
        run_token::RunToken,
    },
};

/// Runs one attempt of a run: fetches its facts, runs the agent command, pushes
/// and hands in the result. Started by the platform inside a run's pod.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Address of the run API.
    #[arg(long, env = "CODEXK8S_RUN_URL")]
    run_url: Url,
    /// File that holds the run token.
    #[arg(long, env = "CODEXK8S_RUN_TOKEN_FILE")]
    token_file: PathBuf,
    /// The run.
    #[arg(long, env = "CODEXK8S_RUN_ID")]
    run_id: RunId,
    /// The attempt.
    #[arg(long, env = "CODEXK8S_RUN_ATTEMPT")]
    attempt: i32,
    /// Folder to work in.
    #[arg(long, env = "CODEXK8S_RUN_WORK_DIR", default_value = ".")]
    work_dir: PathBuf,
    /// Certificates to trust besides the system's.
    #[arg(long, env = "CODEXK8S_RUN_CA_FILE")]
    ca_file: Option<PathBuf>,
}

/// Runs it; the exit codes are those of [`agent`].
pub async fn run(args: AgentArgs) -> anyhow::Result<ExitCode> {
    let token = std::fs::read_to_string(&args.token_file)
        .with_context(|| format!("read the run token from {}", args.token_file.display()))?;
    let settings = AgentSettings {
        url: args.run_url,
        token: RunToken::from_text(token.trim()),
        run: args.run_id,
        attempt: AttemptNo(args.attempt),
        work_dir: args.work_dir,
        ca_file: args.ca_file,
    };
    let signalled = CancellationToken::new();
    let told = signalled.clone();
    let mut terminate = signal(SignalKind::terminate()).context("listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for signals")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    let exit = agent::run(settings, signalled).await?;
    Ok(ExitCode::from(exit.code()))
}
