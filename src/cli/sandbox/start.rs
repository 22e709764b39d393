//! Starting the sandbox: the world, `serve` in it, one run to watch, and then
//! whatever people do until Ctrl-C.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::{StartArgs, Subject, handle::Handle, screen};
use crate::{
    domain::{Timestamp, event::FlowEvent},
    sandbox::{
        seed::{PERSON, REPOSITORIES},
        timeline::{Step, Timeline},
        world::{SandboxWorld, ServeChild, WorldOptions},
    },
    store::Store,
};

/// The label that starts the run.
const TRIGGER: &str = "run:dev";
/// How long `serve` may take until it has read the repositories.
const BIND_LIMIT: Duration = Duration::from_mins(1);
/// How long a run may take on top of its agent's work.
const RUN_LIMIT: Duration = Duration::from_secs(150);
/// How often rows and models are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// The most events of one look.
const EVENTS: i64 = 500;
/// How much of the log is shown when something fails.
const LOG_LINES: usize = 15;

pub(super) async fn run(args: StartArgs) -> anyhow::Result<ExitCode> {
    if let Some(program) = args.agent.program().filter(|_| args.kubeconfig.is_none()) {
        must_be_on_path(program.name())?;
    }
    screen::say("Starting the sandbox");
    let began = Instant::now();
    let options = WorldOptions {
        database_url: args.database_url.clone(),
        kubeconfig: args.kubeconfig.clone(),
        image: args.kubeconfig.is_some().then(|| args.image.clone()),
        run_address: args.run_address,
        keep: args.keep,
        program: args.agent.program(),
        agent_seconds: args.agent_seconds,
        ..WorldOptions::default()
    };
    let mut world = SandboxWorld::start(options, screen::ready).await?;
    let mut ending = Ending::listen()?;
    let published = publish(&world)?;
    let shown = tokio::select! {
        shown = show(&mut world, &args, began) => shown,
        () = ending.asked() => Ok(ExitCode::SUCCESS),
    };
    if args.keep {
        screen::say(format_args!("kept: {}", world.folder().display()));
    }
    drop(published);
    let ended = world.end().await;
    let code = shown?;
    ended?;
    Ok(code)
}

/// Without the program every run would fail, each with its own words for it.
fn must_be_on_path(program: &str) -> anyhow::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    anyhow::ensure!(
        found,
        "there is no program `{program}` on PATH; this installs it:\n  \
         PATH=\"$(manifests/images/agents/install):$PATH\""
    );
    Ok(())
}

fn publish(world: &SandboxWorld) -> anyhow::Result<super::handle::Published> {
    let addresses = world.addresses();
    let handle = Handle {
        process: std::process::id(),
        github: world.github().base_url(),
        control_secret: world.github().control_secret().to_owned(),
        config: world.config().path().to_owned(),
        api: addresses.api.clone(),
        ops: addresses.ops.clone(),
        log: world.serve_log().to_owned(),
        settings: world.settings().clone(),
    };
    handle.publish()
}

