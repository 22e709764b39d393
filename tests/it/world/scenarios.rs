//! The scenarios.

use std::time::Duration;

use codex_k8s::domain::run::RunState;

use super::{
    approvals,
    people::{self, Deed},
    pods::Work,
    scenario::{Do, Scenario, When, label},
};
use crate::support::example::{BACK, DEV, TALK};

const PROJECT: &str = "projects/demo/project.yaml";
const HELLO: &str = "projects/demo/repositories/hello.yaml";
const POLICY: &str = "policies/standard.yaml";
/// One run at a time.
pub(crate) const ONE_SLOT: [(&str, &str, &str); 3] = [
    (PROJECT, "slots: 2", "slots: 1"),
    (PROJECT, "maxRuns: 2", "maxRuns: 1"),
    (PROJECT, "dev: 2", "dev: 1"),
];
const GRACE: &str = "    - { id: 1002, login: grace, role: read_write }\n";

pub(crate) fn scenario(name: &'static str, people: Vec<(When, Do)>) -> Scenario {
    Scenario {
        name,
        cut: DEV,
        both: false,
        config: Vec::new(),
        agents: Vec::new(),
        people,
        ends_with: Vec::new(),
        pulls: 0,
    }
}

/// From label to pull request.
pub(crate) fn plain() -> Scenario {
    Scenario {
        both: true,
        ends_with: vec![
            "#1 dev: succeeded succeeded",
            "labels [\"state:in-review\"], 1 of our comments",
            "pull request codex/issue-1 (the work of 1 runs): open",
        ],
        pulls: 1,
        ..scenario("plain", vec![(When::Bound, label(1, "run:dev"))])
    }
}

/// The label is taken off while the agent works.
pub(crate) fn withdrawn() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:dev")),
        (
            When::Run(1, RunState::Running),
            Do::Unlabel("ada", 1, "run:dev"),
        ),
    ];
    Scenario {
        agents: vec![(1, 1, Work::Forever)],
        ends_with: vec![
            "#1 dev: cancelled",
            "issue: open, labels [], 1 of our comments",
        ],
        ..scenario("withdrawn", people)
    }
}

/// A review and its revise on the same pull request.
pub(crate) fn revise() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:dev")),
        (When::Over(1), Do::Review("grace", 4)),
    ];
    Scenario {
        ends_with: vec![
            "#1 dev: succeeded succeeded",
            "#4 dev:revise: succeeded succeeded",
            "pull request codex/issue-1 (the work of 2 runs): open",
        ],
        pulls: 1,
        ..scenario("revise", people)
    }
}

/// A label asks for the revise.
fn revise_by_label() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:dev")),
        (When::Over(1), Do::Label("grace", 4, "run:dev:revise")),
    ];
    Scenario {
        ends_with: vec![
            "#4 dev:revise: succeeded succeeded",
            "pull request codex/issue-1 (the work of 2 runs): open",
        ],
        pulls: 1,
        ..scenario("revise by label", people)
    }
}

/// Two reviews in one interval are one revise; one after its end is another.
fn reviewed() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:dev")),
        (When::Over(1), Do::Reviews(vec!["grace", "ada"], 4)),
        (When::Over(4), Do::Review("grace", 4)),
    ];
    Scenario {
        ends_with: vec![
            "merged_into, settled",
            "#4 dev:revise: succeeded succeeded",
            "pull request codex/issue-1 (the work of 3 runs): open",
            "labels [\"state:in-review\"], 2 of our comments",
        ],
        pulls: 1,
        ..scenario("reviews", people)
    }
}

/// A stranger's review starts nothing, and nothing is said of it.
fn reviewed_by_a_stranger() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:dev")),
        (When::Over(1), Do::Review("margaret", 4)),
    ];
    Scenario {
        ends_with: vec![
            "#4 dev by margaret: refused",
            "pull request codex/issue-1 (the work of 1 runs): open, labels [\"state:in-review\"], 0 of our comments",
        ],
        pulls: 1,
        ..scenario("reviewed by a stranger", people)
    }
}

/// A review is dismissed before its run has a slot.
fn review_dismissed() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:dev")),
        (When::Over(1), label(2, "run:dev")),
        (When::Run(2, RunState::Running), Do::Review("grace", 4)),
        (
            When::Run(4, RunState::Pending),
            Do::People(Deed::DismissReviews(4)),
        ),
        (
            When::Run(4, RunState::Cancelled),
            Do::Agents(2, Work::Deliver),
        ),
    ];
    Scenario {
        config: ONE_SLOT.to_vec(),
        agents: vec![(2, 1, Work::Forever)],
        ends_with: vec![
            "#2 dev: succeeded",
            "#4 dev:revise: cancelled",
            "pull request codex/issue-1 (the work of 1 runs): open",
        ],
        pulls: 2,
        ..scenario("review dismissed", people)
    }
}

