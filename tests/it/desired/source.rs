//! Polling a config repo over HTTP and in a local folder: what is taken, what
//! is refused, and what is not known.

use std::{path::Path, sync::Arc, time::Duration};

use codex_k8s::{
    desired::{
        load::{Code, ConfigError, read_folder},
        model::Desired,
        source::{
            self, ConfigSource, LocalWatch, Location, Polled, Reference, Refusal, SourceError,
            SourceSettings,
        },
    },
    domain::ids::CommitSha,
};
use git2::Oid;

use super::git_server::{Behaviour, GitServer, Put, TestRepository};

fn sha(oid: Oid) -> CommitSha {
    CommitSha::new(oid.to_string())
}

fn settings(location: &str, reference: &str, folder: &Path) -> SourceSettings {
    let location: Location = location.parse().unwrap();
    let reference: Reference = reference.parse().unwrap();
    SourceSettings::new(location, reference, folder.join("cache"))
}

struct Candidate {
    sha: CommitSha,
    result: Result<Desired, Vec<ConfigError>>,
    refusal: Option<Refusal>,
}

#[track_caller]
fn candidate(source: &ConfigSource, last: Option<&CommitSha>) -> Candidate {
    match source.poll(last).unwrap() {
        Polled::Unchanged => panic!("nothing changed"),
        Polled::Candidate {
            sha,
            result,
            refusal,
        } => Candidate {
            sha,
            result: *result,
            refusal,
        },
    }
}

#[test]
fn a_remote_is_asked_for_its_refs_and_fetched_from_only_when_it_moved() {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestRepository::init(&folder.path().join("config.git"));
    let first = origin.commit_state("main");
    let server = GitServer::start(folder.path(), Behaviour::default());
    let source = ConfigSource::new(settings(
        &format!("{}/config.git", server.url),
        "main",
        folder.path(),
    ));

    let found = candidate(&source, None);
    assert_eq!(found.sha, sha(first));
    assert!(found.refusal.is_none());
    assert_eq!(found.result.unwrap().sha, sha(first));
    server.take_seen();
    assert!(matches!(
        source.poll(Some(&sha(first))).unwrap(),
        Polled::Unchanged
    ));
    let seen = server.take_seen();
    assert_eq!(
        seen.len(),
        1,
        "an unmoved branch costs one request: {seen:?}"
    );
    assert!(seen[0].path.ends_with("/info/refs"));

    let second = origin.commit("main", "Say hello", &[("README.md", Put::File(b"hello"))]);
    let found = candidate(&source, Some(&sha(first)));
    assert_eq!((found.sha, found.refusal), (sha(second), None));
    assert!(found.result.is_ok());
}

#[test]
fn branches_tags_and_commits_can_be_named() {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestRepository::init(&folder.path().join("config.git"));
    let first = origin.commit_state("main");
    origin.tag("v1", first);
    let second = origin.commit("main", "Go on", &[("README.md", Put::File(b"x"))]);
    let server = GitServer::start(folder.path(), Behaviour::default());
    let remote = format!("{}/config.git", server.url);
    let local = origin.path.to_str().unwrap().to_owned();
    for location in [remote, local] {
        for (reference, expected) in [
            ("branch:main", second),
            ("tag:v1", first),
            (&*first.to_string(), first),
        ] {
            let cache = tempfile::tempdir().unwrap();
            let source = ConfigSource::new(settings(&location, reference, cache.path()));
            assert_eq!(
                candidate(&source, None).sha,
                sha(expected),
                "{location} {reference}"
            );
        }
        for reference in ["branch:absent", "tag:absent", &"1".repeat(40)] {
            let cache = tempfile::tempdir().unwrap();
            let source = ConfigSource::new(settings(&location, reference, cache.path()));
            let error = source.poll(None).unwrap_err();
            assert!(
                matches!(error, SourceError::NoReference { .. }),
                "{location} {reference}: {error}"
            );
        }
    }
}

#[test]
fn a_bad_commit_gives_its_errors_and_the_next_good_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestRepository::init(&folder.path().join("config.git"));
    let good = sha(origin.commit_state("main"));
    let source = ConfigSource::new(settings(
        origin.path.to_str().unwrap(),
        "main",
        folder.path(),
    ));
    let bad = origin.commit(
        "main",
        "Break it",
        &[("agents/dev.yaml", Put::File(b"a: [1"))],
    );
    for _ in 0..2 {
        let found = candidate(&source, Some(&good));
        assert_eq!(found.sha, sha(bad));
        let errors = found.result.unwrap_err();
        assert!(
            errors
                .iter()
                .any(|error| error.file == "agents/dev.yaml" && error.code == Code::InvalidYaml)
        );
    }
    let agent =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("state/agents/dev.yaml")).unwrap();
    let mended = origin.commit("main", "Mend it", &[("agents/dev.yaml", Put::File(&agent))]);
    let found = candidate(&source, Some(&good));
    assert_eq!((found.sha, found.refusal), (sha(mended), None));
    assert!(found.result.is_ok());
    assert_eq!(source.read(&good).unwrap().unwrap().sha, good);
}

