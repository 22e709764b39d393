//! `runs`: the list, one run, and names of runs.

use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::Connection as _;

use super::{printed, refused};
use crate::store::fixtures::World;

/// The line of a table that holds a text.
#[track_caller]
fn line<'a>(table: &'a str, text: &str) -> Vec<&'a str> {
    let line = table.lines().find(|line| line.contains(text));
    let line = line.unwrap_or_else(|| panic!("no `{text}` in\n{table}"));
    line.split_whitespace().collect()
}

#[tokio::test]
async fn runs_are_listed_with_where_they_stand_and_why() {
    let world = World::bound().await;
    let waiting = world.pending_run(1).await;
    let ended = world.cancelled(&world.preparing_run(2, 1).await).await;

    let list = printed(&world, &["runs"]).await;
    let header = ["ID", "PROJECT", "ISSUE", "STAGE", "STATE", "AGE", "REASON"];
    assert_eq!(line(&list, "PROJECT"), header);
    let id = waiting.id.to_string();
    let cells = line(&list, &id);
    let issue = "example-org/repository-7#1";
    assert_eq!(cells[..5], [id.as_str(), "shop", issue, "dev", "pending"]);
    let cells = line(&list, &ended.id.to_string());
    assert_eq!(cells[4], "cancelled", "{list}");
    assert_eq!(cells[6..].join(" "), "the label was taken off");

    let pending = printed(&world, &["runs", "--state", "pending", "--project", "shop"]).await;
    assert!(pending.contains(&id) && !pending.contains(&ended.id.to_string()));
    let first = printed(&world, &["runs", "--limit", "1"]).await;
    assert_eq!(first.lines().count(), 2, "{first}");
    let none = printed(&world, &["runs", "--project", "other"]).await;
    assert_eq!(none, "No runs.\n");
    let unknown = refused(&world, &["runs", "--state", "asleep"]).await;
    assert!(unknown.contains("waiting_mcp"), "{unknown}");
    let all: Value = serde_json::from_str(&printed(&world, &["runs", "-o", "json"]).await).unwrap();
    assert_eq!(all["items"].as_array().unwrap().len(), 2, "{all}");
}

#[tokio::test]
async fn a_run_is_shown_with_its_attempts_and_events() {
    let world = World::bound().await;
    let run = world.cancelled(&world.preparing_run(1, 1).await).await;
    let id = run.id.to_string();
    for words in [&["runs", &id[..8]][..], &["runs", "show", &id]] {
        let shown = printed(&world, words).await;
        assert_eq!(line(&shown, "id "), ["id", id.as_str()]);
        assert_eq!(line(&shown, "state "), ["state", "cancelled"]);
        assert_eq!(line(&shown, "branch "), ["branch", "codex/issue-1"]);
        assert_eq!(line(&shown, "starting")[..2], ["1", "starting"]);
        assert!(!shown.contains("Work."), "the prompt is not shown");
    }
    let shown = printed(&world, &["runs", "show", &id, "-o", "json"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["run"]["id"], id);
    assert_eq!(shown["attempts"][0]["number"], 1);
    assert!(shown["events"].is_array());
}

#[tokio::test]
async fn a_name_that_no_run_or_several_have_is_told_so() {
    let world = World::bound().await;
    let (one, other) = (world.pending_run(1).await, world.pending_run(2).await);
    let id = one.id.to_string();
    let mut twin = id.clone();
    twin.replace_range(9..13, if &id[9..13] == "0000" { "1111" } else { "0000" });
    let mut db = sqlx::PgConnection::connect(world.database.url.expose_secret())
        .await
        .unwrap();
    sqlx::query("update runs set run_id = $1::uuid where run_id = $2")
        .bind(&twin)
        .bind(other.id.0)
        .execute(&mut db)
        .await
        .unwrap();
    for command in ["runs", "logs"] {
        let several = refused(&world, &[command, &id[..8]]).await;
        assert!(several.contains("is ambiguous"), "{several}");
        assert!(
            several.contains(&id) && several.contains(&twin),
            "{several}"
        );
        let short = refused(&world, &[command, &id[..7]]).await;
        assert!(short.contains("8 characters"), "{short}");
        let unknown = refused(&world, &[command, "0123abcd-ef"]).await;
        assert!(unknown.contains("no run 0123abcd-ef"), "{unknown}");
    }
    let found = printed(&world, &["runs", &twin[..13]]).await;
    assert_eq!(line(&found, "id "), ["id", twin.as_str()]);
}
