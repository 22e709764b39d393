//! The adapter against the GitHub model.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use codex_k8s::{
    domain::{
        forge::{IssueEventKind, LabelRecord, Permission, SubjectState},
        ids::{IssueNumber, UserId},
        marker::comment_marker,
    },
    forge::{
        Account, CommentFilter, EventsQuery, Forge, ForgeErrorKind, NewPull, PullEdit, PushOutcome,
        PushRef,
    },
};

use super::*;

/// So many pages of events, none known.
fn events(max_pages: u32) -> EventsQuery {
    EventsQuery {
        back_to: None,
        max_pages,
        anew: false,
    }
}

#[tokio::test]
async fn a_label_and_its_event_are_read_with_one_and_the_same_actor() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    let number = scene.open("First");
    scene.label(number);
    let issue = forge.issue(&repo, number).await.unwrap();
    assert_eq!(issue.labels, vec![label("run:dev")]);
    let events = forge.issue_events(&repo, events(10)).await.unwrap().events;
    let labeled = events
        .iter()
        .find(|event| matches!(&event.what, IssueEventKind::Labeled { .. }))
        .unwrap();
    assert_eq!(labeled.number, number);
    assert_eq!(labeled.actor.as_ref().unwrap().login, "ada");
    assert_eq!(forge.newest_event(&repo).await.unwrap(), Some(labeled.id));
    assert_eq!(
        forge.identity().await.unwrap().identity.actor.login,
        "codex"
    );
}

#[tokio::test]
async fn issues_are_read_over_many_pages_and_on_from_the_last_time_seen() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    for index in 0..230 {
        scene.open(&format!("Issue {index}"));
    }
    let mut seen = std::collections::BTreeSet::new();
    let (mut since, mut cursor) = (None, None);
    loop {
        let page = forge.issues_since(&repo, since).await.unwrap();
        seen.extend(page.items.iter().map(|issue| issue.number));
        cursor = page.cursor.or(cursor);
        match page.go_on {
            Some(next) => since = Some(next),
            None => break,
        }
    }
    assert_eq!(seen.len(), 230);
    // All of it is younger than the mark may be: it will be read again.
    let again = forge.issues_since(&repo, cursor).await.unwrap();
    assert!(!again.items.is_empty());
}

#[tokio::test]
async fn a_page_read_again_is_not_modified_and_still_whole() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    let number = scene.open("First");
    scene.label(number);
    let first = forge.issue_events(&repo, events(1)).await.unwrap().events;
    assert_eq!(requests(&forge, "not_modified"), 0);
    let second = forge.issue_events(&repo, events(1)).await.unwrap().events;
    assert_eq!(requests(&forge, "not_modified"), 1);
    assert_eq!(first, second);
    let query = EventsQuery {
        anew: true,
        ..events(1)
    };
    let third = forge.issue_events(&repo, query).await.unwrap().events;
    assert_eq!(requests(&forge, "not_modified"), 1, "nothing was confirmed");
    assert_eq!(first, third);
    // Another credential begins with nothing.
    let other = scene.forge();
    let fresh = other.issue_events(&repo, events(1)).await.unwrap();
    assert_eq!(fresh.events, first);
    assert_eq!(requests(&other, "not_modified"), 0);
}

#[tokio::test]
async fn a_renamed_repository_is_moved_and_nothing_is_written_there() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    let number = scene.open("First");
    scene.model.rename_repository(REPO, "renamed").unwrap();
    let error = forge.repository(&repo.name).await.unwrap_err();
    assert!(
        matches!(error.kind, ForgeErrorKind::Moved { .. }),
        "{error}"
    );
    let error = forge
        .create_comment(&repo, number, "words")
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind, ForgeErrorKind::Moved { .. }),
        "{error}"
    );
    assert!(!error.maybe_applied);
    let renamed = scene.repo("example-org/renamed");
    let comments = forge
        .comments(&renamed, CommentFilter::On(number))
        .await
        .unwrap();
    assert_eq!(comments, vec![]);
}

