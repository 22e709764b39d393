//! The adapter against servers that behave badly.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    body::Body,
    extract::Request,
    http::{Response, header},
};
use codex_k8s::{
    domain::forge::EditHistory,
    forge::{CommentFilter, Detection, Forge, ForgeErrorKind, ForgeResult},
};

use super::*;

type Script = dyn Fn(usize, &Request) -> Response<Body> + Send + Sync;

/// A server that answers by a script; it counts its requests.
struct Stub {
    url: String,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stub {
    async fn start(
        script: impl Fn(usize, &Request) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let script: Arc<Script> = Arc::new(script);
        let count = Arc::clone(&asked);
        let answer = move |request: Request| {
            let index = count.fetch_add(1, Ordering::SeqCst);
            let response = script(index, &request);
            async move { response }
        };
        let router = axum::Router::new().fallback(answer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v3", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked, task }
    }

    fn forge(&self) -> GithubForge {
        let mut settings = settings(&self.url, "codex-token");
        settings.request_timeout = Duration::from_millis(700);
        forge_with(settings, &Arc::default())
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body.to_owned())).unwrap()
}

fn repo() -> RepositoryRef {
    RepositoryRef {
        id: RepositoryId(1),
        name: name(REPO),
    }
}

#[tokio::test]
async fn a_429_with_retry_after_holds_back_what_follows() {
    let stub = Stub::start(|_, _| answer(429, &[("retry-after", "30")], "{}")).await;
    let forge = stub.forge();
    let error = forge.labels(&repo()).await.unwrap_err();
    let thirty = Duration::from_secs(30);
    assert_eq!(
        error.kind,
        ForgeErrorKind::RateLimited {
            retry_after: thirty
        }
    );
    let error = forge.labels(&repo()).await.unwrap_err();
    assert!(
        matches!(error.kind, ForgeErrorKind::Budget { .. }),
        "{error}"
    );
    assert!(error.retry_after().unwrap() <= thirty);
    assert_eq!(stub.asked(), 1);
}

#[tokio::test]
async fn an_exhausted_budget_sends_nothing_more_until_it_resets() {
    let headers = [
        ("x-ratelimit-limit", "5000"),
        ("x-ratelimit-remaining", "100"),
        ("x-ratelimit-reset", "4000000000"),
    ];
    let stub = Stub::start(move |_, _| answer(200, &headers, "[]")).await;
    let forge = stub.forge();
    forge.labels(&repo()).await.unwrap();
    let error = forge.labels(&repo()).await.unwrap_err();
    assert!(
        matches!(error.kind, ForgeErrorKind::Budget { .. }),
        "{error}"
    );
    assert_eq!(stub.asked(), 1);
    let budget = forge.metrics().snapshot().budget;
    assert_eq!(
        budget[&("writer".to_owned(), "core".to_owned())].remaining,
        100
    );
}

#[tokio::test]
async fn a_plain_403_is_forbidden_and_holds_back_nobody() {
    let stub =
        Stub::start(|_, _| answer(403, &[], r#"{"message":"Resource not accessible"}"#)).await;
    let forge = stub.forge();
    for _ in 0..2 {
        let error = forge.labels(&repo()).await.unwrap_err();
        assert_eq!(error.kind, ForgeErrorKind::Forbidden);
        assert!(error.message.contains("Resource not accessible"));
    }
    assert_eq!(stub.asked(), 2);
}

#[tokio::test]
async fn a_post_that_fails_is_sent_once_and_may_have_been_applied() {
    let stub = Stub::start(|_, _| answer(502, &[], "")).await;
    let forge = stub.forge();
    let error = forge
        .create_comment(&repo(), IssueNumber(1), "words")
        .await
        .unwrap_err();
    assert_eq!(error.kind, ForgeErrorKind::Server);
    assert!(error.maybe_applied);
    assert_eq!(stub.asked(), 1);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_timeout_and_one_that_breaks_off_truncated() {
    let stub = Stub::start(|index, _| {
        if index == 0 {
            let never = futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
            return Response::new(Body::from_stream(never));
        }
        // The connection closes before the promised length.
        let part = futures::stream::iter([Ok(bytes::Bytes::from_static(b"[{"))]);
        let broken = futures::stream::once(async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Err(std::io::Error::other("broken"))
        });
        Response::new(Body::from_stream(futures::StreamExt::chain(part, broken)))
    })
    .await;
    let forge = stub.forge();
    let error = forge
        .create_comment(&repo(), IssueNumber(1), "words")
        .await
        .unwrap_err();
    assert_eq!(error.kind, ForgeErrorKind::Timeout);
    assert!(error.maybe_applied);
    let error = forge.labels(&repo()).await.unwrap_err();
    assert_eq!(error.kind, ForgeErrorKind::Truncated, "{error}");
}

#[tokio::test]
async fn a_missing_second_page_fails_the_whole_list() {
    let stub = Stub::start(|index, request| {
        if index > 0 {
            return answer(500, &[], "");
        }
        let host = request.headers()[header::HOST].to_str().unwrap().to_owned();
        let path = format!("/api/v3/repos/{REPO}/issues/1/comments?per_page=100&page=2");
        let link = format!("<http://{host}{path}>; rel=\"next\"");
        answer(200, &[("link", &link), ("etag", "\"1\"")], "[]")
    })
    .await;
    let forge = stub.forge();
    let filter = CommentFilter::On(IssueNumber(1));
    let error = forge.comments(&repo(), filter).await.unwrap_err();
    assert_eq!(error.kind, ForgeErrorKind::Server);
}

#[tokio::test]
async fn a_validator_is_sent_only_for_the_page_it_came_with() {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&sent);
    let stub = Stub::start(move |_, request| {
        let validator = request.headers().get(header::IF_NONE_MATCH);
        let validator = validator.map(|value| value.to_str().unwrap().to_owned());
        let path = request.uri().path().to_owned();
        let etag = format!("\"{}\"", path.rsplit('/').next().unwrap());
        let known = validator.as_ref() == Some(&etag);
        log.lock().unwrap().push((path, validator));
        answer(
            if known { 304 } else { 200 },
            &[("etag", &etag)],
            if known { "" } else { "[]" },
        )
    })
    .await;
    let forge = stub.forge();
    for _ in 0..2 {
        forge.labels(&repo()).await.unwrap();
        forge
            .comments(&repo(), CommentFilter::On(IssueNumber(1)))
            .await
            .unwrap();
    }
    let sent: Vec<_> = sent
        .lock()
        .unwrap()
        .iter()
        .map(|(_, validator)| validator.clone())
        .collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        sent,
        vec![None, None, some("\"labels\""), some("\"comments\"")]
    );
}

#[tokio::test]
async fn an_error_of_one_alias_leaves_the_others_and_another_error_is_its_querys() {
    let stub = Stub::start(|index, _| {
        if index > 0 {
            return answer(200, &[], r#"{"data":null,"errors":[{"message":"no"}]}"#);
        }
        let body = r#"{"data":{"r0":{"databaseId":1,"nameWithOwner":"example-org/app","isArchived":false,
            "defaultBranchRef":null,"issues":{"totalCount":0,"nodes":[]},
            "pullRequests":{"totalCount":0,"nodes":[]}},"r1":null},
            "errors":[{"type":"NOT_FOUND","path":["r1"],"message":"Could not resolve"}]}"#;
        answer(200, &[], body)
    })
    .await;
    let forge = stub.forge();
    let names = [name(REPO), name("example-org/none")];
    let found = forge.detect(&names).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap().id, RepositoryId(1));
    assert_eq!(
        found[1].as_ref().unwrap_err().kind,
        ForgeErrorKind::NotFound
    );
    let failed = forge.detect(&names).await.unwrap();
    let is_server = |found: &ForgeResult<Detection>| {
        found.as_ref().err().map(|error| error.kind.clone()) == Some(ForgeErrorKind::Server)
    };
    assert!(failed.iter().all(is_server), "{failed:?}");
}

#[tokio::test]
async fn a_server_without_graphql_is_asked_by_rest() {
    let scene = Scene::new().await;
    let forge = scene.forge_without_graphql().await;
    let number = scene.open("First");
    let names = [name(REPO), name("example-org/none")];
    let before = forge.detect(&names).await.unwrap();
    assert_eq!(before[0].as_ref().unwrap().id, scene.repo(REPO).id);
    assert!(before[1].as_ref().unwrap_err().is_absent());
    scene.open("Second");
    let after = forge.detect(&names).await.unwrap();
    assert_ne!(
        after[0].as_ref().unwrap().detected,
        before[0].as_ref().unwrap().detected
    );
    let subjects = [(number, "unused".to_owned())];
    let read = forge.subjects(&scene.repo(REPO), &subjects).await.unwrap();
    let issue = &read[0].as_ref().unwrap().issue;
    // Nothing that can be asked tells of edits.
    assert_eq!(
        (issue.title.as_str(), &issue.edits),
        ("First", &EditHistory::Withheld)
    );
}
