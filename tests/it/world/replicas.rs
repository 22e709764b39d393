//! More than one process: the holder freezes and another takes over, or it hands over. Whoever
//! holds the lease no more changes nothing, whatever it has read before and believes.
//!
//! Here the machine's clock, by which a process measures its own lease, stands nearly still: one
//! that wakes still believes in its grant, and nothing is left to hold it back but the fence of
//! the rows. (That a process's own clock stops it before the fence has to is shown with real
//! processes, in `sandbox::replicas`.)

use std::sync::Arc;

use codex_k8s::apply::WriterProof;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;

use super::{
    crash::Hold,
    driver::{Setup, World},
    edges,
    platform::Platform,
    scenarios,
};

/// The longest that a process sleeps, in steps.
const LONGEST: usize = 12;
/// What a process that woke does before it asks for its lease.
const DOES: usize = 4;

/// A former process that will do something yet.
pub(crate) struct Sleeper {
    platform: Arc<Platform>,
    number: usize,
    /// The steps that it sleeps on.
    steps: usize,
    /// The pass that it is in, and where it stands.
    pass: Option<(JoinHandle<bool>, Arc<Hold>)>,
}

/// Ends a process with the pass that it is in.
async fn end(platform: Arc<Platform>, pass: Option<JoinHandle<bool>>) {
    if let Some(pass) = pass {
        pass.abort();
        drop(pass.await);
    }
    let platform = Arc::into_inner(platform).expect("its pass is over");
    platform.end().await;
}

/// What a process that woke does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Config,
    Forge,
    Pass,
}

/// What was written so far anywhere: requests to change something at forge and cluster, and
/// all rows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    forge: Vec<String>,
    cluster: Vec<String>,
    rows: Vec<(String, Option<String>)>,
}

/// The process freezes where it stands; another takes over when its lease has run out.
pub(crate) fn freeze(world: &mut World) -> BoxFuture<'_, ()> {
    Box::pin(async {
        let platform = world.platform.take().expect("a process is there");
        world.lay_down(Arc::new(platform), None);
        world.start_process().await;
    })
}

/// The process freezes in a pass, where an intent is to be committed next.
///
/// After an intent it is not frozen here: then its own clock alone stops it, and that one stands
/// still.
pub(crate) fn freeze_in_a_pass(world: &mut World) -> BoxFuture<'_, ()> {
    Box::pin(async {
        let nth = world.chance.below(3);
        world.freeze_before(nth).await;
    })
}

/// The process gives its lease back, and the next takes it though no time has gone by.
pub(crate) fn hand_over(world: &mut World) -> BoxFuture<'_, ()> {
    Box::pin(async {
        let platform = world.platform.as_ref().expect("a process is there");
        platform.reconciler.give_back_once().await;
        let platform = world.platform.take().expect("a process is there");
        world.lay_down(Arc::new(platform), None);
        let ahead = world.outside.ahead();
        let crashes = world.points.crashes().len();
        world.take_over(false).await;
        let platform = world.platform.as_ref().expect("a process is there");
        let quiet = platform.lease.quiet_for();
        let crashed = world.points.crashes().len() > crashes;
        if !crashed && (world.outside.ahead() != ahead || quiet.is_none_or(|it| !it.is_zero())) {
            let wrong = format!("a lease that was given back is waited for: {quiet:?}");
            world.violations.push(wrong);
        }
    })
}

impl World {
    /// Freezes the process before an intent of its next pass; says whether it came to that.
    async fn freeze_before(&mut self, nth: usize) -> bool {
        self.note("pass");
        let platform = Arc::new(self.platform.take().expect("a process is there"));
        let hold = self.points.hold_before_intent(nth);
        let passing = platform.clone();
        let mut pass = tokio::spawn(async move { passing.reconciler.pass_once().await });
        tokio::select! {
            biased;
            () = self.points.crashed() => self.note_crash(),
            () = hold.reached() => {
                self.lay_down(platform, Some((pass, hold)));
                self.start_process().await;
                return true;
            }
            passed = &mut pass => {
                passed.unwrap();
                self.points.hold_nothing();
                self.platform = Some(Arc::into_inner(platform).expect("its pass is over"));
                return false;
            }
        }
        self.points.hold_nothing();
        end(platform, Some(pass)).await;
        self.replace_process().await;
        false
    }

    /// The process sleeps from now on.
    fn lay_down(&mut self, platform: Arc<Platform>, pass: Option<(JoinHandle<bool>, Arc<Hold>)>) {
        let steps = self.chance.below(LONGEST);
        let number = self.processes;
        self.note(format!("process {number} sleeps for {steps} steps"));
        self.sleepers.push(Sleeper {
            platform,
            number,
            steps,
            pass,
        });
    }

    /// A step's time goes by; who has slept enough wakes.
    pub(crate) async fn sleepers_wake(&mut self) {
        for sleeper in &mut self.sleepers {
            sleeper.steps = sleeper.steps.saturating_sub(1);
        }
        while let Some(due) = self.sleepers.iter().position(|one| one.steps == 0) {
            let sleeper = self.sleepers.swap_remove(due);
            self.wakes(sleeper).await;
        }
    }

