//! The observer against the GitHub model, writing into a mirror in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::Utc;
use codex_k8s::{
    domain::{
        Timestamp,
        forge::{
            Comment, EditHistory, Issue, IssueEvent, LabelRecord, PullRequest, VariableRecord,
        },
        ids::{BranchName, CommitSha, EventId, IssueNumber, RepositoryId, Subject, UserId},
        mirror::{OwnerVariable, RepositoryMirror},
    },
    forge::Forge,
    observed::forge::{
        ForgeObserver, MirrorBatch, MirrorError, MirrorStore, PollReport, PollRequest,
        PollSettings, RepositoryBinding, RepositoryOutcome,
    },
};

use super::*;

/// A mirror in memory that counts what changes.
#[derive(Debug, Default)]
pub(super) struct Memory(pub(super) Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) mirrors: BTreeMap<RepositoryId, RepositoryMirror>,
    pub(super) issues: BTreeMap<(RepositoryId, IssueNumber), Issue>,
    pub(super) events: BTreeMap<EventId, IssueEvent>,
    pub(super) comments: BTreeMap<IssueNumber, Vec<Comment>>,
    pub(super) pulls: BTreeMap<IssueNumber, PullRequest>,
    pub(super) branches: BTreeMap<BranchName, Option<CommitSha>>,
    gone: Vec<IssueNumber>,
    variables: Vec<VariableRecord>,
    pub(super) labels: BTreeMap<RepositoryId, Vec<LabelRecord>>,
    pub(super) writes: u64,
    /// How far the clock is ahead.
    ahead: chrono::TimeDelta,
}

#[async_trait]
impl MirrorStore for Memory {
    async fn now(&self) -> Result<Timestamp, MirrorError> {
        Ok(Utc::now() + self.0.lock().unwrap().ahead)
    }

    async fn mirrors(&self) -> Result<Vec<RepositoryMirror>, MirrorError> {
        Ok(self.0.lock().unwrap().mirrors.values().cloned().collect())
    }

    async fn issues(
        &self,
        repository: RepositoryId,
        numbers: &[IssueNumber],
    ) -> Result<Vec<Issue>, MirrorError> {
        let state = self.0.lock().unwrap();
        let rows = numbers
            .iter()
            .filter_map(|number| state.issues.get(&(repository, *number)));
        Ok(rows.cloned().collect())
    }

    async fn commit(&self, batch: MirrorBatch) -> Result<u64, MirrorError> {
        let mut state = self.0.lock().unwrap();
        let mut rows = 0;
        for issue in batch.issues {
            let key = (issue.repository, issue.number);
            rows += u64::from(state.issues.insert(key, issue.clone()) != Some(issue));
        }
        for event in batch.events {
            rows += u64::from(state.events.insert(event.id, event.clone()) != Some(event));
        }
        state
            .gone
            .extend(batch.gone.iter().map(|(_, number)| *number));
        if let Some((_, variables)) = batch.variables {
            rows += u64::from(state.variables != variables);
            state.variables = variables;
        }
        state.labels.extend(batch.labels);
        for talk in batch.conversations {
            state.comments.insert(talk.number, talk.comments);
        }
        for pull in batch.pulls {
            state.pulls.insert(pull.number, pull);
        }
        for branch in batch.branches {
            state.branches.insert(branch.branch, branch.head);
        }
        if let Some(mirror) = batch.mirror {
            let old = state.mirrors.insert(mirror.id(), mirror.clone());
            rows += u64::from(old != Some(mirror));
        }
        state.writes += rows;
        Ok(rows)
    }

    async fn mark_unknown(&self, id: RepositoryId, reason: &str) -> Result<(), MirrorError> {
        let mut state = self.0.lock().unwrap();
        if let Some(mirror) = state.mirrors.get_mut(&id) {
            mirror.unknown = Some(reason.to_owned());
        }
        Ok(())
    }
}

impl Memory {
    /// Moves the store's clock and the forge's on.
    pub(super) fn advance(&self, scene: &Scene, by: chrono::TimeDelta) {
        self.0.lock().unwrap().ahead += by;
        scene.model.advance(by);
    }

    pub(super) fn mirror(&self, id: RepositoryId) -> RepositoryMirror {
        self.0.lock().unwrap().mirrors[&id].clone()
    }
}

