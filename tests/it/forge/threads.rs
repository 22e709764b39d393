//! Remarks on lines, and the threads that they stand in.

use codex_k8s::{
    domain::forge::Comment,
    forge::{Forge, NewPull},
};

use super::*;

#[tokio::test]
async fn remarks_on_lines_come_with_whether_their_thread_is_resolved() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    let files = [("new.txt", "x")];
    let model = &scene.model;
    model
        .push_commit(REPO, "codex/issue-1", "codex", &files, "Add")
        .unwrap();
    let new = NewPull {
        title: "Add".to_owned(),
        head: branch("codex/issue-1"),
        base: branch("main"),
        body: "words".to_owned(),
        draft: false,
    };
    let made = forge.create_pull(&repo, &new).await.unwrap().number;
    let number = u64::try_from(made.0).unwrap();
    assert_eq!(forge.review_comments(&repo, made).await.unwrap(), []);
    // More threads than one query gives.
    let remarks: Vec<String> = (0..101).map(|place| format!("Remark {place}.")).collect();
    for words in &remarks {
        model
            .review_line(REPO, number, "grace", ("new.txt", 1), words)
            .unwrap();
    }
    for settled in [&remarks[1], &remarks[100]] {
        model.resolve_thread(REPO, number, "ada", settled).unwrap();
    }
    let read = forge.review_comments(&repo, made).await.unwrap();
    assert_eq!(read.len(), remarks.len());
    let resolved = |it: &&Comment| it.place.as_ref().is_some_and(|place| place.resolved);
    let settled: Vec<_> = read
        .iter()
        .filter(resolved)
        .map(|it| it.body.as_str())
        .collect();
    assert_eq!(settled, ["Remark 1.", "Remark 100."]);
}
