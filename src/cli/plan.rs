//! `codex-k8s plan`: what a pass would do now, without doing it.
//!
//! It builds its own input: the rows in one read-only transaction, one list of
//! the cluster, the last accepted config; the forge is not asked. `--save` keeps
//! the input, `--input` replays one. Exit 0: nothing to do; 2: changes; 1: error.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use comfy_table::{Table, presets};
use secrecy::ExposeSecret;
use serde::Serialize;

use super::serve::{cluster_of, plan_settings_of};
use crate::{
    desired::model::Desired,
    observed::model::Observed,
    plan::{Plan, PlanInput, check, plan},
    reconcile::{lease::LeaseState, pass::scopes},
    settings::{Settings, Sources},
    store::{Store, StoreSettings},
};

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Settings file; environment variables go over it
    #[arg(long, env = "CODEXK8S_CONFIG")]
    config: Option<PathBuf>,
    /// Replay a saved input instead of building one
    #[arg(long, conflicts_with = "save")]
    input: Option<PathBuf>,
    /// Keep the input in a file
    #[arg(long)]
    save: Option<PathBuf>,
    /// How the plan is printed
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Tables
    Human,
    /// One JSON document
    Json,
}

#[derive(Serialize)]
struct Printed<'a> {
    changes: usize,
    plans: &'a [Plan],
    violations: Vec<check::Violation>,
}

/// Plans and prints.
pub async fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let inputs = match &args.input {
        Some(path) => read(path)?,
        None => observe(args.config.clone()).await?,
    };
    if let Some(path) = &args.save {
        let file =
            std::fs::File::create(path).with_context(|| format!("write {}", path.display()))?;
        serde_json::to_writer(io::BufWriter::new(file), &inputs)
            .with_context(|| format!("write {}", path.display()))?;
    }
    let mut violations = Vec::new();
    let mut plans = Vec::new();
    for input in &inputs {
        let (checked, found) = check::check(input, plan(input));
        violations.extend(found);
        plans.push(checked);
    }
    let changes = plans.iter().map(|plan| plan.actions.len()).sum();
    let mut out = io::stdout().lock();
    match args.output {
        Output::Json => {
            serde_json::to_writer_pretty(
                &mut out,
                &Printed {
                    changes,
                    plans: &plans,
                    violations,
                },
            )?;
            writeln!(out)?;
        }
        Output::Human => print(&mut out, &plans, changes)?,
    }
    Ok(if changes == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}

fn read(path: &Path) -> anyhow::Result<Vec<PlanInput>> {
    let file = std::fs::File::open(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_reader(io::BufReader::new(file))
        .with_context(|| format!("read a plan's input from {}", path.display()))
}

/// The input of each scope, from the rows and one list of the cluster.
pub(super) async fn observe(config: Option<PathBuf>) -> anyhow::Result<Vec<PlanInput>> {
    let settings = Settings::load(&Sources::from_process(config))?;
    let store = Store::connect(&StoreSettings::new(settings.database.url.expose_secret()))
        .await
        .context("connect to Postgres")?;
    let cluster = cluster_of(&settings, "plan", &LeaseState::default()).await?;
    let listed = cluster.list_owned().await;
    let rows = store.load_pass(None).await.context("load the rows")?;
    let cluster = match listed {
        Ok(snapshot) => Observed::Known {
            at: rows.now,
            value: Arc::new(snapshot),
        },
        Err(error) => Observed::unknown(error.to_string()),
    };
    let desired = match store.last_accepted_config().await? {
        Some(accepted) => {
            let mut desired: Desired = serde_json::from_value(accepted.desired)
                .context("read the last accepted config")?;
            desired.revision = Some(accepted.revision);
            Some(Arc::new(desired))
        }
        None => None,
    };
    let plan_settings = plan_settings_of(&settings)?;
    let now = rows.now;
    let inputs = scopes(desired.as_deref(), rows, &cluster)
        .into_iter()
        .map(|(scope, of_scope)| PlanInput {
            now,
            installation: settings.installation.clone(),
            rows: of_scope,
            scope,
            desired: desired.clone(),
            settings: plan_settings.clone(),
            cluster: cluster.clone(),
            swept_at: None,
        });
    Ok(inputs.collect())
}

fn print(out: &mut impl Write, plans: &[Plan], changes: usize) -> anyhow::Result<()> {
    if changes > 0 {
        let mut actions = Table::new();
        actions
            .load_preset(presets::NOTHING)
            .set_header(["PHASE", "ACTION", "KEY"]);
        for action in plans.iter().flat_map(|plan| &plan.actions) {
            actions.add_row([
                action.phase().to_string(),
                action.kind.name().to_string(),
                action.key.to_string(),
            ]);
        }
        writeln!(out, "{}\n", trimmed(&actions))?;
    }
    let mut report = Table::new();
    report
        .load_preset(presets::NOTHING)
        .set_header(["STATE", "CANDIDATE", "REASON"]);
    for line in plans.iter().flat_map(|plan| &plan.report) {
        report.add_row([
            line.state.to_string(),
            line.candidate.clone(),
            line.reason.clone(),
        ]);
    }
    writeln!(out, "{}\n", trimmed(&report))?;
    match changes {
        0 => writeln!(out, "Nothing to do.")?,
        1 => writeln!(out, "1 change pending.")?,
        _ => writeln!(out, "{changes} changes pending.")?,
    }
    Ok(())
}

fn trimmed(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n")
}
