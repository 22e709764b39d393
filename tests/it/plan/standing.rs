//! What the config asks for by the clock and by pushes, as scripts say it.

use std::sync::Arc;

use chrono::Duration;
use codex_k8s::{
    desired::model::{DesiredProject, ObjectName, PushTrigger},
    domain::{
        ids::{IssueNumber, ProjectKey, RunId, StageKind, Subject},
        run::RunState,
    },
};

use super::{
    restore::empty,
    world::{HELLO, World, actor, at, sha},
};

impl World {
    fn project(&mut self) -> &mut DesiredProject {
        let projects = &mut Arc::make_mut(&mut self.desired).projects;
        let project = projects.get_mut(&ProjectKey::from("demo"));
        project.expect("the example has it")
    }

    /// The config asks for a stage on an issue of the first repository by the clock.
    pub(super) fn schedule(&mut self, name: &str, number: i64, stage: &str, cron: &str) {
        let schedule = serde_json::from_value(serde_json::json!({
            "repository": "hello", "issue": number, "stage": stage, "cron": cron,
        }));
        let schedules = &mut self.project().schedules;
        schedules.insert(ObjectName::from(name), schedule.expect("a schedule"));
    }

    /// The config no longer does.
    pub(super) fn drop_schedule(&mut self, name: &str) {
        self.project().schedules.remove(&ObjectName::from(name));
    }

    /// The config asks for a stage by pushes to the default branch.
    pub(super) fn on_push(&mut self, number: i64, stage: &str) {
        let hello = self
            .project()
            .repositories
            .get_mut(&ObjectName::from("hello"));
        hello.expect("the example has it").on_push = vec![PushTrigger {
            issue: IssueNumber(number),
            stage: StageKind::new(stage),
        }];
    }

    /// Somebody pushes to the default branch.
    pub(super) fn push_default(&mut self, number: i64) {
        self.repository_mut(HELLO).record.default_head = Some(sha(number));
    }

    /// Who opened an issue.
    pub(super) fn written_by(&mut self, subject: Subject, who: &str) {
        self.open_issue(subject);
        let issue = self.issue_mut(subject).expect("it is open");
        issue.author = Some(actor(who));
    }
}

/// A world in which the config asks for a run on issue 30, and whose agent is at work.
fn at_work(ask: impl Fn(&mut World)) -> (World, RunId) {
    let mut world = World::example();
    world.written_by(at(30), "ada");
    ask(&mut world);
    let run = world.go_to_work(at(30));
    (world, run)
}

fn by_clock(world: &mut World) {
    world.schedule("nightly", 30, "self-improve", "30 0 * * *");
    world.passes(2);
    world.now += Duration::minutes(31);
}

fn by_push(world: &mut World) {
    world.on_push(30, "self-improve");
    world.passes(2);
    world.push_default(2);
}

#[test]
fn what_the_config_asked_for_goes_on_when_the_database_is_lost() {
    for ask in [by_clock, by_push] {
        let (mut world, run) = at_work(ask);
        let before = world.run(run).clone();
        let standing = world.standing();
        // Long after the tick and the push, when nothing but the namespace tells of them.
        world.now += Duration::hours(1);
        world.push_default(3);
        world.restore(&empty());
        world.passes(8);
        let after = world.run(run).clone();
        assert_eq!(after.trigger, before.trigger);
        assert_eq!(after.state, RunState::Running, "{}", world.show("report"));
        assert_eq!((after.frozen, after.slot), (before.frozen, before.slot));
        assert_eq!(world.standing(), standing, "{}", world.show("report"));
        world.finish();
        assert_eq!(world.run(run).state, RunState::Succeeded);
    }
}

#[test]
fn what_the_config_asked_for_and_got_is_not_done_again_when_the_database_is_lost() {
    for ask in [by_clock, by_push] {
        let (mut world, run) = at_work(ask);
        let at_work = world.now;
        world.finish();
        assert_eq!(world.run(run).state, RunState::Succeeded);
        let pulls = world.rows.pulls.len();
        // The tick still counts.
        world.now = at_work;
        world.restore(&empty());
        world.finish();
        let active = world.rows.runs.iter().filter(|row| row.id != run).count();
        assert_eq!(active, 0, "{}", world.show("report"));
        assert_eq!(world.rows.pulls.len(), pulls);
        assert!(world.standing().is_empty(), "{}", world.show("report"));
    }
}
