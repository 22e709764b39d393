//! What polling costs: requests counted at the GitHub model, time stepped.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use codex_k8s::{
    cli::budget::Used,
    domain::{forge::EditHistory, ids::Subject},
    forge::{Forge, ForgeMetrics, OWNER_VARIABLE, OpenGate},
    observed::forge::{
        ForgeObserver, PollReport, PollRequest, PollSettings, RepositoryOutcome,
        forecast::{Forecast, Load},
    },
    sandbox::github::{AppSeed, Fault, FaultRule},
};

use super::{
    observer::{Memory, bound, request},
    *,
};

const OTHER: &str = "example-org/lib";

/// Two repositories that were polled until nothing of their binding is looked at any more.
struct Polled {
    scene: Scene,
    observer: ForgeObserver,
    memory: Memory,
    request: PollRequest,
}

impl Polled {
    async fn new(lag: Lag) -> Self {
        let scene = Scene::with_lag(lag).await;
        let forge = scene.forge();
        Self::with(scene, forge).await
    }

    async fn with(scene: Scene, forge: GithubForge) -> Self {
        for name in [REPO, OTHER] {
            let repository = scene.repo(name);
            let value = "sandbox-1";
            forge
                .set_variable(&repository, OWNER_VARIABLE, value)
                .await
                .unwrap();
        }
        for title in ["One", "Two"] {
            scene.open(title);
        }
        let observer = observer(forge);
        let mut request = request(vec![bound("shop", REPO), bound("shop", OTHER)]);
        request.sweep_labels = vec![label("run:dev")];
        let polled = Self {
            scene,
            observer,
            memory: Memory::default(),
            request,
        };
        for _ in 0..5 {
            polled.poll().await;
        }
        polled
    }

    /// A poll, and what it asked of the forge; half a minute passes after it.
    async fn poll(&self) -> (PollReport, BTreeMap<String, u64>) {
        let before = self.scene.model.counters().requests;
        let report = self.observer.poll(&self.request, &self.memory).await;
        let mut asked = self.scene.model.counters().requests;
        for (route, count) in &before {
            *asked.get_mut(route).unwrap() -= count;
        }
        asked.retain(|_, count| *count > 0);
        self.memory.advance(&self.scene, TimeDelta::seconds(30));
        (report, asked)
    }

    fn heat(&mut self, repository: &str, number: IssueNumber) {
        let repository = self.scene.repo(repository).id;
        self.request.hot.push(Subject { repository, number });
    }
}

fn observer(forge: GithubForge) -> ForgeObserver {
    let forge: Arc<dyn Forge> = Arc::new(forge);
    let installation = "sandbox-1".parse().unwrap();
    ForgeObserver::new(forge, installation, PollSettings::default())
}

fn asked(requests: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let owned = |(route, count): &(&str, u64)| ((*route).to_owned(), *count);
    requests.iter().map(owned).collect()
}

/// What is read in between leaves the rest to the next whole poll.
#[tokio::test]
async fn what_a_pass_wants_is_read_in_its_repositories_alone() {
    let polled = Polled::new(Lag::NONE).await;
    let (scene, memory) = (&polled.scene, &polled.memory);
    scene.model.comment(REPO, 1, "ada", "A word.").unwrap();
    let read = |report: &PollReport| {
        let lines = report.repositories.iter();
        lines
            .map(|line| line.binding.name.to_string())
            .collect::<Vec<_>>()
    };
    let some = BTreeSet::from([scene.repo(OTHER).id]);
    let observer = &polled.observer;
    let report = observer.poll_some(&polled.request, &some, memory).await;
    assert_eq!(read(&report), [OTHER]);
    let nobody = BTreeSet::from([RepositoryId(1 << 40)]);
    let report = observer.poll_some(&polled.request, &nobody, memory).await;
    assert!(report.repositories.is_empty(), "{report:?}");
    let (report, _) = polled.poll().await;
    assert!(
        report.moved(),
        "the other one is still to be read: {report:?}"
    );
}

const EVENTS: &str = "GET /repos/{owner}/{repo}/issues/events";

#[tokio::test]
async fn repositories_at_rest_cost_one_query_a_poll_and_write_nothing() {
    let polled = Polled::new(Lag::NONE).await;
    let writes = polled.memory.0.lock().unwrap().writes;
    for _ in 0..10 {
        let (report, requests) = polled.poll().await;
        assert_eq!(requests, asked(&[("POST /graphql", 1)]));
        assert!(!report.moved());
    }
    assert_eq!(polled.memory.0.lock().unwrap().writes, writes);
}

