//! The files of a commit or a folder, and which of them hold documents.
//!
//! Read are `*.yaml` and `*.yml`, and `*.md` below a folder `prompts` or with
//! front matter that names our `apiVersion`. Hidden files and folders belong to
//! other tools. Sizes are judged before anything is read.

use std::{fs, io, path::Path};

use super::error::{Code, ConfigError};

/// The largest file that is read. A config document is some kilobytes.
pub(crate) const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What all documents of a commit may have together. Read, they take some fifty times as much memory.
pub(crate) const MAX_TOTAL_BYTES: u64 = 16 * 1024 * 1024;

/// How many files and folders of a commit are looked at: trees can be made that name themselves without end.
const MAX_ENTRIES: usize = 200_000;

/// How many files a commit may have that could hold documents.
pub(crate) const MAX_FILES: usize = 20_000;

/// How deep folders may be nested.
pub(crate) const MAX_FOLDERS: usize = 32;

/// A file that may hold documents.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Its path from the root, with `/`.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// All files of a commit that may hold documents, and what was wrong with others.
#[derive(Debug, Clone, Default)]
pub struct SourceFiles {
    /// The files, in the order of their paths once [`SourceFiles::sorted`].
    pub files: Vec<SourceFile>,
    /// Files that were refused unread.
    pub errors: Vec<ConfigError>,
    total: u64,
    entries: usize,
}

impl SourceFiles {
    /// Counts a file or folder. `false` means that no more are looked at.
    pub(crate) fn enter(&mut self, path: &str) -> bool {
        self.entries += 1;
        if self.entries == MAX_ENTRIES + 1 {
            let message = format!("the config repo has more than {MAX_ENTRIES} files and folders");
            self.errors
                .push(ConfigError::in_file(path, Code::TooLarge, message));
        }
        self.entries <= MAX_ENTRIES
    }

    /// Takes a file's size into account. `false` means that it is not to be read.
    pub(crate) fn admit(&mut self, path: &str, bytes: u64) -> bool {
        if bytes > MAX_FILE_BYTES {
            let message = format!("the file has {bytes} bytes; at most {MAX_FILE_BYTES} are read");
            self.errors
                .push(ConfigError::in_file(path, Code::TooLarge, message));
            return false;
        }
        if self.files.len() >= MAX_FILES || self.total + bytes > MAX_TOTAL_BYTES {
            if !self.errors.iter().any(|error| error.path == ROOT_MARK) {
                let message = format!(
                    "the config repo has more than {MAX_FILES} files or {MAX_TOTAL_BYTES} bytes of documents"
                );
                let mut error = ConfigError::in_file(path, Code::TooLarge, message);
                ROOT_MARK.clone_into(&mut error.path);
                self.errors.push(error);
            }
            return false;
        }
        self.total += bytes;
        true
    }

    /// Adds a file that was admitted.
    pub(crate) fn add(&mut self, path: String, bytes: Vec<u8>) {
        if is_document(&path, &bytes) {
            self.files.push(SourceFile { path, bytes });
        }
    }

    /// Judges a symbolic link by where it leads.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        if climbs_out(path, target) {
            let message = format!("the symbolic link to `{target}` leads out of the config repo");
            self.errors
                .push(ConfigError::in_file(path, Code::PathEscapes, message));
        } else if Path::new(path).extension().is_none() || is_candidate(path) {
            let message =
                "a symbolic link is not followed; put the document itself here".to_owned();
            self.errors
                .push(ConfigError::in_file(path, Code::SymbolicLink, message));
        }
    }

    /// Puts files and errors in the order of their paths.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.files.sort_by(|left, right| left.path.cmp(&right.path));
        self.errors.sort();
        self
    }
}

/// Marks the one error about the whole commit's size.
const ROOT_MARK: &str = "/";