#[test]
fn a_commit_that_does_not_descend_is_refused_unless_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestRepository::init(&folder.path().join("config.git"));
    let first = origin.commit_state("main");
    let second = sha(origin.commit("main", "Go on", &[("README.md", Put::File(b"x"))]));
    let server = GitServer::start(folder.path(), Behaviour::default());
    let settings = settings(&format!("{}/config.git", server.url), "main", folder.path());
    let source = ConfigSource::new(settings.clone());
    assert_eq!(candidate(&source, None).sha, second);

    let other = sha(origin.commit_on(
        "refs/heads/main",
        Some(first),
        "Rewrite",
        &[("README.md", Put::File(b"y"))],
    ));
    let found = candidate(&source, Some(&second));
    assert_eq!(
        found.refusal,
        Some(Refusal::NotDescendant {
            sha: other.clone(),
            last: second.clone()
        })
    );
    let named = ConfigSource::new(SourceSettings {
        allow_rewind: Some(other.clone()),
        ..settings.clone()
    });
    assert_eq!(candidate(&named, Some(&second)).refusal, None);

    let back = sha(origin.commit_on(
        "refs/heads/main",
        Some(first),
        "Rewrite again",
        &[("README.md", Put::File(b"z"))],
    ));
    let still = ConfigSource::new(SourceSettings {
        allow_rewind: Some(other),
        ..settings.clone()
    });
    assert!(
        matches!(candidate(&still, Some(&second)).refusal, Some(Refusal::NotDescendant { sha, .. }) if sha == back)
    );

    // A lost cache makes the last accepted commit unknown, which is no permission.
    let fresh = SourceSettings {
        cache: folder.path().join("another-cache"),
        ..settings
    };
    let found = candidate(&ConfigSource::new(fresh), Some(&second));
    assert!(matches!(found.refusal, Some(Refusal::NotDescendant { .. })));
}

#[test]
fn removing_a_repository_needs_a_trailer_with_the_right_count() {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestRepository::init(&folder.path().join("config.git"));
    let first = origin.commit_state("main");
    let gone = [("projects/demo/repositories/notes.yaml", Put::Nothing)];
    let source = ConfigSource::new(settings(
        origin.path.to_str().unwrap(),
        "main",
        folder.path(),
    ));
    let refusal = |message: &str| {
        origin.commit_on("refs/heads/main", Some(first), message, &gone);
        candidate(&source, Some(&sha(first))).refusal
    };
    let refused = refusal("Remove notes");
    assert!(
        matches!(&refused, Some(Refusal::Prune { count: 1, named, .. }) if named == "Repository demo/notes"),
        "{refused:?}"
    );
    assert!(refused.unwrap().to_string().contains("Codexk8s-Prune: 1"));
    assert!(refusal("Remove notes\n\nCodexk8s-Prune: 2\n").is_some());
    assert!(refusal("Remove notes\n\nCodexk8s-Prune: 1\n").is_none());
    // A later commit does not have to repeat it.
    origin.commit("main", "Go on", &[("README.md", Put::File(b"x"))]);
    assert!(candidate(&source, Some(&sha(first))).refusal.is_none());
}

#[test]
fn removing_many_documents_at_once_needs_a_trailer_and_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestRepository::init(&folder.path().join("config.git"));
    let first = origin.commit_state("main");
    let source = ConfigSource::new(settings(
        origin.path.to_str().unwrap(),
        "main",
        folder.path(),
    ));
    let one = [("prompts/dev/work.ru.md", Put::Nothing)];
    origin.commit_on("refs/heads/main", Some(first), "Remove one", &one);
    assert!(candidate(&source, Some(&sha(first))).refusal.is_none());
    let state = Path::new(env!("CARGO_MANIFEST_DIR")).join("state");
    let files = read_folder(&state).unwrap().files;
    let prompts = files
        .iter()
        .filter(|file| file.path.starts_with("prompts/"));
    let many: Vec<_> = prompts
        .map(|file| (file.path.as_str(), Put::Nothing))
        .collect();
    origin.commit_on("refs/heads/main", Some(first), "Remove many", &many);
    let refusal = candidate(&source, Some(&sha(first))).refusal;
    assert!(
        matches!(refusal, Some(Refusal::Prune { count, .. }) if count == many.len()),
        "{refusal:?}"
    );
}

