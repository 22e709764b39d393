//! The reference page of stages, guards and refusals, written from what the planner goes by.

use std::fmt::Write as _;

use strum::IntoEnumIterator as _;

use super::{guards::GUARDS, reasons::refusal_text, result::EXITS};
use crate::{
    desired::model::{ClosesIssue, Desired, LabelsAfter, RuntimeMode, StageSpec},
    domain::{
        messages,
        run::PullRequestRule,
        trigger::{RefusalReason, TriggerKind},
    },
};

/// The text of `docs/reference/stages.md` for a config.
pub fn stages_page(desired: &Desired) -> String {
    let mut page = String::from(
        "# Stages\n\n\
         This page is generated from the example in `state/` and from the tables that the planner goes by; a test keeps them equal.\n\n\
         Stages are data: the `StageModel` says which there are, the `LabelCatalog` which label asks for which.\n\n\
         ## What starts them\n\n\
         | stage | label | to revise | agent | works with | after | not while the issue has |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for stage in &desired.stages.stages {
        push_row(&mut page, &starts(desired, stage));
    }
    let back = desired.stages.stages.iter().filter(|stage| stage.reopens);
    let back: Vec<_> = back.map(|stage| code(stage.kind.as_str())).collect();
    if !back.is_empty() {
        let _ = write!(
            page,
            "\n## Going back\n\n\
             {} takes the work on an issue back: it ends older runs and refuses older labels of other stages there, and environments kept for debugging go.\n\
             Where the work goes on afterwards is for people to say, by a label or by approving what the run asks for.\n\
             From then on what that stage and those after it made before no longer counts, and pull requests that hold nothing else get the label for superseded work.\n",
            back.join(", ")
        );
    }
    page.push_str(
        "\n## What they leave behind\n\n\
         `required` fails a run without a pull request; `optional` opens one where commits were left.\n\
         Merging closes the issue `always`, `never`, or where the issue went through this stage `alone`.\n\
         A run that leaves questions gets the labels of its success and those of the questions.\n\n\
         | stage | pull request | closes the issue | after success | with questions | after failure |\n\
         |---|---|---|---|---|---|\n",
    );
    for stage in &desired.stages.stages {
        push_row(&mut page, &leaves(desired, stage));
    }
    page.push_str(
        "\nThe platform puts these labels on and takes other `state:` labels off.\n\
         A `need:` label is taken off by those whom it names.\n\n\
         ## Entry guards\n\n\
         They are asked in this order, after the actor's rights; the first that does not hold answers.\n\n\
         | guard | what must hold | otherwise the trigger |\n|---|---|---|\n",
    );
    for guard in GUARDS {
        push_row(
            &mut page,
            &[guard.name, guard.asks, guard.otherwise].map(str::to_owned),
        );
    }
    page.push_str(
        "\n## Exit guards\n\n\
         They are asked of a run that has handed in its result, in this order; the first that does not hold answers, and after the last the run has ended well.\n\n\
         | guard | what must hold | otherwise the run |\n|---|---|---|\n",
    );
    for guard in &EXITS {
        push_row(
            &mut page,
            &[guard.name, guard.asks, guard.otherwise].map(str::to_owned),
        );
    }
    page.push_str(
        "\n## Refusals\n\n\
         They are final and reported once. What is answered gets one comment on the issue, in the project's language.\n\n\
         | refusal | what the report says | answered on the issue |\n|---|---|---|\n",
    );
    for reason in RefusalReason::iter() {
        let name: &'static str = (&reason).into();
        let answered = if messages::is_answered(&reason) {
            "yes"
        } else {
            "no"
        };
        let says = refusal_text(&reason);
        push_row(
            &mut page,
            &[code(name), says.to_owned(), answered.to_owned()],
        );
    }
    page
}

fn starts(desired: &Desired, stage: &StageSpec) -> [String; 7] {
    let label = |revise: bool| {
        let kind = TriggerKind {
            stage: stage.kind.clone(),
            revise,
        };
        let discussion = desired.discussion().filter(|_| stage.discussion && !revise);
        let label = desired.labels.trigger_for(&kind).map(|label| &label.name);
        let label = label.or(discussion.map(|(_, label)| &label.name));
        label.map_or_else(String::new, |label| code(label.as_str()))
    };
    let mode = match stage.runtime_mode {
        RuntimeMode::FullEnv => "a namespace of its own",
        RuntimeMode::CodeOnly => "the repository alone",
    };
    let after = stage.entry.after.iter().map(|stage| code(stage.as_str()));
    let reviewed = stage.entry.reviewed.then(|| "reviewed".to_owned());
    let states = stage.entry.without_states.iter();
    let states = states.filter_map(|state| desired.labels.state.get(*state));
    let needs = stage.entry.without_needs.iter();
    let needs = needs.filter_map(|need| desired.labels.need.get(need));
    let blocked = states.chain(needs).map(|label| code(label.name.as_str()));
    [
        code(stage.kind.as_str()),
        label(false),
        label(true),
        code(stage.agent.as_str()),
        mode.to_owned(),
        joined(after.chain(reviewed)),
        joined(blocked),
    ]
}

fn leaves(desired: &Desired, stage: &StageSpec) -> [String; 6] {
    let rule = match stage.pull_request {
        PullRequestRule::Required => "required",
        PullRequestRule::Optional => "optional",
        PullRequestRule::None => "none",
    };
    let closes = match stage.closes_issue {
        ClosesIssue::Never => "never",
        ClosesIssue::Alone => "alone",
        ClosesIssue::Always => "always",
    };
    let labels = |after: &LabelsAfter| {
        let labels = super::freeze::outcome_labels(desired, after);
        joined(labels.iter().map(|label| code(label.as_str())))
    };
    [
        code(stage.kind.as_str()),
        rule.to_owned(),
        closes.to_owned(),
        labels(&stage.on_success),
        labels(&stage.on_questions),
        labels(&stage.on_failure),
    ]
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn push_row(page: &mut String, cells: &[String]) {
    writeln!(page, "| {} |", cells.join(" | ")).expect("a String takes every write");
}