/// Reads the files below a folder as they are now, committed or not.
///
/// *Errors*: the folder itself cannot be listed. A file that cannot be read is
/// an error of the result, with its place.
pub fn read_folder(root: &Path) -> io::Result<SourceFiles> {
    let mut found = SourceFiles::default();
    walk(root, "", 0, &mut found)?;
    Ok(found.sorted())
}

fn walk(folder: &Path, prefix: &str, depth: usize, found: &mut SourceFiles) -> io::Result<()> {
    if depth > MAX_FOLDERS {
        found.errors.push(ConfigError::in_file(
            prefix,
            Code::TooDeep,
            "folders are nested too deeply",
        ));
        return Ok(());
    }
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let raw_name = entry.file_name();
        let name = raw_name.to_string_lossy();
        let path = if prefix.is_empty() {
            name.to_string()
        } else {
            format!("{prefix}/{name}")
        };
        if is_hidden(&name) {
            continue;
        }
        if !found.enter(&path) {
            return Ok(());
        }
        if let Err(error) = visit(&entry, &path, depth, found) {
            found.errors.push(ConfigError::in_file(
                &path,
                Code::Unreadable,
                format!("cannot be read: {error}"),
            ));
        }
    }
    Ok(())
}

fn visit(
    entry: &fs::DirEntry,
    path: &str,
    depth: usize,
    found: &mut SourceFiles,
) -> io::Result<()> {
    let kind = entry.file_type()?;
    if kind.is_symlink() {
        found.link(path, &fs::read_link(entry.path())?.to_string_lossy());
    } else if kind.is_dir() {
        walk(&entry.path(), path, depth + 1, found)?;
    } else if kind.is_file() && is_candidate(path) && found.admit(path, entry.metadata()?.len()) {
        found.add(path.to_owned(), fs::read(entry.path())?);
    }
    Ok(())
}

/// Whether a file or folder belongs to other tools.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// Whether a file could hold documents, by its name alone.
pub(crate) fn is_candidate(path: &str) -> bool {
    is_yaml(path) || is_markdown(path)
}

fn has_extension(path: &str, extensions: &[&str]) -> bool {
    Path::new(path)
        .extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| {
            extensions
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        })
}

fn is_yaml(path: &str) -> bool {
    has_extension(path, &["yaml", "yml"])
}

/// Whether a file is Markdown, by its name.
pub(crate) fn is_markdown(path: &str) -> bool {
    has_extension(path, &["md"])
}

fn is_document(path: &str, bytes: &[u8]) -> bool {
    if is_yaml(path) {
        return true;
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    if name.eq_ignore_ascii_case("readme.md") {
        return false;
    }
    let below_prompts = path
        .split('/')
        .rev()
        .skip(1)
        .any(|folder| folder == "prompts");
    let front = &bytes[..bytes.len().min(4096)];
    let names_us =
        front.starts_with(b"---") && front.windows(13).any(|window| window == b"codex-k8s.dev");
    below_prompts || names_us
}

/// Whether a link at `path` with this target leads out of the root.
fn climbs_out(path: &str, target: &str) -> bool {
    if target.starts_with('/') {
        return true;
    }
    let mut depth = path.split('/').count() - 1;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_leave_the_root_are_told_from_those_that_stay() {
        assert!(climbs_out("a/link.yaml", "../../outside.yaml"));
        assert!(climbs_out("link.yaml", "/outside.yaml"));
        assert!(climbs_out("link.yaml", "a/../../outside.yaml"));
        assert!(!climbs_out("a/link.yaml", "../b.yaml"));
    }

    #[test]
    fn documents_are_yaml_and_prompts() {
        assert!(is_document("a.yaml", b""));
        assert!(is_document("prompts/dev/work.md", b""));
        assert!(is_document(
            "x.md",
            b"---\napiVersion: codex-k8s.dev/v1alpha1\n---\n"
        ));
        assert!(!is_document("x.md", b"# Title\n"));
        assert!(!is_document("prompts/README.md", b"# Title\n"));
    }
}
