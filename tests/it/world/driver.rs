//! The driver: one world, its steps, and what is written down of them.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _, sync::Arc, time::Duration};

use chrono::TimeDelta;
use codex_k8s::{
    apply::WriterProof,
    domain::run::{Run, RunState},
    sandbox::github::Lag,
    store::RunFilter,
};

use super::{
    chance::Chance,
    crash::{CrashAt, Points},
    end::EndState,
    faults::Class,
    invariants,
    outside::Outside,
    platform::{Platform, TIMING},
    pods::Work,
    replicas::Sleeper,
    restores::Backups,
    scenario::{Do, Scenario, When},
    seeds::Injected,
    wire::Weather,
};

/// How a world is set up.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) scenario: Scenario,
    /// Draws the forge's lag, and the steps where they are by chance.
    pub(crate) seed: u64,
    pub(crate) lag: Lag,
    /// Steps by chance before the world goes on in its fixed order.
    pub(crate) by_chance: usize,
    /// Whether faults are drawn among them.
    pub(crate) faults: bool,
    /// Whether the database is set back among them.
    pub(crate) restores: bool,
    pub(crate) crashes: Vec<CrashAt>,
    /// How far the forge's clock is behind the database's; ahead where it is negative.
    pub(crate) forge_behind: TimeDelta,
}

impl Setup {
    /// The undisturbed run of a scenario.
    pub(crate) fn undisturbed(scenario: Scenario) -> Self {
        Self {
            scenario,
            seed: 1,
            lag: Lag::default(),
            by_chance: 0,
            faults: false,
            restores: false,
            crashes: Vec::new(),
            forge_behind: TimeDelta::zero(),
        }
    }
}

/// A world under way.
pub(crate) struct World {
    pub(crate) outside: Outside,
    pub(crate) platform: Option<Platform>,
    pub(crate) points: Arc<Points>,
    pub(crate) chance: Chance,
    pub(crate) setup: Setup,
    pub(crate) history: Vec<String>,
    pub(crate) processes: usize,
    files: BTreeMap<String, String>,
    agents: BTreeMap<u64, Work>,
    /// The next line of the people's script.
    pub(crate) next: usize,
    /// Whether nothing moved for so long that people may go on.
    pub(crate) quiet: bool,
    pub(crate) injected: Injected,
    pub(crate) config_is_broken: bool,
    pub(crate) weather: Weather,
    /// Former processes that will do something yet.
    pub(crate) sleepers: Vec<Sleeper>,
    pub(crate) backups: Backups,
    /// What a step found that must not be.
    pub(crate) violations: Vec<String>,
}

impl World {
    /// A world with its first process.
    pub(crate) async fn start(setup: Setup) -> Self {
        let files = setup.scenario.files();
        let outside = Outside::start(setup.seed, setup.lag, &files).await;
        let points = Arc::new(Points::default());
        for crash in &setup.crashes {
            points.crash_at(crash.clone());
        }
        let mut world = Self {
            outside,
            platform: None,
            points,
            chance: Chance::new(setup.seed),
            setup,
            history: Vec::new(),
            processes: 0,
            files,
            agents: BTreeMap::new(),
            next: 0,
            quiet: false,
            injected: Injected::new(),
            config_is_broken: false,
            weather: Weather::default(),
            sleepers: Vec::new(),
            backups: Backups::default(),
            violations: Vec::new(),
        };
        world.set_clocks_apart().await;
        if world.setup.restores {
            world.back_up_empty().await;
        }
        world.start_process().await;
        world
    }

    /// Sets the forge's clock and the database's apart.
    async fn set_clocks_apart(&mut self) {
        let behind = self.setup.forge_behind;
        match behind.to_std() {
            Ok(behind) => self.outside.set_database_ahead(behind).await,
            Err(_) => self.outside.github.advance(-behind),
        }
    }

    pub(crate) fn note(&mut self, line: impl Into<String>) {
        let ahead = self.outside.ahead().as_secs();
        self.history.push(format!("+{ahead}s {}", line.into()));
    }

    /// A new process takes over; a former one's lease runs out before.
    pub(crate) async fn start_process(&mut self) {
        let waits = self.processes > 0;
        self.take_over(waits).await;
    }

    /// A new process takes the lease, after it has run out or at once.
    pub(crate) async fn take_over(&mut self, mut waits: bool) {
        loop {
            if waits {
                let over = TIMING.lease + TIMING.margin + Duration::from_secs(1);
                self.outside.advance(over).await;
            }
            self.processes += 1;
            self.note(format!("process {} starts", self.processes));
            let platform =
                Platform::start(&self.outside, self.processes, self.points.clone()).await;
            platform.sees_the_cluster(&self.outside).await;
            let began = tokio::select! {
                () = async {
                    platform.takes_the_lease().await;
                    platform.reconciler.begin_term().await;
                } => true,
                () = self.points.crashed() => false,
            };
            if began {
                assert!(platform.lease.grant().is_some(), "the lease is taken");
                self.platform = Some(platform);
                return;
            }
            self.note_crash();
            waits = true;
        }
    }

    pub(crate) fn note_crash(&mut self) {
        let point = self.points.crashes().pop().expect("it crashed somewhere");
        self.note(format!("CRASH at {point}"));
    }

    /// What an agent does with an attempt.
    pub(crate) fn work(&self, issue: u64, attempt: i32) -> Work {
        let told = self.agents.get(&issue).copied();
        let mut scripted = self.setup.scenario.agents.iter();
        let scripted = scripted.find(|(on, nth, _)| (*on, *nth) == (issue, attempt));
        told.or(scripted.map(|(.., work)| *work))
            .unwrap_or(Work::Deliver)
    }

