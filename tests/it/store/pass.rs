//! What a pass gets to see.

use codex_k8s::{
    domain::{
        event::EventKind,
        forge::SubjectState,
        ids::{CommitSha, IssueNumber, ProjectKey},
    },
    store::StoreError,
};

use super::fixtures::{World, event, issue, labeled, trigger};

#[tokio::test]
async fn a_pass_sees_hot_subjects_and_their_rows_only() {
    let world = World::bound().await;
    let mut cold = issue(9, &[]);
    cold.state = SubjectState::Closed;
    let mut closed_with_run = issue(1, &["run:dev"]);
    closed_with_run.state = SubjectState::Closed;
    let now = world.store.now().await.unwrap();
    let mut tx = world.begin().await;
    tx.put_issues(&[cold, closed_with_run, issue(2, &[])], now)
        .await
        .unwrap();
    tx.put_events(&[labeled(1, 1), labeled(9, 9), labeled(2, 2)])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let run = world.preparing_run(1, 1).await;

    let shop = [ProjectKey::from("shop")];
    let snapshot = world.store.load_pass(Some(&shop)).await.unwrap();
    let numbers: Vec<_> = snapshot.issues.iter().map(|issue| issue.number.0).collect();
    assert_eq!(numbers, [1, 2]);
    assert!(
        snapshot
            .events
            .iter()
            .all(|event| event.number != IssueNumber(9))
    );
    assert_eq!(snapshot.events.len(), 2);
    assert_eq!(snapshot.runs, [run]);
    assert_eq!(snapshot.triggers.len(), 1);
    assert_eq!((snapshot.attempts.len(), snapshot.slots.len()), (1, 1));
    assert!(snapshot.now >= now);

    let nothing = world
        .store
        .load_pass(Some(&[ProjectKey::from("other")]))
        .await
        .unwrap();
    assert!(nothing.issues.is_empty() && nothing.runs.is_empty() && nothing.triggers.is_empty());
}

#[tokio::test]
async fn the_same_rows_load_the_same_and_survive_being_saved() {
    let world = World::bound().await;
    let now = world.store.now().await.unwrap();
    let mut tx = world.begin().await;
    tx.put_issues(&[issue(3, &["a", "b"]), issue(1, &["run:dev"])], now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    world.preparing_run(1, 2).await;
    let first = world.store.load_pass(None).await.unwrap();
    let mut second = world.store.load_pass(None).await.unwrap();
    second.now = first.now;
    assert_eq!(first, second);
    let saved = serde_json::to_string(&first).unwrap();
    let replayed: codex_k8s::domain::snapshot::StoreSnapshot =
        serde_json::from_str(&saved).unwrap();
    assert_eq!(replayed, first);
}

#[tokio::test]
async fn accepted_revisions_are_numbered_and_end_a_refusal() {
    let world = World::new().await;
    let (one, two) = (CommitSha::from("1111"), CommitSha::from("2222"));
    let desired = serde_json::json!({"projects": []});
    let errors = serde_json::json!(["bad"]);
    let mut tx = world.begin().await;
    assert_eq!(tx.accept_config(&one, &desired).await.unwrap().0, 1);
    assert!(tx.record_refused_config("3333", &errors).await.unwrap());
    assert!(!tx.record_refused_config("3333", &errors).await.unwrap());
    tx.commit().await.unwrap();
    let last = world.store.last_accepted_config().await.unwrap().unwrap();
    assert_eq!(last.sha, one, "a refused commit changes nothing");
    assert_eq!(
        world.store.refused_config().await.unwrap().unwrap().sha,
        "3333"
    );

    let mut tx = world.begin().await;
    let revision = tx.accept_config(&two, &desired).await.unwrap();
    assert_eq!(tx.accept_config(&two, &desired).await.unwrap(), revision);
    assert!(tx.mark_revision_applied(revision).await.unwrap());
    assert!(!tx.mark_revision_applied(revision).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(world.store.refused_config().await.unwrap(), None);
    assert_eq!(
        world.store.highest_applied_revision().await.unwrap(),
        Some(revision)
    );
}

#[tokio::test]
async fn an_issue_is_explained_from_its_rows() {
    let world = World::bound().await;
    let now = world.store.now().await.unwrap();
    let mut tx = world.begin().await;
    tx.put_issues(&[issue(1, &["run:dev"])], now).await.unwrap();
    let mut about = event(EventKind::RunEnqueued);
    about.subject = Some(trigger(1).subject());
    tx.insert_event(&about).await.unwrap();
    tx.commit().await.unwrap();
    let run = world.preparing_run(1, 1).await;

    let reads = world.database.api().await;
    let name = "Example-Org/Repository-7".parse().unwrap();
    let repository = reads.repository_named(&name).await.unwrap().unwrap();
    let explained = reads.explain(trigger(1).subject()).await.unwrap();
    assert_eq!(explained.subject.repository, repository);
    assert_eq!(explained.runs, [run]);
    assert_eq!(explained.triggers.len(), 1);
    assert_eq!(explained.attempts.len(), 1);
    assert_eq!(explained.events.len(), 1);

    let mut unbound = trigger(1).subject();
    unbound.repository.0 = 8;
    assert!(matches!(
        reads.explain(unbound).await,
        Err(StoreError::NotFound { .. })
    ));
}