fn observer(forge: GithubForge) -> ForgeObserver {
    let settings = PollSettings {
        visibility: Duration::from_millis(200),
        ..PollSettings::default()
    };
    let forge: Arc<dyn Forge> = Arc::new(forge);
    ForgeObserver::new(forge, "sandbox-1".parse().unwrap(), settings)
}

/// What is hidden until the last moment shows in the first poll after it: with polls every half
/// minute that one begins after the visibility time.
#[tokio::test]
async fn what_the_forge_hid_until_the_end_of_its_visibility_time_is_read() {
    let scene = Scene::new().await;
    let number = scene.open("Greet politely");
    let (memory, settings) = (Memory::default(), PollSettings::default());
    let visibility = chrono::TimeDelta::from_std(settings.visibility).unwrap();
    let forge: Arc<dyn Forge> = Arc::new(scene.forge());
    let observer = ForgeObserver::new(forge, "sandbox-1".parse().unwrap(), settings);
    let request = request(vec![bound("shop", REPO)]);
    for _ in 0..3 {
        observer.poll(&request, &memory).await;
        memory.advance(&scene, visibility * 2);
    }
    scene.label(number);
    // Detection shows that something moved, the lists do not show what yet.
    let stale = Fault::StaleRead { by_ms: 59_000 };
    let rule = FaultRule::sometimes("GET *", stale, 1_000_000);
    scene.model.add_fault(rule);
    observer.poll(&request, &memory).await;
    let labelled = || memory.0.lock().unwrap().events.len();
    assert_eq!(labelled(), 0, "it is hidden");
    scene.model.clear_faults();
    memory.advance(&scene, visibility + chrono::TimeDelta::seconds(1));
    observer.poll(&request, &memory).await;
    assert_eq!(labelled(), 1);
}

pub(super) fn bound(project: &str, repository: &str) -> RepositoryBinding {
    RepositoryBinding {
        project: codex_k8s::domain::ids::ProjectKey::new(project),
        name: name(repository),
        adopt_existing: false,
    }
}

pub(super) fn request(bindings: Vec<RepositoryBinding>) -> PollRequest {
    PollRequest {
        bound: bindings,
        ..PollRequest::default()
    }
}

fn unknown(report: &PollReport, index: usize) -> &str {
    match &report.repositories[index].outcome {
        RepositoryOutcome::Unknown { reason } | RepositoryOutcome::Refused { reason } => reason,
        _ => "",
    }
}

#[tokio::test]
async fn what_was_there_at_binding_is_historical_and_what_follows_is_not() {
    let scene = Scene::new().await;
    let (observer, mirror) = (
        observer(scene.forge_without_graphql().await),
        Memory::default(),
    );
    let old = scene.open("Old");
    scene.label(old);
    let request = request(vec![bound("shop", REPO)]);
    let report = observer.poll(&request, &mirror).await;
    assert!(report.moved(), "{report:?}");
    let row = mirror.mirror(scene.repo(REPO).id);
    assert!(row.complete && row.unknown.is_none());
    assert_eq!(row.owner_variable, OwnerVariable::Absent);
    assert_eq!(Some(row.binding_event), row.cursors.last_event);
    let new = scene.open("New");
    scene.label(new);
    observer.poll(&request, &mirror).await;
    let state = mirror.0.lock().unwrap();
    let after: Vec<_> = state
        .events
        .values()
        .filter(|event| event.id > row.binding_event)
        .collect();
    assert!(
        !after.is_empty() && after.iter().all(|event| event.number == new),
        "{after:?}"
    );
}

#[tokio::test]
async fn a_settled_repository_writes_nothing() {
    let scene = Scene::new().await;
    let (observer, mirror) = (
        observer(scene.forge_without_graphql().await),
        Memory::default(),
    );
    let number = scene.open("One");
    scene.label(number);
    let mut request = request(vec![bound("shop", REPO)]);
    let hot = Subject {
        repository: scene.repo(REPO).id,
        number,
    };
    request.hot.push(hot);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        // Longer than the visibility time: what lags has shown itself.
        observer.poll(&request, &mirror).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
        let before = mirror.0.lock().unwrap().writes;
        let report = observer.poll(&request, &mirror).await;
        if report.repositories[0].outcome == RepositoryOutcome::Unchanged {
            assert_eq!(mirror.0.lock().unwrap().writes, before);
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{report:?}");
    }
}

