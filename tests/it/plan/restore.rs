//! The database is set back while forge and cluster go on: nothing live ends, nothing is done
//! twice, and runs are rebuilt from what stands in the world.

use chrono::Duration;
use codex_k8s::domain::{
    fact::ResultStatus,
    ids::{AttemptNo, EventId, RunId, Subject},
    report::ReportState,
    run::{AttemptState, RunState},
    snapshot::StoreSnapshot,
    trigger::{Disposition, RefusalReason},
};
use codex_k8s::plan::Scope;

use super::world::{HELLO, World, at, project};

const MOST_PASSES: usize = 200;

impl World {
    /// The platform's own rows as they were; what was read at the forge is read again.
    pub(super) fn restore(&mut self, backup: &StoreSnapshot) {
        let now = self.rows.clone();
        self.rows = StoreSnapshot {
            restored_at: Some(self.now),
            issues: now.issues,
            events: now.events,
            labels: now.labels,
            variables: now.variables,
            pulls: now.pulls,
            reviews: now.reviews,
            comments: now.comments,
            branches: now.branches,
            permissions: now.permissions,
            identities: now.identities,
            repositories: now.repositories,
            ..backup.clone()
        };
        // Whether a push of ours made a branch is our own knowledge.
        for branch in &mut self.rows.branches {
            let known = |row: &&codex_k8s::domain::mirror::BranchHead| {
                (row.repository, &row.branch) == (branch.repository, &branch.branch)
            };
            branch.ours = backup
                .branches
                .iter()
                .find(known)
                .is_some_and(|row| row.ours);
        }
        self.swept_at = None;
        self.evented.clear();
        self.now += Duration::seconds(1);
    }

    pub(super) fn passes(&mut self, number: usize) {
        for _ in 0..number {
            self.pass();
        }
    }

    /// Honest pods and passes until nothing happens any more.
    pub(super) fn finish(&mut self) {
        let mut rest = 0;
        for _ in 0..MOST_PASSES {
            self.pods_work();
            let busy = self.pass().iter().any(|plan| !plan.is_empty());
            rest = if busy { 0 } else { rest + 1 };
            if rest == 3 {
                return;
            }
            if !busy {
                self.swept_at = Some(self.now);
                self.now += Duration::minutes(6);
            }
        }
        panic!("it never comes to rest:\n{}", self.show("report"));
    }

    /// The run that is due on a subject, with its agent at work.
    pub(super) fn go_to_work(&mut self, subject: Subject) -> RunId {
        self.passes(6);
        let run = self.run_of(subject).map(|run| run.id);
        let run = run.unwrap_or_else(|| panic!("it has no run:\n{}", self.show("report")));
        self.pod_runs(run);
        self.passes(3);
        let state = self.run(run).state;
        assert_eq!(state, RunState::Running, "{}", self.show("report"));
        run
    }

    /// What stands in the cluster, by uid.
    pub(super) fn standing(&self) -> Vec<String> {
        let cluster = &self.cluster;
        let namespaces = cluster.namespaces.iter().map(|row| row.uid.clone());
        let jobs = cluster.jobs.iter().map(|row| row.uid.clone());
        let pods = cluster.pods.iter().map(|row| row.uid.clone());
        namespaces.chain(jobs).chain(pods).collect()
    }
}

/// A world whose issue 10 has an agent at work.
pub(super) fn at_work() -> (World, RunId) {
    let mut world = World::example();
    world.label(at(10), "run:dev", "ada");
    let run = world.go_to_work(at(10));
    (world, run)
}

pub(super) fn empty() -> StoreSnapshot {
    StoreSnapshot::default()
}

#[test]
fn a_live_agent_is_taken_over_with_its_slot_branch_and_attempt() {
    let (mut world, run) = at_work();
    let before = world.run(run).clone();
    let standing = world.standing();
    world.restore(&empty());
    // Not even the config's limits stand against an agent at work.
    world.spec().slots = 0;
    world.passes(8);
    let after = world.run(run).clone();
    assert_eq!(after.state, RunState::Running, "{}", world.show("report"));
    assert_eq!(
        (after.frozen, after.branch, after.slot),
        (before.frozen, before.branch, before.slot)
    );
    assert_eq!(world.standing(), standing);
    world.spec().slots = 2;
    world.finish();
    assert_eq!(world.run(run).state, RunState::Succeeded);
    assert_eq!(world.rows.pulls.len(), 1);
}

#[test]
fn what_is_read_again_long_after_the_loss_keeps_its_workload() {
    let (mut world, run) = at_work();
    let standing = world.standing();
    world.restore(&empty());
    // No config could be read for a long time, so nothing was bound.
    let repositories = std::mem::take(&mut world.rows.repositories);
    let events = std::mem::take(&mut world.rows.events);
    world.passes(2);
    world.now += Duration::minutes(30);
    world.passes(2);
    // Then all is read at once, and swept.
    world.rows.repositories = repositories;
    world.rows.events = events;
    world.swept_at = Some(world.now);
    world.passes(8);
    assert_eq!(world.standing(), standing, "{}", world.show("report"));
    assert_eq!(world.run(run).state, RunState::Running);
}

