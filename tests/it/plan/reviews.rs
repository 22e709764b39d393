//! Reviews of pull requests, and what becomes of them when the database is lost.

use std::sync::Arc;

use codex_k8s::{
    domain::{
        forge::{Comment, CommentPlace, ReviewState},
        ids::{RunId, Subject},
        run::RunState,
        trigger::{Disposition, TriggerKind},
    },
    plan::preview::preview,
};

use super::{
    restore::{at_work, empty},
    world::{World, at, project},
};

impl World {
    /// Somebody dismisses all reviews of a pull request.
    pub(super) fn dismiss(&mut self, subject: Subject) {
        let of_pull = self
            .rows
            .reviews
            .iter_mut()
            .filter(|row| row.repository == subject.repository && row.number == subject.number);
        for review in of_pull {
            review.state = ReviewState::Dismissed;
        }
    }

    /// The config says whether the work of a stage is revised.
    pub(super) fn set_revisable(&mut self, stage: &str, revisable: bool) {
        let stages = &mut Arc::make_mut(&mut self.desired).stages.stages;
        let stage = stages.iter_mut().find(|row| row.kind.as_str() == stage);
        stage.expect("a stage").revisable = revisable;
    }

    /// Makes the config start a stage only after the work before it passed its review.
    pub(super) fn ask_for_review(&mut self, stage: &str) {
        let stages = &mut Arc::make_mut(&mut self.desired).stages.stages;
        let stage = stages.iter_mut().find(|row| row.kind.as_str() == stage);
        stage.expect("a stage").entry.reviewed = true;
    }

    /// Somebody says something on a line of a pull request.
    fn remark(&mut self, subject: Subject, by: &str, body: &str) {
        self.say(subject, by, body, None);
        let comment = self.rows.comments.last_mut().expect("it was said");
        comment.place = Some(CommentPlace {
            path: "a.txt".to_owned(),
            line: Some(1),
            resolved: false,
        });
    }

    fn state(&self, run: RunId) -> RunState {
        self.run(run).state
    }
}

/// A world whose pull request is there, and its subject.
fn published() -> (World, Subject) {
    let (mut world, run) = at_work();
    world.finish();
    let pull = world.run(run).pull_request.expect("it has a pull request");
    (world, at(pull.0))
}

#[test]
fn a_revise_is_not_told_what_is_settled() {
    let (mut world, pull) = published();
    world.remark(pull, "ada", "Rename this.");
    world.remark(pull, "ada", "Drop that.");
    let dev = TriggerKind {
        stage: "dev".into(),
        revise: true,
    };
    let prompt = |world: &mut World| {
        world.poll();
        let frozen = preview(&world.input(project()), pull, &dev);
        frozen.expect("it could start").prompt
    };
    let before = prompt(&mut world);
    assert!(
        before.contains("Rename this.") && before.contains("Drop that."),
        "{before}"
    );
    let first = |row: &&mut Comment| row.body == "Rename this.";
    let first = world.rows.comments.iter_mut().find(first);
    let place = first.expect("it was said").place.as_mut();
    place.expect("it stands on a line").resolved = true;
    let after = prompt(&mut world);
    assert!(
        !after.contains("Rename this.") && after.contains("Drop that."),
        "{after}"
    );
}

#[test]
fn a_lost_database_comes_to_the_same_run_of_a_review_wherever_it_stood() {
    let (mut world, pull) = published();
    world.spec().slots = 0;
    world.review(pull, "grace");
    world.passes(4);
    let run = world.run_of(pull).expect("it has a run").id;
    assert_eq!(world.state(run), RunState::Pending);
    // Lost while it was queued.
    world.restore(&empty());
    world.spec().slots = 2;
    world.passes(12);
    assert_eq!(world.run_of(pull).map(|run| run.id), Some(run));
    world.pod_runs(run);
    world.passes(3);
    assert_eq!(
        world.state(run),
        RunState::Running,
        "{}",
        world.show("report")
    );
    // Lost while its agent works; the review is dismissed meanwhile, which stops nothing.
    let standing = world.standing();
    world.dismiss(pull);
    world.restore(&empty());
    world.passes(10);
    assert_eq!(world.standing(), standing, "{}", world.show("report"));
    assert_eq!(
        world.state(run),
        RunState::Running,
        "{}",
        world.show("report")
    );
    world.finish();
    assert_eq!(world.state(run), RunState::Succeeded);
    assert_eq!((world.rows.pulls.len(), world.rows.runs.len()), (1, 2));
}

#[test]
fn reviews_that_were_answered_stay_answered_when_the_database_is_lost() {
    let (mut world, pull) = published();
    world.review(pull, "grace");
    world.review(pull, "ada");
    world.finish();
    let run = world.run_of(pull).expect("it has a run").id;
    assert_eq!(world.state(run), RunState::Succeeded);
    let (pulls, comments) = (world.rows.pulls.clone(), world.rows.comments.len());
    for _ in 0..2 {
        world.restore(&empty());
        world.finish();
        assert_eq!(
            world.state(run),
            RunState::Succeeded,
            "{}",
            world.show("report")
        );
        assert_eq!(world.rows.runs.len(), 2, "{}", world.show("triggers"));
        assert_eq!(world.rows.pulls, pulls);
        assert_eq!(world.rows.comments.len(), comments);
        let waiting = |trigger: &&codex_k8s::domain::trigger::Trigger| {
            matches!(trigger.disposition, Disposition::Waiting(_)) || !trigger.settled
        };
        let open = world.rows.triggers.iter().filter(waiting).count();
        assert_eq!(open, 0, "{}", world.show("triggers"));
    }
    // The next one is a run of its own again.
    world.review(pull, "grace");
    world.finish();
    assert_eq!(world.rows.runs.len(), 3, "{}", world.show("triggers"));
}
