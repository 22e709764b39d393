//! `prompt render`: what the newest run on an issue was told.

use serde_json::Value;

use super::{command, printed, refused, well};
use crate::store::fixtures::World;

const ISSUE: &str = "example-org/repository-7#1";

#[tokio::test]
async fn the_newest_launched_run_shows_its_whole_prompt_even_when_it_is_long_over() {
    let world = World::bound().await;
    let words = ["prompt", "render", ISSUE];
    let none = refused(&world, &words).await;
    assert!(none.contains("no run was launched here"), "{none}");
    world.cancelled(&world.preparing_run(1, 1).await).await;

    let (said, noted) = well(command(&world, &words).output().await.unwrap());
    assert_eq!(said, "Work.\n");
    assert!(noted.contains("template dev (en), agent coder"), "{noted}");
    let whole = printed(&world, &[&words[..], &["-o", "json"]].concat()).await;
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(whole["prompt"], "Work.");

    let other = refused(&world, &["prompt", "render", "example-org/other#1"]).await;
    assert!(other.contains("is not bound"), "{other}");
}
