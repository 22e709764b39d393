//! What people do with labels, and what they get.

use std::time::Duration;

use codex_k8s::{
    domain::run::RunState,
    sandbox::{
        github::ReviewState,
        seed::{PERSON, REPOSITORY},
    },
};

use super::stage::Stage;

/// Poll, visibility and five seconds, as the sandbox's times are.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(2 + 3 + 5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_becomes_a_pull_request_and_a_review_revises_the_same_one() {
    let stage = Stage::start(0.5, &[]).await;
    stage.label(1, "run:dev");
    let first = stage.finished(1, RunState::Succeeded).await;
    let [pull] = stage.pulls()[..] else {
        panic!("{}", stage.history().await)
    };
    assert_eq!(stage.labels(1), ["state:in-review"]);
    assert_eq!(stage.comments(1).len(), 1, "{}", stage.history().await);
    assert_eq!(stage.run_namespaces(), Vec::<String>::new());
    let github = stage.world.github();
    let head = github.branch_commit(REPOSITORY, "codex/issue-1").unwrap();
    assert_eq!(stage.issue(pull)["pull"]["head_sha"], head.as_str());
    assert_ne!(
        Some(head.as_str()),
        github.branch_commit(REPOSITORY, "main").as_deref()
    );
    assert_eq!(first.accepted_head.unwrap().as_str(), head);

    let state = ReviewState::ChangesRequested;
    github
        .review(REPOSITORY, pull, "grace", state, "Shorter, please.")
        .unwrap();
    let number = i64::try_from(pull).unwrap();
    stage.finished(number, RunState::Succeeded).await;
    assert_eq!(stage.pulls(), [pull]);
    let revised = github.branch_commit(REPOSITORY, "codex/issue-1").unwrap();
    assert_ne!(revised, head);
    assert_eq!(stage.issue(pull)["pull"]["head_sha"], revised.as_str());
    stage.end().await;
}

/// The stages of the example, in the order that work takes.
const STAGES: [&str; 11] = [
    "intake",
    "vision",
    "prd",
    "arch",
    "design",
    "plan",
    "dev",
    "qa",
    "release",
    "postdeploy",
    "ops",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issue_walks_from_its_intake_to_operations_on_one_pull_request() {
    let stage = Stage::start(0.2, &[]).await;
    for (done, kind) in STAGES.iter().enumerate() {
        stage.label(1, &format!("run:{kind}"));
        stage
            .until(&format!("{kind} is through"), || async {
                let runs = stage.runs_on(1).await;
                let run = runs.get(done)?;
                assert_eq!(run.kind.to_string(), *kind);
                (run.state == RunState::Succeeded && run.finalized_at.is_some()).then_some(())
            })
            .await;
        let [pull] = stage.pulls()[..] else {
            panic!("{}", stage.history().await)
        };
        let body = stage.issue(pull)["body"].as_str().unwrap().to_owned();
        // Only the last stage ends the issue.
        assert_eq!(body.contains("Closes #1"), *kind == "ops", "{kind}: {body}");
        assert!(stage.labels(1).contains(&"state:in-review".to_owned()));
    }
    assert_eq!(stage.comments(1).len(), STAGES.len());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_the_label_off_ends_the_agent_and_the_next_run_waits_until_it_has_gone() {
    let stage = Stage::start(600.0, &[]).await;
    stage.label(1, "run:dev");
    stage.run_in(1, RunState::Running).await;
    stage
        .until("the agent works", || async {
            (!stage.agents().is_empty()).then_some(())
        })
        .await;
    stage.unlabel(1, "run:dev");
    stage
        .within(
            WITHDRAWN_WITHIN,
            "the agent's process has ended",
            || async { stage.agents().is_empty().then_some(()) },
        )
        .await;
    stage.finished(1, RunState::Cancelled).await;
    let [comment] = &stage.comments(1)[..] else {
        panic!("{}", stage.history().await)
    };
    assert!(comment.contains("the label was removed"), "{comment}");

    // Once more, and then off and on again at once.
    stage.label(1, "run:dev");
    stage
        .until("a second agent works", || async {
            (!stage.agents().is_empty()).then_some(())
        })
        .await;
    stage.unlabel(1, "run:dev");
    stage.label(1, "run:dev");
    let third = stage
        .until("a third run works", || async {
            let runs = stage.runs_on(1).await;
            let active = runs.iter().filter(|run| run.state.is_active()).count();
            assert!(active <= 1, "{active} runs are active on one issue");
            let third = runs.get(2)?.clone();
            (third.state == RunState::Running).then_some(third)
        })
        .await;
    let second = &stage.runs_on(1).await[1];
    assert_eq!(second.state, RunState::Cancelled);
    assert!(third.preparing_at.unwrap() >= second.finished_at.unwrap());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_an_issue_cancels_its_queued_run() {
    let stage = Stage::start(600.0, &[]).await;
    stage.label(1, "run:dev");
    stage.label(2, "run:dev");
    stage.run_in(1, RunState::Running).await;
    stage.run_in(2, RunState::Running).await;
    stage.label(3, "run:dev");
    stage.run_in(3, RunState::Pending).await;
    stage.world.github().close(REPOSITORY, 3, PERSON).unwrap();
    let closed = stage.run_in(3, RunState::Cancelled).await;
    assert_eq!(closed.preparing_at, None);
    let others = [stage.runs_on(1).await, stage.runs_on(2).await].concat();
    assert!(
        others.iter().all(|run| run.state == RunState::Running),
        "{}",
        stage.history().await
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_config_commit_is_reported_and_changes_nothing_until_a_good_one_applies() {
    let stage = Stage::start(0.2, &[]).await;
    let before = stage.store.last_accepted_config().await.unwrap().unwrap();
    let broken = stage.world.config().break_it().unwrap();
    let refused = stage
        .until("the broken commit is reported", || async {
            stage.store.refused_config().await.unwrap()
        })
        .await;
    assert_eq!(refused.sha, broken);
    let errors = refused.errors.to_string();
    assert!(errors.contains("projects/demo/project.yaml"), "{errors}");
    let accepted = stage.store.last_accepted_config().await.unwrap().unwrap();
    assert_eq!(accepted.sha, before.sha);
    // The last good commit is in force: work goes on.
    stage.label(1, "run:dev");
    let run = stage.run_in(1, RunState::Succeeded).await;
    assert_eq!(run.frozen.unwrap().config_sha, before.sha);
    let mended = stage.world.config().mend_it().unwrap();
    let accepted = stage
        .until("the next good commit applies", || async {
            let accepted = stage.store.last_accepted_config().await.unwrap()?;
            (accepted.sha != before.sha).then_some(accepted)
        })
        .await;
    assert_eq!(accepted.sha.as_str(), mended);
    assert_eq!(stage.store.refused_config().await.unwrap(), None);
    stage.end().await;
}
