//! Steps: each moves one part of the world once. A step that the platform
//! crashes in ends with a new process.

use std::time::Duration;

use codex_k8s::apply::WriterProof;

use super::{
    driver::World,
    end::UNDONE,
    faults::{Class, FAULTS},
    invariants,
    platform::TIMING,
    pods::said,
};

/// Clocks move in pieces that the lease outlasts, as a process at work would see them.
const PIECE: Duration = Duration::from_secs(15);
/// Passes that follow each other without a pause at most.
const MAX_PASSES: usize = 50;
/// Rounds in which nothing may move before a world counts as settled: together they are
/// longer than the forge may hide anything.
const QUIET_ROUNDS: usize = 5;
/// Quiet rounds in which even what a lying forge hid is found: they outlast the sweep's period.
const SWEPT_ROUNDS: usize = 60;
/// More rounds than any scenario needs.
const MAX_ROUNDS: usize = 400;

/// A part of the world that can move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Config,
    Forge,
    Hinted,
    Pass,
    Pod,
    People,
    Clock,
    Fault,
}

const WEIGHTS: [(usize, Step); 8] = [
    (1, Step::Config),
    (5, Step::Forge),
    (1, Step::Hinted),
    (9, Step::Pass),
    (5, Step::Pod),
    (3, Step::People),
    (3, Step::Clock),
    (2, Step::Fault),
];

/// What counts as movement: writes at forge and cluster, and events.
type Moved = (usize, usize, i64, i64);

impl World {
    /// One step, drawn.
    pub(crate) async fn step_by_chance(&mut self) {
        match self.chance.one_of(&WEIGHTS) {
            Step::Config => self.poll_config().await,
            Step::Forge => self.poll_forge().await,
            Step::Hinted => self.poll_hinted().await,
            Step::Pass => drop(self.pass().await),
            Step::Pod => {
                let uids = self.outside.pods.uids();
                if !uids.is_empty() {
                    let uid = &uids[self.chance.below(uids.len())];
                    self.pod(uid).await;
                }
            }
            Step::People => {
                if self.people_are_due().await {
                    self.people_act().await;
                }
            }
            Step::Clock => {
                let seconds = 1 + self.chance.below(40) as u64;
                self.advance(Duration::from_secs(seconds)).await;
            }
            Step::Fault if self.setup.faults => self.fault().await,
            Step::Fault => {}
        }
    }

    async fn fault(&mut self) {
        let restores = self.setup.restores;
        let drawn = FAULTS
            .iter()
            .filter(|one| restores || one.class != Class::Restore);
        let choices: Vec<_> = drawn.map(|one| (one.weight, one)).collect();
        let fault = self.chance.one_of(&choices);
        self.note(format!("FAULT: {}", fault.name));
        *self.injected.entry(fault.class).or_default() += 1;
        (fault.inject)(self).await;
        self.settle_cluster().await;
    }

    /// The process ends where it stands, and another takes over.
    pub(crate) async fn replace_process(&mut self) {
        self.platform = None;
        self.outside.cluster_at_rest().await;
        self.start_process().await;
    }

    /// Goes on in fixed rounds until nothing moves any more.
    pub(crate) async fn play_on(&mut self) -> Result<(), String> {
        let mut still = 0;
        for _ in 0..MAX_ROUNDS {
            let before = (self.moved().await, self.next);
            self.round().await?;
            let moved = (self.moved().await, self.next) != before;
            let moves = moved || !self.is_done().await;
            still = if moves { 0 } else { still + 1 };
            if still >= QUIET_ROUNDS {
                if self.script_is_through() {
                    return Ok(());
                }
                self.quiet = true;
                if still > SWEPT_ROUNDS {
                    let next = &self.setup.scenario.people[self.next];
                    return Err(format!("people wait for ever: {next:?}"));
                }
            }
            // What is only to be tried again may be so in an hour.
            let pause = match (moved, moves) {
                (true, _) => 3,
                (false, true) => 60,
                (false, false) => 20,
            };
            self.advance(Duration::from_secs(pause)).await;
        }
        Err(format!("it does not come to rest in {MAX_ROUNDS} rounds"))
    }

    /// Everybody once: people, the polls, passes until one comes out empty, every pod.
    async fn round(&mut self) -> Result<(), String> {
        if self.people_are_due().await {
            self.people_act().await;
        }
        self.poll_config().await;
        self.poll_forge().await;
        self.passes().await?;
        for uid in self.outside.pods.uids() {
            self.pod(&uid).await;
            invariants::check(self).await?;
        }
        self.passes().await
    }