    /// Nobody sleeps any longer.
    pub(crate) async fn all_sleepers_wake(&mut self) {
        for sleeper in std::mem::take(&mut self.sleepers) {
            self.wakes(sleeper).await;
        }
    }

    /// A former process goes on where it stood, asks for its lease, and ends.
    async fn wakes(&mut self, sleeper: Sleeper) {
        let number = sleeper.number;
        self.note(format!("process {number} wakes"));
        let before = (self.written().await, self.points.total());
        let told = self.goes_on(sleeper).await;
        let after = (self.written().await, self.points.total());
        self.note(format!(
            "process {number} came by {} edges and is told: {told}",
            after.1 - before.1
        ));
        if after.0 != before.0 {
            let wrote = after.0.beside(&before.0);
            let wrong = format!("process {number} wrote without its lease: {wrote}");
            self.violations.push(wrong);
        }
    }

    async fn goes_on(&mut self, sleeper: Sleeper) -> String {
        let platform = sleeper.platform;
        if let Some((mut pass, hold)) = sleeper.pass {
            hold.let_go();
            let crashed = tokio::select! {
                biased;
                () = self.points.crashed() => true,
                passed = &mut pass => passed.is_err(),
            };
            if crashed {
                self.note_crash();
                end(platform, Some(pass)).await;
                return "it crashed".to_owned();
            }
        }
        for _ in 0..DOES {
            let choices = [(1, Does::Config), (2, Does::Forge), (3, Does::Pass)];
            let does = self.chance.one_of(&choices);
            if self.does(&platform, does).await {
                end(platform, None).await;
                return "it crashed".to_owned();
            }
        }
        let asked = platform.reconciler.keep_lease_once().await;
        if platform.lease.grant().is_some() {
            let wrong = format!("process {} keeps its lease: {asked:?}", sleeper.number);
            self.violations.push(wrong);
        }
        self.does(&platform, Does::Pass).await;
        end(platform, None).await;
        format!("{asked:?}")
    }

    /// Says whether it crashed at that.
    async fn does(&mut self, platform: &Platform, does: Does) -> bool {
        let reconciler = &platform.reconciler;
        let crashed = tokio::select! {
            biased;
            () = self.points.crashed() => true,
            () = async {
                match does {
                    Does::Config => reconciler.poll_config_once().await,
                    Does::Forge => drop(reconciler.poll_forge_once().await),
                    Does::Pass => drop(reconciler.pass_once().await),
                }
            } => false,
        };
        if crashed {
            self.note_crash();
        }
        crashed
    }

    async fn written(&self) -> Written {
        let rows = sqlx::query_as(
            "select tablename::text,
                    md5(table_to_xml(tablename::regclass, true, false, '')::text)
             from pg_tables where schemaname = 'public' order by tablename",
        );
        let forge = self.outside.github.arrivals();
        let cluster = self.outside.kubernetes.writes().into_iter();
        let cluster = cluster.map(|one| format!("{} {} {}", one.verb, one.resource, one.name));
        Written {
            forge: forge.into_iter().map(|one| one.route).collect(),
            cluster: cluster.collect(),
            rows: rows.fetch_all(&self.outside.db).await.unwrap(),
        }
    }
}

impl Written {
    /// What differs from before.
    fn beside(&self, before: &Self) -> String {
        let changed = self.rows.iter().filter(|row| !before.rows.contains(row));
        let changed: Vec<&str> = changed.map(|(table, _)| table.as_str()).collect();
        format!(
            "{:?} to the forge, {:?} to the cluster, rows of {changed:?}",
            &self.forge[before.forge.len()..],
            &self.cluster[before.cluster.len()..]
        )
    }
}

/// Wherever in a plain run a process freezes before an intent, what it would do when it wakes is
/// refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_wakes_after_a_takeover_tries_and_writes_nothing() {
    let (reference, undisturbed) = edges::play(Setup::undisturbed(scenarios::plain())).await;
    undisturbed.outside.end().await;
    let mut world = World::start(Setup::undisturbed(scenarios::plain())).await;
    world.poll_config().await;
    while !world.people_are_due().await {
        world.poll_forge().await;
        world.pass().await;
    }
    world.people_act().await;
    let mut frozen = 0;
    while frozen < 8 {
        world.poll_forge().await;
        for uid in world.outside.pods.uids() {
            world.pod(&uid).await;
        }
        if world.freeze_before(0).await {
            frozen += 1;
            let sleeper = world.sleepers.pop().unwrap();
            assert!(sleeper.platform.lease.grant().is_some(), "it believes");
            world.wakes(sleeper).await;
            assert_eq!(world.violations, Vec::<String>::new());
        }
        world.pass().await;
    }
    let end = world.play().await.unwrap();
    end.same_as(&reference.unwrap()).unwrap();
    world.outside.end().await;
}