#[tokio::test]
async fn a_deleted_issue_is_definitely_gone_and_a_transferred_one_moved() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    let (deleted, moved) = (scene.open("Deleted"), scene.open("Moved"));
    let raw = |number: IssueNumber| u64::try_from(number.0).unwrap();
    scene.model.delete_issue(REPO, raw(deleted)).unwrap();
    scene
        .model
        .transfer_issue(REPO, raw(moved), "ada", "example-org/lib")
        .unwrap();
    let gone = forge.issue(&repo, deleted).await.unwrap_err();
    assert!(gone.is_absent(), "{gone}");
    let left = forge.issue(&repo, moved).await.unwrap_err();
    assert!(left.says_subject_left() && !left.is_absent(), "{left}");
}

#[tokio::test]
async fn labels_are_set_and_taken_off_twice_without_harm() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    let number = scene.open("First");
    let record = LabelRecord {
        name: label("state:in-review"),
        colour: "00ff00".to_owned(),
        description: "Waits for people".to_owned(),
    };
    for _ in 0..2 {
        forge.define_label(&repo, &record).await.unwrap();
        forge
            .add_labels(&repo, number, std::slice::from_ref(&record.name))
            .await
            .unwrap();
    }
    assert!(forge.labels(&repo).await.unwrap().contains(&record));
    for _ in 0..2 {
        forge
            .remove_label(&repo, number, &record.name)
            .await
            .unwrap();
    }
    assert_eq!(forge.issue(&repo, number).await.unwrap().labels, vec![]);
}

#[tokio::test]
async fn a_label_is_defined_once_and_changed_only_where_it_is() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    let record = |colour: &str, description: &str| LabelRecord {
        name: label("need:input"),
        colour: colour.to_owned(),
        description: description.to_owned(),
    };
    let wanted = record("00ff00", "Ждёт ответа людей");
    let error = forge.change_label(&repo, &wanted).await.unwrap_err();
    assert!(error.is_absent(), "{error}");
    let first = record("ededed", "Somebody's");
    assert_eq!(forge.define_label(&repo, &first).await.unwrap(), first);
    // It is there: it stays as it is, and the answer says so.
    assert_eq!(forge.define_label(&repo, &wanted).await.unwrap(), first);
    assert_eq!(forge.change_label(&repo, &wanted).await.unwrap(), wanted);
    let found = forge.labels(&repo).await.unwrap();
    assert!(found.contains(&wanted) && !found.contains(&first));
}

#[tokio::test]
async fn a_comment_is_found_by_author_and_marker_lowest_id_first() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    let number = scene.open("First");
    let marker = comment_marker("run/1/status");
    let body = format!("{marker}\nwords");
    let raw = u64::try_from(number.0).unwrap();
    scene.model.comment(REPO, raw, "ada", &body).unwrap();
    let one = forge.create_comment(&repo, number, &body).await.unwrap();
    let two = forge.create_comment(&repo, number, &body).await.unwrap();
    let me = forge.identity().await.unwrap().identity.actor.id;
    let found = forge
        .find_comments(&repo, number, &marker, &[me])
        .await
        .unwrap();
    let ids: Vec<_> = found.iter().map(|comment| comment.id).collect();
    assert_eq!(ids, vec![one.id, two.id]);
    forge.delete_comment(&repo, two.id).await.unwrap();
    forge.delete_comment(&repo, two.id).await.unwrap();
    let subject = codex_k8s::domain::ids::Subject {
        repository: repo.id,
        number,
    };
    let edited = forge
        .edit_comment(&repo, subject, one.id, "new")
        .await
        .unwrap();
    assert_eq!(edited.body, "new");
}

#[tokio::test]
async fn rights_are_read_by_role_and_a_stranger_has_none() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    let account = |login: &str| Account {
        id: UserId(i64::try_from(scene.model.user_id(login).unwrap()).unwrap()),
        login: login.to_owned(),
    };
    assert_eq!(
        forge.permission(&repo, &account("ada")).await.unwrap(),
        Permission::Write
    );
    assert_eq!(
        forge.permission(&repo, &account("grace")).await.unwrap(),
        Permission::Read
    );
    let gone = Account {
        id: UserId(1),
        login: "nobody-here".to_owned(),
    };
    assert_eq!(
        forge.permission(&repo, &gone).await.unwrap(),
        Permission::None
    );
    let taken = Account {
        id: UserId(1),
        ..account("ada")
    };
    let error = forge.permission(&repo, &taken).await.unwrap_err();
    assert_eq!(error.kind, ForgeErrorKind::Conflict);
}

