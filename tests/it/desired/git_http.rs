//! The Git transport against a real Git server over HTTP.

use std::{sync::Arc, time::Duration};

use codex_k8s::git::{Credential, CredentialSource, GitHttp, HttpOptions};
use git2::{Direction, Remote, Repository};

use super::git_server::{Behaviour, GitServer, Put, TestRepository};

fn token() -> CredentialSource {
    Arc::new(|| {
        Some(Credential::Basic {
            username: "x-access-token".to_owned(),
            password: "secret-token".to_owned().into(),
        })
    })
}

/// `x-access-token:secret-token` as a header.
const HEADER: &str = "Basic eC1hY2Nlc3MtdG9rZW46c2VjcmV0LXRva2Vu";

fn list(
    git: &GitHttp,
    url: &str,
    credential: Option<CredentialSource>,
) -> Result<usize, git2::Error> {
    let handle = git.remote(url, credential).unwrap();
    let mut remote = Remote::create_detached(handle.url())?;
    let connection = remote.connect_auth(Direction::Fetch, None, None)?;
    Ok(connection.list()?.len())
}

#[test]
fn a_push_and_a_fetch_of_many_objects_go_through() {
    let folder = tempfile::tempdir().unwrap();
    let server = GitServer::start(
        folder.path(),
        Behaviour {
            authorization: Some(HEADER.into()),
            ..Behaviour::default()
        },
    );
    let origin = TestRepository::init(&folder.path().join("origin.git"));
    let target = TestRepository::init(&folder.path().join("target.git"));
    // Content that does not compress, so that the pack is larger than what is kept in memory.
    let noise: Vec<u8> = (0..1_500_000_u64)
        .flat_map(|i| [i.wrapping_mul(6_364_136_223_846_793_005).to_be_bytes()[0..4].to_vec()])
        .flatten()
        .collect();
    origin.commit("main", "Add noise", &[("noise.bin", Put::File(&noise))]);
    let mut head = None;
    for number in 0..40 {
        let text = number.to_string();
        head = Some(origin.commit(
            "main",
            "Change",
            &[("file.txt", Put::File(text.as_bytes()))],
        ));
    }

    let git = GitHttp::new(HttpOptions::default());
    let repository = Repository::open_bare(&origin.path).unwrap();
    let handle = git
        .remote(&format!("{}/target.git", server.url), Some(token()))
        .unwrap();
    let mut remote = repository.remote_anonymous(handle.url()).unwrap();
    remote
        .push(&["refs/heads/main:refs/heads/main"], None)
        .unwrap();
    assert_eq!(target.has("refs/heads/main"), head);

    let clone = Repository::init_bare(folder.path().join("clone.git")).unwrap();
    let handle = git
        .remote(&format!("{}/target.git/", server.url), Some(token()))
        .unwrap();
    let mut remote = clone.remote_anonymous(handle.url()).unwrap();
    remote
        .fetch(&["+refs/heads/*:refs/heads/*"], None, None)
        .unwrap();
    assert_eq!(clone.refname_to_id("refs/heads/main").ok(), head);
    assert!(
        server
            .take_seen()
            .iter()
            .all(|seen| seen.authorization.as_deref() == Some(HEADER))
    );
}

#[test]
fn a_wrong_or_missing_credential_is_an_auth_error_that_does_not_show_it() {
    let folder = tempfile::tempdir().unwrap();
    TestRepository::init(&folder.path().join("r.git"));
    let server = GitServer::start(
        folder.path(),
        Behaviour {
            authorization: Some("Bearer other".into()),
            ..Behaviour::default()
        },
    );
    let git = GitHttp::new(HttpOptions::default());
    let url = format!("{}/r.git", server.url);
    for credential in [None, Some(token())] {
        let error = list(&git, &url, credential).unwrap_err();
        assert_eq!(error.code(), git2::ErrorCode::Auth, "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    server.set(|behaviour| behaviour.authorization = Some(HEADER.into()));
    assert!(list(&git, &url, Some(token())).is_ok());
}

#[test]
fn a_redirect_is_followed_and_takes_no_credential_to_another_host() {
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::init(&folder.path().join("r.git"));
    let head = repository.commit("main", "Start", &[("a.txt", Put::File(b"a"))]);
    let second = GitServer::start(folder.path(), Behaviour::default());
    let first = GitServer::start(
        folder.path(),
        Behaviour {
            redirect_to: Some(second.url.clone()),
            ..Behaviour::default()
        },
    );
    let git = GitHttp::new(HttpOptions::default());
    let handle = git
        .remote(&format!("{}/r.git", first.url), Some(token()))
        .unwrap();
    let clone = Repository::init_bare(folder.path().join("clone.git")).unwrap();
    let mut remote = clone.remote_anonymous(handle.url()).unwrap();
    remote
        .fetch(&["+refs/heads/*:refs/heads/*"], None, None)
        .unwrap();
    assert_eq!(clone.refname_to_id("refs/heads/main").ok(), Some(head));
    let (at_first, at_second) = (first.take_seen(), second.take_seen());
    assert!(
        at_first
            .iter()
            .all(|seen| seen.authorization.as_deref() == Some(HEADER))
    );
    assert_eq!(
        at_first.len(),
        1,
        "later requests go straight to where the redirect led: {at_first:?}"
    );
    assert!(
        at_second.len() >= 2 && at_second.iter().all(|seen| seen.authorization.is_none()),
        "{at_second:?}"
    );
}

#[test]
fn endless_redirects_login_pages_and_silence_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    TestRepository::init(&folder.path().join("r.git"));
    let server = GitServer::start(folder.path(), Behaviour::default());
    let git = GitHttp::new(HttpOptions {
        request_timeout: Duration::from_millis(300),
        ..HttpOptions::default()
    });
    let url = format!("{}/r.git", server.url);
    server.set(|behaviour| behaviour.redirect_to = Some(server.url.clone()));
    assert!(
        list(&git, &url, None)
            .unwrap_err()
            .message()
            .contains("too often")
    );
    server.set(|behaviour| {
        *behaviour = Behaviour {
            login_page: true,
            ..Behaviour::default()
        }
    });
    assert!(
        list(&git, &url, None)
            .unwrap_err()
            .message()
            .contains("smart HTTP")
    );
    server.set(|behaviour| {
        *behaviour = Behaviour {
            silent: true,
            ..Behaviour::default()
        }
    });
    assert_eq!(
        list(&git, &url, None).unwrap_err().code(),
        git2::ErrorCode::Timeout
    );
    server.set(|behaviour| *behaviour = Behaviour::default());
    let error = list(&git, &format!("{}/absent.git", server.url), None).unwrap_err();
    assert_eq!(error.code(), git2::ErrorCode::NotFound);
}

#[test]
fn an_answer_above_the_limit_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::init(&folder.path().join("r.git"));
    repository.commit("main", "Start", &[("a.txt", Put::File(b"a"))]);
    let server = GitServer::start(folder.path(), Behaviour::default());
    let git = GitHttp::new(HttpOptions {
        max_response_bytes: 64,
        ..HttpOptions::default()
    });
    let error = list(&git, &format!("{}/r.git", server.url), None).unwrap_err();
    assert!(error.message().contains("larger than allowed"), "{error}");
}