/// Withdrawn while another run holds the only slot.
fn withdrawn_in_the_queue() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:dev")),
        (When::Run(1, RunState::Running), label(2, "run:dev")),
        (
            When::Run(2, RunState::Pending),
            Do::Unlabel("ada", 2, "run:dev"),
        ),
        (
            When::Run(2, RunState::Cancelled),
            Do::Agents(1, Work::Deliver),
        ),
    ];
    Scenario {
        config: ONE_SLOT.to_vec(),
        agents: vec![(1, 1, Work::Forever)],
        ends_with: vec!["#1 dev: succeeded", "#2 dev: cancelled", "attempts []"],
        pulls: 1,
        ..scenario("withdrawn in the queue", people)
    }
}

/// Someone without rights labels.
fn refused() -> Scenario {
    let people = vec![(When::Bound, Do::Label("margaret", 1, "run:dev"))];
    Scenario {
        ends_with: vec!["run:dev by margaret: refused"],
        ..scenario("refused", people)
    }
}

/// Two runs share one slot: seen in one poll, they start in the order of their labels.
fn queued() -> Scenario {
    let people = vec![(When::Bound, Do::Labels("ada", vec![1, 2, 3], "run:dev"))];
    Scenario {
        config: ONE_SLOT.to_vec(),
        ends_with: vec![
            "#4 pull request codex/issue-1",
            "#5 pull request codex/issue-2",
            "#6 pull request codex/issue-3",
        ],
        pulls: 3,
        ..scenario("queued", people)
    }
}

/// Two kinds on one work item: neither starts, though there is room, until one is taken back.
fn conflict() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:dev")),
        (When::Over(1), label(2, "run:dev")),
        (When::Run(2, RunState::Running), label(1, "run:dev")),
        (When::Run(1, RunState::Pending), label(4, "run:dev:revise")),
        (When::Quiet, Do::Agents(2, Work::Deliver)),
        (When::Quiet, Do::Unlabel("ada", 1, "run:dev")),
    ];
    Scenario {
        config: ONE_SLOT.to_vec(),
        agents: vec![(2, 1, Work::Forever)],
        pulls: 2,
        ends_with: vec![
            "#1 dev: cancelled",
            "#4 dev:revise: succeeded",
            "pull request codex/issue-1 (the work of 2 runs): open",
        ],
        ..scenario("conflict", people)
    }
}

/// A member leaves while its run is under way: that one drains, the next is refused.
fn member_removed() -> Scenario {
    let people = vec![
        (When::Bound, Do::Label("grace", 1, "run:dev")),
        (
            When::Run(1, RunState::Running),
            Do::Config(vec![(PROJECT, GRACE, "")]),
        ),
        (When::Quiet, Do::Label("grace", 2, "run:dev")),
        (When::Quiet, Do::Agents(1, Work::Deliver)),
    ];
    Scenario {
        agents: vec![(1, 1, Work::Forever)],
        ends_with: vec!["#1 dev: succeeded", "#2 run:dev by grace: refused"],
        pulls: 1,
        ..scenario("member removed", people)
    }
}

/// `suspend: stop` stops what is under way, and what waits goes on when it is lifted.
fn suspended() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:dev")),
        (
            When::Run(1, RunState::Running),
            Do::Config(vec![(PROJECT, "  slots:", "  suspend: stop\n  slots:")]),
        ),
        (When::Over(1), label(2, "run:dev")),
        (
            When::Quiet,
            Do::Config(vec![(PROJECT, "  suspend: stop\n", "")]),
        ),
    ];
    Scenario {
        agents: vec![(1, 1, Work::Forever)],
        ends_with: vec!["#1 dev: cancelled", "#2 dev: succeeded"],
        pulls: 1,
        ..scenario("suspended", people)
    }
}

/// The catalogue's trigger label gets another name in mid-run; a new label counts from then on.
fn label_renamed() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:dev")),
        (
            When::Run(1, RunState::Running),
            Do::Config(vec![("labels.yaml", "name: run:dev\n", "name: run:code\n")]),
        ),
        (When::Quiet, Do::Agents(1, Work::Deliver)),
        (When::Over(1), label(2, "run:code")),
    ];
    Scenario {
        agents: vec![(1, 1, Work::Forever)],
        ends_with: vec!["#1 dev: succeeded", "#2 dev: succeeded"],
        pulls: 2,
        ..scenario("label renamed", people)
    }
}

