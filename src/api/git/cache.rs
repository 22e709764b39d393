//! Bare copies of repositories, one each, and quarantines on top of them.
//!
//! A copy holds the branches as the forge had them at the last refresh; it is a
//! cache and may be deleted at any time while nothing runs. A quarantine is a
//! repository of its own that borrows the copy's objects and goes with the
//! request that it was made for: what is refused leaves no trace.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tempfile::TempDir;

use crate::domain::ids::{BranchName, CommitSha, RepositoryId};

use super::{
    super::port::GitRemote,
    command::{Git, GitError},
};

/// The copies of one process.
#[derive(Debug)]
pub struct GitCaches {
    root: PathBuf,
    ca_file: Option<PathBuf>,
    /// One refresh of a copy at a time.
    locks: Mutex<HashMap<RepositoryId, Arc<tokio::sync::Mutex<()>>>>,
}

/// A copy that was just refreshed.
#[derive(Debug)]
pub(crate) struct Copy {
    path: PathBuf,
}

/// A repository that takes one push.
#[derive(Debug)]
pub(crate) struct Quarantine {
    dir: TempDir,
}

impl GitCaches {
    /// Takes a folder for copies and quarantines; clears what older quarantines left.
    pub fn open(root: &Path, ca_file: Option<PathBuf>) -> std::io::Result<Self> {
        let quarantines = root.join("quarantine");
        if quarantines.exists() {
            std::fs::remove_dir_all(&quarantines)?;
        }
        std::fs::create_dir_all(&quarantines)?;
        std::fs::create_dir_all(root.join("copies"))?;
        Ok(Self {
            root: root.canonicalize()?,
            ca_file,
            locks: Mutex::default(),
        })
    }

    /// Brings a repository's copy up to what the forge has now.
    pub(crate) async fn refreshed(
        &self,
        repository: RepositoryId,
        remote: &GitRemote,
    ) -> Result<Copy, GitError> {
        let lock = self.lock(repository);
        let _one_at_a_time = lock.lock().await;
        let path = self.root.join("copies").join(format!("{repository}.git"));
        if !path.join("HEAD").exists() {
            init(&path).await?;
        }
        let args = [
            "fetch",
            "--quiet",
            "--prune",
            "--no-tags",
            "--no-write-fetch-head",
            remote.url.as_str(),
            "+refs/heads/*:refs/heads/*",
        ];
        Git::new(&path, &args)
            .authorization(remote.authorization.as_ref())
            .trusting(self.ca_file.as_ref())
            .run()
            .await?;
        Ok(Copy { path })
    }

    /// A fresh quarantine on top of a copy, its branch at `head`.
    pub(crate) async fn quarantine(
        &self,
        copy: &Copy,
        branch: &BranchName,
        head: Option<&CommitSha>,
    ) -> Result<Quarantine, GitError> {
        let dir = tempfile::Builder::new()
            .prefix("push-")
            .tempdir_in(self.root.join("quarantine"))?;
        init(dir.path()).await?;
        let objects = format!("{}\n", copy.path.join("objects").display());
        tokio::fs::write(dir.path().join("objects/info/alternates"), objects).await?;
        if let Some(head) = head {
            let reference = branch_ref(branch);
            let args = ["update-ref", reference.as_str(), head.as_str()];
            Git::new(dir.path(), &args).run().await?;
        }
        Ok(Quarantine { dir })
    }

    fn lock(&self, repository: RepositoryId) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(repository).or_default())
    }
}

impl Copy {
    /// The head of a branch, where it exists.
    pub(crate) async fn head(&self, branch: &BranchName) -> Result<Option<CommitSha>, GitError> {
        let reference = branch_ref(branch);
        let args = ["for-each-ref", "--format=%(objectname)", reference.as_str()];
        let text = Git::new(&self.path, &args).text().await?;
        // The pattern also finds branches below a folder of that name; refs of
        // both kinds cannot be there at once.
        Ok((!text.is_empty() && !text.contains('\n')).then(|| CommitSha::new(text)))
    }

    /// The newest commits of a branch, so that an agent whose copy is a little
    /// older need not send its history again.
    pub(crate) async fn recent(&self, head: &CommitSha) -> Result<Vec<CommitSha>, GitError> {
        let args = [
            "rev-list",
            "--first-parent",
            "--max-count=100",
            head.as_str(),
        ];
        let text = Git::new(&self.path, &args).text().await?;
        Ok(text.lines().map(CommitSha::new).collect())
    }
}

impl Quarantine {
    /// A git command inside it.
    pub(crate) fn git(&self, args: &[&str]) -> Git {
        Git::new(self.dir.path(), args)
    }

    /// A place for a file that goes with it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A branch's full name.
pub(crate) fn branch_ref(branch: &BranchName) -> String {
    format!("refs/heads/{branch}")
}

async fn init(path: &Path) -> Result<(), GitError> {
    tokio::fs::create_dir_all(path).await?;
    Git::new(path, &["init", "--quiet", "--bare", "--template="])
        .run()
        .await?;
    tokio::fs::create_dir_all(path.join("objects/info")).await?;
    Ok(())
}