/// Ctrl-C, or being asked to end.
struct Ending {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Ending {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn show(
    world: &mut SandboxWorld,
    args: &StartArgs,
    began: Instant,
) -> anyhow::Result<ExitCode> {
    let store = world.store().await?;
    let starting = Instant::now();
    world.start_serve()?;
    wait_until_read(world, &store).await?;
    screen::ready(
        "serve: config accepted, repositories bound and read",
        starting.elapsed(),
    );
    screen::say(format_args!(
        "\nReady after {:.1} s.\n",
        began.elapsed().as_secs_f64()
    ));
    let mut watch = Watch::begin(world, store, &args.label).await?;
    let limit = RUN_LIMIT + Duration::from_secs_f64(args.agent_seconds.clamp(0.0, 86_400.0));
    if let Err(error) = watch.follow_run(world, limit).await {
        watch.explain(world).await;
        return Err(error);
    }
    let pull_request = watch.timeline.pull_request().unwrap_or_default().to_owned();
    screen::say(format_args!("\nThe pull request: {pull_request}"));
    if args.once {
        return Ok(ExitCode::SUCCESS);
    }
    screen::last(world, &pull_request);
    watch.follow_people(world).await
}

/// Waits until both repositories are bound and wholly read.
async fn wait_until_read(world: &mut SandboxWorld, store: &Store) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let mirrors = store.mirrors().await.context("read the mirrors")?;
        let read = mirrors
            .iter()
            .filter(|mirror| mirror.complete && mirror.unknown.is_none())
            .count();
        if read >= REPOSITORIES.len() {
            return Ok(());
        }
        let ended = world.serve().and_then(ServeChild::ended);
        if let Some(status) = ended {
            let log = world.serve_log_tail(LOG_LINES);
            bail!("serve ended with {status} before it had read the repositories:\n{log}");
        }
        if began.elapsed() > BIND_LIMIT {
            let why: Vec<_> = mirrors
                .iter()
                .filter_map(|mirror| mirror.unknown.clone())
                .collect();
            let log = world.serve_log_tail(LOG_LINES);
            bail!(
                "serve has read {read} of {} repositories after {} s ({}):\n{log}",
                REPOSITORIES.len(),
                BIND_LIMIT.as_secs(),
                why.join("; "),
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A look at the world, again and again.
struct Watch {
    store: Store,
    timeline: Timeline,
    labelled: Timestamp,
    last_event: i64,
}

impl Watch {
    /// Puts the label on.
    async fn begin(world: &SandboxWorld, store: Store, subject: &Subject) -> anyhow::Result<Self> {
        let github = world.github();
        let Subject { repository, number } = subject;
        let id = github
            .repository_id(repository)
            .context("label the issue")?;
        let known = store.reads().events_since(0, i64::MAX).await?;
        let labelled = store.now().await?;
        github
            .add_label(repository, *number, PERSON, TRIGGER)
            .with_context(|| format!("label {subject}"))?;
        screen::say(format_args!(
            "{PERSON} puts {TRIGGER} on {}\n",
            github.issue_url(repository, *number)
        ));
        Ok(Self {
            store,
            timeline: Timeline::new(i64::try_from(id)?, *number, TRIGGER),
            labelled,
            last_event: known.last().map_or(0, |event| event.id),
        })
    }

    async fn follow_run(
        &mut self,
        world: &mut SandboxWorld,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.timeline.is_complete() {
            keep_serving(world)?;
            for event in self.news().await? {
                if let Some(line) = self.timeline.record(&event) {
                    screen::line(&line, self.labelled);
                }
            }
            let state = world.github().state_json();
            for line in self.timeline.observe(&state, self.store.now().await?) {
                screen::line(&line, self.labelled);
            }
            if let Some(reason) = self.timeline.failure() {
                bail!("the run did not get to its end: {reason}");
            }
            if began.elapsed() > limit {
                let missing = self.timeline.missing();
                let missing: Vec<&str> = missing.into_iter().map(Step::into).collect();
                bail!(
                    "not seen within {} s: {}",
                    limit.as_secs(),
                    missing.join(", ")
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Events that were not looked at yet.
    async fn news(&mut self) -> anyhow::Result<Vec<FlowEvent>> {
        let news = self
            .store
            .reads()
            .events_since(self.last_event, EVENTS)
            .await?;
        if let Some(last) = news.last() {
            self.last_event = last.id;
        }
        Ok(news)
    }

    /// Prints events for as long as people want.
    async fn follow_people(&mut self, world: &mut SandboxWorld) -> anyhow::Result<ExitCode> {
        loop {
            keep_serving(world)?;
            for event in self.news().await? {
                screen::event(&event, &name(world, &event), self.labelled);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Says where things stand.
    async fn explain(&self, world: &SandboxWorld) {
        if let Ok(lines) = self.store.reads().report_lines(None).await {
            screen::say("\nThe last report:");
            for line in lines {
                screen::say(format_args!(
                    "  {}: {} ({})",
                    line.candidate, line.reason, line.state
                ));
            }
        }
        screen::say(format_args!(
            "\nThe end of serve's log:\n{}",
            world.serve_log_tail(LOG_LINES)
        ));
    }
}

/// Starts `serve` again where it has ended.
fn keep_serving(world: &mut SandboxWorld) -> anyhow::Result<()> {
    let ended = world.serve().and_then(ServeChild::ended);
    if let Some(status) = ended {
        let id = world.start_serve()?;
        screen::say(format_args!(
            "  serve ended ({status}); started again as process {id}"
        ));
    }
    Ok(())
}

/// An event's subject as people call it.
fn name(world: &SandboxWorld, event: &FlowEvent) -> String {
    let Some(subject) = event.event.subject else {
        return String::new();
    };
    let repository = REPOSITORIES
        .into_iter()
        .find(|name| {
            let id = world.github().repository_id(name).ok();
            id.and_then(|id| i64::try_from(id).ok()) == Some(subject.repository.0)
        })
        .unwrap_or("?");
    format!("{repository}#{}", subject.number)
}
