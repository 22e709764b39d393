//! Results: from a runner's claim to a verified end. Push verified → pull request → verified →
//! `stopping(succeeded)`; a result that the forge contradicts fails the run.

use chrono::Duration;
use serde_json::json;

use super::{
    action::{ActionKind, PullRequestContent, RunChange},
    builder::{Ensure, PlanBuilder},
    comment::{pull_request_body, pull_request_title},
    event,
    index::Index,
    moves::{report_quiet, stop_run, update_run},
    publish::{next_push, push_key},
};
use crate::domain::{
    event::EventKind,
    fact::{Fact, PushFact, ResultRecord, ResultStatus},
    forge::{PullRequest, SubjectState},
    ids::{BranchName, CommitSha},
    marker::{pull_request_marker, runs_marked_in},
    report::ReportState,
    run::{FrozenRun, Outcome, PullRequestRule, Run, RunState},
};

/// Follows up the result of every run that has one.
pub(super) fn step_results(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for run in index
        .runs
        .values()
        .filter(|run| run.state == RunState::Running)
    {
        let (Some(result), Some(frozen), Some(branch)) = (&run.result, &run.frozen, &run.branch)
        else {
            continue;
        };
        if !plan.touches(&run.id) {
            step_result(
                index,
                plan,
                &Reported {
                    run,
                    result,
                    frozen,
                    branch,
                },
            );
        }
    }
}

struct Reported<'a> {
    run: &'a Run,
    result: &'a ResultRecord,
    frozen: &'a FrozenRun,
    branch: &'a BranchName,
}

/// What must hold for a run to end well, for people and for the planner.
#[derive(Debug, Clone, Copy)]
pub struct ExitGuard {
    /// Its name.
    pub name: &'static str,
    /// What must hold.
    pub asks: &'static str,
    /// What becomes of the run where it does not.
    pub otherwise: &'static str,
    step: fn(&Index<'_>, &mut PlanBuilder<'_>, &Reported<'_>) -> Exit,
}

/// Whether an exit guard lets the next one be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// It holds.
    Holds,
    /// It does not, or the run ends with it: what is to be done is in the plan.
    Taken,
}

/// All exit guards, in the order in which they are asked; the last one ends the run well.
pub const EXITS: [ExitGuard; 7] = [
    ExitGuard {
        name: "done",
        asks: "the agent says that it is done",
        otherwise: "fails",
        step: done,
    },
    ExitGuard {
        name: "answer",
        asks: "the answer has every part that the stage requires",
        otherwise: "fails",
        step: whole_answer,
    },
    ExitGuard {
        name: "pushes",
        asks: "every push was passed on to the forge",
        otherwise: "waits",
        step: pushes_passed_on,
    },
    ExitGuard {
        name: "head",
        asks: "the commit that the result names was pushed",
        otherwise: "fails",
        step: head_pushed,
    },
    ExitGuard {
        name: "pull request",
        asks: "where the stage wants one, a pull request of ours is open, unless the run changed nothing and asks people",
        otherwise: "gets one; fails where nothing was changed or people closed it; ends well where they merged it",
        step: pull_request_open,
    },
    ExitGuard {
        name: "text",
        asks: "the pull request says what this run did",
        otherwise: "edits it, once",
        step: pull_request_told,
    },
    ExitGuard {
        name: "verified",
        asks: "the forge shows the pull request at the run's last commit, or at one that somebody put on top since",
        otherwise: "waits",
        step: verified,
    },
];

fn step_result(index: &Index<'_>, plan: &mut PlanBuilder<'_>, reported: &Reported<'_>) {
    for guard in &EXITS {
        if (guard.step)(index, plan, reported) == Exit::Taken {
            return;
        }
    }
}

fn done(_: &Index<'_>, plan: &mut PlanBuilder<'_>, reported: &Reported<'_>) -> Exit {
    let Reported { run, result, .. } = *reported;
    if result.status != ResultStatus::Failed {
        return Exit::Holds;
    }
    let code = result
        .exit_code
        .map(|code| format!(" with exit code {code}"))
        .unwrap_or_default();
    let text = format!("the agent gave up{code}");
    stop_run(plan, run, Outcome::Failed, text);
    Exit::Taken
}

fn whole_answer(_: &Index<'_>, plan: &mut PlanBuilder<'_>, reported: &Reported<'_>) -> Exit {
    let Some(part) = reported.result.answer.missing(&reported.frozen.asked) else {
        return Exit::Holds;
    };
    let text = format!(
        "the agent's answer lacks `{}`, which its stage asks for",
        part.name
    );
    stop_run(plan, reported.run, Outcome::Failed, text);
    Exit::Taken
}

fn pushes_passed_on(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    reported: &Reported<'_>,
) -> Exit {
    if next_push(index, reported.run).is_none() {
        return Exit::Holds;
    }
    report_quiet(
        plan,
        reported.run,
        ReportState::Running,
        "its last push is being passed on",
    );
    Exit::Taken
}

