//! Performs what the machine decides and reports what came of it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::domain::{
    answer::Answer,
    fact::ResultStatus,
    ids::{AttemptNo, RunId},
    redact::Redactor,
    run_api::{MAX_SESSION_BYTES, Order, Pace, RunFacts},
    run_token::RunToken,
};

use super::{
    client::{CallError, Client, SavedSession, patiently},
    command::{self, Fillings},
    machine::{CommandEnd, Effect, Event, Exit, Interruption, State, step},
    output::Output,
    places::{Places, SESSION_FILE},
    session,
    workspace::{Push, Workspace, pause},
};

/// What the last words of a runner may take each: the pod is on its way out.
const LAST_WORDS: Duration = Duration::from_secs(15);
/// How long a runner asks for its facts before it gives up.
const FIRST_WORDS: Duration = Duration::from_mins(5);
/// How often a clone is tried.
const CLONE_TRIES: u32 = 8;

/// What a runner is started with.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The run API.
    pub url: Url,
    /// The run token.
    pub token: RunToken,
    /// The run; the token must be its.
    pub run: RunId,
    /// The attempt; the token must be its.
    pub attempt: AttemptNo,
    /// The folder to work in.
    pub work_dir: PathBuf,
    /// Certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// Runs one attempt to its end. `signalled` ends it early.
pub async fn run(settings: AgentSettings, signalled: CancellationToken) -> anyhow::Result<Exit> {
    let (events, mut inbox) = mpsc::unbounded_channel();
    let mut executor = Executor::new(settings, events.clone())?;
    let signals = events.clone();
    let watcher = tokio::spawn(async move {
        signalled.cancelled().await;
        drop(signals.send(Event::Interrupted(Interruption::Signal)));
    });
    let mut state = State::default();
    drop(events.send(Event::Started));
    loop {
        let event = inbox.recv().await.context("the runner lost its events")?;
        tracing::debug!(event = ?event, "something happened");
        let (next, effects) = step(state, event);
        state = next;
        for effect in effects {
            if let Effect::Exit(exit) = effect {
                executor.end();
                watcher.abort();
                return Ok(exit);
            }
            executor.perform(effect).await;
        }
    }
}

struct Executor {
    shared: Arc<Shared>,
    /// The step under way.
    step: Option<JoinHandle<()>>,
    /// Heartbeats and the snapshot clock.
    beside: Vec<JoinHandle<()>>,
    end_command: CancellationToken,
}

/// What steps work with.
struct Shared {
    settings: AgentSettings,
    client: Client,
    places: Places,
    output: Output,
    redactor: Redactor,
    events: mpsc::UnboundedSender<Event>,
    facts: std::sync::OnceLock<RunFacts>,
}

impl Executor {
    fn new(settings: AgentSettings, events: mpsc::UnboundedSender<Event>) -> anyhow::Result<Self> {
        let ca_file = settings.ca_file.as_deref();
        let client = Client::new(settings.url.clone(), settings.token.clone(), ca_file)?;
        let places = Places::below(&settings.work_dir).context("prepare the work folder")?;
        let redactor = Redactor::knowing([settings.token.expose().to_owned()]);
        let output = Output::start(
            client.clone(),
            redactor.clone(),
            places.clone(),
            settings.attempt,
        );
        Ok(Self {
            shared: Arc::new(Shared {
                settings,
                client,
                places,
                output,
                redactor,
                events,
                facts: std::sync::OnceLock::new(),
            }),
            step: None,
            beside: Vec::new(),
            end_command: CancellationToken::new(),
        })
    }

    async fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::EndCommand => self.end_command.cancel(),
            Effect::Abandon => {
                if let Some(step) = self.step.take() {
                    step.abort();
                    drop(step.await);
                }
            }
            Effect::StartHeartbeats => {
                let pace = self.shared.facts.get().map(|facts| facts.pace);
                if let Some(pace) = pace {
                    self.beside
                        .push(tokio::spawn(heartbeats(Arc::clone(&self.shared), pace)));
                    self.beside
                        .push(tokio::spawn(snapshot_clock(Arc::clone(&self.shared), pace)));
                }
            }
            Effect::Snapshot => {
                let shared = Arc::clone(&self.shared);
                self.beside.push(tokio::spawn(async move {
                    if let Err(error) = shared.save_session().await {
                        tracing::warn!(error = format!("{error:#}"), "no session snapshot");
                    }
                }));
            }
            effect => {
                let shared = Arc::clone(&self.shared);
                let end = self.end_command.clone();
                self.step = Some(tokio::spawn(async move {
                    let event = shared.performed(effect, end).await;
                    drop(shared.events.send(event));
                }));
            }
        }
    }

    fn end(&mut self) {
        for task in self.beside.drain(..).chain(self.step.take()) {
            task.abort();
        }
    }
}

