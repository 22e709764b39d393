//! The files of a commit that may hold documents.
//!
//! Sizes are asked for before contents are read. Submodules are another
//! repository's content and no part of a config commit.

use git2::{ObjectType, Oid, Repository, Tree};

use crate::desired::load::{Code, ConfigError, MAX_FOLDERS, SourceFiles, is_candidate, is_hidden};

/// The file mode of a symbolic link in a tree.
const LINK: i32 = 0o120_000;

/// Reads the files of a commit.
pub(super) fn files(repository: &Repository, commit: Oid) -> Result<SourceFiles, git2::Error> {
    let mut found = SourceFiles::default();
    let tree = repository.find_commit(commit)?.tree()?;
    walk(repository, &tree, "", 0, &mut found)?;
    Ok(found.sorted())
}

fn walk(
    repository: &Repository,
    tree: &Tree<'_>,
    prefix: &str,
    depth: usize,
    found: &mut SourceFiles,
) -> Result<(), git2::Error> {
    if depth > MAX_FOLDERS {
        found.errors.push(ConfigError::in_file(
            prefix,
            Code::TooDeep,
            "folders are nested too deeply",
        ));
        return Ok(());
    }
    for entry in tree {
        let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}/{name}")
        };
        if matches!(name.as_str(), "" | "." | "..") || name.contains('/') || name.contains('\0') {
            let message = "the path leads out of the config repo";
            found
                .errors
                .push(ConfigError::in_file(&path, Code::PathEscapes, message));
            continue;
        }
        if is_hidden(&name) {
            continue;
        }
        if !found.enter(&path) {
            return Ok(());
        }
        match entry.kind() {
            Some(ObjectType::Tree) => {
                let tree = repository.find_tree(entry.id())?;
                walk(repository, &tree, &path, depth + 1, found)?;
            }
            Some(ObjectType::Blob) => blob(repository, &path, entry.id(), entry.filemode(), found)?,
            _ => {}
        }
    }
    Ok(())
}

fn blob(
    repository: &Repository,
    path: &str,
    id: Oid,
    mode: i32,
    found: &mut SourceFiles,
) -> Result<(), git2::Error> {
    let is_link = mode == LINK;
    if !is_link && !is_candidate(path) {
        return Ok(());
    }
    let (size, _) = repository.odb()?.read_header(id)?;
    if !found.admit(path, size as u64) {
        return Ok(());
    }
    let content = repository.find_blob(id)?;
    if is_link {
        found.link(path, &String::from_utf8_lossy(content.content()));
    } else {
        found.add(path.to_owned(), content.content().to_vec());
    }
    Ok(())
}