#[tokio::test]
async fn a_broken_repository_is_unknown_and_the_one_beside_it_is_read() {
    let scene = Scene::new().await;
    let (observer, mirror) = (
        observer(scene.forge_without_graphql().await),
        Memory::default(),
    );
    let request = request(vec![
        bound("shop", "example-org/none"),
        bound("shop", REPO),
        bound("other", REPO),
    ]);
    let report = observer.poll(&request, &mirror).await;
    assert!(unknown(&report, 0).contains("not_found"), "{report:?}");
    assert!(matches!(
        report.repositories[1].outcome,
        RepositoryOutcome::Read { .. }
    ));
    assert_eq!(
        unknown(&report, 2),
        "the repository belongs to project shop"
    );
    // Taken from us while bound: unknown with a reason, and its cursors rest.
    let id = scene.repo(REPO).id;
    let before = mirror.mirror(id);
    scene.model.delete_repository(REPO).unwrap();
    observer.poll(&request, &mirror).await;
    let after = mirror.mirror(id);
    assert!(after.unknown.is_some());
    assert_eq!(after.cursors, before.cursors);
}

#[tokio::test]
async fn another_repository_under_the_same_name_is_not_taken_for_the_old_one() {
    let scene = Scene::new().await;
    let (observer, mirror) = (
        observer(scene.forge_without_graphql().await),
        Memory::default(),
    );
    let request = request(vec![bound("shop", REPO)]);
    observer.poll(&request, &mirror).await;
    let id = scene.repo(REPO).id;
    scene.model.delete_repository(REPO).unwrap();
    let seed = RepositorySeed::with_readme("Another.\n").permission("codex", Permission::Admin);
    scene.model.add_repository(REPO, &seed).unwrap();
    let report = observer.poll(&request, &mirror).await;
    assert!(
        unknown(&report, 0).starts_with("identity changed"),
        "{report:?}"
    );
    assert!(
        mirror
            .mirror(id)
            .unknown
            .unwrap()
            .starts_with("identity changed")
    );
    assert_eq!(mirror.0.lock().unwrap().mirrors.len(), 1);
}

#[tokio::test]
async fn a_repository_of_another_installation_is_refused() {
    let scene = Scene::new().await;
    let forge = scene.forge_without_graphql().await;
    let repo = scene.repo(REPO);
    forge
        .set_variable(&repo, "CODEXK8S_INSTALLATION", "elsewhere")
        .await
        .unwrap();
    let (observer, mirror) = (observer(forge), Memory::default());
    let report = observer
        .poll(&request(vec![bound("shop", REPO)]), &mirror)
        .await;
    assert_eq!(unknown(&report, 0), "other installation: elsewhere");
    assert!(!mirror.mirror(repo.id).complete);
}

#[tokio::test]
async fn variables_of_ours_are_read_with_the_sweep_and_others_not_kept() {
    let scene = Scene::new().await;
    let forge = scene.forge_without_graphql().await;
    let repo = scene.repo(REPO);
    for (name, value) in [
        ("DEPLOY_TO", "elsewhere"),
        ("CODEXK8S_RUN_DEV_LABEL", "run:dev"),
    ] {
        forge.set_variable(&repo, name, value).await.unwrap();
    }
    let (observer, mirror) = (observer(forge), Memory::default());
    let request = request(vec![bound("shop", REPO)]);
    observer.poll(&request, &mirror).await;
    let read = |mirror: &Memory| mirror.0.lock().unwrap().variables.clone();
    let label = VariableRecord {
        name: "CODEXK8S_RUN_DEV_LABEL".to_owned(),
        value: "run:dev".to_owned(),
    };
    assert_eq!(read(&mirror), [label]);
    // They are a request for each repository: read again as rarely as whose it is.
    mirror.0.lock().unwrap().variables.clear();
    observer.poll(&request, &mirror).await;
    assert_eq!(read(&mirror), []);
    mirror.0.lock().unwrap().ahead += chrono::TimeDelta::hours(7);
    observer.poll(&request, &mirror).await;
    assert_eq!(read(&mirror).len(), 1);
}