    /// All runs, oldest first.
    pub(crate) async fn runs(&self) -> Vec<Run> {
        let all = RunFilter::default();
        let mut runs = self.outside.api.list_runs(&all, 100).await.unwrap();
        runs.sort_by_key(|run| run.created_at);
        runs
    }

    async fn newest(&self, number: u64) -> Option<Run> {
        let mut runs = self.runs().await;
        runs.retain(|run| run.number.0.cast_unsigned() == number);
        runs.pop()
    }

    /// Whether the time for the next line of the script has come.
    pub(crate) async fn people_are_due(&self) -> bool {
        let Some((when, _)) = self.setup.scenario.people.get(self.next) else {
            return false;
        };
        match when {
            When::Bound => {
                self.count("select count(*) from repositories where complete")
                    .await
                    == if self.setup.scenario.both { 2 } else { 1 }
            }
            When::Run(number, state) => {
                let run = self.newest(*number).await;
                // A launch may be over between two looks.
                let launched =
                    |run: &Run| *state == RunState::Preparing && run.state != RunState::Pending;
                run.is_some_and(|run| run.state == *state || launched(&run))
            }
            When::Over(number) => self.is_over(*number).await,
            When::Quiet => self.quiet,
        }
    }

    pub(crate) async fn is_over(&self, number: u64) -> bool {
        let Some(run) = self.newest(number).await else {
            return false;
        };
        let kept = format!(
            "select count(*) from environments where run_id = '{}' and state <> 'gone'",
            run.id
        );
        run.finalized_at.is_some() && self.count(&kept).await == 0
    }

    pub(crate) async fn count(&self, query: &str) -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()))
            .fetch_one(&self.outside.db)
            .await
            .unwrap()
    }

    /// People do the next line of their script.
    pub(crate) async fn people_act(&mut self) {
        let (_, what) = self.setup.scenario.people[self.next].clone();
        self.next += 1;
        self.quiet = false;
        self.note(format!("people: {what:?}"));
        what.at(&self.outside, &mut self.files);
        if matches!(what, Do::Config(_)) {
            self.config_is_broken = false;
        }
        match what {
            Do::Agents(issue, work) => drop(self.agents.insert(issue, work)),
            Do::KillPods(number) => self.kill_pods(number).await,
            Do::Wait(time) => self.advance(time).await,
            Do::People(_) => *self.injected.entry(Class::People).or_default() += 1,
            _ => {}
        }
    }

    async fn kill_pods(&mut self, number: u64) {
        let Some(run) = self.newest(number).await else {
            return;
        };
        let namespace = run.frozen.map(|frozen| frozen.namespace);
        for uid in self.outside.pods.uids() {
            let place = self.outside.pods.place(&uid);
            if let Some((of, pod)) = place.filter(|(of, _)| Some(of) == namespace.as_ref()) {
                self.outside.kubernetes.kill_pod(&of, &pod);
            }
        }
    }

    /// Whether the script is through.
    pub(crate) fn script_is_through(&self) -> bool {
        self.next >= self.setup.scenario.people.len()
    }

    /// Plays the scenario to its end; what is there then.
    pub(crate) async fn play(&mut self) -> Result<EndState, String> {
        for _ in 0..self.setup.by_chance {
            self.weather_passes().await;
            self.sleepers_wake().await;
            self.step_by_chance().await;
            invariants::check(self).await?;
        }
        self.mend().await;
        self.play_on().await?;
        let end = EndState::of(self).await;
        let restored = self.backups.restored > 0;
        end.check(&self.setup.scenario, restored)?;
        Ok(end)
    }

    /// Whether it is now as it was in the end.
    pub(crate) async fn ended_as(&self, end: &EndState) -> bool {
        EndState::of(self).await.same_as(end).is_ok()
    }

    /// The failure with all that is known of the way to it.
    pub(crate) async fn story(&self, failure: &str) -> String {
        let mut text = format!("{}: {failure}\nsteps:\n", self.setup.scenario.name);
        for line in &self.history {
            let _ = writeln!(text, "  {line}");
        }
        let reads = &self.outside.api;
        text.push_str("events:\n");
        // The API's login may not read them all.
        let events: Vec<String> = sqlx::query_scalar(
            "select format('%s #%s %s %s', to_char(created_at, 'HH24:MI:SS'), number, kind, payload)
             from flow_events order by event_id",
        )
        .fetch_all(&self.outside.db)
        .await
        .unwrap_or_default();
        for event in events {
            let _ = writeln!(text, "  {event}");
        }
        text.push_str("report:\n");
        for line in reads.report_lines(None).await.unwrap_or_default() {
            let _ = writeln!(text, "  {} {}: {}", line.candidate, line.state, line.reason);
        }
        let rows: Vec<(String, i32, Option<String>, bool)> = sqlx::query_as(
            "select key, attempts, last_error, done_at is not null from effects
             where done_at is null or attempts > 0 order by key",
        )
        .fetch_all(&self.outside.db)
        .await
        .unwrap_or_default();
        let _ = writeln!(text, "effects not done or failing: {rows:#?}");
        text
    }

    /// Ends what injected faults left behind.
    async fn mend(&mut self) {
        self.clear_up().await;
        self.all_sleepers_wake().await;
        if self.config_is_broken {
            self.config_is_broken = false;
            let texts = self.files.iter();
            let texts = texts.map(|(path, text)| (path.as_str(), text.as_str()));
            self.outside.config.commit("Mend it", texts).unwrap();
        }
        self.outside.github.set_lag(self.setup.lag);
    }
}

/// A line for whoever reads the test's output.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
