//! Pushes through the run API: what is taken and what is refused.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
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

/// A model's key, as the platform knows it.
const MODEL_KEY: &str = "sk-model-0123456789abcdefghijklmnopqrstuv";

/// Where a secret stands in a push, how, and what the refusal must name.
type PushedSecret = (&'static str, fn(&str) -> String, &'static str);

/// A world that knows a model's key, and a clone in it.
async fn knowing() -> (World, std::path::PathBuf) {
    let world = World::new(&["true"]).await;
    let keys = world.dir.path().join("keys");
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::write(keys.join("openai"), format!("{MODEL_KEY}\n")).unwrap();
    let clone = world.cloned(&world.token(1)).await;
    (world, clone)
}

/// Commits with a message and an author of its own; answers the commit.
async fn committed_as(clone: &Path, message: &str, author: &str) -> String {
    git(clone, &["add", "-A"]).await;
    let author = format!("{author} <{author}@example.org>");
    let commit = [
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        message,
        "--author",
        &author,
    ];
    let (ok, said) = git(clone, &commit).await;
    assert!(ok, "{said}");
    git(clone, &["rev-parse", "HEAD"]).await.1.trim().to_owned()
}

fn written(clone: &Path, file: &str, content: &str) {
    let path = clone.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_holds_a_known_secret_is_refused_and_says_where() {
    let (world, clone) = knowing().await;
    let token = world.token(1);
    // As long as a token and made of the same letters, but none.
    let other = token.replace(['4', '7', 'a', 'e'], "0");
    let target = format!("HEAD:refs/heads/{BRANCH}");
    let encoded = |value: &str| STANDARD.encode(format!("run token: {value} as found"));
    let plain = |value: &str| format!("key = {value}\n");
    let cases: [PushedSecret; 5] = [
        ("in a file", plain, "notes/a.txt in commit"),
        ("in Base64", plain, "notes/a.txt in commit"),
        ("in a message", plain, "the message or an author of commit"),
        ("in a name", plain, "the message or an author of commit"),
        ("in a path", plain, "the name of a file in notes in commit"),
    ];
    for value in [token.as_str(), MODEL_KEY, other.as_str()] {
        for (place, text, named) in cases {
            let known = value != other;
            git(&clone, &["reset", "-q", "--hard", "origin/main"]).await;
            let (mut message, mut author) = ("change".to_owned(), "ada".to_owned());
            match place {
                "in a file" => written(&clone, "notes/a.txt", &text(value)),
                "in Base64" => written(&clone, "notes/a.txt", &encoded(value)),
                "in a message" => message = text(value),
                "in a name" => value.clone_into(&mut author),
                _ => written(&clone, &format!("notes/{value}/a.txt"), "a\n"),
            }
            let commit = committed_as(&clone, &message, &author).await;
            // What a later commit takes out was pushed all the same.
            git(&clone, &["rm", "-rq", "--ignore-unmatch", "notes"]).await;
            committed_as(&clone, "Take it out", "ada").await;
            let (ok, said) = git(&clone, &["push", "--no-verify", "origin", &target]).await;
            assert_eq!(ok, !known, "{place}: {said}");
            assert!(!said.contains(value), "{place}: {said}");
            if known {
                let words = format!("remote: the push is refused: {named} {commit} holds a secret");
                assert!(said.contains(&words), "{place}, wanted `{words}`: {said}");
                assert_eq!(world.branch_head(), None);
                assert!(world.rows().pushes.is_empty());
            } else {
                // Each of these begins the branch anew.
                world.model.delete_branch(REPO, BRANCH, "ada").unwrap();
                let mut rows = world.rows();
                rows.run.accepted_head = None;
                rows.pushes.clear();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_forge_has_already_is_not_held_against_a_push() {
    let (world, clone) = knowing().await;
    let theirs = format!("key = {MODEL_KEY}\n");
    world
        .model
        .push_commit(REPO, "main", "ada", &[("leaked.txt", &theirs)], "Leak")
        .unwrap();
    git(&clone, &["pull", "-q", "--ff-only", "origin", "main"]).await;
    committed(&clone, "a.txt", "a\n").await;
    let target = format!("HEAD:refs/heads/{BRANCH}");
    let (ok, said) = git(&clone, &["push", "origin", &target]).await;
    assert!(ok, "{said}");
    // The file that holds it, changed, brings it once more.
    committed(&clone, "leaked.txt", &format!("{theirs}more\n")).await;
    refused(&clone, &[&target], "leaked.txt in commit").await;
}