impl Shared {
    async fn performed(&self, effect: Effect, end: CancellationToken) -> Event {
        let done = match effect {
            Effect::ReadFacts => self.read_facts().await,
            Effect::PrepareWorkspace => self.prepare_workspace().await,
            Effect::RestoreSession => self.restore_session().await,
            Effect::StartCommand => self.run_command(end).await,
            Effect::Commit => self.commit().await,
            Effect::Push => self.push().await,
            Effect::SaveSession => Ok(self.last_session().await),
            Effect::FlushLogs => {
                drop(timeout(LAST_WORDS, self.output.flushed()).await);
                Ok(Event::LogsFlushed)
            }
            Effect::HandIn(record) => {
                let handed = patiently(|| self.client.result(&record)).await;
                handed.map(|()| Event::ResultTaken).map_err(Into::into)
            }
            Effect::GiveNotice(reason) => {
                drop(timeout(LAST_WORDS, self.client.ended(reason)).await);
                Ok(Event::NoticeGiven)
            }
            Effect::StartHeartbeats
            | Effect::EndCommand
            | Effect::Abandon
            | Effect::Snapshot
            | Effect::Exit(_) => Ok(Event::Started),
        };
        done.unwrap_or_else(|error| Event::Interrupted(interruption(&error)))
    }

    fn facts(&self) -> anyhow::Result<&RunFacts> {
        self.facts.get().context("the facts are not read yet")
    }

    async fn read_facts(&self) -> anyhow::Result<Event> {
        let facts = timeout(FIRST_WORDS, patiently(|| self.client.facts())).await;
        let Ok(facts) = facts else {
            return Ok(Event::Interrupted(Interruption::Silence));
        };
        let facts = facts?;
        let meant = (self.settings.run, self.settings.attempt);
        anyhow::ensure!(
            (facts.run, facts.attempt) == meant,
            "the token speaks for run {} attempt {}",
            facts.run,
            facts.attempt
        );
        let handed_in = facts.result_handed_in;
        let facts = self.facts.get_or_init(|| facts);
        tracing::info!(
            run.id = %facts.run,
            run.attempt = facts.attempt.0,
            repo.name = %facts.repository,
            issue.number = facts.issue.0,
            "read the run's facts"
        );
        Ok(Event::FactsRead { handed_in })
    }

    fn workspace(&self) -> anyhow::Result<Workspace> {
        let remote = self.client.address(&self.facts()?.git_path);
        Ok(Workspace::new(
            self.places.clone(),
            remote,
            self.settings.token.clone(),
            self.settings.ca_file.clone(),
        ))
    }

    async fn prepare_workspace(&self) -> anyhow::Result<Event> {
        let facts = self.facts()?;
        let grace = Duration::from_secs(facts.pace.grace_seconds);
        command::end_leftover(&self.places, grace).await;
        let workspace = self.workspace()?;
        let mut tries = 0;
        while let Err(error) = workspace.prepare(facts).await {
            tries += 1;
            let error = anyhow::Error::from(error);
            anyhow::ensure!(
                tries < CLONE_TRIES,
                "the repository cannot be had: {error:#}"
            );
            tracing::warn!(
                error = format!("{error:#}"),
                "no workspace yet, trying again"
            );
            tokio::time::sleep(pause(tries)).await;
        }
        self.output
            .say(&format!(
                "{} is checked out on {}",
                facts.repository, facts.branch
            ))
            .await;
        let finished = self.places.finished(facts.attempt);
        Ok(Event::WorkspaceReady { finished })
    }

    async fn restore_session(&self) -> anyhow::Result<Event> {
        // What an earlier start left in the home is newer than any snapshot.
        let used = std::fs::read_dir(&self.places.home)?.next().is_some();
        let saved = if used {
            None
        } else {
            patiently(|| self.client.session()).await?
        };
        if let Some(saved) = saved {
            let words = match self.unpacked(&saved) {
                Ok(()) => "the last session is restored".to_owned(),
                Err(why) => {
                    // Half of a session is worse than none.
                    self.places.empty_home()?;
                    format!("the last session is not restored, the work begins afresh: {why}")
                }
            };
            self.output.say(&words).await;
        }
        Ok(Event::SessionRestored)
    }

    fn unpacked(&self, saved: &SavedSession) -> anyhow::Result<()> {
        let format = &saved.format;
        anyhow::ensure!(format == session::FORMAT, "its format is {format}");
        Ok(session::unpack(&saved.bytes, &self.places.home)?)
    }

    async fn run_command(&self, end: CancellationToken) -> anyhow::Result<Event> {
        let facts = self.facts()?;
        let ended = match self.command_ended(facts, end.clone()).await {
            Ok(ended) => ended,
            // A command that cannot be started is the agent's failure, not the pod's.
            Err(error) => {
                let words = format!("the command could not be run: {error:#}");
                self.output.say(&words).await;
                CommandEnd {
                    status: ResultStatus::Failed,
                    answer: Answer {
                        summary: words,
                        ..Answer::default()
                    },
                    exit_code: None,
                }
            }
        };
        if !end.is_cancelled() {
            self.places.remember(facts.attempt, &ended)?;
        }
        Ok(Event::CommandEnded(ended))
    }