#[test]
fn a_revise_waits_for_the_run_whose_pull_request_it_continues() {
    let (mut world, run) = at_work();
    world.finish();
    let pull = world.run(run).pull_request.expect("it has a pull request");
    world.label(at(pull.0), "run:dev:revise", "grace");
    world.restore(&empty());
    world.finish();
    let refused = |trigger: &&codex_k8s::domain::trigger::Trigger| {
        matches!(trigger.disposition, Disposition::Refused(_))
    };
    let triggers = world.rows.triggers.iter();
    assert_eq!(
        triggers.filter(refused).count(),
        0,
        "{}",
        world.show("triggers")
    );
    assert_eq!(world.rows.pulls.len(), 1);
}

#[test]
fn a_later_attempt_is_taken_over_under_its_number_and_key() {
    let (mut world, run) = at_work();
    let first = world.rows.clone();
    world.pod_fails(run, 1);
    world.passes(3);
    world.now += Duration::minutes(2);
    world.settings.token_key_version = 2;
    world.passes(6);
    world.pod_runs(run);
    world.passes(2);
    let number = |world: &World| world.rows.attempts.iter().map(|row| row.number).max();
    assert_eq!(
        number(&world),
        Some(AttemptNo(2)),
        "{}",
        world.show("report")
    );
    let standing = world.standing();
    world.settings.token_key_version = 3;
    for backup in [first, empty()] {
        world.restore(&backup);
        world.passes(8);
        assert_eq!(world.standing(), standing, "{}", world.show("report"));
        let newest = world
            .rows
            .attempts
            .iter()
            .max_by_key(|row| row.number)
            .unwrap();
        assert_eq!((newest.number, newest.key_version), (AttemptNo(2), 2));
        assert_eq!(newest.state, AttemptState::Running);
        assert!(newest.job_uid.is_some());
        assert_eq!(world.run(run).state, RunState::Running);
    }
}

#[test]
fn nothing_is_done_for_runs_of_a_repository_that_is_not_read_whole_since() {
    let (mut world, run) = at_work();
    let backup = world.rows.clone();
    world.unlabel(at(10), "run:dev", "ada");
    world.restore(&backup);
    world.repository_mut(HELLO).complete = false;
    world.now += Duration::hours(30);
    let planned = world.plan(project());
    let of_run = planned
        .actions
        .iter()
        .find(|action| action.run == Some(run));
    assert!(of_run.is_none(), "{planned}");
    let line = planned.report.iter().find(|line| line.run == Some(run));
    assert_eq!(
        line.map(|line| line.state),
        Some(ReportState::Unknown),
        "{planned}"
    );
    assert!(world.plan(Scope::Orphans).is_empty());
    // Then it is: the time-out and the withdrawal count.
    world.repository_mut(HELLO).complete = true;
    world.finish();
    assert!(
        world.run(run).state.is_terminal(),
        "{}",
        world.show("report")
    );
}

#[test]
fn a_finished_run_is_found_by_its_pull_request_and_nothing_starts_again() {
    let mut world = World::example();
    let before = world.rows.clone();
    world.label(at(10), "run:dev", "ada");
    world.passes(2);
    let queued = world.rows.clone();
    world.passes(6);
    let working = world.rows.clone();
    world.finish();
    let run = world.run_of(at(10)).expect("it has a run").id;
    assert_eq!(world.run(run).state, RunState::Succeeded);
    let (pulls, comments) = (world.rows.pulls.clone(), world.rows.comments.len());
    for backup in [empty(), before, queued, working] {
        let mut world = world.clone();
        world.restore(&backup);
        world.finish();
        let run = world.run(run);
        assert_eq!(run.state, RunState::Succeeded, "{}", world.show("report"));
        assert_eq!(run.pull_request, Some(pulls[0].number));
        assert_eq!(world.rows.pulls, pulls);
        assert_eq!(world.rows.comments.len(), comments);
        assert_eq!(world.rows.runs.len(), 1);
        assert!(world.rows.attempts.len() <= 1 && world.standing().is_empty());
        // A new label starts a new run, on the same branch.
        world.label(at(10), "run:dev", "ada");
        world.finish();
        assert_eq!(world.rows.runs.len(), 2, "{}", world.show("report"));
        assert_eq!(world.rows.pulls.len(), pulls.len());
    }
}

