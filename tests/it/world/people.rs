//! People who race the platform: what else they do, and the scenarios of it.
//!
//! Each scenario says its end, and ends so whenever people act after their moment has come.

use std::time::Duration;

use codex_k8s::{
    domain::run::RunState,
    sandbox::{
        github::{GitHubModel, Permission},
        seed::{PLATFORM_LOGIN, REPOSITORIES, REPOSITORY},
    },
};
use serde_json::Value;

use super::{
    outside::Outside,
    pods::Work,
    scenario::{Do, Scenario, When, label},
    scenarios::{ONE_SLOT, scenario},
};

const HELLO: &str = "projects/demo/repositories/hello.yaml";
/// The branch of the issue that the scenarios are about.
const BRANCH: &str = "codex/issue-1";
/// Longer than a permission counts after it was read.
const RIGHTS_PASS: Duration = Duration::from_mins(21);

/// What people do at the forge beside labelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Takes a label off and puts it on at once.
    Relabel(&'static str, u64, &'static str),
    /// Writes another text.
    Edit(&'static str, u64),
    /// Deletes a label from the repository.
    DeleteLabel(&'static str),
    /// Gives a label of the repository another name.
    RenameLabel(&'static str, &'static str),
    /// Gives the repository another name.
    RenameRepository(&'static str),
    /// Gives the repository to someone else.
    TransferRepository(&'static str),
    /// Moves an issue to the other repository.
    TransferIssue(u64),
    /// Merges a pull request.
    Merge(u64),
    /// Puts the issue's branch onto work of their own.
    ForcePush,
    /// Makes the issue's branch before the agent does.
    MakeBranch,
    /// Writes another text into our newest comment.
    EditOurs(u64),
    /// Deletes our newest comment.
    DeleteOurs(u64),
    /// Dismisses the reviews of a pull request.
    DismissReviews(u64),
    /// Says something on an issue.
    Say(&'static str, u64),
    /// Pushes to the default branch.
    Push,
    /// Loses their rights.
    Loses(&'static str),
    /// Decides the newest request on an issue: `approve` or `deny`.
    Decide(&'static str, u64, &'static str),
}

impl Deed {
    /// Does it.
    pub(crate) fn at(self, outside: &Outside) {
        let forge = &outside.github;
        match self {
            Self::Relabel(who, on, label) => {
                // Where the platform was first, the label is off already.
                drop(forge.remove_label(REPOSITORY, on, who, label));
                forge.add_label(REPOSITORY, on, who, label).unwrap();
            }
            Self::Edit(who, on) => {
                let text = "Something else altogether.";
                forge.edit_issue_body(REPOSITORY, on, who, text).unwrap();
            }
            Self::DeleteLabel(label) => forge
                .delete_label_from_repository(REPOSITORY, "ada", label)
                .unwrap(),
            Self::RenameLabel(from, to) => forge.rename_label(REPOSITORY, from, to).unwrap(),
            Self::RenameRepository(to) => forge.rename_repository(REPOSITORY, to).unwrap(),
            Self::TransferRepository(to) => forge.transfer_repository(REPOSITORY, to).unwrap(),
            Self::TransferIssue(number) => {
                let to = REPOSITORIES[1];
                // Only labels that are there go along.
                forge.create_label(to, "run:dev").unwrap();
                let moved = forge.transfer_issue(REPOSITORY, number, "ada", to);
                moved.unwrap();
            }
            Self::Merge(number) => drop(forge.merge_pull(REPOSITORY, number, "grace").unwrap()),
            Self::ForcePush => {
                let commit = commit(forge, "grace/rework");
                let forced = forge.force_push(REPOSITORY, BRANCH, "grace", &commit);
                forced.unwrap();
            }
            Self::Say(who, on) => {
                let said = "What would it cost?";
                forge.comment(REPOSITORY, on, who, said).unwrap();
            }
            Self::Push => drop(commit(forge, "main")),
            Self::MakeBranch => drop(commit(forge, BRANCH)),
            Self::EditOurs(on) => {
                let id = our_comment(outside, on);
                let text = "Never mind.";
                forge.edit_comment(REPOSITORY, id, "ada", text).unwrap();
            }
            Self::DeleteOurs(on) => {
                let id = our_comment(outside, on);
                forge.delete_comment(REPOSITORY, id).unwrap();
            }
            Self::Decide(who, on, word) => {
                let line = format!("/{word} {}", newest_code(outside, on));
                forge.comment(REPOSITORY, on, who, &line).unwrap();
            }
            Self::DismissReviews(on) => {
                for review in issue(outside, on)["pull"]["reviews"].as_array().unwrap() {
                    let id = review["id"].as_u64().unwrap();
                    forge.dismiss_review(REPOSITORY, "ada", id).unwrap();
                }
            }
            Self::Loses(who) => forge
                .set_permission(REPOSITORY, who, Permission::Read)
                .unwrap(),
        }
    }
}

fn commit(forge: &GitHubModel, branch: &str) -> String {
    let files = [("by-hand.md", "Written by hand.\n")];
    let made = forge.push_commit(REPOSITORY, branch, "grace", &files, "Work by hand");
    made.unwrap()
}

/// The code of the newest request on an issue, as people read it there.
fn newest_code(outside: &Outside, on: u64) -> String {
    let comments = our_comments(outside, on);
    let codes = comments.iter().rev().filter_map(|comment| {
        let (_, rest) = comment["body"].as_str()?.split_once("/approve ")?;
        rest.split_whitespace().next().map(str::to_owned)
    });
    codes.into_iter().next().expect("a request is there")
}

fn our_comment(outside: &Outside, on: u64) -> u64 {
    let comments = our_comments(outside, on);
    let newest = comments.last().and_then(|comment| comment["id"].as_u64());
    newest.expect("a comment of ours is there")
}

/// Our comments on an issue, oldest first.
fn our_comments(outside: &Outside, on: u64) -> Vec<Value> {
    let issue = issue(outside, on);
    let mut comments = issue["comments"].as_array().cloned().unwrap_or_default();
    comments.retain(|comment| comment["author"] == PLATFORM_LOGIN);
    comments
}

fn issue(outside: &Outside, on: u64) -> Value {
    let state = outside.github.state_json();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let issues = list(&state["repositories"])
        .into_iter()
        .flat_map(|repository| list(&repository["issues"]));
    let issue = issues.into_iter().find(|issue| issue["number"] == on);
    issue.expect("the issue is there")
}

fn deed(when: When, deed: Deed) -> (When, Do) {
    (when, Do::People(deed))
}

fn labelled() -> (When, Do) {
    (When::Bound, label(1, "run:dev"))
}

/// While the agent works.
const AT_WORK: When = When::Run(1, RunState::Running);

/// A run that works on until the people's deed, and the agent then delivers.
fn in_mid_run(name: &'static str, what: Deed) -> Scenario {
    let people = vec![
        labelled(),
        deed(AT_WORK, what),
        (When::Quiet, Do::Agents(1, Work::Deliver)),
    ];
    Scenario {
        agents: vec![(1, 1, Work::Forever)],
        ends_with: vec![
            "#1 dev: succeeded succeeded",
            "pull request codex/issue-1 (the work of 1 runs): open",
        ],
        pulls: 1,
        ..scenario(name, people)
    }
}

/// A revise that works on until the people's deed.
fn in_mid_revise(name: &'static str, what: Do) -> Scenario {
    let people = vec![
        labelled(),
        (When::Over(1), Do::Agents(1, Work::Forever)),
        (When::Over(1), Do::Label("grace", 4, "run:dev:revise")),
        (When::Run(4, RunState::Running), what),
    ];
    Scenario {
        pulls: 1,
        ..scenario(name, people)
    }
}

/// What is put on again while its run finishes is a run of its own.
fn relabelled() -> Scenario {
    let relabel = Deed::Relabel("ada", 1, "run:dev");
    let people = vec![labelled(), deed(When::Run(1, RunState::Succeeded), relabel)];
    Scenario {
        ends_with: vec![
            "pull request codex/issue-1 (the work of 2 runs): open",
            "labels [\"state:in-review\"]",
        ],
        pulls: 1,
        ..scenario("relabelled during our removal", people)
    }
}

/// The text of a queued run's issue changes: by whom decides.
fn edited_in_the_queue(name: &'static str, who: &'static str, end: &'static str) -> Scenario {
    let people = vec![
        labelled(),
        (AT_WORK, label(2, "run:dev")),
        deed(When::Run(2, RunState::Pending), Deed::Edit(who, 2)),
        (When::Quiet, Do::Agents(1, Work::Deliver)),
    ];
    Scenario {
        config: ONE_SLOT.to_vec(),
        agents: vec![(1, 1, Work::Forever)],
        ends_with: vec!["#1 dev: succeeded", end],
        ..scenario(name, people)
    }
}

/// The issue is closed before the agent's pod is there.
fn closed_during_launch() -> Scenario {
    let people = vec![
        labelled(),
        (When::Run(1, RunState::Preparing), Do::Close("ada", 1)),
    ];
    Scenario {
        agents: vec![(1, 1, Work::Forever)],
        ends_with: vec!["#1 dev: cancelled", "#1 issue: closed"],
        ..scenario("closed during launch", people)
    }
}

/// Another name or owner is known to the platform when the config says so.
fn repository_moved(
    name: &'static str,
    what: Deed,
    (from, to): (&'static str, &'static str),
) -> Scenario {
    let config = Do::Config(vec![(HELLO, from, to)]);
    let mut scenario = in_mid_run(name, what);
    scenario.people.insert(2, (When::Quiet, config));
    scenario
}

/// A transferred issue is closed for us; where it arrives, its label is a new trigger.
fn issue_transferred() -> Scenario {
    let people = vec![labelled(), deed(AT_WORK, Deed::TransferIssue(1))];
    Scenario {
        both: true,
        agents: vec![(1, 1, Work::Forever)],
        ends_with: vec![
            "#1 dev: cancelled",
            "notes#3 pull request codex/issue-2 (the work of 1 runs): open",
        ],
        pulls: 1,
        ..scenario("issue transferred", people)
    }
}

/// A human merges what the run revises.
fn merged() -> Scenario {
    Scenario {
        ends_with: vec!["#4 dev:revise: cancelled", "(the work of 1 runs): closed"],
        ..in_mid_revise("merged in mid-run", Do::People(Deed::Merge(4)))
    }
}

/// The pull request that the run revises is closed.
fn pull_closed() -> Scenario {
    Scenario {
        ends_with: vec!["#4 dev:revise: cancelled", "(the work of 1 runs): closed"],
        ..in_mid_revise("pull request closed in mid-run", Do::Close("grace", 4))
    }
}

/// Human commits are kept, and the agent goes on from them.
fn force_pushed() -> Scenario {
    let what = Do::People(Deed::ForcePush);
    let mut scenario = in_mid_revise("force-pushed in mid-run", what);
    let deliver = (When::Quiet, Do::Agents(1, Work::Deliver));
    scenario.people.push(deliver);
    Scenario {
        ends_with: vec!["#4 dev:revise: succeeded", "(the work of 1 runs): open"],
        ..scenario
    }
}

/// After the end comments and labels belong to people.
fn after_the_end(name: &'static str, what: Do, end: &'static str) -> Scenario {
    Scenario {
        ends_with: vec!["#1 dev: succeeded", end],
        pulls: 1,
        ..scenario(name, vec![labelled(), (When::Over(1), what)])
    }
}

/// Someone without rights any more: the run drains, the next label is refused.
fn rights_lost() -> Scenario {
    let people = vec![
        (When::Bound, Do::Label("grace", 1, "run:dev")),
        deed(AT_WORK, Deed::Loses("grace")),
        (When::Quiet, Do::Agents(1, Work::Deliver)),
        (When::Over(1), Do::Wait(RIGHTS_PASS)),
        (When::Over(1), Do::Label("grace", 2, "run:dev")),
    ];
    Scenario {
        agents: vec![(1, 1, Work::Forever)],
        ends_with: vec!["#1 dev: succeeded", "#2 run:dev by grace: refused"],
        pulls: 1,
        ..scenario("rights lost in mid-run", people)
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = vec![
        relabelled(),
        Scenario {
            pulls: 2,
            ..edited_in_the_queue("edited by a member", "ada", "#2 dev: succeeded")
        },
        Scenario {
            pulls: 1,
            ..edited_in_the_queue("edited by a stranger", "margaret", "#2 dev: rejected")
        },
        in_mid_run("edited in mid-run", Deed::Edit("margaret", 1)),
        closed_during_launch(),
        in_mid_run("label deleted", Deed::DeleteLabel("run:dev")),
        in_mid_run(
            "label renamed at the forge",
            Deed::RenameLabel("run:dev", "run:other"),
        ),
        repository_moved(
            "repository renamed",
            Deed::RenameRepository("welcome"),
            ("  name: hello\n  base", "  name: welcome\n  base"),
        ),
        repository_moved(
            "repository transferred",
            Deed::TransferRepository("ada"),
            ("owner: example-org", "owner: ada"),
        ),
        issue_transferred(),
        merged(),
        pull_closed(),
        force_pushed(),
        in_mid_run("branch made in mid-run", Deed::MakeBranch),
        rights_lost(),
    ];
    all.extend(afterwards());
    all
}

fn afterwards() -> [Scenario; 4] {
    [
        after_the_end(
            "our comment deleted",
            Do::People(Deed::DeleteOurs(1)),
            "0 of our comments",
        ),
        after_the_end(
            "our comment edited",
            Do::People(Deed::EditOurs(1)),
            "1 of our comments",
        ),
        after_the_end(
            "our label taken off",
            Do::Unlabel("ada", 1, "state:in-review"),
            "#1 issue: open, labels [], 1 of our comments",
        ),
        Scenario {
            ends_with: vec!["#1 issue: open, labels [\"state:in-review\"]"],
            ..in_mid_run(
                "our label put on by hand",
                Deed::Relabel("ada", 1, "state:in-review"),
            )
        },
    ]
}
