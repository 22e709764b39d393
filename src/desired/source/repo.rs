//! Finding the commit that counts: in a local repository, or fetched into a cache.
//!
//! A cache is a bare repository that holds nothing but what was fetched; one
//! that is broken is thrown away and made anew.

use std::{fs, path::Path};

use git2::{Direction, ErrorClass, ErrorCode, FetchOptions, Oid, Remote, Repository};

use super::{
    SourceError,
    settings::{Location, Reference, SourceSettings},
};
use crate::{
    domain::ids::CommitSha,
    git::{GitHttp, RemoteHandle},
};

/// The commit that counts now, in a repository that holds it.
///
/// A remote is asked for its refs first and fetched from only when the commit
/// is not in the cache, or the last accepted one is not.
pub(super) fn newest(
    settings: &SourceSettings,
    git: &GitHttp,
    last_accepted: Option<&CommitSha>,
) -> Result<(Repository, Oid), SourceError> {
    match &settings.location {
        Location::Local(path) => {
            let repository = open_local(settings, path)?;
            let commit = local_commit(settings, &repository)?;
            Ok((repository, commit))
        }
        Location::Remote(url) => {
            let handle = git
                .remote(url, settings.credential.clone())
                .map_err(|source| SourceError::Url {
                    location: settings.location.to_string(),
                    source,
                })?;
            remote_commit(settings, &handle, last_accepted)
        }
    }
}

/// One commit by its id, fetched when it is not there yet.
pub(super) fn commit(
    settings: &SourceSettings,
    git: &GitHttp,
    sha: &CommitSha,
) -> Result<(Repository, Oid), SourceError> {
    let settings = SourceSettings {
        reference: Reference::Sha(sha.clone()),
        ..settings.clone()
    };
    newest(&settings, git, None)
}

fn open_local(settings: &SourceSettings, path: &Path) -> Result<Repository, SourceError> {
    Repository::open(path).map_err(|error| unreadable(settings, "open it", &error))
}

fn local_commit(settings: &SourceSettings, repository: &Repository) -> Result<Oid, SourceError> {
    let found = match &settings.reference {
        Reference::Branch(name) => repository.find_reference(&format!("refs/heads/{name}")),
        Reference::Tag(name) => repository.find_reference(&format!("refs/tags/{name}")),
        Reference::Sha(sha) => {
            return present(repository, sha.as_str()).ok_or_else(|| no_reference(settings));
        }
    };
    let reference = found.map_err(|error| match error.code() {
        ErrorCode::NotFound | ErrorCode::InvalidSpec => no_reference(settings),
        _ => unreadable(settings, "look up a reference", &error),
    })?;
    let commit = reference
        .peel_to_commit()
        .map_err(|error| unreadable(settings, "read a reference", &error))?;
    Ok(commit.id())
}

/// A commit that the repository holds.
fn present(repository: &Repository, sha: &str) -> Option<Oid> {
    let oid = Oid::from_str(sha).ok()?;
    repository.find_commit(oid).ok().map(|commit| commit.id())
}

fn remote_commit(
    settings: &SourceSettings,
    handle: &RemoteHandle,
    last_accepted: Option<&CommitSha>,
) -> Result<(Repository, Oid), SourceError> {
    let cache = open_cache(settings)?;
    if let Reference::Sha(sha) = &settings.reference
        && let Some(commit) = present(&cache, sha.as_str())
    {
        return Ok((cache, commit));
    }
    let wanted = wanted(settings, handle)?;
    let known = present(&cache, &wanted.sha);
    let comparable = last_accepted.is_none_or(|last| present(&cache, last.as_str()).is_some());
    if let (Some(commit), true) = (known, comparable) {
        return Ok((cache, commit));
    }
    fetch(settings, &cache, handle, &wanted.refspecs)?;
    let commit = present(&cache, &wanted.sha).ok_or_else(|| no_reference(settings))?;
    Ok((cache, commit))
}

/// The commit that counts at a remote, and what to fetch for it.
struct Wanted {
    sha: String,
    refspecs: Vec<String>,
}

fn wanted(settings: &SourceSettings, handle: &RemoteHandle) -> Result<Wanted, SourceError> {
    let mut remote = Remote::create_detached(handle.url())
        .map_err(|error| unreadable(settings, "ask it", &error))?;
    let connection = remote
        .connect_auth(Direction::Fetch, None, None)
        .map_err(|error| unreadable(settings, "list its refs", &error))?;
    let heads = connection
        .list()
        .map_err(|error| unreadable(settings, "list its refs", &error))?;
    let oid_of = |name: &str| {
        heads
            .iter()
            .find(|head| head.name() == name)
            .map(|head| head.oid().to_string())
    };
    let one = |name: &str, sha: String| Wanted {
        sha,
        refspecs: vec![format!("+{name}:{name}")],
    };
    match &settings.reference {
        Reference::Branch(branch) => {
            let name = format!("refs/heads/{branch}");
            oid_of(&name).map(|sha| one(&name, sha))
        }
        Reference::Tag(tag) => {
            let name = format!("refs/tags/{tag}");
            // An annotated tag is listed a second time, as the commit it points at.
            oid_of(&format!("{name}^{{}}"))
                .or_else(|| oid_of(&name))
                .map(|sha| one(&name, sha))
        }
        Reference::Sha(sha) => {
            let everything = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
            Some(Wanted {
                sha: sha.as_str().to_owned(),
                refspecs: everything.map(str::to_owned).to_vec(),
            })
        }
    }
    .ok_or_else(|| no_reference(settings))
}

fn fetch(
    settings: &SourceSettings,
    cache: &Repository,
    handle: &RemoteHandle,
    refspecs: &[String],
) -> Result<(), SourceError> {
    let mut remote = cache
        .remote_anonymous(handle.url())
        .map_err(|error| unreadable(settings, "fetch from it", &error))?;
    let mut options = FetchOptions::new();
    options
        .download_tags(git2::AutotagOption::None)
        .update_fetchhead(false);
    remote
        .fetch(refspecs, Some(&mut options), None)
        .map_err(|error| unreadable(settings, "fetch from it", &error))
}

fn open_cache(settings: &SourceSettings) -> Result<Repository, SourceError> {
    let path = &settings.cache;
    if let Ok(repository) = Repository::open_bare(path) {
        return Ok(repository);
    }
    if path.exists() && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
        if !path.join("HEAD").exists() && !path.join("objects").exists() {
            return Err(SourceError::Unreadable {
                location: settings.location.to_string(),
                attempt: "open its cache",
                reason: format!("{} is neither empty nor a cache", path.display()),
            });
        }
        fs::remove_dir_all(path).map_err(|error| SourceError::Unreadable {
            location: settings.location.to_string(),
            attempt: "renew its cache",
            reason: error.to_string(),
        })?;
    }
    Repository::init_bare(path).map_err(|error| unreadable(settings, "make its cache", &error))
}

fn no_reference(settings: &SourceSettings) -> SourceError {
    SourceError::NoReference {
        location: settings.location.to_string(),
        reference: settings.reference.to_string(),
    }
}

/// What a failure of libgit2 means to us.
pub(super) fn unreadable(
    settings: &SourceSettings,
    attempt: &'static str,
    error: &git2::Error,
) -> SourceError {
    let location = settings.location.to_string();
    let reason = error.message().to_owned();
    if error.code() == ErrorCode::Auth && error.class() == ErrorClass::Http {
        return SourceError::Access { location, reason };
    }
    SourceError::Unreadable {
        location,
        attempt,
        reason,
    }
}
