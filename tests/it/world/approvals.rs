//! An agent asks for the next stage, and people decide it with nothing but a comment.

use super::{
    edges::{crash_at, undisturbed},
    people::Deed,
    pods::Work,
    scenario::{Do, Scenario, When, label},
    scenarios::scenario,
};
use crate::support::example::INTAKE;

fn asked(name: &'static str, word: &'static str) -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:intake")),
        (When::Over(1), Do::Agents(1, Work::Deliver)),
        // margaret is no member: her word changes nothing.
        (When::Quiet, Do::People(Deed::Decide("margaret", 1, "deny"))),
        (When::Quiet, Do::People(Deed::Decide("ada", 1, word))),
    ];
    Scenario {
        cut: INTAKE,
        agents: vec![(1, 1, Work::Ask("run:vision"))],
        pulls: 1,
        ..scenario(name, people)
    }
}

/// The owner says yes: the next stage runs, once.
fn approved() -> Scenario {
    Scenario {
        ends_with: vec![
            "#1 intake: succeeded succeeded",
            "#1 vision: succeeded succeeded",
            "run:vision: applied by ada, settled",
            "pull request codex/issue-1 (the work of 2 runs): open",
        ],
        ..asked("approved", "approve")
    }
}

/// The owner says no: nothing runs.
fn denied() -> Scenario {
    Scenario {
        ends_with: vec![
            "run:vision: denied by ada, settled",
            "pull request codex/issue-1 (the work of 1 runs): open",
        ],
        ..asked("denied", "deny")
    }
}

/// An agent asks while it is at work, ends to wait, and goes on with the answer.
fn waited() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:intake")),
        (When::Quiet, Do::People(Deed::Decide("ada", 1, "deny"))),
    ];
    Scenario {
        cut: INTAKE,
        agents: vec![(1, 1, Work::Wait("run:vision"))],
        pulls: 1,
        ends_with: vec![
            "#1 intake: succeeded succeeded",
            "attempts [parked reported]",
            "run:vision: denied by ada, settled",
            "pull request codex/issue-1 (the work of 1 runs): open",
        ],
        ..scenario("waited", people)
    }
}

/// All of them.
pub(crate) fn all() -> [Scenario; 3] {
    [approved(), denied(), waited()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_approves_in_a_comment_runs_once() {
    for scenario in all() {
        let ended = undisturbed(scenario).await;
        ended.unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// Also when it dies between the decision, the trigger and what is noted of both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_approved_runs_once_wherever_the_process_died() {
    let of_approval = |point: &super::crash::Point| {
        let begins = ["approval/", "comment/approval/"];
        begins.iter().any(|start| point.subject.starts_with(start))
            || point.subject.contains("/command/")
    };
    let (_, crashed) = crash_at(approved(), of_approval)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(crashed >= 12, "{crashed} crashes");
}
