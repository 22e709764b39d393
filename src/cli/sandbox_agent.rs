//! `codex-k8s sandbox-agent`: the sandbox's scripted agent, as a command.

use std::process::ExitCode;

use clap::Args;

use crate::sandbox::agent::{self, ScriptedAgent};

/// Makes a small deterministic change in the current folder, as an agent would.
#[derive(Debug, Args)]
pub struct SandboxAgentArgs {
    #[command(flatten)]
    agent: ScriptedAgent,
}

/// Runs it.
pub fn run(args: &SandboxAgentArgs) -> anyhow::Result<ExitCode> {
    agent::work(&args.agent, &mut std::io::stdin(), &mut std::io::stdout())?;
    Ok(ExitCode::SUCCESS)
}
