//! `codex-k8s budget`: what an hour of polling will cost the forge's credential, beside what was
//! really used of it.
//!
//! The forecast follows from the config, the settings and, where the database can be reached,
//! from what is live. What was used the forge is asked, which costs nothing.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, anyhow};
use secrecy::ExposeSecret;
use serde::Serialize;

use super::{
    printer::{Printer, Tone},
    serve::github_of,
};
use crate::{
    desired::{
        load::{load, read_folder},
        model::Desired,
    },
    domain::ids::CommitSha,
    forge::{BudgetWindow, Forge, ForgeMetrics, OpenGate, github::GithubForge},
    observed::forge::{
        PollSettings,
        forecast::{Forecast, Line, Load},
    },
    reconcile::request::{Wanted, poll_request},
    settings::{Settings, Sources},
    store::{Store, StoreSettings},
};

/// Arguments of `budget`.
#[derive(Debug, clap::Args)]
pub struct BudgetArgs {
    /// A config folder to forecast for, instead of the config last accepted
    folder: Option<PathBuf>,
    /// Settings file; environment variables go over it
    #[arg(long, env = "CODEXK8S_CONFIG")]
    config: Option<PathBuf>,
    /// In how many repositories something moves in every period
    #[arg(long, default_value_t = 0)]
    moving: usize,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// How a budget is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Tables
    Human,
    /// One JSON document
    Json,
}

/// A budget and what was used of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Used {
    /// `core` or `graphql`.
    pub resource: String,
    /// What there is in an hour.
    pub limit: u64,
    /// What was used since it was filled last.
    pub used: u64,
    /// Seconds until it is filled again.
    pub resets_in_seconds: u64,
    /// What an hour at this pace comes to; nothing within its first minute.
    pub hourly: Option<u64>,
    /// What the forecast says of it.
    pub forecast: u64,
}

impl Used {
    /// A window beside the forecast of it.
    pub fn of(window: &BudgetWindow, forecast: &Line) -> Self {
        let used = window.limit.saturating_sub(window.remaining);
        let left = window.resets_in.as_secs();
        let elapsed = 3_600_u64.saturating_sub(left);
        Self {
            resource: window.resource.clone(),
            limit: window.limit,
            used,
            resets_in_seconds: left,
            hourly: (elapsed >= 60).then(|| used * 3_600 / elapsed),
            forecast: if window.resource == "graphql" {
                forecast.points
            } else {
                forecast.rest
            },
        }
    }
}

#[derive(Serialize)]
struct Printed<'a> {
    repositories: usize,
    live: Option<usize>,
    period_seconds: u64,
    forecast: &'a [Line],
    together: Line,
    used: &'a [Used],
    forge_error: Option<String>,
}

/// What there is to poll.
struct Known {
    repositories: usize,
    /// Live subjects and accounts; `None` where no database said.
    live: Option<(usize, usize)>,
}

/// Forecasts, asks and prints.
pub async fn run(args: &BudgetArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(&Sources::from_process(args.config.clone()))?;
    let known = known(args, &settings).await?;
    let (live, actors) = known.live.unwrap_or_default();
    let timing = &settings.timing;
    let load = Load {
        repositories: known.repositories,
        live,
        actors,
        moving: args.moving,
        period: timing.poll,
    };
    let poll = PollSettings {
        sweep_every: timing.sweep,
        ..PollSettings::default()
    };
    let forecast = Forecast::of(&load, &poll);
    let together = forecast.total();
    let forge = GithubForge::new(
        github_of(&settings, "budget"),
        Arc::new(OpenGate),
        Arc::new(ForgeMetrics::default()),
    );
    let forge = forge
        .map_err(|error| anyhow!(error))
        .context("make the forge's client")?;
    let (used, forge_error) = match forge.ask_budget().await {
        Ok(windows) => {
            let used = windows.iter().map(|window| Used::of(window, &together));
            (used.collect::<Vec<_>>(), None)
        }
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let printed = Printed {
        repositories: known.repositories,
        live: known.live.map(|(live, _)| live),
        period_seconds: timing.poll.as_secs(),
        forecast: &forecast.lines,
        together,
        used: &used,
        forge_error,
    };
    match args.output {
        Output::Json => Printer::new().json(&printed)?,
        Output::Human => print(&printed)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn known(args: &BudgetArgs, settings: &Settings) -> anyhow::Result<Known> {
    let from_folder = args.folder.as_ref().map(|path| {
        let files = read_folder(path).with_context(|| format!("read {}", path.display()))?;
        load(CommitSha::new("working-folder"), files).map_err(|errors| {
            anyhow!(
                "{} has {} errors: see validate",
                path.display(),
                errors.len()
            )
        })
    });
    let from_folder = from_folder.transpose()?;
    let url = settings.database.url.expose_secret();
    let store = match Store::connect(&StoreSettings::new(url)).await {
        Ok(store) => store,
        // A folder is enough for a forecast without what is live.
        Err(_) if from_folder.is_some() => {
            return Ok(Known {
                repositories: from_folder.map_or(0, |desired| desired.repositories().count()),
                live: None,
            });
        }
        Err(error) => return Err(error).context("connect to Postgres"),
    };
    let desired = if let Some(desired) = from_folder {
        desired
    } else {
        let accepted = store.last_accepted_config().await?;
        let accepted = accepted.context("no config is accepted yet: name a folder")?;
        serde_json::from_value::<Desired>(accepted.desired)
            .context("read the last accepted config")?
    };
    let rows = store.load_pass(None).await.context("load the rows")?;
    let request = poll_request(&desired, Wanted::of(&desired, &rows));
    Ok(Known {
        repositories: request.bound.len(),
        live: Some((request.hot.len(), request.actors.len())),
    })
}

fn print(printed: &Printed<'_>) -> anyhow::Result<()> {
    let printer = Printer::new();
    let live = printed.live.map_or_else(
        || "what is live is not known".to_owned(),
        |live| format!("{live} live subjects"),
    );
    let head = format!(
        "{} repositories, {live}, a poll every {} s: in an hour",
        printed.repositories, printed.period_seconds
    );
    printer.line(Tone::Plain, &head)?;
    let row = |line: &Line| {
        let mut cells = vec![line.what.to_owned()];
        cells.extend([line.rest, line.graphql, line.points].map(|number| number.to_string()));
        cells
    };
    let rows = printed.forecast.iter().chain([&printed.together]).map(row);
    printer.table(&["for", "REST requests", "queries", "points"], rows)?;
    if let Some(error) = &printed.forge_error {
        let text = format!("the forge does not say what was used: {error}");
        printer.line(Tone::Warning, &text)?;
    } else if printed.used.is_empty() {
        printer.line(Tone::Plain, "the forge grants requests without limit")?;
    }
    let used = printed.used.iter().map(|used| {
        vec![
            used.resource.clone(),
            used.limit.to_string(),
            used.used.to_string(),
            used.hourly
                .map_or_else(|| "too early".to_owned(), |hourly| hourly.to_string()),
            used.forecast.to_string(),
            format!("{} s", used.resets_in_seconds),
        ]
    });
    if !printed.used.is_empty() {
        let header = [
            "budget",
            "limit",
            "used so far",
            "in an hour",
            "forecast",
            "filled again in",
        ];
        printer.table(&header, used)?;
    }
    for used in printed.used {
        if used.forecast > used.limit {
            let text = format!(
                "{}: polling alone will not fit: the period grows until it does",
                used.resource
            );
            printer.line(Tone::Warning, &text)?;
        }
    }
    Ok(())
}