    async fn passes(&mut self) -> Result<(), String> {
        for _ in 0..MAX_PASSES {
            let progressed = self.pass().await;
            invariants::check(self).await?;
            // Some states last no longer than from pass to pass.
            if self.people_are_due().await {
                self.people_act().await;
            }
            if !progressed {
                return Ok(());
            }
        }
        Err(format!(
            "{MAX_PASSES} passes in a row all found something to do"
        ))
    }

    /// What was written so far.
    async fn moved(&self) -> Moved {
        let events = "select coalesce(max(event_id), 0) from flow_events";
        let facts = "select count(*) from run_facts where kind <> 'heartbeat'";
        (
            self.outside.github.writes().len(),
            self.outside.kubernetes.write_count(),
            self.count(events).await,
            self.count(facts).await,
        )
    }

    /// Whether the ledger holds nothing that is to be tried again.
    async fn is_done(&self) -> bool {
        let undone = format!("select count(*) from ({UNDONE}) undone");
        self.count(&undone).await == 0
    }

    pub(crate) async fn poll_config(&mut self) {
        self.note("poll config");
        let platform = self.platform.as_ref().expect("a process is there");
        let crashed = tokio::select! {
            biased;
            () = self.points.crashed() => true,
            () = platform.reconciler.poll_config_once() => false,
        };
        self.after(crashed).await;
    }

    pub(crate) async fn poll_forge(&mut self) {
        self.note("poll forge");
        let platform = self.platform.as_ref().expect("a process is there");
        let crashed = tokio::select! {
            biased;
            () = self.points.crashed() => true,
            _ = platform.reconciler.poll_forge_once() => false,
        };
        self.after(crashed).await;
    }

    /// Reads what a hint is due for, and what the last pass wants besides.
    pub(crate) async fn poll_hinted(&mut self) {
        self.note("poll hinted");
        let platform = self.platform.as_ref().expect("a process is there");
        let crashed = tokio::select! {
            biased;
            () = self.points.crashed() => true,
            () = async {
                platform.reconciler.poll_hinted_once().await;
                platform.reconciler.poll_wanted_once().await;
            } => false,
        };
        self.after(crashed).await;
    }

    /// Lets every pod move once, beside a platform that goes by itself.
    pub(crate) async fn pods_move(&mut self) {
        for uid in self.outside.pods.uids() {
            let place = self.outside.pods.place(&uid);
            let work = |issue, attempt| self.work(issue, attempt);
            if let Some(did) = self.outside.pods.act(&self.outside, &uid, work).await {
                self.note(said(place, &did));
            }
        }
    }

    /// One pass; says whether another may find more to do.
    pub(crate) async fn pass(&mut self) -> bool {
        self.note("pass");
        let platform = self.platform.as_ref().expect("a process is there");
        let passed = tokio::select! {
            biased;
            () = self.points.crashed() => None,
            progressed = platform.reconciler.pass_once() => Some(progressed),
        };
        self.after(passed.is_none()).await;
        passed.unwrap_or(true)
    }

    pub(crate) async fn pod(&mut self, uid: &str) {
        let place = self.outside.pods.place(uid);
        let work = |issue, attempt| self.work(issue, attempt);
        let did = self.outside.pods.act(&self.outside, uid, work).await;
        if let Some(did) = did {
            self.note(said(place, &did));
        }
        self.settle_cluster().await;
    }

    /// Moves the clocks; the holder prolongs its lease on the way.
    pub(crate) async fn advance(&mut self, by: Duration) {
        self.note(format!("clock +{}s", by.as_secs()));
        let mut left = by;
        while !left.is_zero() {
            let piece = left.min(PIECE);
            left -= piece;
            self.outside.advance(piece).await;
            self.keep_lease().await;
        }
    }

    async fn keep_lease(&mut self) {
        let platform = self.platform.as_ref().expect("a process is there");
        let crashed = tokio::select! {
            biased;
            () = self.points.crashed() => true,
            kept = platform.reconciler.keep_lease_once() => {
                kept.unwrap();
                false
            }
        };
        if crashed {
            self.after(true).await;
        }
        let platform = self.platform.as_ref().expect("a process is there");
        assert!(platform.lease.grant().is_some(), "{TIMING:?}");
    }

    /// Ends a step: after a crash with a new process, and with what follows in the cluster.
    async fn after(&mut self, crashed: bool) {
        if crashed {
            self.note_crash();
            self.replace_process().await;
        }
        self.settle_cluster().await;
    }

    pub(crate) async fn settle_cluster(&mut self) {
        self.outside.cluster_at_rest().await;
        if self.weather.hides_the_cluster() {
            return;
        }
        let platform = self.platform.as_ref().expect("a process is there");
        platform.sees_the_cluster(&self.outside).await;
    }
}