#[tokio::test]
async fn a_variable_is_absent_then_set_then_changed() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    assert_eq!(forge.variable(&repo, "OWNER").await.unwrap(), None);
    for value in ["one", "two"] {
        forge.set_variable(&repo, "OWNER", value).await.unwrap();
        assert_eq!(
            forge.variable(&repo, "OWNER").await.unwrap().as_deref(),
            Some(value)
        );
    }
}

#[tokio::test]
async fn variables_are_listed_over_their_small_pages_and_set_only_where_they_differ() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    assert_eq!(forge.variables(&repo).await.unwrap(), vec![]);
    for index in 0..31 {
        let name = format!("NUMBER_{index:02}");
        forge.set_variable(&repo, &name, "value").await.unwrap();
    }
    let found = forge.variables(&repo).await.unwrap();
    assert_eq!(found.len(), 31);
    assert_eq!(
        (found[30].name.as_str(), found[30].value.as_str()),
        ("NUMBER_30", "value")
    );
    let writes = scene.model.writes().len();
    forge
        .set_variable(&repo, "NUMBER_30", "value")
        .await
        .unwrap();
    assert_eq!(scene.model.writes().len(), writes);
}

#[tokio::test]
async fn a_closed_gate_sends_no_write_and_stops_no_read() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    let number = scene.open("First");
    scene.latch.closed.store(true, Ordering::SeqCst);
    let error = forge
        .create_comment(&repo, number, "words")
        .await
        .unwrap_err();
    assert_eq!(error.kind, ForgeErrorKind::NotSent);
    assert!(!error.maybe_applied && error.to_string().contains("lease ends"));
    let comments = forge
        .comments(&repo, CommentFilter::On(number))
        .await
        .unwrap();
    assert_eq!(comments, vec![]);
    assert_eq!(scene.model.writes().len(), 0);
}

/// A commit on top of the default branch, with the pack that carries it.
fn commit(scene: &Scene, text: &str) -> (CommitSha, CommitSha, Bytes) {
    let folder = scene.dir.path().join(format!("clone-{text}"));
    let path = std::fs::read_dir(scene.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.ends_with(format!("{}.git", scene.repo(REPO).id)))
        .unwrap();
    let clone = git2::Repository::clone(path.to_str().unwrap(), &folder).unwrap();
    let base = clone.head().unwrap().peel_to_commit().unwrap();
    let blob = clone.blob(text.as_bytes()).unwrap();
    let mut tree = clone.treebuilder(Some(&base.tree().unwrap())).unwrap();
    tree.insert("new.txt", blob, 0o100_644).unwrap();
    let tree = clone.find_tree(tree.write().unwrap()).unwrap();
    let author = git2::Signature::now("Ada", "ada@example.org").unwrap();
    let made = clone
        .commit(None, &author, &author, "Add a file", &tree, &[&base])
        .unwrap();
    let mut walk = clone.revwalk().unwrap();
    walk.push(made).unwrap();
    walk.hide(base.id()).unwrap();
    let mut pack = clone.packbuilder().unwrap();
    pack.insert_walk(&mut walk).unwrap();
    let mut bytes = git2::Buf::new();
    pack.write_buf(&mut bytes).unwrap();
    let bytes = Bytes::copy_from_slice(&bytes);
    (sha(&base.id().to_string()), sha(&made.to_string()), bytes)
}

#[tokio::test]
async fn a_push_moves_a_branch_only_from_where_it_is_expected() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    let (base, first, pack) = commit(&scene, "one");
    let push = PushRef {
        branch: branch("codex/issue-1"),
        expected_old: None,
        new: first.clone(),
        pack,
    };
    scene.latch.closed.store(true, Ordering::SeqCst);
    let error = forge.push_ref(&repo, &push).await.unwrap_err();
    assert_eq!(error.kind, ForgeErrorKind::NotSent);
    scene.latch.closed.store(false, Ordering::SeqCst);
    assert_eq!(
        forge.push_ref(&repo, &push).await.unwrap(),
        PushOutcome::Updated
    );
    assert_eq!(
        forge.push_ref(&repo, &push).await.unwrap(),
        PushOutcome::AlreadyThere
    );
    assert_eq!(
        forge.ref_head(&repo, &push.branch).await.unwrap(),
        Some(first.clone())
    );
    assert_eq!(forge.ref_head(&repo, &branch("none")).await.unwrap(), None);
    let (_, second, pack) = commit(&scene, "two");
    for expected_old in [None, Some(base)] {
        let stale = PushRef {
            expected_old,
            new: second.clone(),
            pack: pack.clone(),
            ..push.clone()
        };
        let outcome = forge.push_ref(&repo, &stale).await.unwrap();
        assert_eq!(
            outcome,
            PushOutcome::Stale {
                found: Some(first.clone())
            }
        );
    }
    assert_eq!(
        forge.ref_head(&repo, &push.branch).await.unwrap(),
        Some(first)
    );
}

