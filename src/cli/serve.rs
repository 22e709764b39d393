//! `codex-k8s serve`: the platform itself, whole or in roles.
//!
//! It puts the rooms together and serves until told to stop: SIGTERM and SIGINT
//! finish the action in hand and give the lease back; SIGUSR1 asks for a pass now.

mod parts;
mod ready;

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::parts::Platform;
use crate::{
    api::{self, ApiMetrics},
    settings::{Settings, Sources},
    telemetry,
};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Settings file; environment variables go over it
    #[arg(long, env = "CODEXK8S_CONFIG")]
    pub config: Option<PathBuf>,
    /// What to run
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["reconciler", "api"])]
    pub roles: Vec<Role>,
}

/// A part of the platform that can be a Deployment of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Polls, plans and applies; one replica at a time, the others stand by
    Reconciler,
    /// Serves the run API, the staff API and the webhook; scales freely
    Api,
}

/// Serves until told to stop.
pub async fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let sources = Sources::from_process(args.config.clone());
    let settings = Settings::load(&sources)?;
    telemetry::logs::init(&settings.logging).context("start logging")?;
    let unknown = sources.unknown_variables();
    if !unknown.is_empty() {
        tracing::warn!(
            variables = unknown.join(" "),
            "variables that nothing reads"
        );
    }
    let roles: BTreeSet<Role> = args.roles.iter().copied().collect();
    // First of all: a process without a handler dies of these signals.
    let stop = stop_signal()?;
    let asked = signal(SignalKind::user_defined1()).context("listen for SIGUSR1")?;
    let platform = tokio::select! {
        built = Platform::build(settings, &roles) => built?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    Box::pin(serve(platform, &roles, stop, asked)).await?;
    Ok(ExitCode::SUCCESS)
}

/// A token that SIGTERM and SIGINT cancel.
fn stop_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop");
        told.cancel();
    });
    Ok(stop)
}

async fn serve(
    platform: Platform,
    roles: &BTreeSet<Role>,
    stop: CancellationToken,
    asked: Signal,
) -> anyhow::Result<()> {
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let api_metrics =
        ApiMetrics::register(platform.metrics.registry()).context("register metrics")?;
    if roles.contains(&Role::Api) {
        let run_router = api::run_router(platform.run_api(api_metrics.clone())?);
        listen(
            &mut tasks,
            "run",
            platform.settings.run.listen,
            run_router,
            &stop,
        )
        .await?;
        let staff_router = api::staff_router(platform.staff(api_metrics));
        listen(
            &mut tasks,
            "api",
            platform.settings.api.listen,
            staff_router,
            &stop,
        )
        .await?;
    }
    let ops_router = api::ops_router(platform.ops(roles));
    listen(
        &mut tasks,
        "ops",
        platform.settings.ops.listen,
        ops_router,
        &stop,
    )
    .await?;
    spawn_metrics(&mut tasks, &platform, &stop);
    if let Some(reconciler) = &platform.reconciler {
        wake_on_signal(&mut tasks, &platform, &stop, asked);
        let reconcile = reconciler.run(stop.clone());
        let ((), ended) = tokio::join!(reconcile, until_all_ended(tasks, &stop));
        return ended;
    }
    until_all_ended(tasks, &stop).await
}

/// Waits for every task; the first that ends stops the others.
async fn until_all_ended(
    mut tasks: JoinSet<anyhow::Result<()>>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut failed = None;
    while let Some(ended) = tasks.join_next().await {
        match ended.context("a task panicked").and_then(|ended| ended) {
            Ok(()) if stop.is_cancelled() => {}
            Ok(()) => failed = failed.or_else(|| Some(anyhow::anyhow!("a task ended by itself"))),
            Err(error) => failed = failed.or(Some(error)),
        }
        stop.cancel();
    }
    match failed {
        Some(error) => bail!(error),
        None => Ok(()),
    }
}

async fn listen(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    name: &'static str,
    address: std::net::SocketAddr,
    router: axum::Router,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address} for the {name} API"))?;
    let address = listener
        .local_addr()
        .context("read the listener's address")?;
    tracing::info!(listener = name, address = %address, "listening");
    let stop = stop.clone();
    tasks.spawn(async move {
        api::serve(listener, router, stop)
            .await
            .with_context(|| format!("serve the {name} API"))
    });
    Ok(())
}

/// Copies the forge's counters into the metrics now and then.
fn spawn_metrics(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    platform: &Platform,
    stop: &CancellationToken,
) {
    let counters = Arc::clone(&platform.forge_metrics);
    let metrics = platform.metrics.clone();
    let stop = stop.clone();
    tasks.spawn(async move {
        while !stop.is_cancelled() {
            let snapshot = counters.snapshot();
            for ((purpose, result), total) in &snapshot.requests {
                metrics.forge.set_requests(purpose, result, *total);
            }
            for (purpose, total) in &snapshot.points {
                metrics.forge.set_points(purpose, *total);
            }
            for ((credential, resource), left) in &snapshot.budget {
                let remaining = u32::try_from(left.remaining).unwrap_or(u32::MAX);
                metrics
                    .forge
                    .set_budget(credential, resource, f64::from(remaining));
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
        Ok(())
    });
}

fn wake_on_signal(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    platform: &Platform,
    stop: &CancellationToken,
    mut asked: Signal,
) {
    let wake = Arc::clone(&platform.wake);
    let stop = stop.clone();
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = asked.recv() => wake.notify_one(),
            }
        }
    });
}

pub(super) use self::parts::{cluster as cluster_of, github_of, plan_settings as plan_settings_of};
