//! `codex-k8s approvals`: lists what agents ask for, and hands in decisions.
//!
//! A decision is a fact in the name of a member of the project; the lease holder
//! judges it as it would judge a comment of theirs, and the audit names them.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    domain::{
        approval::{Approval, ApprovalState, Verdict, folded_code},
        ids::ProjectKey,
    },
    store::{ApiStore, NewDecision, Store, StoreError, StoreSettings},
};

/// How often it is looked whether a decision was judged.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The most requests listed.
const MAX_LISTED: i64 = 500;

/// Arguments of `approvals`.
#[derive(Debug, clap::Args)]
pub struct ApprovalsArgs {
    /// What to do
    #[command(subcommand)]
    command: Command,
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
    /// List the requests that wait for people
    List {
        /// Those of this project only
        #[arg(long)]
        project: Option<String>,
        /// Also what is decided
        #[arg(long)]
        all: bool,
    },
    /// Grant a request
    Approve(Decide),
    /// Refuse a request
    Deny(Decide),
}

#[derive(Debug, clap::Args)]
struct Decide {
    /// The request's code
    code: String,
    /// The member of the project in whose name you decide
    #[arg(long = "as", env = "CODEXK8S_STAFF_LOGIN", value_name = "LOGIN")]
    login: String,
    /// Why; shown on the issue
    #[arg(long)]
    reason: Option<String>,
    /// Seconds to wait for the platform to judge it
    #[arg(long, default_value_t = 30)]
    wait: u64,
}

/// Lists or decides.
pub async fn run(args: &ApprovalsArgs) -> anyhow::Result<ExitCode> {
    let url = args
        .database_url
        .as_ref()
        .context("name the database: --database-url or CODEXK8S_DATABASE_URL")?;
    let store = Store::connect(&StoreSettings::new(url.expose_secret()))
        .await
        .context("connect to Postgres")?;
    let rows = store.reads();
    let mut out = io::stdout().lock();
    match &args.command {
        Command::List { project, all } => {
            let project = project.as_ref().map(|key| ProjectKey::new(key.as_str()));
            let listed = rows.list_approvals(project.as_ref(), !all, MAX_LISTED);
            list(&mut out, &listed.await?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Approve(decide) => decided(&mut out, &rows, decide, Verdict::Approve).await,
        Command::Deny(decide) => decided(&mut out, &rows, decide, Verdict::Deny).await,
    }
}

fn list(out: &mut impl Write, approvals: &[Approval]) -> anyhow::Result<()> {
    if approvals.is_empty() {
        writeln!(out, "No request waits for anybody.")?;
    }
    for approval in approvals {
        writeln!(
            out,
            "{:<7} {:<10} {} #{} of repository {}: agent {} asks for `{}`; {} until {}",
            approval.code.as_deref().unwrap_or("-"),
            approval.state.to_string(),
            approval.project,
            approval.number,
            approval.repository,
            approval.agent,
            approval.target,
            approval.mode,
            approval.expires_at.format("%Y-%m-%d %H:%M UTC"),
        )?;
        if let Some(reason) = said(approval) {
            writeln!(out, "        {reason}")?;
        }
    }
    Ok(())
}

/// How it ended, where it did.
fn said(approval: &Approval) -> Option<String> {
    let Some(decision) = &approval.decision else {
        return approval.reason.clone();
    };
    let by = decision.actor.as_ref();
    let by = by.map_or("-", |actor| actor.login.as_str());
    let reason = decision.reason.as_deref().or(approval.reason.as_deref());
    Some(match reason {
        Some(reason) => format!("{} by {by}: {reason}", decision.verdict),
        None => format!("{} by {by}", decision.verdict),
    })
}

async fn decided(
    out: &mut impl Write,
    rows: &ApiStore,
    decide: &Decide,
    verdict: Verdict,
) -> anyhow::Result<ExitCode> {
    let code = folded_code(&decide.code);
    let found = rows.approval_of_code(&code).await?;
    let Some(approval) = found else {
        bail!("no request has code {code}; hint: `codex-k8s approvals list`");
    };
    if approval.state != ApprovalState::Requested {
        writeln!(out, "request {code} is {} already", approval.state)?;
        return Ok(exit(verdict, &approval));
    }
    let decision = NewDecision {
        code: code.clone(),
        verdict,
        login: decide.login.clone(),
        reason: decide.reason.clone(),
    };
    let fact = match rows.insert_decision(&decision).await {
        Ok(fact) => fact,
        Err(StoreError::Conflict { .. }) => bail!("request {code} was decided a moment ago"),
        Err(error) => return Err(error.into()),
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(decide.wait);
    loop {
        let now = rows.approval_of_id(approval.id).await?;
        let now = now.context("the request is gone")?;
        if now.state != ApprovalState::Requested {
            let said = said(&now).unwrap_or_default();
            writeln!(out, "request {code} is {}: {said}", now.state)?;
            return Ok(exit(verdict, &now));
        }
        if let Some(reason) = rows.decision_report(approval.id, fact).await? {
            writeln!(out, "request {code} stays open: {reason}")?;
            return Ok(ExitCode::FAILURE);
        }
        if tokio::time::Instant::now() >= deadline {
            writeln!(
                out,
                "request {code}: the decision is handed in and not judged yet; is the platform running?"
            )?;
            return Ok(ExitCode::FAILURE);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether it came as it was asked.
fn exit(verdict: Verdict, approval: &Approval) -> ExitCode {
    let granted = matches!(
        approval.state,
        ApprovalState::Approved | ApprovalState::Applied
    );
    let as_asked = match verdict {
        Verdict::Approve => granted,
        Verdict::Deny => approval.state == ApprovalState::Denied,
    };
    if as_asked {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
