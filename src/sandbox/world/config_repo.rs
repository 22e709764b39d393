//! The config repo: a bare Git repository on this machine, with commits like people's.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use git2::{Index, IndexEntry, IndexTime, Oid, Repository, RepositoryInitOptions, Signature};

/// The branch that counts.
const BRANCH: &str = "refs/heads/main";
/// A plain file.
const FILE_MODE: u32 = 0o100_644;
/// The file that [`ConfigRepo::break_it`] spoils, and what it puts there.
const SPOILED: (&str, &str) = (
    "projects/demo/project.yaml",
    "apiVersion: codex-k8s.dev/v1alpha1\nkind: Project\nmetadata:\n  name: demo\nspec:\n  \
     displayName: Demo\n  slots: many\n  colour: green\n",
);

/// A config repo; the value is only its place.
#[derive(Debug, Clone)]
pub struct ConfigRepo {
    path: PathBuf,
}

impl ConfigRepo {
    /// Makes the repository with these files as its first commit.
    pub fn create(path: &Path, files: &BTreeMap<String, String>) -> Result<Self, git2::Error> {
        let mut options = RepositoryInitOptions::new();
        options.bare(true).mkpath(true).initial_head("main");
        Repository::init_opts(path, &options)?;
        let repo = Self::at(path);
        let files = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()));
        repo.commit("Begin with the example organisation", files)?;
        Ok(repo)
    }

    /// The repository that is there already.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Commits files on top of the branch; answers the commit's id.
    pub fn commit<'f>(
        &self,
        message: &str,
        files: impl IntoIterator<Item = (&'f str, &'f str)>,
    ) -> Result<String, git2::Error> {
        let git = Repository::open_bare(&self.path)?;
        let parent = match git.find_reference(BRANCH) {
            Ok(head) => Some(head.peel_to_commit()?),
            Err(_) => None,
        };
        let mut index = Index::new()?;
        if let Some(parent) = &parent {
            index.read_tree(&parent.tree()?)?;
        }
        for (path, text) in files {
            index.add(&entry(path, git.blob(text.as_bytes())?))?;
        }
        let tree = git.find_tree(index.write_tree_to(&git)?)?;
        let author = Signature::now("Ada", "ada@example.org")?;
        let parents: Vec<_> = parent.iter().collect();
        let commit = git.commit(Some(BRANCH), &author, &author, message, &tree, &parents)?;
        Ok(commit.to_string())
    }

    /// Commits a file with errors in it; answers the commit's id.
    pub fn break_it(&self) -> Result<String, git2::Error> {
        self.commit("Give the project a colour", [SPOILED])
    }

    /// Commits the last good text of that file again; answers the commit's id.
    pub fn mend_it(&self) -> Result<String, git2::Error> {
        let git = Repository::open_bare(&self.path)?;
        let mut commit = git.find_reference(BRANCH)?.peel_to_commit()?;
        loop {
            let file = commit.tree()?.get_path(Path::new(SPOILED.0))?;
            let text = git.find_blob(file.id())?.content().to_owned();
            if text != SPOILED.1.as_bytes() {
                let text = String::from_utf8_lossy(&text).into_owned();
                return self.commit("Take the colour back", [(SPOILED.0, text.as_str())]);
            }
            commit = commit.parent(0)?;
        }
    }
}

fn entry(path: &str, blob: Oid) -> IndexEntry {
    IndexEntry {
        ctime: IndexTime::new(0, 0),
        mtime: IndexTime::new(0, 0),
        dev: 0,
        ino: 0,
        mode: FILE_MODE,
        uid: 0,
        gid: 0,
        file_size: 0,
        id: blob,
        flags: 0,
        flags_extended: 0,
        path: path.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mending_restores_the_text_before_the_break() {
        let folder = tempfile::tempdir().unwrap();
        let files = [(SPOILED.0.to_owned(), "good\n".to_owned())].into();
        let repo = ConfigRepo::create(&folder.path().join("config.git"), &files).unwrap();
        repo.break_it().unwrap();
        repo.break_it().unwrap();
        let mended = repo.mend_it().unwrap();
        let git = Repository::open_bare(repo.path()).unwrap();
        let commit = git.find_commit(mended.parse().unwrap()).unwrap();
        let file = commit
            .tree()
            .unwrap()
            .get_path(Path::new(SPOILED.0))
            .unwrap();
        assert_eq!(git.find_blob(file.id()).unwrap().content(), b"good\n");
        assert_eq!(git.head().unwrap().target(), Some(commit.id()));
    }
}
