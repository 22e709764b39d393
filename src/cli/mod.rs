//! The command line: one file a subcommand.
//!
//! Answers go to standard output, logs and errors to standard error. Exit codes:
//! 0 done, 1 failed, and 2 where a command says so (`plan`: changes pending).

pub mod agent;
pub mod approvals;
pub mod budget;
pub mod explain;
pub mod logs;
pub mod migrate;
pub mod plan;
pub mod printer;
pub mod prompt;
pub mod runs;
pub mod sandbox;
pub mod sandbox_agent;
pub mod schema;
pub mod serve;
pub mod validate;

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

/// Runs AI coding agents on your own Kubernetes, from a config repo and labels on issues.
#[derive(Debug, Parser)]
#[command(name = "codex-k8s", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the platform: reconciler and APIs, or some of its roles
    Serve(serve::ServeArgs),
    /// Run the platform against an embedded world, and act in it
    Sandbox(sandbox::Args),
    /// Show what a pass would do now, or with a saved input
    Plan(plan::PlanArgs),
    /// Say why an issue's run is, or is not, where it is
    Explain(explain::ExplainArgs),
    /// Print the prompt that a run on an issue got, or would get
    Prompt(prompt::PromptArgs),
    /// List runs, or show one
    Runs(runs::RunsArgs),
    /// Print what a run's agent wrote, and go on with it
    Logs(logs::LogsArgs),
    /// Forecast what polling the forge costs in an hour, beside what was used
    Budget(budget::BudgetArgs),
    /// List what agents ask for, and decide it
    Approvals(approvals::ApprovalsArgs),
    /// Check a config folder offline
    Validate(validate::ValidateArgs),
    /// Print the JSON Schema of the config repo's kinds
    Schema(schema::SchemaArgs),
    /// Bring the database's schema up to date
    Migrate(migrate::MigrateArgs),
    /// Run one attempt inside a pod
    #[command(hide = true)]
    Agent(agent::AgentArgs),
    /// The sandbox's scripted agent
    #[command(hide = true)]
    SandboxAgent(sandbox_agent::SandboxAgentArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// How long work on threads of its own may take to end after everything else.
const WIND_UP: std::time::Duration = std::time::Duration::from_millis(500);

/// Parses the arguments and runs the command. Usage errors exit with 1, as `plan` keeps 2 for
/// pending changes.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
            // Where even that cannot be printed there is nobody to tell.
            let _ = error.print();
            return code;
        }
    };
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Validate(args) => validate::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "codex-k8s",
                &mut std::io::stdout(),
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Sandbox(args) => block_on(sandbox::run(args)),
        Command::Serve(args) => block_on(serve::run(&args)),
        Command::Agent(args) => block_on(agent::run(args)),
        Command::SandboxAgent(args) => sandbox_agent::run(&args),
        Command::Plan(args) => block_on(plan::run(&args)),
        Command::Budget(args) => block_on(budget::run(&args)),
        Command::Explain(args) => block_on(explain::run(&args)),
        Command::Prompt(args) => block_on(prompt::run(&args)),
        Command::Runs(args) => block_on(runs::run(&args)),
        Command::Logs(args) => block_on(logs::run(&args)),
        Command::Approvals(args) => block_on(approvals::run(&args)),
        Command::Migrate(args) => {
            block_on(migrate::run(&args))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(work);
    // Whatever still blocks a thread, such as a fetch from a Git server that hangs, is not waited for.
    runtime.shutdown_timeout(WIND_UP);
    done
}
