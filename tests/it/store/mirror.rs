//! The mirror: unchanged rows are not written, own writes stay visible until confirmed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use codex_k8s::{
    domain::{
        event::EventKind,
        forge::{Comment, Issue, LabelRecord, SubjectState},
        ids::{CommentId, IssueNumber, LabelName},
        mirror::{MirrorCursors, OwnerVariable},
    },
    store::{CommentSeries, MirrorWritten, StoreError},
};

use super::fixtures::{REPOSITORY, World, ada, at, binding, event, issue, labeled, subject};

const VISIBILITY: Duration = Duration::from_mins(1);

async fn put(world: &World, issue: &Issue, read_began_at: DateTime<Utc>) -> u64 {
    let mut tx = world.begin().await;
    let written = tx
        .put_issues(std::slice::from_ref(issue), read_began_at)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    written
}

async fn labels(world: &World) -> Vec<LabelName> {
    let issue = world
        .store
        .reads()
        .issue(subject(1))
        .await
        .unwrap()
        .unwrap();
    issue.labels
}

async fn overlay(world: &World, labels: &[&str]) {
    let labels: Vec<_> = labels.iter().map(|label| LabelName::from(*label)).collect();
    let mut tx = world.begin().await;
    tx.overlay_issue_labels(subject(1), &labels, VISIBILITY)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_row_that_stays_is_not_written() {
    let world = World::bound().await;
    let now = world.store.now().await.unwrap();
    let before = issue(1, &["run:dev"]);
    assert_eq!(put(&world, &before, now).await, 1);
    assert_eq!(put(&world, &before, now).await, 0);
    let mut tx = world.begin().await;
    assert_eq!(tx.put_events(&[labeled(5, 1)]).await.unwrap(), 1);
    assert_eq!(
        tx.put_events(&[labeled(5, 1), labeled(6, 1)])
            .await
            .unwrap(),
        1
    );
    assert!(
        !tx.set_cursors(REPOSITORY, &MirrorCursors::default())
            .await
            .unwrap()
    );
    assert!(tx.mark_unknown(REPOSITORY, "503").await.unwrap());
    assert!(!tx.mark_unknown(REPOSITORY, "503").await.unwrap());
    assert!(tx.mark_known(REPOSITORY).await.unwrap());
    assert!(!tx.mark_known(REPOSITORY).await.unwrap());
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn own_labels_stay_over_a_stale_read_while_text_and_state_follow_it() {
    let world = World::bound().await;
    let began = world.store.now().await.unwrap();
    put(&world, &issue(1, &["run:dev"]), began).await;
    overlay(&world, &["state:in-review"]).await;

    let mut stale = issue(1, &["run:dev"]);
    stale.state = SubjectState::Closed;
    put(&world, &stale, world.store.now().await.unwrap()).await;
    assert_eq!(labels(&world).await, [LabelName::from("state:in-review")]);
    let kept = world
        .store
        .reads()
        .issue(subject(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.state, SubjectState::Closed);
    assert_eq!(
        put(&world, &stale, began).await,
        0,
        "and nothing is written again"
    );
}

#[tokio::test]
async fn own_labels_end_with_a_later_read_that_agrees() {
    let world = World::bound().await;
    let began = world.store.now().await.unwrap();
    put(&world, &issue(1, &["run:dev"]), began).await;
    overlay(&world, &["b", "a"]).await;
    // A read begun before the write proves nothing, even when it agrees.
    put(&world, &issue(1, &["A", "b"]), began).await;
    put(
        &world,
        &issue(1, &["run:dev"]),
        world.store.now().await.unwrap(),
    )
    .await;
    assert_eq!(labels(&world).await.len(), 2);

    put(
        &world,
        &issue(1, &["A", "b"]),
        world.store.now().await.unwrap(),
    )
    .await;
    put(&world, &issue(1, &["c"]), world.store.now().await.unwrap()).await;
    assert_eq!(
        labels(&world).await,
        [LabelName::from("c")],
        "people's later change counts"
    );
}

#[tokio::test]
async fn own_labels_end_with_the_forges_visibility_time() {
    let world = World::bound().await;
    put(
        &world,
        &issue(1, &["run:dev"]),
        world.store.now().await.unwrap(),
    )
    .await;
    overlay(&world, &["state:in-review"]).await;
    world.database.shift_clock(VISIBILITY).await;
    put(
        &world,
        &issue(1, &["run:dev"]),
        world.store.now().await.unwrap(),
    )
    .await;
    assert_eq!(labels(&world).await, [LabelName::from("run:dev")]);
}

fn comment(id: i64, body: &str) -> Comment {
    Comment {
        id: CommentId(id),
        repository: REPOSITORY,
        number: IssueNumber(1),
        author: Some(ada()),
        body: body.to_owned(),
        created_at: at(0),
        updated_at: at(0),
        place: None,
        via_app: None,
    }
}

#[tokio::test]
async fn own_comments_survive_a_list_that_does_not_show_them_yet() {
    let world = World::bound().await;
    let list = CommentSeries::Issue;
    let began = world.store.now().await.unwrap();
    let mut tx = world.begin().await;
    tx.put_comments(&[comment(1, "theirs")], began)
        .await
        .unwrap();
    tx.overlay_comment(&comment(2, "ours"), VISIBILITY)
        .await
        .unwrap();
    let missing = tx
        .delete_comments_missing(subject(1), list, &[], began)
        .await
        .unwrap();
    assert_eq!(missing, 1, "theirs is gone, ours stays");
    tx.commit().await.unwrap();

    world.database.shift_clock(VISIBILITY).await;
    let later = world.store.now().await.unwrap();
    let mut tx = world.begin().await;
    let missing = tx
        .delete_comments_missing(subject(1), list, &[], later)
        .await
        .unwrap();
    assert_eq!(missing, 1, "deleted by people");
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn the_label_list_is_kept_whole() {
    let world = World::bound().await;
    let label = |name: &str| LabelRecord {
        name: LabelName::from(name),
        colour: "ffffff".to_owned(),
        description: String::new(),
    };
    let mut tx = world.begin().await;
    let both = [label("run:dev"), label("old")];
    let began = world.store.now().await.unwrap();
    for (list, written) in [(&both[..], 2), (&both[..], 0), (&both[..1], 1)] {
        let changed = tx.put_labels(REPOSITORY, list, began).await.unwrap();
        assert_eq!(changed, written);
    }
    tx.commit().await.unwrap();
    let labels = world.store.load_pass(None).await.unwrap().labels;
    assert_eq!(labels.len(), 1);
}

#[tokio::test]
async fn our_own_label_stays_over_a_stale_list_until_a_later_one_agrees() {
    let world = World::bound().await;
    let label = |name: &str, colour: &str| LabelRecord {
        name: LabelName::from(name),
        colour: colour.to_owned(),
        description: String::new(),
    };
    let began = world.store.now().await.unwrap();
    let stale = [label("run:dev", "ffffff")];
    let ours = [label("run:dev", "000000"), label("need:input", "000000")];
    let mut tx = world.begin().await;
    tx.put_labels(REPOSITORY, &stale, began).await.unwrap();
    for label in &ours {
        tx.overlay_label(REPOSITORY, label, VISIBILITY)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let kept = async || {
        let rows = world.store.load_pass(None).await.unwrap().labels;
        let mut kept: Vec<_> = rows.into_iter().map(|row| row.label).collect();
        kept.reverse();
        kept
    };
    let put = async |list: &[LabelRecord], began| {
        let mut tx = world.begin().await;
        let written = tx.put_labels(REPOSITORY, list, began).await.unwrap();
        tx.commit().await.unwrap();
        written
    };
    assert_eq!(put(&stale, began).await, 0);
    assert_eq!(kept().await, ours);
    // One that agrees ends it, and from then on what is read counts.
    let later = world.store.now().await.unwrap();
    assert_eq!(put(&ours, later).await, 2);
    assert_eq!(put(&ours, later).await, 0);
    assert_eq!(put(&stale, later).await, 2);
    assert_eq!(kept().await, stale);
}

#[tokio::test]
async fn a_repository_is_bound_once_and_to_one_project() {
    let world = World::bound().await;
    let bound = event(EventKind::RepositoryBound);
    let mut tx = world.begin().await;
    assert!(
        !tx.bind_repository(&binding(7, "shop"), &bound)
            .await
            .unwrap()
    );
    let other = tx.bind_repository(&binding(7, "other"), &bound).await;
    assert!(matches!(other, Err(StoreError::Conflict { .. })));
    // The same name under another id: deleted and made anew at the forge.
    let mut anew = binding(8, "shop");
    anew.configured_name = binding(7, "shop").configured_name;
    let other = tx.bind_repository(&anew, &bound).await;
    assert!(matches!(other, Err(StoreError::Conflict { .. })));
}

#[tokio::test]
async fn a_mirror_row_is_written_as_a_whole_where_it_differs() {
    let world = World::bound().await;
    let mut mirror = world.store.mirrors().await.unwrap().remove(0);
    let mut tx = world.begin().await;
    assert_eq!(tx.put_mirror(&mirror).await.unwrap(), MirrorWritten::Same);
    mirror.owner_variable = OwnerVariable::Ours;
    assert_eq!(
        tx.put_mirror(&mirror).await.unwrap(),
        MirrorWritten::Changed
    );
    tx.commit().await.unwrap();
    assert_eq!(world.store.mirrors().await.unwrap(), [mirror]);
}