#[tokio::test]
async fn a_pull_request_is_opened_edited_and_found_by_its_branch_in_any_state() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    let new = NewPull {
        head: branch("codex/issue-1"),
        base: branch("main"),
        title: "Do it".to_owned(),
        body: "words".to_owned(),
        draft: false,
    };
    let error = forge.create_pull(&repo, &new).await.unwrap_err();
    assert_eq!(error.kind, ForgeErrorKind::Unprocessable);
    let files = [("new.txt", "x")];
    scene
        .model
        .push_commit(REPO, "codex/issue-1", "codex", &files, "Add")
        .unwrap();
    let made = forge.create_pull(&repo, &new).await.unwrap();
    let edit = PullEdit {
        title: Some("Done".to_owned()),
        ..PullEdit::default()
    };
    let edited = forge.edit_pull(&repo, made.number, &edit).await.unwrap();
    assert_eq!(
        (edited.title.as_str(), edited.body.as_str()),
        ("Done", "words")
    );
    scene
        .model
        .close(REPO, u64::try_from(made.number.0).unwrap(), "ada")
        .unwrap();
    let found = forge.find_pulls_by_head(&repo, &new.head).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].state, SubjectState::Closed);
    assert_eq!(found[0].head_repository, Some(repo.id));
    assert_eq!(forge.reviews(&repo, made.number).await.unwrap(), vec![]);
}

#[tokio::test]
async fn a_wrong_token_is_unauthorised_and_stands_in_no_text() {
    let scene = Scene::new().await;
    let settings = settings(&scene.model.rest_url(), "hush-hush");
    let shown = format!("{settings:?}");
    let forge = forge_with(settings, &scene.latch);
    let error = forge.identity().await.unwrap_err();
    assert_eq!(error.kind, ForgeErrorKind::Unauthorized);
    assert!(!format!("{shown} {error} {error:?} {forge:?}").contains("hush-hush"));
}

#[tokio::test]
async fn a_pause_that_the_forge_asks_for_passes_by_the_given_clock() {
    let scene = Scene::new().await;
    let ahead = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let moved = Arc::clone(&ahead);
    let mut settings = settings(&scene.model.rest_url(), "codex-token");
    settings.clock = codex_k8s::forge::github::PauseClock::new(move || {
        std::time::Instant::now() + Duration::from_secs(moved.load(Ordering::SeqCst))
    });
    let (forge, repo) = (forge_with(settings, &scene.latch), scene.repo(REPO));
    let later = Fault::Status {
        status: 429,
        retry_after: Some(60),
    };
    scene.model.add_fault(FaultRule::once("GET *", later));
    let limited = forge.repository(&repo.name).await.unwrap_err();
    assert!(matches!(limited.kind, ForgeErrorKind::RateLimited { .. }));
    let held_back = forge.repository(&repo.name).await.unwrap_err();
    assert!(matches!(held_back.kind, ForgeErrorKind::Budget { .. }));
    ahead.store(61, Ordering::SeqCst);
    forge.repository(&repo.name).await.unwrap();
}

#[tokio::test]
async fn half_a_page_is_not_kept_and_read_again_whole() {
    let scene = Scene::new().await;
    let (forge, repo) = (scene.forge(), scene.repo(REPO));
    let number = scene.open("First");
    scene
        .model
        .add_fault(FaultRule::once("GET *", Fault::TruncatedBody));
    forge.issue(&repo, number).await.unwrap_err();
    forge.issue(&repo, number).await.unwrap();
}
