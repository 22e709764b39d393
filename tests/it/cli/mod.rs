//! Commands as people call them: what the binary prints and how it ends.

mod logs;
mod prompt;
mod runs;

use std::process::{Output, Stdio};

use secrecy::ExposeSecret;
use tokio::process::Command;

use crate::store::fixtures::World;

/// The command, on a world's database.
fn command(world: &World, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codex-k8s"));
    command
        .args(words)
        .env_clear()
        .env("CODEXK8S_DATABASE_URL", world.database.url.expose_secret())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// What it says when it goes well: on standard output and on standard error.
#[track_caller]
fn well(output: Output) -> (String, String) {
    let said = String::from_utf8(output.stdout).unwrap();
    let noted = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}\n{noted}");
    (said, noted)
}

/// What it prints.
async fn printed(world: &World, words: &[&str]) -> String {
    well(command(world, words).output().await.unwrap()).0
}

/// What it says on failing.
async fn refused(world: &World, words: &[&str]) -> String {
    let output = command(world, words).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{words:?}");
    assert!(output.stdout.is_empty(), "{words:?}");
    String::from_utf8(output.stderr).unwrap()
}
