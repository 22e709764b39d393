//! `codex-k8s sandbox`: the platform against an embedded world, and the small
//! commands that act in a running one.

mod act;
mod handle;
mod screen;
mod start;

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;

use crate::sandbox::seed::AgentProgram;

pub use act::{ActArgs, Subject};

/// Run the platform against an embedded world: a GitHub model, a Kubernetes model, a private
/// Postgres and a scripted agent.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    start: StartArgs,
}

/// How the sandbox is started.
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    /// Exit when one run went all its way from label to pull request and clean-up: with 0
    /// exactly when all of it was seen
    #[arg(long)]
    once: bool,
    /// Use this cluster instead of the Kubernetes model
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// This machine's address as that cluster's pods reach it; the run API listens there
    #[arg(
        long,
        value_name = "IP",
        default_value = "127.0.0.1",
        requires = "kubeconfig"
    )]
    run_address: std::net::IpAddr,
    /// The image of the agents' pods in that cluster; it holds this program as `codex-k8s`
    /// (`make image` builds one)
    #[arg(
        long,
        value_name = "NAME",
        default_value = "codex-k8s/runner:latest",
        requires = "kubeconfig"
    )]
    image: String,
    /// The agent: scripted, or a real program with a scripted model
    /// (`manifests/images/agents/install` installs them; with --kubeconfig the image has it)
    #[arg(long, value_enum, default_value_t = Agent::Scripted)]
    agent: Agent,
    /// Leave the sandbox's folder (logs, repositories) behind
    #[arg(long)]
    keep: bool,
    /// The issue to put `run:dev` on
    #[arg(
        long,
        value_name = "OWNER/REPO#N",
        default_value = "example-org/hello#1"
    )]
    label: Subject,
    /// How many seconds the scripted agent works
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    agent_seconds: f64,
    /// A PostgreSQL server to make a database on, instead of a private one
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<secrecy::SecretString>,
}

/// What works as the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Agent {
    /// A small program that makes one prepared change.
    Scripted,
    /// The codex CLI.
    Codex,
    /// The claude CLI.
    Claude,
}

impl Agent {
    fn program(self) -> Option<AgentProgram> {
        match self {
            Self::Scripted => None,
            Self::Codex => Some(AgentProgram::Codex),
            Self::Claude => Some(AgentProgram::Claude),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put a label on an issue or pull request
    Label(act::LabelArgs),
    /// Take a label off an issue or pull request
    Unlabel(act::LabelArgs),
    /// Review a pull request
    Review(act::ReviewArgs),
    /// Comment on an issue or pull request
    Comment(act::CommentArgs),
    /// Close an issue or pull request
    Close(ActArgs),
    /// Reopen an issue or pull request
    Reopen(ActArgs),
    /// Merge a pull request
    Merge(ActArgs),
    /// Open an issue
    Open(act::OpenArgs),
    /// Commit a file with errors to the config repo
    ConfigBreak,
    /// Commit the last good text of that file again
    ConfigFix,
    /// Show issues, pull requests and addresses
    Status,
    /// Print the sandbox's settings for a shell: `eval "$(codex-k8s sandbox env)"`
    Env,
}

/// Runs it.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Some(command) = args.command else {
        return start::run(args.start).await;
    };
    match command {
        Command::Label(args) => act::label(args).await,
        Command::Unlabel(args) => act::unlabel(args).await,
        Command::Review(args) => act::review(args).await,
        Command::Comment(args) => act::comment(args).await,
        Command::Close(args) => act::close(args).await,
        Command::Reopen(args) => act::reopen(args).await,
        Command::Merge(args) => act::merge(args).await,
        Command::Open(args) => act::open(args).await,
        Command::ConfigBreak => act::config_break(),
        Command::ConfigFix => act::config_fix(),
        Command::Status => act::status().await,
        Command::Env => act::env(),
    }?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Line, clap::Error> {
        Line::try_parse_from(["sandbox"].iter().chain(words))
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Line::command().debug_assert();
    }

    #[test]
    fn starting_and_acting_are_told_apart() {
        let line = parse(&["--once", "--label", "a/b#7"]).unwrap();
        assert!(line.args.command.is_none() && line.args.start.once);
        let line = parse(&["label", "a/b#7", "run:dev", "--as", "grace"]).unwrap();
        assert!(matches!(line.args.command, Some(Command::Label(_))));
        assert!(parse(&["label", "a/b", "run:dev"]).is_err());
        assert!(parse(&["review", "a/b#7", "--approve", "--request-changes"]).is_err());
    }
}
