//! `codex-k8s explain OWNER/REPO#N`: why that issue's run is, or is not, where it is.
//!
//! It reads rows only: what the last pass reported, what was decided, what was done.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    domain::{
        approval::{Approval, ApprovalState},
        ids::{IssueNumber, LabelName, RepositoryName, Subject},
        trigger::Disposition,
    },
    store::{Explanation, Store, StoreSettings},
};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The issue or pull request, as OWNER/REPO#N
    issue: IssueRef,
    /// The database's address
    #[arg(long, env = "CODEXK8S_DATABASE_URL", hide_env_values = true)]
    database_url: SecretString,
}

/// An issue by its repository's name.
#[derive(Debug, Clone)]
pub struct IssueRef {
    pub(super) repository: RepositoryName,
    pub(super) number: IssueNumber,
}

impl std::str::FromStr for IssueRef {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (repository, number) = text.split_once('#').context("write it as OWNER/REPO#N")?;
        let number: i64 = number.parse().context("the number after `#` is none")?;
        Ok(Self {
            repository: repository.parse()?,
            number: IssueNumber(number),
        })
    }
}

/// Explains.
pub async fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let store = Store::connect(&StoreSettings::new(args.database_url.expose_secret()))
        .await
        .context("connect to Postgres")?;
    let rows = store.reads();
    let IssueRef { repository, number } = &args.issue;
    let Some(id) = rows.repository_named(repository).await? else {
        bail!(
            "repository {repository} is not bound; hint: is it in the config repo, and was it read?"
        );
    };
    let explanation = rows
        .explain(Subject {
            repository: id,
            number: *number,
        })
        .await?;
    print(&mut io::stdout().lock(), &args.issue, &explanation)?;
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl Write, issue: &IssueRef, found: &Explanation) -> anyhow::Result<()> {
    let IssueRef { repository, number } = issue;
    match &found.issue {
        Some(row) => {
            let labels: Vec<_> = row.labels.iter().map(LabelName::as_str).collect();
            writeln!(
                out,
                "{repository}#{number} \"{}\"  labels: {}",
                row.title,
                labels.join(", ")
            )?;
        }
        None => writeln!(
            out,
            "{repository}#{number} is not in the mirror: it was never read, or never moved"
        )?,
    }
    if let Some(reason) = &found.repository_unknown {
        writeln!(out, "the repository cannot be read: {reason}")?;
    }
    if found.triggers.is_empty() && found.runs.is_empty() {
        writeln!(
            out,
            "Nothing ever asked for a run here: no trigger label was seen on it."
        )?;
    }
    for trigger in &found.triggers {
        let what = match &trigger.label {
            Some(label) => format!("`{label}`"),
            None => format!("for {}", trigger.kind),
        };
        let by = match &trigger.actor {
            Some(actor) => format!(" by {}", actor.login),
            None => String::new(),
        };
        writeln!(
            out,
            "\ntrigger {} {what}{by} at {}",
            trigger.identity, trigger.occurred_at
        )?;
        writeln!(out, "  is {}", disposition(&trigger.disposition))?;
    }
    for approval in &found.approvals {
        print_approval(out, approval)?;
    }
    for run in &found.runs {
        writeln!(out, "\nrun {} ({}) is {}", run.id, run.kind, run.state)?;
        let reasons = [&run.reason, &run.held].into_iter().flatten();
        for reason in reasons {
            writeln!(out, "  because: {reason}")?;
        }
        if let Some(pull) = run.pull_request {
            writeln!(out, "  pull request: #{pull}")?;
        }
    }
    if !found.lines.is_empty() {
        writeln!(out, "\nthe last pass said:")?;
        for line in &found.lines {
            writeln!(
                out,
                "  {:<10} {}: {}",
                line.state.to_string(),
                line.candidate,
                line.reason
            )?;
        }
    }
    Ok(())
}

fn print_approval(out: &mut impl Write, approval: &Approval) -> anyhow::Result<()> {
    let Approval {
        target, run, agent, ..
    } = approval;
    let state = approval.state;
    writeln!(
        out,
        "\nrequest for `{target}` of {agent} in run {run} is {state}"
    )?;
    if let Some(decision) = &approval.decision {
        let reason = decision.reason.as_deref();
        let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
        let by = decision.actor.as_ref();
        let by = by.map_or("policy or an account that is gone", |by| by.login.as_str());
        writeln!(out, "  decided by {by}{reason}")?;
    } else if let (ApprovalState::Requested, Some(code)) = (state, &approval.code) {
        let until = approval.expires_at;
        writeln!(
            out,
            "  waits for `/approve {code}` or `/deny {code}` until {until}"
        )?;
    }
    if let Some(reason) = &approval.reason {
        writeln!(out, "  because: {reason}")?;
    }
    Ok(())
}

fn disposition(disposition: &Disposition) -> String {
    match disposition {
        Disposition::Waiting(_) => "waiting (see what the last pass said)".to_owned(),
        Disposition::Run { run } => format!("run {run}"),
        Disposition::MergedInto { run } => format!("merged into run {run}"),
        Disposition::Refused(reason) => {
            format!("refused for good: {}", <&'static str>::from(reason))
        }
        Disposition::Withdrawn => "withdrawn".to_owned(),
    }
}
