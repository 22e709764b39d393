//! Whether a commit may follow the last accepted one.

use git2::{Oid, Repository, Sort};
use serde::{Deserialize, Serialize};

use super::{settings::SourceSettings, tree};
use crate::{
    desired::{
        load::{SourceFiles, inventory},
        model::Kind,
    },
    domain::ids::CommitSha,
};

/// The trailer by which a commit says how many documents it removes.
pub const PRUNE_TRAILER: &str = "Codexk8s-Prune";

/// How many commits back a trailer is looked for.
const MAX_COMMITS: usize = 1_000;

/// How many removed documents a message names.
const NAMED: usize = 5;

/// Why a commit may not follow the last accepted one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// It does not descend from it.
    #[error(
        "commit {sha} does not descend from the last accepted commit {last}; roll back with a revert, or name it in allowRewind"
    )]
    NotDescendant {
        /// The commit.
        sha: CommitSha,
        /// The last accepted one.
        last: CommitSha,
    },
    /// It removes more than it says.
    #[error(
        "commit {sha} removes {count} documents ({named}); say so with the trailer `Codexk8s-Prune: {count}`"
    )]
    Prune {
        /// The commit.
        sha: CommitSha,
        /// How many documents it removes.
        count: usize,
        /// The first of them.
        named: String,
    },
}

/// Judges a commit by the last accepted one.
pub(super) fn refusal(
    repository: &Repository,
    settings: &SourceSettings,
    last: &CommitSha,
    commit: Oid,
    files: &SourceFiles,
) -> Result<Option<Refusal>, git2::Error> {
    let sha = CommitSha::new(commit.to_string());
    if settings.allow_rewind.as_ref() == Some(&sha) {
        return Ok(None);
    }
    let Some(before) = Oid::from_str(last.as_str())
        .ok()
        .filter(|oid| repository.find_commit(*oid).is_ok())
    else {
        return Ok(Some(Refusal::NotDescendant {
            sha,
            last: last.clone(),
        }));
    };
    if !repository.graph_descendant_of(commit, before)? {
        return Ok(Some(Refusal::NotDescendant {
            sha,
            last: last.clone(),
        }));
    }
    prune(repository, settings, (before, commit), files)
}

fn prune(
    repository: &Repository,
    settings: &SourceSettings,
    (before, commit): (Oid, Oid),
    files: &SourceFiles,
) -> Result<Option<Refusal>, git2::Error> {
    let old = inventory(&tree::files(repository, before)?);
    let new = inventory(files);
    let removed: Vec<_> = old.difference(&new).collect();
    let weighty = removed
        .iter()
        .any(|object| matches!(object.kind, Kind::Project | Kind::Repository));
    let many = removed.len() * 100 > old.len() * usize::from(settings.prune_percent);
    if !(weighty || many) || announced(repository, (before, commit), removed.len())? {
        return Ok(None);
    }
    let mut named: Vec<String> = removed
        .iter()
        .take(NAMED)
        .map(ToString::to_string)
        .collect();
    if removed.len() > NAMED {
        named.push("…".to_owned());
    }
    Ok(Some(Refusal::Prune {
        sha: CommitSha::new(commit.to_string()),
        count: removed.len(),
        named: named.join(", "),
    }))
}

/// Whether a commit since the last accepted one says that so many are removed.
fn announced(
    repository: &Repository,
    (before, commit): (Oid, Oid),
    count: usize,
) -> Result<bool, git2::Error> {
    let mut commits = repository.revwalk()?;
    commits.set_sorting(Sort::TOPOLOGICAL)?;
    commits.push(commit)?;
    commits.hide(before)?;
    for id in commits.take(MAX_COMMITS) {
        let commit = repository.find_commit(id?)?;
        let message = String::from_utf8_lossy(commit.message_bytes());
        if trailer(&message) == Some(count) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The count that a message's trailer gives: its last paragraph, one `Key: value` a line.
fn trailer(message: &str) -> Option<usize> {
    let paragraph = message.trim_end().rsplit("\n\n").next()?;
    paragraph.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim()
            .eq_ignore_ascii_case(PRUNE_TRAILER)
            .then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_stands_in_the_last_paragraph() {
        assert_eq!(
            trailer("Remove demo\n\nIt is over.\n\nCodexk8s-Prune: 4\nAcked-by: ada\n"),
            Some(4)
        );
        assert_eq!(trailer("Remove demo\n\ncodexk8s-prune: 4"), Some(4));
        assert_eq!(trailer("Codexk8s-Prune: 4\n\nText\n"), None);
        assert_eq!(trailer("Remove\n\nCodexk8s-Prune: all\n"), None);
    }
}
