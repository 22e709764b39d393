//! The prompt that is shown beforehand is the one that a run gets.

use codex_k8s::{
    domain::{run::ChoiceSource, trigger::TriggerKind},
    plan::preview::preview,
};

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

#[test]
fn labels_choose_model_and_effort_and_the_run_says_what_did() {
    let mut world = World::example();
    world.label(at(12), "run:dev", "ada");
    world.pass();
    let chosen = |world: &mut World, number: i64, revise: bool| {
        world.poll();
        preview(&world.input(project()), at(number), &kind("dev", revise))
    };
    let frozen = chosen(&mut world, 12, false).unwrap();
    assert_eq!(frozen.model_source, ChoiceSource::PlatformDefault);
    assert_eq!(frozen.reasoning_source, ChoiceSource::PlatformDefault);

    world.label(at(12), "[AI-model-gpt-5.2]", "ada");
    world.label(at(12), "[ai-reasoning-low]", "ada");
    let frozen = chosen(&mut world, 12, false).unwrap();
    assert_eq!(frozen.model.as_deref(), Some("gpt-5.2"));
    assert_eq!(frozen.reasoning.as_deref(), Some("low"));
    assert_eq!(frozen.model_source, ChoiceSource::IssueLabel);
    assert_eq!(frozen.reasoning_source, ChoiceSource::IssueLabel);

    // Without a subscription a model that needs one leaves the run with the default.
    world.unlabel(at(12), "[AI-model-gpt-5.2]", "ada");
    world.label(at(12), "[ai-model-gpt-5.3-codex]", "ada");
    let frozen = chosen(&mut world, 12, false).unwrap();
    assert_eq!(frozen.model.as_deref(), Some("gpt-5.2-codex"));
    assert_eq!(frozen.model_source, ChoiceSource::NoSubscription);
    world.subscribe("openai");
    let frozen = chosen(&mut world, 12, false).unwrap();
    assert_eq!(frozen.model.as_deref(), Some("gpt-5.3-codex"));
    assert_eq!(frozen.model_source, ChoiceSource::IssueLabel);
    world.unlabel(at(12), "[ai-model-gpt-5.3-codex]", "ada");
    world.label(at(12), "[AI-model-gpt-5.2]", "ada");

    world.label(at(12), "[ai-model-gpt-5.1-codex-mini]", "ada");
    let both = chosen(&mut world, 12, false).unwrap_err();
    assert!(both.contains("gpt-5.1-codex-mini, gpt-5.2"), "{both}");

    // A revise asks the pull request first, where there is no contradiction.
    world.unlabel(at(12), "[AI-model-gpt-5.2]", "ada");
    super::steps::settle(&mut world);
    world.label(at(51), "[ai-model-gpt-5.2]", "ada");
    let frozen = chosen(&mut world, 51, true).unwrap();
    assert_eq!(frozen.model.as_deref(), Some("gpt-5.2"));
    assert_eq!(frozen.model_source, ChoiceSource::PullRequestLabel);
    assert_eq!(frozen.reasoning_source, ChoiceSource::IssueLabel);
}
