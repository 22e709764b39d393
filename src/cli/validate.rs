//! `codex-k8s validate PATH`: checks a config folder offline.
//!
//! It reads the files as they are, committed or not, and asks nobody.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    desired::{
        load::{ConfigError, load, read_folder},
        model::Desired,
    },
    domain::ids::CommitSha,
};

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// The folder of the config repo
    pub path: PathBuf,
    /// How errors are printed: one line each on stderr, or JSON on stdout
    #[arg(short, long, value_enum, default_value_t = ValidateOutput::Human)]
    pub output: ValidateOutput,
}

/// How errors are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ValidateOutput {
    /// One line each, `FILE:LINE:COLUMN: message`, on stderr
    Human,
    /// `{"errors": […]}` on stdout
    Json,
}

/// What `-o json` prints.
#[derive(Serialize)]
struct Report<'a> {
    errors: &'a [ConfigError],
}

/// Checks a folder: success when it is valid, failure when not.
///
/// *Errors*: the folder cannot be read, or the answer not be written.
pub fn run(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let path = &args.path;
    let kind = std::fs::metadata(path).with_context(|| format!("read {}", path.display()))?;
    ensure!(
        kind.is_dir(),
        "{} is not a folder; validate checks a whole config repo",
        path.display()
    );
    let files = read_folder(path).with_context(|| format!("read {}", path.display()))?;
    let result = load(CommitSha::new("working-folder"), files);
    let errors = result.as_ref().err().map_or(&[][..], Vec::as_slice);
    match args.output {
        ValidateOutput::Json => {
            let mut out = io::stdout().lock();
            serde_json::to_writer_pretty(&mut out, &Report { errors })
                .context("write the report")?;
            writeln!(out).context("write the report")?;
        }
        ValidateOutput::Human => {
            for error in errors {
                writeln!(io::stderr(), "{error}").context("write an error")?;
            }
            if let Ok(desired) = &result {
                writeln!(io::stdout(), "{}: {}", path.display(), summary(desired))
                    .context("write the summary")?;
            }
        }
    }
    Ok(if errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn summary(desired: &Desired) -> String {
    let repositories = desired.repositories().count();
    format!(
        "valid: {} documents, {} and {}",
        desired.objects(),
        counted(desired.projects.len(), "project", "projects"),
        counted(repositories, "repository", "repositories"),
    )
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
