//! Pushes through the run API: what is taken and what is refused.

use std::path::Path;

use codex_k8s::domain::run::PullRequestRule;

use super::world::{BRANCH, REPO, World, git};

async fn committed(clone: &Path, file: &str, content: &str) {
    let path = clone.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    git(clone, &["add", "-A"]).await;
    let (ok, said) = git(clone, &["commit", "-q", "-m", "change"]).await;
    assert!(ok, "{said}");
}

async fn refused(clone: &Path, args: &[&str], why: &str) {
    let push = [&["push", "--no-verify", "origin"], args].concat();
    let (ok, said) = git(clone, &push).await;
    assert!(!ok && said.contains(why), "wanted `{why}`: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_the_runs_branch_reaches_the_forge_and_repeats_as_nothing() {
    let world = World::new(&["true"]).await;
    let clone = world.cloned(&world.token(1)).await;
    committed(&clone, "hello.txt", "hello\n").await;
    let target = format!("HEAD:refs/heads/{BRANCH}");
    for _ in 0..2 {
        let (ok, said) = git(&clone, &["push", "origin", &target]).await;
        assert!(ok, "{said}");
    }
    committed(&clone, "hello.txt", "hello again\n").await;
    let (ok, said) = git(&clone, &["push", "origin", &target]).await;
    assert!(ok, "{said}");
    let (_, head) = git(&clone, &["rev-parse", "HEAD"]).await;
    assert_eq!(world.branch_head().as_deref(), Some(head.trim()));
    assert_eq!(world.rows().pushes.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_that_break_a_rule_are_refused_and_leave_nothing() {
    let world = World::new(&["true"]).await;
    let clone = world.cloned(&world.token(1)).await;
    let target = format!("HEAD:refs/heads/{BRANCH}");
    committed(&clone, "a.txt", "a\n").await;
    refused(
        &clone,
        &["HEAD:refs/heads/main"],
        "may push codex/issue-7 only",
    )
    .await;
    refused(
        &clone,
        &["HEAD:refs/tags/v1"],
        "may push codex/issue-7 only",
    )
    .await;
    refused(&clone, &[&target, "HEAD:refs/heads/other"], "alone").await;
    committed(&clone, ".github/workflows/ci.yml", "on: push\n").await;
    refused(&clone, &[&target], "executes in the target's CI").await;
    git(&clone, &["reset", "-q", "--hard", "HEAD~1"]).await;
    let noise: Vec<String> = (0..60_000u32)
        .map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761)))
        .collect();
    let noise = noise.concat();
    committed(&clone, "big.txt", &noise).await;
    refused(&clone, &[&target], "larger than").await;
    assert_eq!(world.branch_head(), None);
    assert!(world.rows().pushes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_stage_changes_no_files_pushes_nothing() {
    let world = World::new(&["true"]).await;
    let clone = world.cloned(&world.token(1)).await;
    if let Some(frozen) = world.rows().run.frozen.as_mut() {
        frozen.pull_request = PullRequestRule::None;
    }
    committed(&clone, "a.txt", "a\n").await;
    let target = format!("HEAD:refs/heads/{BRANCH}");
    refused(&clone, &[&target], "change no files").await;
    assert!(world.rows().pushes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_moved_is_not_pushed_over() {
    let world = World::new(&["true"]).await;
    let clone = world.cloned(&world.token(1)).await;
    committed(&clone, "a.txt", "a\n").await;
    let target = format!("HEAD:refs/heads/{BRANCH}");
    let theirs = world
        .model
        .push_commit(REPO, BRANCH, "ada", &[("b.txt", "b\n")], "Theirs")
        .unwrap();
    refused(&clone, &[&target], "rejected").await;
    refused(&clone, &["--force", &target], "rejected").await;
    refused(&clone, &[&format!(":refs/heads/{BRANCH}")], "").await;
    assert_eq!(world.branch_head(), Some(theirs));
}
