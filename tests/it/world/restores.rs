//! The database is set back while forge and cluster went on; who is connected loses it, and a
//! new process finds what stands in the world.
//!
//! A restore is found by the copy of the lease in the cluster being ahead. So here, as by far the
//! most often, a beat has been copied since the backup. The process that finds it keeps quiet on
//! its own clock for as long as a lease of a process from before may last; as that clock stands
//! nearly still here, the clocks of the world go on instead and the next process begins.

use chrono::{DateTime, Utc};
use codex_k8s::apply::WriterProof;
use futures::future::BoxFuture;

use super::{driver::World, faults::Class, platform::TIMING, scenario::Scenario, scenarios};
use crate::support::restore;

pub(crate) const BACK_UP: &str = "the database is backed up";
pub(crate) const SET_BACK: &str =
    "the database is set back to the last backup, or to empty, with a new process";

/// Names of backups.
const EMPTY: &str = "empty";
const LAST: &str = "last";
/// Restores of one world at most.
const MOST: usize = 3;
/// The scenarios whose end a restore at any moment leaves as it is: nobody decides anything that
/// only the database knows.
pub(crate) const RESTORABLE: [&str; 4] = ["plain", "revise", "queued", "second attempt"];

/// The backups that there are, and how often the database was set back.
#[derive(Debug, Default)]
pub(crate) struct Backups {
    last: bool,
    pub(crate) restored: usize,
}

/// The scenarios that are played with restores.
pub(crate) fn scenarios() -> Vec<usize> {
    let can = |scenario: &Scenario| RESTORABLE.contains(&scenario.name);
    let all = scenarios::all().into_iter().enumerate();
    all.filter(|(_, one)| can(one))
        .map(|(index, _)| index)
        .collect()
}

pub(crate) fn back_up(world: &mut World) -> BoxFuture<'_, ()> {
    Box::pin(async {
        world.keep_rows(LAST).await;
        world.backups.last = true;
    })
}

pub(crate) fn set_back(world: &mut World) -> BoxFuture<'_, ()> {
    Box::pin(async {
        if world.backups.restored >= MOST {
            return;
        }
        let choices = [(3, LAST), (1, EMPTY)];
        let drawn = world.chance.one_of(&choices);
        let name = if world.backups.last { drawn } else { EMPTY };
        if world.is_marked().await {
            world.set_back_to(name).await;
        }
    })
}

impl World {
    /// Keeps the rows before the first process.
    pub(crate) async fn back_up_empty(&mut self) {
        self.keep_rows(EMPTY).await;
    }

    async fn keep_rows(&mut self, name: &str) {
        let mut db = self.outside.db.acquire().await.unwrap();
        restore::back_up(&mut db, name).await;
    }

    /// Whether the forge says where the repositories were bound: before that, labels cannot be
    /// told from those that are older than the first binding.
    async fn is_marked(&mut self) -> bool {
        let ours = "select count(*) from repositories where owner_variable ->> 'state' = 'ours'";
        let marked = self.count(ours).await == 2;
        if !marked {
            self.note("not set back: the repositories are not marked yet");
        }
        marked
    }

    /// Sets the database back under everybody.
    async fn set_back_to(&mut self, name: &str) {
        // The copy of the lease is ahead of the backup.
        self.wire_is_well();
        self.advance(TIMING.lease / 2).await;
        self.note(format!("set back to {name}"));
        if let Some(platform) = self.platform.take() {
            platform.end().await;
        }
        let at = self.database_time().await;
        let mut db = self.outside.db.acquire().await.unwrap();
        restore::set_back(&mut db, name).await;
        drop(db);
        super::wire::cut_connections(self).await;
        self.outside.pods.lose_connections();
        self.outside.cluster_at_rest().await;
        self.backups.restored += 1;
        self.start_process().await;
        let lease = &self.platform.as_ref().expect("a process is there").lease;
        let found = lease.grant().and_then(|grant| grant.restored_at);
        if found.is_none_or(|found| found < at) {
            let wrong = format!("a database set back at {at} is not found restored: {found:?}");
            self.violations.push(wrong);
        }
        self.advance(TIMING.lease + TIMING.margin).await;
        super::replicas::hand_over(self).await;
    }

    async fn database_time(&self) -> DateTime<Utc> {
        sqlx::query_scalar("select platform_now()")
            .fetch_one(&self.outside.db)
            .await
            .unwrap()
    }

    /// What must not be after a restore: an agent that did not end by itself.
    pub(crate) fn spared_by_restores(&self) -> Result<(), String> {
        let ended = self.outside.pods.ended_by_others();
        if ended.is_empty() {
            return Ok(());
        }
        Err(format!("live agents were ended: {}", ended.join("; ")))
    }
}

#[test]
fn the_scenarios_of_restores_are_there() {
    assert_eq!(scenarios().len(), RESTORABLE.len());
    let faults = super::faults::FAULTS.iter();
    let names: Vec<_> = faults
        .filter(|one| one.class == Class::Restore)
        .map(|one| one.name)
        .collect();
    assert_eq!(names, [BACK_UP, SET_BACK]);
}