#[tokio::test]
async fn a_comment_on_an_issue_that_nobody_waits_for_costs_no_request_of_its_own() {
    let polled = Polled::new(Lag::NONE).await;
    let (model, two) = (&polled.scene.model, 2);
    model.comment(REPO, two, "ada", "A word.").unwrap();
    let (report, requests) = polled.poll().await;
    // Detection, what moved, that subject.
    assert_eq!(requests, asked(&[("POST /graphql", 3)]));
    assert!(report.moved(), "its update time is another: {report:?}");
}

#[tokio::test]
async fn a_label_costs_one_read_of_events() {
    let polled = Polled::new(Lag::NONE).await;
    polled.scene.label(IssueNumber(2));
    let (_, requests) = polled.poll().await;
    assert_eq!(requests, asked(&[("POST /graphql", 3), (EVENTS, 1)]));
    {
        let state = polled.memory.0.lock().unwrap();
        let labelled = state.events.values().filter(|event| event.number.0 == 2);
        assert_eq!(labelled.count(), 1);
        let repository = polled.scene.repo(REPO).id;
        let issue = &state.issues[&(repository, IssueNumber(2))];
        assert_eq!(issue.labels, [label("run:dev")]);
    }
    // It is looked at until nothing of it can be hidden; its event is known.
    for _ in 0..2 {
        let (_, requests) = polled.poll().await;
        assert_eq!(requests, asked(&[("POST /graphql", 3)]));
    }
    let (_, requests) = polled.poll().await;
    assert_eq!(requests, asked(&[("POST /graphql", 1)]));
}

#[tokio::test]
async fn an_event_that_shows_later_than_its_label_is_read_when_it_shows() {
    let lag = Lag {
        events_ms: 40_000,
        ..Lag::NONE
    };
    let polled = Polled::new(lag).await;
    polled.scene.label(IssueNumber(2));
    for _ in 0..4 {
        polled.poll().await;
    }
    let state = polled.memory.0.lock().unwrap();
    assert_eq!(state.events.len(), 1);
}

#[tokio::test]
async fn an_event_that_a_wrong_304_hides_is_read_anew() {
    let polled = Polled::new(Lag::NONE).await;
    polled.scene.label(IssueNumber(1));
    for _ in 0..5 {
        polled.poll().await;
    }
    let always = 1_000_000;
    let wrong = FaultRule::sometimes(EVENTS, Fault::NotModified, always);
    polled.scene.model.add_fault(wrong);
    polled.scene.label(IssueNumber(2));
    // The forge's clock says nothing of what was read: it may leap.
    let leap = TimeDelta::minutes(10);
    polled.scene.model.set_clock_offset(leap);
    let mut read = 0;
    for _ in 0..6 {
        let (_, requests) = polled.poll().await;
        read += requests.get(EVENTS).copied().unwrap_or(0);
    }
    let events = polled.memory.0.lock().unwrap().events.clone();
    assert!(events.values().any(|event| event.number.0 == 2));
    assert_eq!(read, 3, "twice confirmed, then read anew");
}

