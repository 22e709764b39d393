//! The config repo: where it is, which commit counts, and what that commit says.
//!
//! ```text
//! ls-remote ─► moved? ─► fetch ─► commit ─► may it follow the last one? ─► files ─► load
//! ```
//!
//! A source remembers nothing that matters: the last accepted commit is the
//! caller's, and a lost cache is fetched again. An error of the source is
//! ignorance; it never means an empty config.
//!
//! A commit may follow the last accepted one when it descends from it, or when
//! the process setting `allowRewind` names it; and when it removes projects,
//! repositories or many documents, a trailer must say how many.

mod repo;
mod rules;
mod settings;
mod tree;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};

use git2::Repository;

pub use rules::{PRUNE_TRAILER, Refusal};
pub use settings::{Location, Reference, SourceSettings};
pub use watch::LocalWatch;

use super::{
    load::{ConfigError, load},
    model::Desired,
};
use crate::{
    domain::ids::CommitSha,
    git::{GitHttp, RemoteUrlError},
};

/// Why nothing is known of the config repo now.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The location is not usable.
    #[error("config repo {location}: {source}")]
    Url {
        /// Where it was looked for.
        location: String,
        /// Why not.
        source: RemoteUrlError,
    },
    /// It has no such branch, tag or commit.
    #[error("config repo {location} has no {reference}")]
    NoReference {
        /// Where it was looked for.
        location: String,
        /// What was looked for.
        reference: String,
    },
    /// It does not let us in.
    #[error("config repo {location} refuses access: {reason}")]
    Access {
        /// Where it was looked for.
        location: String,
        /// What it said.
        reason: String,
    },
    /// It cannot be read.
    #[error("config repo {location} cannot be read while trying to {attempt}: {reason}")]
    Unreadable {
        /// Where it was looked for.
        location: String,
        /// What was tried.
        attempt: &'static str,
        /// What failed.
        reason: String,
    },
}

/// What a poll found.
#[derive(Debug, Clone)]
pub enum Polled {
    /// The last accepted commit is still the newest.
    Unchanged,
    /// Another commit is there. It counts only if `result` is good and `refusal` is none.
    Candidate {
        /// The commit.
        sha: CommitSha,
        /// What it says, or all its errors.
        result: Box<Result<Desired, Vec<ConfigError>>>,
        /// Why it may not follow the last accepted one.
        refusal: Option<Refusal>,
    },
}

/// A config repo that is polled.
pub struct ConfigSource {
    settings: SourceSettings,
    git: GitHttp,
    /// The last candidate, so that a bad commit is not judged anew at every poll.
    judged: Mutex<Option<Judged>>,
}

struct Judged {
    after: Option<CommitSha>,
    sha: CommitSha,
    polled: Polled,
}

impl ConfigSource {
    /// A source with these settings. Nothing is read yet.
    pub fn new(settings: SourceSettings) -> Self {
        let git = GitHttp::new(settings.http.clone());
        Self {
            settings,
            git,
            judged: Mutex::new(None),
        }
    }

    /// Where the config repo is and which commit of it counts, for people.
    pub fn describe(&self) -> String {
        format!("{} {}", self.settings.location, self.settings.reference)
    }

    /// Looks whether another commit counts than the last accepted one, and judges it.
    ///
    /// Blocks: use [`poll`] from async code.
    ///
    /// *Errors*: the config repo cannot be read; nothing is known.
    pub fn poll(&self, last_accepted: Option<&CommitSha>) -> Result<Polled, SourceError> {
        let (repository, commit) = repo::newest(&self.settings, &self.git, last_accepted)?;
        let sha = CommitSha::new(commit.to_string());
        if last_accepted == Some(&sha) {
            return Ok(Polled::Unchanged);
        }
        if let Some(polled) = self.judged_before(last_accepted, &sha) {
            return Ok(polled);
        }
        let polled = self.judge(&repository, commit, &sha, last_accepted)?;
        *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = Some(Judged {
            after: last_accepted.cloned(),
            sha,
            polled: polled.clone(),
        });
        Ok(polled)
    }

    /// Reads one commit again, whatever counts now: for a process that starts
    /// and knows only the number of the last accepted one.
    ///
    /// *Errors*: the config repo or the commit cannot be read.
    pub fn read(&self, sha: &CommitSha) -> Result<Result<Desired, Vec<ConfigError>>, SourceError> {
        let (repository, commit) = repo::commit(&self.settings, &self.git, sha)?;
        let files = tree::files(&repository, commit)
            .map_err(|error| self.unreadable("read a commit", &error))?;
        Ok(load(sha.clone(), files))
    }

    fn judged_before(&self, after: Option<&CommitSha>, sha: &CommitSha) -> Option<Polled> {
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let judged = judged.as_ref()?;
        (judged.after.as_ref() == after && judged.sha == *sha).then(|| judged.polled.clone())
    }

    fn judge(
        &self,
        repository: &Repository,
        commit: git2::Oid,
        sha: &CommitSha,
        last_accepted: Option<&CommitSha>,
    ) -> Result<Polled, SourceError> {
        let files = tree::files(repository, commit)
            .map_err(|error| self.unreadable("read a commit", &error))?;
        let refusal = match last_accepted {
            Some(last) => rules::refusal(repository, &self.settings, last, commit, &files)
                .map_err(|error| self.unreadable("compare commits", &error))?,
            None => None,
        };
        let result = Box::new(load(sha.clone(), files));
        Ok(Polled::Candidate {
            sha: sha.clone(),
            result,
            refusal,
        })
    }

    fn unreadable(&self, attempt: &'static str, error: &git2::Error) -> SourceError {
        repo::unreadable(&self.settings, attempt, error)
    }
}

/// Polls where blocking is allowed.
///
/// *Errors*: as [`ConfigSource::poll`]; a poll that panicked is `Unreadable`.
pub async fn poll(
    source: Arc<ConfigSource>,
    last_accepted: Option<CommitSha>,
) -> Result<Polled, SourceError> {
    let location = source.settings.location.to_string();
    tokio::task::spawn_blocking(move || source.poll(last_accepted.as_ref()))
        .await
        .unwrap_or_else(|error| {
            Err(SourceError::Unreadable {
                location,
                attempt: "poll",
                reason: error.to_string(),
            })
        })
}