#[tokio::test]
async fn a_credential_that_may_not_read_variables_is_noted_and_reads_the_rest() {
    let scene = Scene::new().await;
    let groups = ["issues", "pull_requests", "contents", "metadata"];
    let seed = TokenSeed {
        permissions: Some(
            groups
                .map(|group| (group.to_owned(), "write".to_owned()))
                .into(),
        ),
        ..TokenSeed::default()
    };
    scene.model.add_token("codex", "narrow", &seed).unwrap();
    let forge = forge_with(settings(&scene.model.rest_url(), "narrow"), &scene.latch);
    let (observer, mirror) = (observer(forge), Memory::default());
    let number = scene.open("First");
    let request = request(vec![bound("shop", REPO)]);
    let report = observer.poll(&request, &mirror).await;
    assert!(
        report.repositories[0].notes[0].contains("may not read repository variables"),
        "{report:?}"
    );
    let row = mirror.mirror(scene.repo(REPO).id);
    assert_eq!(row.owner_variable, OwnerVariable::Forbidden);
    assert!(row.complete && row.unknown.is_none());
    let state = mirror.0.lock().unwrap();
    assert!(state.issues.contains_key(&(row.id(), number)));
}

#[tokio::test]
async fn a_hot_subject_that_was_deleted_is_gone() {
    let scene = Scene::new().await;
    let (observer, mirror) = (
        observer(scene.forge_without_graphql().await),
        Memory::default(),
    );
    let number = scene.open("One");
    let mut request = request(vec![bound("shop", REPO)]);
    request.hot.push(Subject {
        repository: scene.repo(REPO).id,
        number,
    });
    observer.poll(&request, &mirror).await;
    assert_eq!(mirror.0.lock().unwrap().gone, vec![]);
    scene
        .model
        .delete_issue(REPO, u64::try_from(number.0).unwrap())
        .unwrap();
    observer.poll(&request, &mirror).await;
    assert_eq!(mirror.0.lock().unwrap().gone, vec![number]);
}

#[tokio::test]
async fn the_hot_set_is_read_by_graphql_with_its_edit_history() {
    let scene = Scene::new().await;
    let (observer, mirror) = (observer(scene.forge()), Memory::default());
    let number = scene.open("One");
    scene.label(number);
    let raw = u64::try_from(number.0).unwrap();
    let files = [("new.txt", "x")];
    scene
        .model
        .push_commit(REPO, "codex/issue-1", "codex", &files, "Add")
        .unwrap();
    let new = codex_k8s::forge::NewPull {
        head: branch("codex/issue-1"),
        base: branch("main"),
        title: "Do it".to_owned(),
        body: "words".to_owned(),
        draft: false,
    };
    let pull = scene
        .forge()
        .create_pull(&scene.repo(REPO), &new)
        .await
        .unwrap();
    let repository = scene.repo(REPO).id;
    let mut request = request(vec![bound("shop", REPO), bound("shop", "example-org/none")]);
    request
        .hot
        .extend([number, pull.number].map(|number| Subject { repository, number }));
    observer.poll(&request, &mirror).await;
    scene
        .model
        .edit_issue_body(REPO, raw, "grace", "other words")
        .unwrap();
    scene
        .model
        .edit_issue_title(REPO, raw, "ada", "Two")
        .unwrap();
    let report = observer.poll(&request, &mirror).await;
    assert!(
        matches!(
            report.repositories[0].outcome,
            RepositoryOutcome::Read { .. }
        ),
        "{report:?}"
    );
    assert!(unknown(&report, 1).contains("not_found"), "{report:?}");
    let state = mirror.0.lock().unwrap();
    let issue = &state.issues[&(repository, number)];
    assert_eq!(
        (issue.title.as_str(), issue.body.as_str()),
        ("Two", "other words")
    );
    assert_eq!(issue.labels, vec![label("run:dev")]);
    let EditHistory::Read { edits } = &issue.edits else {
        unreachable!("the model gives the history: {issue:?}");
    };
    let grace = i64::try_from(scene.model.user_id("grace").unwrap()).unwrap();
    assert!(
        edits.iter().any(|edit| edit.editor == Some(UserId(grace))),
        "{edits:?}"
    );
    assert!(state.issues[&(repository, pull.number)].is_pull_request);
}