#[test]
fn an_unreachable_or_forbidding_config_repo_is_not_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestRepository::init(&folder.path().join("config.git"));
    let first = sha(origin.commit_state("main"));
    let server = GitServer::start(folder.path(), Behaviour::default());
    let source = ConfigSource::new(settings(
        &format!("{}/config.git", server.url),
        "main",
        folder.path(),
    ));
    candidate(&source, None);
    server.set(|behaviour| behaviour.authorization = Some("Bearer secret".to_owned()));
    assert!(matches!(
        source.poll(Some(&first)),
        Err(SourceError::Access { .. })
    ));
    server.set(|behaviour| {
        *behaviour = Behaviour {
            login_page: true,
            ..Behaviour::default()
        }
    });
    assert!(matches!(
        source.poll(Some(&first)),
        Err(SourceError::Unreadable { .. })
    ));
    drop(server);
    assert!(matches!(
        source.poll(Some(&first)),
        Err(SourceError::Unreadable { .. })
    ));
    let local = ConfigSource::new(settings(
        folder.path().join("absent").to_str().unwrap(),
        "main",
        folder.path(),
    ));
    assert!(matches!(
        local.poll(Some(&first)),
        Err(SourceError::Unreadable { .. })
    ));
    let ssh = ConfigSource::new(settings(
        "ssh://forge.example/config.git",
        "main",
        folder.path(),
    ));
    assert!(matches!(ssh.poll(None), Err(SourceError::Url { .. })));
}

#[test]
fn links_and_huge_files_of_a_commit_are_refused_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let origin = TestRepository::init(&folder.path().join("config.git"));
    origin.commit_state("main");
    let huge = vec![b'a'; 100 * 1024 * 1024];
    origin.commit(
        "main",
        "Attack",
        &[
            ("agents/out.yaml", Put::Link("../../outside.yaml")),
            ("agents/inside.yaml", Put::Link("dev.yaml")),
            ("huge.yaml", Put::File(&huge)),
        ],
    );
    let source = ConfigSource::new(settings(
        origin.path.to_str().unwrap(),
        "main",
        folder.path(),
    ));
    let errors = candidate(&source, None).result.unwrap_err();
    let found: Vec<_> = errors
        .iter()
        .map(|error| (error.file.as_str(), error.code))
        .collect();
    assert_eq!(
        found,
        [
            ("agents/inside.yaml", Code::SymbolicLink),
            ("agents/out.yaml", Code::PathEscapes),
            ("huge.yaml", Code::TooLarge),
        ]
    );
}

#[test]
fn polling_from_async_code_and_waking_on_a_commit() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let origin = TestRepository::init(&folder.path().join("config.git"));
    let first = sha(origin.commit_state("main"));
    let server = GitServer::start(folder.path(), Behaviour::default());
    runtime.block_on(async {
        let source = Arc::new(ConfigSource::new(settings(
            &format!("{}/config.git", server.url),
            "main",
            folder.path(),
        )));
        assert!(matches!(
            source::poll(source.clone(), None).await,
            Ok(Polled::Candidate { .. })
        ));
        assert!(matches!(
            source::poll(source.clone(), Some(first)).await,
            Ok(Polled::Unchanged)
        ));

        let wake = Arc::new(tokio::sync::Notify::new());
        let watch = LocalWatch::start(&origin.path, wake.clone()).unwrap();
        origin.commit("main", "Move", &[("README.md", Put::File(b"x"))]);
        tokio::time::timeout(Duration::from_secs(20), wake.notified())
            .await
            .expect("a commit wakes");
        drop(watch);
        tokio::task::spawn_blocking(move || drop(server))
            .await
            .unwrap();
    });
}

#[test]
fn a_tree_that_names_itself_without_end_is_refused_quickly() {
    let folder = tempfile::tempdir().unwrap();
    let repository = git2::Repository::init_bare(folder.path().join("config.git")).unwrap();
    let blob = repository.blob(b"x").unwrap();
    let mut builder = repository.treebuilder(None).unwrap();
    builder.insert("a.txt", blob, 0o100_644).unwrap();
    let mut tree = builder.write().unwrap();
    for _ in 0..12 {
        let mut builder = repository.treebuilder(None).unwrap();
        for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
            builder.insert(name, tree, 0o040_000).unwrap();
        }
        tree = builder.write().unwrap();
    }
    let author = git2::Signature::now("Ada", "ada@example.org").unwrap();
    let tree = repository.find_tree(tree).unwrap();
    repository
        .commit(
            Some("refs/heads/main"),
            &author,
            &author,
            "Attack",
            &tree,
            &[],
        )
        .unwrap();
    let source = ConfigSource::new(settings(
        repository.path().to_str().unwrap(),
        "main",
        folder.path(),
    ));
    let errors = candidate(&source, None).result.unwrap_err();
    assert!(
        errors.iter().any(|error| error.code == Code::TooLarge),
        "{errors:?}"
    );
}
