//! The bare repositories behind the model: making, reading and committing to them.
//!
//! Blocking libgit2 calls on small local repositories; smart HTTP is in `smart`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use git2::{Commit, Delta, DiffOptions, Oid, Repository, Signature, Sort, Time};

use super::change::{Changed, ModelError};

/// Who a commit is by, and when.
#[derive(Debug, Clone)]
pub(super) struct Author {
    pub name: String,
    pub at_seconds: i64,
}

impl Author {
    fn signature(&self) -> Result<Signature<'static>, git2::Error> {
        let email = format!("{}@users.noreply.example.org", self.name);
        Signature::new(&self.name, &email, &Time::new(self.at_seconds, 0))
    }
}

/// Files by path.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Makes a bare repository whose default branch is `branch`.
pub(super) fn create(path: &Path, branch: &str) -> Changed {
    let mut options = git2::RepositoryInitOptions::new();
    options
        .bare(true)
        .initial_head(branch)
        .external_template(false);
    let repo = Repository::init_opts(path, &options)?;
    let mut config = repo.config()?;
    config.set_bool("http.receivepack", true)?;
    config.set_bool("uploadpack.allowFilter", true)?;
    config.set_bool("uploadpack.allowAnySHA1InWant", true)?;
    config.set_i32("gc.auto", 0)?;
    Ok(())
}

/// All files below a folder, without a `.git` folder.
pub(super) fn files_of(folder: &Path) -> Changed<Files> {
    let mut files = Files::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        for entry in std::fs::read_dir(folder.join(&below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                if entry.file_name() != ".git" {
                    folders.push(path);
                }
            } else {
                files.insert(
                    path.to_string_lossy().into_owned(),
                    std::fs::read(entry.path())?,
                );
            }
        }
    }
    Ok(files)
}

/// Commits files on top of a branch (made from `base` where it is new); returns the commit.
pub(super) fn commit(
    path: &Path,
    branch: &str,
    base: Option<&str>,
    files: &Files,
    message: &str,
    author: &Author,
) -> Changed<String> {
    let repo = Repository::open_bare(path)?;
    let reference = format!("refs/heads/{branch}");
    let parent = match (tip(&repo, branch), base) {
        (Some(oid), _) => Some(repo.find_commit(oid)?),
        (None, Some(base)) => Some(find(&repo, base)?),
        (None, None) => None,
    };
    let mut update = git2::build::TreeUpdateBuilder::new();
    for (name, content) in files {
        update.upsert(name, repo.blob(content)?, git2::FileMode::Blob);
    }
    let empty = repo.find_tree(repo.treebuilder(None)?.write()?)?;
    let below = parent.as_ref().map_or(Ok(empty), Commit::tree)?;
    let tree = repo.find_tree(update.create_updated(&repo, &below)?)?;
    let signature = author.signature()?;
    let parents: Vec<&Commit<'_>> = parent.iter().collect();
    let oid = repo.commit(None, &signature, &signature, message, &tree, &parents)?;
    repo.reference(&reference, oid, true, message)?;
    Ok(oid.to_string())
}

/// Merges a branch into another with a merge commit; returns it.
pub(super) fn merge(
    path: &Path,
    base: &str,
    head: &str,
    message: &str,
    author: &Author,
) -> Changed<String> {
    let repo = Repository::open_bare(path)?;
    let (ours, theirs) = (find(&repo, base)?, find(&repo, head)?);
    let mut index = repo.merge_commits(&ours, &theirs, None)?;
    if index.has_conflicts() {
        return Err(ModelError::Refused(
            "Pull Request is not mergeable".to_owned(),
        ));
    }
    let tree = repo.find_tree(index.write_tree_to(&repo)?)?;
    let signature = author.signature()?;
    let reference = format!("refs/heads/{base}");
    let oid = repo.commit(
        Some(&reference),
        &signature,
        &signature,
        message,
        &tree,
        &[&ours, &theirs],
    )?;
    Ok(oid.to_string())
}

/// Sets a branch to a commit, or deletes it.
pub(super) fn set_branch(path: &Path, branch: &str, commit: Option<&str>) -> Changed {
    let repo = Repository::open_bare(path)?;
    let reference = format!("refs/heads/{branch}");
    match commit {
        Some(sha) => {
            repo.reference(&reference, Oid::from_str(sha)?, true, "set")?;
        }
        None => repo.find_reference(&reference)?.delete()?,
    }
    Ok(())
}

/// All refs under `refs/` and the commits they name.
pub(super) fn refs(path: &Path) -> Changed<BTreeMap<String, String>> {
    let repo = Repository::open_bare(path)?;
    let mut found = BTreeMap::new();
    for reference in repo.references()? {
        let reference = reference?;
        if let (Ok(name), Some(target)) = (reference.name(), reference.target()) {
            found.insert(name.to_owned(), target.to_string());
        }
    }
    Ok(found)
}

/// The commit a branch is at.
pub(super) fn branch(path: &Path, name: &str) -> Option<String> {
    let repo = Repository::open_bare(path).ok()?;
    tip(&repo, name).map(|oid| oid.to_string())
}