    /// Runs the program, with the session it was in last or, where that cannot go on, afresh.
    async fn command_ended(
        &self,
        facts: &RunFacts,
        end: CancellationToken,
    ) -> anyhow::Result<CommandEnd> {
        let start = async |session: Option<&str>| {
            let fillings = Fillings::of(facts, &self.places, &self.client, session);
            command::run(facts, &self.places, &self.output, &fillings, end.clone()).await
        };
        let session = self.places.session();
        if let Some(ended) = start(session.as_deref()).await? {
            return Ok(ended);
        }
        let words = "the session cannot go on, the work begins afresh";
        self.output.say(words).await;
        self.places.empty_home()?;
        let ended = start(None).await?;
        ended.context("the command did not begin")
    }

    async fn commit(&self) -> anyhow::Result<Event> {
        let facts = self.facts()?;
        if !facts.changes_files {
            return Ok(Event::Committed { head: None });
        }
        let finished = self.places.finished(facts.attempt);
        let title = finished.and_then(|end| end.answer.title);
        let head = self.workspace()?.commit(facts, title.as_deref()).await?;
        Ok(Event::Committed { head })
    }

    async fn push(&self) -> anyhow::Result<Event> {
        let facts = self.facts()?;
        let workspace = self.workspace()?;
        let mut tries = 0;
        let mut moved = 0;
        loop {
            match workspace.push(facts).await? {
                Push::Done => break,
                Push::Refused(reason) => {
                    self.output
                        .say(&format!("the push was refused: {reason}"))
                        .await;
                    return Ok(Event::PushRefused { reason });
                }
                Push::Moved => {
                    moved += 1;
                    if moved > 3 || !workspace.rebase(facts).await? {
                        let reason = "others changed the same lines meanwhile".to_owned();
                        return Ok(Event::PushRefused { reason });
                    }
                }
                Push::Again(why) => {
                    tries += 1;
                    tracing::warn!(reason = why, "the push is repeated");
                    tokio::time::sleep(pause(tries)).await;
                }
            }
        }
        let head = workspace.head().await?.context("the pushed head is gone")?;
        self.output
            .say(&format!("pushed {head} to {}", facts.branch))
            .await;
        Ok(Event::Pushed { head })
    }

    async fn last_session(&self) -> Event {
        match timeout(LAST_WORDS, self.save_session()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = format!("{error:#}"), "session not saved"),
            Err(_) => tracing::warn!("session not saved in time"),
        }
        Event::SessionSaved
    }

    async fn save_session(&self) -> anyhow::Result<()> {
        let home = self.places.home.clone();
        let cli = &self.facts()?.cli;
        let mut wanted = cli.session_files.clone();
        if !wanted.is_empty() {
            wanted.push(SESSION_FILE.to_owned());
        }
        let redactor = self.redactor.clone();
        let ours: Vec<_> = cli.files.keys().map(PathBuf::from).collect();
        let packed = tokio::task::spawn_blocking(move || {
            session::pack(&home, &wanted, &ours, &redactor, MAX_SESSION_BYTES)
        });
        if let Some(blob) = packed.await?? {
            patiently(|| self.client.save_session(session::FORMAT, blob.clone())).await?;
        }
        Ok(())
    }
}

fn interruption(error: &anyhow::Error) -> Interruption {
    let reason = format!("{error:#}");
    match error.downcast_ref::<CallError>() {
        Some(error) if error.ends_the_attempt() => Interruption::Refused { reason },
        _ => Interruption::Broken { reason },
    }
}

/// Beats until told to end, or until nobody has listened for too long.
async fn heartbeats(shared: Arc<Shared>, pace: Pace) {
    let every = Duration::from_secs(pace.heartbeat_seconds.max(1));
    let silence = Duration::from_secs(pace.silence_seconds);
    let mut heard = Instant::now();
    loop {
        let interrupted = match shared.client.heartbeat().await {
            Ok(Order::Continue) => {
                heard = Instant::now();
                None
            }
            Ok(Order::Stop { reason }) => Some(Interruption::Ordered { reason }),
            Err(error) if error.ends_the_attempt() => Some(Interruption::Refused {
                reason: error.to_string(),
            }),
            Err(_) if heard.elapsed() >= silence => Some(Interruption::Silence),
            Err(error) => {
                tracing::warn!(error = %error, "a heartbeat was not taken");
                None
            }
        };
        if let Some(interruption) = interrupted {
            tracing::warn!(cause = ?interruption, "the runner ends early");
            drop(shared.events.send(Event::Interrupted(interruption)));
            return;
        }
        tokio::time::sleep(every).await;
    }
}

async fn snapshot_clock(shared: Arc<Shared>, pace: Pace) {
    loop {
        tokio::time::sleep(Duration::from_secs(pace.session_seconds.max(1))).await;
        if shared.events.send(Event::SnapshotDue).is_err() {
            return;
        }
    }
}