#[test]
fn a_run_that_failed_is_not_started_again() {
    let mut world = World::example();
    let before = world.rows.clone();
    world.label(at(10), "run:dev", "ada");
    world.passes(2);
    let queued = world.rows.clone();
    world.passes(6);
    let working = world.rows.clone();
    let run = world.run_of(at(10)).expect("it has a run").id;
    world.pod_runs(run);
    world.passes(2);
    assert!(world.result(run, ResultStatus::Failed));
    world.passes(20);
    assert_eq!(
        world.run(run).state,
        RunState::Failed,
        "{}",
        world.show("report")
    );
    for backup in [empty(), before, queued, working] {
        let mut world = world.clone();
        world.restore(&backup);
        world.finish();
        let ended = world
            .rows
            .runs
            .iter()
            .all(|run| run.state == RunState::Cancelled);
        assert!(
            ended && world.rows.runs.len() <= 1,
            "{}",
            world.show("report")
        );
        if world.rows.runs.is_empty() {
            let refused = Disposition::Refused(RefusalReason::Consumed);
            assert_eq!(world.rows.triggers[0].disposition, refused);
        }
        assert!(world.standing().is_empty() && world.rows.pulls.is_empty());
    }
}

#[test]
fn what_is_at_work_is_not_historical_for_a_new_binding() {
    let (mut world, run) = at_work();
    // A label from before the first binding, which never started anything.
    world.restore(&empty());
    world.label(at(11), "run:dev", "ada");
    let newest = EventId(world.last_id);
    world.repository_mut(HELLO).binding_event = newest;
    world.passes(8);
    assert_eq!(
        world.run(run).state,
        RunState::Running,
        "{}",
        world.show("report")
    );
    assert_eq!(world.rows.runs.len(), 1);
}

/// Numbers in an order that only the seed decides.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % end
    }
}

/// Three issues, a backup at one moment and a restore at a later one: the end is that of an
/// undisturbed world.
pub(super) fn restore_from_seed(seed: u64) {
    let mut draw = Draw(seed);
    let mut world = World::example();
    let mut backups = vec![empty(), world.rows.clone()];
    let mut waiting = vec![10, 11, 12];
    for _ in 0..draw.below(40) {
        if !waiting.is_empty() && draw.below(4) == 0 {
            let number = waiting.remove(draw.below(waiting.len()));
            world.label(at(number), "run:dev", "ada");
        }
        if draw.below(2) == 0 {
            world.pods_work();
        }
        world.pass();
        backups.push(world.rows.clone());
    }
    let backup = backups.swap_remove(draw.below(backups.len()));
    let live: Vec<String> = world
        .cluster
        .pods
        .iter()
        .map(|pod| pod.uid.clone())
        .collect();
    world.restore(&backup);
    for number in waiting {
        world.label(at(number), "run:dev", "ada");
    }
    // Whose result is in may go; nobody else.
    world.passes(3);
    let left: Vec<String> = world
        .cluster
        .pods
        .iter()
        .map(|pod| pod.uid.clone())
        .collect();
    let reported = world
        .rows
        .runs
        .iter()
        .any(|run| run.result.is_some() || run.state.is_terminal());
    assert!(
        reported || live.iter().all(|uid| left.contains(uid)),
        "seed {seed}: a live pod is gone\n{}",
        world.show("report")
    );
    world.finish();
    check_end(&world, seed);
}

fn check_end(world: &World, seed: u64) {
    let shown = || format!("seed {seed}\n{}", world.show("report"));
    for number in [10, 11, 12] {
        let branch = format!("codex/issue-{number}");
        let pulls = world
            .rows
            .pulls
            .iter()
            .filter(|pull| pull.head.as_str() == branch);
        assert_eq!(pulls.count(), 1, "{}", shown());
        let comments = world
            .rows
            .comments
            .iter()
            .filter(|row| row.number == at(number).number);
        assert_eq!(comments.count(), 1, "{}", shown());
        let issue = world.issue(at(number)).expect("it is open");
        let labels: Vec<_> = issue
            .labels
            .iter()
            .map(codex_k8s::domain::ids::LabelName::as_str)
            .collect();
        assert_eq!(labels, ["state:in-review"], "{}", shown());
        let runs = world
            .rows
            .runs
            .iter()
            .filter(|run| run.number == at(number).number);
        assert!(runs.clone().count() <= 1, "{}", shown());
        assert!(
            runs.into_iter().all(|run| run.state == RunState::Succeeded),
            "{}",
            shown()
        );
    }
    assert_eq!(world.rows.pulls.len(), 3, "{}", shown());
    assert!(
        world.standing().is_empty() && world.rows.slots.is_empty(),
        "{}",
        shown()
    );
    assert_eq!(world.conflicts, Vec::<String>::new(), "seed {seed}");
}

#[test]
fn a_database_set_back_at_any_moment_reaches_the_same_end() {
    for seed in 1..=120 {
        restore_from_seed(seed);
    }
}