/// Whether `ancestor` is `descendant` or below it.
pub(super) fn is_ancestor(path: &Path, ancestor: &str, descendant: &str) -> bool {
    let within = || -> Result<bool, git2::Error> {
        let repo = Repository::open_bare(path)?;
        let (old, new) = (Oid::from_str(ancestor)?, Oid::from_str(descendant)?);
        Ok(old == new || repo.graph_descendant_of(new, old)?)
    };
    within().unwrap_or(false)
}

fn tip(repo: &Repository, branch: &str) -> Option<Oid> {
    repo.refname_to_id(&format!("refs/heads/{branch}")).ok()
}

fn find<'r>(repo: &'r Repository, name: &str) -> Changed<Commit<'r>> {
    if let Some(oid) = tip(repo, name) {
        return Ok(repo.find_commit(oid)?);
    }
    let object = repo.revparse_single(name);
    let object = object.map_err(|_| ModelError::NotFound(format!("commit {name}")))?;
    Ok(object.peel_to_commit()?)
}

/// A commit's facts.
#[derive(Debug, Clone)]
pub(super) struct CommitFacts {
    pub sha: String,
    pub tree: String,
    pub parents: Vec<String>,
    pub message: String,
    pub author: String,
    pub email: String,
    pub at_seconds: i64,
}

/// One changed file.
#[derive(Debug, Clone)]
pub(super) struct FileChange {
    pub name: String,
    pub blob: String,
    pub status: &'static str,
    pub additions: usize,
    pub deletions: usize,
    pub patch: String,
}

/// What lies between two commits.
#[derive(Debug, Clone)]
pub(super) struct Comparison {
    pub base: CommitFacts,
    pub merge_base: CommitFacts,
    pub ahead: Vec<CommitFacts>,
    pub behind: usize,
    pub files: Vec<FileChange>,
}

fn facts(commit: &Commit<'_>) -> CommitFacts {
    let author = commit.author();
    CommitFacts {
        sha: commit.id().to_string(),
        tree: commit.tree_id().to_string(),
        parents: commit.parent_ids().map(|oid| oid.to_string()).collect(),
        message: String::from_utf8_lossy(commit.message_bytes())
            .trim_end()
            .to_owned(),
        author: String::from_utf8_lossy(author.name_bytes()).into_owned(),
        email: String::from_utf8_lossy(author.email_bytes()).into_owned(),
        at_seconds: author.when().seconds(),
    }
}

/// A commit by branch name, sha or other revision.
pub(super) fn commit_facts(path: &Path, name: &str) -> Changed<CommitFacts> {
    let repo = Repository::open_bare(path)?;
    Ok(facts(&find(&repo, name)?))
}

/// What `head` has that `base` has not, and the other way round.
pub(super) fn compare(path: &Path, base: &str, head: &str) -> Changed<Comparison> {
    let repo = Repository::open_bare(path)?;
    let (base, head) = (find(&repo, base)?, find(&repo, head)?);
    let merge_base = repo.merge_base(base.id(), head.id());
    let merge_base = repo
        .find_commit(merge_base.map_err(|_| ModelError::NotFound("common ancestor".to_owned()))?)?;
    let (_, behind) = repo.graph_ahead_behind(head.id(), base.id())?;
    let mut walk = repo.revwalk()?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE)?;
    walk.push(head.id())?;
    walk.hide(base.id())?;
    let mut ahead = Vec::new();
    for oid in walk {
        ahead.push(facts(&repo.find_commit(oid?)?));
    }
    let files = changed_files(&repo, &merge_base, &head)?;
    Ok(Comparison {
        base: facts(&base),
        merge_base: facts(&merge_base),
        ahead,
        behind,
        files,
    })
}

fn changed_files(
    repo: &Repository,
    from: &Commit<'_>,
    to: &Commit<'_>,
) -> Changed<Vec<FileChange>> {
    let mut options = DiffOptions::new();
    let (old, new) = (from.tree()?, to.tree()?);
    let diff = repo.diff_tree_to_tree(Some(&old), Some(&new), Some(&mut options))?;
    let mut files = Vec::new();
    for index in 0..diff.deltas().len() {
        let Some(delta) = diff.get_delta(index) else {
            continue;
        };
        let status = match delta.status() {
            Delta::Added => "added",
            Delta::Deleted => "removed",
            Delta::Renamed => "renamed",
            _ => "modified",
        };
        let file = if status == "removed" {
            delta.old_file()
        } else {
            delta.new_file()
        };
        let patch = git2::Patch::from_diff(&diff, index)?;
        let (additions, deletions, text) = match patch {
            Some(mut patch) => {
                let (_, added, removed) = patch.line_stats()?;
                (
                    added,
                    removed,
                    String::from_utf8_lossy(&patch.to_buf()?).into_owned(),
                )
            }
            None => (0, 0, String::new()),
        };
        let hunks = text.find("@@").map_or("", |at| &text[at..]).to_owned();
        files.push(FileChange {
            name: file
                .path()
                .map(|path| path.to_string_lossy().into_owned())
                .unwrap_or_default(),
            blob: file.id().to_string(),
            status,
            additions,
            deletions,
            patch: hunks,
        });
    }
    Ok(files)
}