/// An agent dies, a second attempt delivers.
fn second_attempt() -> Scenario {
    Scenario {
        agents: vec![(1, 1, Work::Die)],
        ends_with: vec!["#1 dev: succeeded", "attempts [lost reported]"],
        pulls: 1,
        ..scenario("second attempt", vec![(When::Bound, label(1, "run:dev"))])
    }
}

/// A pod is killed by its node, a second attempt delivers.
fn pod_killed() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:dev")),
        (When::Run(1, RunState::Running), Do::KillPods(1)),
    ];
    Scenario {
        agents: vec![(1, 1, Work::Forever)],
        ends_with: vec!["#1 dev: succeeded", "attempts [lost reported]"],
        pulls: 1,
        ..scenario("pod killed", people)
    }
}

/// An agent says that it cannot be done.
fn given_up() -> Scenario {
    Scenario {
        agents: vec![(1, 1, Work::GiveUp)],
        ends_with: vec!["#1 dev: failed", "need:input", "state:blocked"],
        ..scenario("given up", vec![(When::Bound, label(1, "run:dev"))])
    }
}

/// The issue is closed under a running agent.
fn closed() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:dev")),
        (When::Run(1, RunState::Running), Do::Close("ada", 1)),
    ];
    Scenario {
        agents: vec![(1, 1, Work::Forever)],
        ends_with: vec!["#1 dev: cancelled", "#1 issue: closed"],
        ..scenario("closed", people)
    }
}

/// An agent works for too long.
fn timed_out() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:dev")),
        (
            When::Run(1, RunState::Running),
            Do::Wait(Duration::from_mins(11)),
        ),
    ];
    Scenario {
        config: vec![(POLICY, "runTimeout: 2h", "runTimeout: 10m")],
        agents: vec![(1, 1, Work::Forever)],
        ends_with: vec!["#1 dev: timed_out"],
        ..scenario("timed out", people)
    }
}

/// A push to the default branch asks for a stage; the head that was there before does not.
fn pushed() -> Scenario {
    let people = vec![
        (When::Quiet, Do::People(Deed::Push)),
        (When::Over(1), Do::Wait(Duration::from_secs(5))),
    ];
    Scenario {
        config: vec![(
            HELLO,
            "  baseBranch: main\n",
            "  baseBranch: main\n  onPush:\n    - { issue: 1, stage: dev }\n",
        )],
        ends_with: vec!["#1 dev: succeeded succeeded", "1 of our comments"],
        pulls: 1,
        ..scenario("pushed", people)
    }
}

/// Work goes back: what is made anew supersedes what was there.
fn taken_back() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "run:plan")),
        (When::Over(1), label(1, "run:rethink")),
        (When::Quiet, label(1, "run:plan")),
    ];
    Scenario {
        cut: BACK,
        config: vec![
            ("stages.yaml", "after: [design]", "after: []"),
            ("policies/approvals.yaml", "  rules:\n", "  rules: []\n"),
        ],
        ends_with: vec![
            "#1 rethink: succeeded",
            "pull request codex/issue-1 (the work of 1 runs): open, labels [\"need:reviewer\", \"state:superseded\"]",
        ],
        pulls: 2,
        ..scenario("taken back", people)
    }
}

/// A discussion is answered twice, and ends with the work that is asked for.
fn discussed() -> Scenario {
    let people = vec![
        (When::Bound, label(1, "mode:discussion")),
        (When::Over(1), Do::People(Deed::Say("ada", 1))),
        (When::Quiet, label(1, "run:dev")),
    ];
    Scenario {
        cut: TALK,
        ends_with: vec![
            "#1 discussion: succeeded",
            "#1 dev: succeeded",
            "#1 issue: open, labels [\"state:in-review\"], 3 of our comments",
        ],
        pulls: 1,
        ..scenario("discussed", people)
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = vec![
        plain(),
        withdrawn(),
        revise(),
        revise_by_label(),
        reviewed(),
        reviewed_by_a_stranger(),
        review_dismissed(),
        withdrawn_in_the_queue(),
        refused(),
        queued(),
        conflict(),
        member_removed(),
        suspended(),
        label_renamed(),
        second_attempt(),
        pod_killed(),
        given_up(),
        closed(),
        timed_out(),
        pushed(),
        taken_back(),
        discussed(),
    ];
    all.extend(people::all());
    all.extend(approvals::all());
    all
}