fn head_pushed(index: &Index<'_>, plan: &mut PlanBuilder<'_>, reported: &Reported<'_>) -> Exit {
    let Reported { run, result, .. } = *reported;
    let unknown = |head: &&CommitSha| run.accepted_head.as_ref() != Some(*head);
    let Some(head) = result.head.as_ref().filter(unknown) else {
        return Exit::Holds;
    };
    let shown = index.branch(run.repository, reported.branch.as_str());
    if shown.is_some_and(|shown| shown.head.as_ref() == Some(head)) {
        // A restored database has forgotten a push of its own.
        let change = RunChange {
            accepted_head: Some(head.clone()),
            ..RunChange::default()
        };
        update_run(plan, run, "head/found", change);
        plan.report_run(run, ReportState::Acting, "the forge shows its commit");
        return Exit::Taken;
    }
    let text = format!("its result names commit {head}, which was never pushed");
    stop_run(plan, run, Outcome::Failed, text);
    Exit::Taken
}

fn pull_request_open(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    reported: &Reported<'_>,
) -> Exit {
    let Reported {
        run,
        frozen,
        branch,
        ..
    } = *reported;
    let wanted = match frozen.pull_request {
        PullRequestRule::Required => true,
        PullRequestRule::Optional => reported.result.head.is_some(),
        PullRequestRule::None => false,
    };
    if !wanted {
        stop_run(plan, run, Outcome::Succeeded, "its result is in");
        return Exit::Taken;
    }
    if let Err(reason) = index.repository(run.repository) {
        report_quiet(plan, run, ReportState::Unknown, reason);
        return Exit::Taken;
    }
    let found = find(index, run, branch);
    if index.is_open(&pull_request_key(run)) && found.is_marked(run) {
        // It was opened and the answer lost: looked up once more, it gets its event.
        open(plan, reported);
        return Exit::Taken;
    }
    match found {
        Found::Ours(_) => return Exit::Holds,
        Found::Ended(pull) => {
            let text = format!(
                "its pull request #{} was closed before the run ended",
                pull.number
            );
            stop_run(plan, run, Outcome::Failed, text);
        }
        Found::Merged(pull) => adopt(plan, run, pull, "its pull request was merged"),
        Found::None if only_asks(reported) => {
            let text = "it changed nothing and asks people";
            stop_run(plan, run, Outcome::Succeeded, text);
        }
        Found::None => open(plan, reported),
    }
    Exit::Taken
}

/// Whether a run changed nothing because people have to answer first.
fn only_asks(reported: &Reported<'_>) -> bool {
    let Reported { run, result, .. } = *reported;
    run.accepted_head.is_none() && !result.answer.questions.is_empty()
}

/// What stands at the forge for a run's branch.
enum Found<'a> {
    Ours(&'a PullRequest),
    Merged(&'a PullRequest),
    Ended(&'a PullRequest),
    None,
}

impl Found<'_> {
    fn is_marked(&self, run: &Run) -> bool {
        match self {
            Self::Ours(pull) | Self::Merged(pull) | Self::Ended(pull) => {
                runs_marked_in(&pull.body).contains(&run.id)
            }
            Self::None => false,
        }
    }
}

fn pull_request_key(run: &Run) -> String {
    format!("run/{}/pull-request", run.id)
}

fn find<'a>(index: &Index<'a>, run: &Run, branch: &BranchName) -> Found<'a> {
    let pulls = index.pulls_of_branch(run.repository, branch.as_str());
    let ours = |pull: &&&PullRequest| {
        index.is_ours(pull.author.as_ref()) && !runs_marked_in(&pull.body).is_empty()
    };
    if let Some(pull) = pulls
        .iter()
        .filter(ours)
        .find(|pull| pull.state == SubjectState::Open)
    {
        return Found::Ours(pull);
    }
    let named = pulls.iter().filter(ours).find(|pull| {
        runs_marked_in(&pull.body).contains(&run.id) || run.pull_request == Some(pull.number)
    });
    match named {
        Some(pull) if pull.merged => Found::Merged(pull),
        Some(pull) => Found::Ended(pull),
        None => Found::None,
    }
}

fn content(plan: &PlanBuilder<'_>, reported: &Reported<'_>) -> PullRequestContent {
    let Reported {
        run,
        result,
        frozen,
        branch,
    } = *reported;
    PullRequestContent {
        repository: plan
            .repository_of(run)
            .unwrap_or_else(|| frozen.repository_name.clone()),
        head: branch.clone(),
        base: frozen.base_branch.clone(),
        title: pull_request_title(run, frozen, result),
        body: pull_request_body(run, frozen, result),
    }
}