#[tokio::test]
async fn an_event_older_than_the_page_is_looked_for_until_nothing_can_hide_it() {
    let scene = Scene::new().await;
    let (old, busy) = (scene.open("Old"), scene.open("Busy"));
    scene.label(old);
    for _ in 0..60 {
        scene.label(busy);
        let number = u64::try_from(busy.0).unwrap();
        let removed = scene.model.remove_label(REPO, number, "ada", "run:dev");
        removed.unwrap();
    }
    let forge = scene.forge();
    let mut polled = Polled::with(scene, forge).await;
    polled.heat(REPO, old);
    // A new process knows nothing of what was read.
    polled.observer = observer(polled.scene.forge());
    let mut read = Vec::new();
    for _ in 0..8 {
        let (_, requests) = polled.poll().await;
        read.push(requests.get(EVENTS).copied().unwrap_or(0));
    }
    assert_eq!(read, [1, 1, 1, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_label_taken_off_is_read_with_the_labels_that_there_are() {
    let polled = Polled::new(Lag::NONE).await;
    polled.scene.label(IssueNumber(2));
    polled.poll().await;
    polled
        .scene
        .model
        .remove_label(REPO, 2, "ada", "run:dev")
        .unwrap();
    let (_, requests) = polled.poll().await;
    let labels = ("GET /repos/{owner}/{repo}/labels", 1);
    assert_eq!(
        requests,
        asked(&[("POST /graphql", 3), (EVENTS, 1), labels])
    );
}

#[tokio::test]
async fn the_hot_subjects_of_all_repositories_are_one_query() {
    let mut polled = Polled::new(Lag::NONE).await;
    polled
        .scene
        .model
        .open_issue(OTHER, "ada", "Elsewhere", "words", &[])
        .unwrap();
    for _ in 0..5 {
        polled.poll().await;
    }
    polled.heat(REPO, IssueNumber(1));
    polled.heat(OTHER, IssueNumber(1));
    let (_, requests) = polled.poll().await;
    // Detection, both subjects, both conversations.
    assert_eq!(requests, asked(&[("POST /graphql", 3)]));
    let (_, requests) = polled.poll().await;
    assert_eq!(requests, asked(&[("POST /graphql", 2)]));
    let model = &polled.scene.model;
    model.comment(OTHER, 1, "ada", "Fine.").unwrap();
    let (_, requests) = polled.poll().await;
    assert_eq!(requests, asked(&[("POST /graphql", 4)]));
    // Only REST says through which app a command was written.
    model.comment(OTHER, 1, "ada", "/approve 1234").unwrap();
    let (_, requests) = polled.poll().await;
    let comments = "GET /repos/{owner}/{repo}/issues/{issue_number}/comments";
    assert_eq!(requests, asked(&[("POST /graphql", 4), (comments, 1)]));
    let state = polled.memory.0.lock().unwrap();
    assert_eq!(state.comments[&IssueNumber(1)][1].body, "/approve 1234");
}

#[tokio::test]
async fn branches_and_pull_requests_come_with_what_moved() {
    let mut polled = Polled::new(Lag::NONE).await;
    let repository = polled.scene.repo(REPO);
    for name in ["codex/issue-1", "codex/issue-2"] {
        let wanted = (repository.id, branch(name));
        polled.request.branches.push(wanted);
    }
    let files = [("new.txt", "x")];
    let model = &polled.scene.model;
    model
        .push_commit(REPO, "codex/issue-1", "codex", &files, "Add")
        .unwrap();
    let new = codex_k8s::forge::NewPull {
        head: branch("codex/issue-1"),
        base: branch("main"),
        title: "Do it".to_owned(),
        body: "words".to_owned(),
        draft: false,
    };
    let forge = polled.scene.forge();
    let made = forge.create_pull(&repository, &new).await.unwrap();
    let (_, requests) = polled.poll().await;
    // What people say on lines belongs to their reviews and is read with them.
    let rest = [
        "GET /repos/{owner}/{repo}/pulls/{pull_number}/reviews",
        "GET /repos/{owner}/{repo}/pulls/{pull_number}/comments",
        "GET /repos/{owner}/{repo}/issues/{issue_number}/comments",
    ];
    let [reviews, on_lines, comments] = rest.map(|path| (path, 1));
    let wanted = [("POST /graphql", 3), reviews, on_lines, comments];
    assert_eq!(requests, asked(&wanted));
    let state = polled.memory.0.lock().unwrap();
    assert_eq!(state.pulls[&made.number], made, "as REST has it");
    assert_eq!(
        state.branches[&branch("codex/issue-1")].as_ref(),
        Some(&made.head_sha)
    );
    assert_eq!(state.branches[&branch("codex/issue-2")], None);
}

#[tokio::test]
async fn more_than_one_look_shows_is_read_on_from_the_last_time_seen() {
    let polled = Polled::new(Lag::NONE).await;
    for index in 0..70 {
        polled.scene.open(&format!("Issue {index}"));
    }
    polled.poll().await;
    assert_eq!(polled.memory.0.lock().unwrap().issues.len(), 72);
}

#[tokio::test]
async fn a_sweep_reads_what_bears_our_labels_and_the_labels_by_one_query() {
    let polled = Polled::new(Lag::NONE).await;
    let state = || polled.memory.0.lock().unwrap();
    let before = state().mirrors.clone();
    polled.memory.advance(&polled.scene, TimeDelta::minutes(15));
    let (_, requests) = polled.poll().await;
    assert_eq!(requests, asked(&[("POST /graphql", 2)]));
    assert_eq!(state().mirrors, before);
}

#[tokio::test]
async fn a_query_that_fails_leaves_its_repositories_unknown_and_the_next_reads_them() {
    let polled = Polled::new(Lag::NONE).await;
    polled.scene.label(IssueNumber(2));
    let broken = Fault::Status {
        status: 502,
        retry_after: None,
    };
    let rule = FaultRule::sometimes("POST /graphql", broken, 1_000_000);
    polled.scene.model.add_fault(rule);
    let (report, _) = polled.poll().await;
    let unknown = |line: &codex_k8s::observed::forge::RepositoryReport| {
        matches!(line.outcome, RepositoryOutcome::Unknown { .. })
    };
    assert!(report.repositories.iter().all(unknown), "{report:?}");
    polled.scene.model.clear_faults();
    let (_, requests) = polled.poll().await;
    assert_eq!(requests, asked(&[("POST /graphql", 3), (EVENTS, 1)]));
    let id = polled.scene.repo(REPO).id;
    assert_eq!(polled.memory.mirror(id).unknown, None);
    assert_eq!(polled.memory.0.lock().unwrap().events.len(), 1);
}

const SERVER_FAILS: Fault = Fault::Status {
    status: 502,
    retry_after: None,
};

/// Whatever names this fails, however it is asked.
fn breaks(text: &str) -> FaultRule {
    FaultRule {
        mentions: Some(text.to_owned()),
        ..FaultRule::sometimes("POST /graphql", SERVER_FAILS, 1_000_000)
    }
}

fn unread(report: &PollReport) -> Vec<&str> {
    let lines = report.repositories.iter();
    lines
        .filter(|line| matches!(line.outcome, RepositoryOutcome::Unknown { .. }))
        .map(|line| line.binding.name.name.as_str())
        .collect()
}

#[tokio::test]
async fn a_repository_whose_queries_fail_leaves_the_others_to_be_read() {
    let polled = Polled::new(Lag::NONE).await;
    polled.scene.model.add_fault(breaks("\"lib\""));
    polled.scene.label(IssueNumber(2));
    let (report, _) = polled.poll().await;
    assert_eq!(unread(&report), ["lib"], "{report:?}");
    assert_eq!(polled.memory.0.lock().unwrap().events.len(), 1);
    polled.scene.model.clear_faults();
    let (report, _) = polled.poll().await;
    assert_eq!(unread(&report), [""; 0], "{report:?}");
}

#[tokio::test]
async fn a_subject_that_cannot_be_read_leaves_other_repositories_to_be_read() {
    let mut polled = Polled::new(Lag::NONE).await;
    polled
        .scene
        .model
        .open_issue(OTHER, "ada", "Elsewhere", "words", &[])
        .unwrap();
    for _ in 0..5 {
        polled.poll().await;
    }
    polled.heat(REPO, IssueNumber(1));
    polled.heat(OTHER, IssueNumber(1));
    let other = (polled.scene.repo(OTHER).id, IssueNumber(1));
    let node = polled.memory.0.lock().unwrap().issues[&other]
        .node_id
        .clone();
    polled.scene.model.add_fault(breaks(&node));
    polled.scene.model.comment(REPO, 1, "ada", "Fine.").unwrap();
    let (report, _) = polled.poll().await;
    assert_eq!(unread(&report), ["lib"], "{report:?}");
    let said = polled.memory.0.lock().unwrap().comments[&IssueNumber(1)].len();
    assert_eq!(said, 1);
}

#[tokio::test]
async fn only_hot_subjects_are_read_with_their_edits() {
    let mut polled = Polled::new(Lag::NONE).await;
    let key = (polled.scene.repo(REPO).id, IssueNumber(1));
    let edits = |polled: &Polled| polled.memory.0.lock().unwrap().issues[&key].edits.clone();
    polled
        .scene
        .model
        .comment(REPO, 1, "ada", "A word.")
        .unwrap();
    polled.poll().await;
    assert_eq!(edits(&polled), EditHistory::Unread);
    polled.heat(REPO, IssueNumber(1));
    polled.poll().await;
    assert_eq!(edits(&polled), EditHistory::Read { edits: Vec::new() });
}

#[tokio::test]
async fn comments_in_a_discussion_are_read_with_the_app_that_wrote_them() {
    let mut polled = Polled::new(Lag::NONE).await;
    let model = &polled.scene.model;
    model
        .add_app(&AppSeed::new("mender", "example-org"))
        .unwrap();
    model.add_label(REPO, 1, "ada", "mode:discussion").unwrap();
    model.comment(REPO, 1, "mender[bot]", "Tea?").unwrap();
    polled.request.discussed = Some(label("mode:discussion"));
    polled.heat(REPO, IssueNumber(1));
    let (_, requests) = polled.poll().await;
    let comments = "GET /repos/{owner}/{repo}/issues/{issue_number}/comments";
    assert_eq!(requests.get(comments), Some(&1), "{requests:?}");
    let state = polled.memory.0.lock().unwrap();
    let said = &state.comments[&IssueNumber(1)][0];
    assert_eq!(said.via_app.as_deref(), Some("mender"));
}

#[tokio::test]
async fn more_labels_than_a_query_gives_are_read_page_by_page() {
    let polled = Polled::new(Lag::NONE).await;
    let repository = polled.scene.repo(REPO);
    for number in 0..120 {
        let (issue, name) = (number % 2 + 1, format!("area-{number}"));
        let model = &polled.scene.model;
        model.add_label(REPO, issue, "ada", &name).unwrap();
    }
    for _ in 0..4 {
        polled.poll().await;
    }
    polled.memory.0.lock().unwrap().labels.clear();
    polled.memory.advance(&polled.scene, TimeDelta::minutes(15));
    polled.poll().await;
    let read = polled.memory.0.lock().unwrap().labels[&repository.id].len();
    assert!(read >= 120, "{read}");
}

#[tokio::test]
async fn a_token_that_ends_is_renewed_and_polling_stays_as_cheap() {
    let scene = Scene::new().await;
    let app = AppSeed::new("mender", "example-org");
    let (app_id, installation_id) = scene.model.add_app(&app).unwrap();
    let key = include_str!("../../fixtures/github/app-key.pem");
    let mut settings = settings(&scene.model.rest_url(), "unused");
    settings.credential = GithubCredential::App {
        app_id,
        installation_id,
        private_key: key.into(),
    };
    settings.request_timeout = Duration::from_secs(5);
    let metrics = Arc::new(ForgeMetrics::default());
    let forge = GithubForge::new(settings, Arc::new(OpenGate), metrics).unwrap();
    let polled = Polled::with(scene, forge).await;
    polled.memory.advance(&polled.scene, TimeDelta::minutes(61));
    let (report, _) = polled.poll().await;
    let read = |line: &codex_k8s::observed::forge::RepositoryReport| {
        !matches!(line.outcome, RepositoryOutcome::Unknown { .. })
    };
    assert!(report.repositories.iter().all(read), "{report:?}");
    let renewed = "POST /app/installations/{installation_id}/access_tokens";
    assert_eq!(polled.scene.model.counters().requests[renewed], 2);
    let (_, requests) = polled.poll().await;
    assert_eq!(requests, asked(&[("POST /graphql", 1)]));
}

#[tokio::test]
async fn the_forecast_of_an_hour_is_what_the_forge_counts() {
    let mut polled = Polled::new(Lag::NONE).await;
    polled.heat(REPO, IssueNumber(1));
    polled.heat(REPO, IssueNumber(2));
    polled.poll().await;
    let before = polled.scene.model.counters();
    for _ in 0..120 {
        polled.poll().await;
    }
    let after = polled.scene.model.counters();
    let load = Load {
        repositories: 2,
        live: 2,
        actors: 0,
        moving: 0,
        period: Duration::from_secs(30),
    };
    let forecast = Forecast::of(&load, &PollSettings::default()).total();
    assert_eq!(
        after.points["graphql"] - before.points["graphql"],
        forecast.points
    );
    let route = "POST /graphql";
    assert_eq!(
        after.requests[route] - before.requests[route],
        forecast.graphql
    );
    assert_eq!(forecast.rest, 0);
    // What the forge says of the hour is what it counted, and asking it costs nothing.
    let forge = polled.scene.forge();
    let windows = forge.ask_budget().await.unwrap();
    let graphql = windows.iter().find(|it| it.resource == "graphql").unwrap();
    let used = Used::of(graphql, &forecast);
    assert_eq!(used.limit, 5_000);
    assert!(used.used > 0 && used.used <= after.points["graphql"]);
    let again = forge.ask_budget().await.unwrap();
    let graphql = again.iter().find(|it| it.resource == "graphql").unwrap();
    assert_eq!(Used::of(graphql, &forecast).used, used.used);
}
