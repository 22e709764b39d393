//! The prompt that is shown beforehand is the one that a run gets.

use codex_k8s::{domain::trigger::TriggerKind, plan::preview::preview};

use super::world::{World, at, project};

fn kind(stage: &str, revise: bool) -> TriggerKind {
    TriggerKind {
        stage: stage.into(),
        revise,
    }
}

#[test]
fn what_is_shown_beforehand_is_what_the_run_gets() {
    let mut world = World::example();
    world.label(at(12), "run:intake", "ada");
    world.pass();
    world.poll();
    let shown = preview(&world.input(project()), at(12), &kind("intake", false)).unwrap();
    world.pass();
    world.pass();
    let run = world.run_of(at(12)).expect("a run");
    assert_eq!(run.frozen.as_ref(), Some(&shown));
    assert!(
        shown.prompt.contains("Ada") || shown.prompt.contains("Issue 12"),
        "{}",
        shown.prompt
    );
}

#[test]
fn a_preview_says_why_there_would_be_no_run() {
    let mut world = World::example();
    world.open_issue(at(12));
    world.poll();
    let input = world.input(project());
    let refused = preview(&input, at(12), &kind("dev", true)).unwrap_err();
    assert!(refused.contains("no open pull request"), "{refused}");
    let unknown = preview(&input, at(12), &kind("nothing", false)).unwrap_err();
    assert!(unknown.contains("stage"), "{unknown}");
}