fn open(plan: &mut PlanBuilder<'_>, reported: &Reported<'_>) {
    let Reported { run, frozen, .. } = *reported;
    if run.accepted_head.is_none() {
        stop_run(
            plan,
            run,
            Outcome::Failed,
            "the agent changed nothing, so there is no pull request",
        );
        return;
    }
    let found = plan.ensure(
        pull_request_key(run),
        Some(run.id),
        ActionKind::OpenPullRequest {
            content: content(plan, reported),
            subject: run.work_subject(),
            event: event::of_run(
                run,
                EventKind::PullRequestCreated,
                json!({ "base": frozen.base_branch, "head": run.branch, "commit": run.accepted_head }),
            ),
        },
    );
    plan.report_effect(run, found, "opens its pull request");
}

fn pull_request_told(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    reported: &Reported<'_>,
) -> Exit {
    let Reported { run, branch, .. } = *reported;
    let Found::Ours(pull) = find(index, run, branch) else {
        return Exit::Holds;
    };
    let mut content = content(plan, reported);
    // Earlier runs stay named: so a database that was lost finds them again.
    let earlier = runs_marked_in(&pull.body).into_iter();
    for earlier in earlier.filter(|earlier| *earlier != run.id) {
        content.body.push_str(&pull_request_marker(&earlier));
        content.body.push('\n');
    }
    // Only the first run of a pull request names it; later ones edit its text.
    if pull.body == content.body {
        return Exit::Holds;
    }
    match edit(plan, reported, pull, content) {
        // Edited already; people may have changed it since, which is theirs to do.
        Ensure::NotNeeded => Exit::Holds,
        found => {
            plan.report_effect(run, found, "edits its pull request");
            Exit::Taken
        }
    }
}

/// The last word is the forge's: the pull request must stand at the commit that we accepted, or
/// at one that somebody put there since, which is theirs to do.
fn verified(index: &Index<'_>, plan: &mut PlanBuilder<'_>, reported: &Reported<'_>) -> Exit {
    let Reported { run, branch, .. } = *reported;
    let Found::Ours(pull) = find(index, run, branch) else {
        return Exit::Holds;
    };
    if run.accepted_head.as_ref() == Some(&pull.head_sha) {
        adopt(plan, run, pull, "its result is verified at the forge");
    } else if is_moved_on(index, run, pull) {
        let reason = "its commit was pushed, and somebody has moved the branch on since";
        adopt(plan, run, pull, reason);
    } else {
        report_quiet(
            plan,
            run,
            ReportState::Waiting,
            format!(
                "waits until pull request #{} shows its last commit",
                pull.number
            ),
        );
    }
    Exit::Taken
}

/// Whether a pull request stands where the run has never seen it, though its last push, or its
/// launch, is so long ago that the forge shows it: then it is not older, but newer.
fn is_moved_on(index: &Index<'_>, run: &Run, pull: &PullRequest) -> bool {
    let facts = index.facts.get(&run.id).into_iter().flatten();
    let pushes: Vec<(i64, &PushFact)> = facts
        .filter_map(|fact| match &fact.what {
            Fact::Push(push) => Some((fact.id, push)),
            _ => None,
        })
        .collect();
    let head = Some(&pull.head_sha);
    let of_run = |push: &PushFact| push.old.as_ref() == head || Some(&push.new) == head;
    if pushes.iter().any(|(_, push)| of_run(push)) {
        return false;
    }
    let done = pushes.iter().filter_map(|(fact, _)| {
        let effect = index.effect(&push_key(&run.id, *fact))?;
        effect.done_at
    });
    let visible = Duration::seconds(index.settings().visibility_seconds);
    let last = done.max().or(run.preparing_at);
    last.is_some_and(|at| at + visible <= index.now())
}

fn adopt(plan: &mut PlanBuilder<'_>, run: &Run, pull: &PullRequest, reason: &str) {
    if run.pull_request == Some(pull.number) {
        stop_run(plan, run, Outcome::Succeeded, reason);
        return;
    }
    let change = RunChange {
        pull_request: Some(pull.number),
        ..RunChange::default()
    };
    update_run(plan, run, "pull-request/found", change);
    plan.report_run(
        run,
        ReportState::Acting,
        format!("has pull request #{}", pull.number),
    );
}

fn edit(
    plan: &mut PlanBuilder<'_>,
    reported: &Reported<'_>,
    pull: &PullRequest,
    mut content: PullRequestContent,
) -> Ensure {
    let run = reported.run;
    content.title.clone_from(&pull.title);
    plan.ensure_once(
        format!("run/{}/pull-request/edit", run.id),
        Some(run.id),
        ActionKind::EditPullRequest {
            number: pull.number,
            content,
            subject: run.work_subject(),
            event: event::of_run(
                run,
                EventKind::PullRequestUpdated,
                json!({ "pull_request": pull.number, "commit": run.accepted_head }),
            ),
        },
    )
}
