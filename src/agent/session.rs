//! A session as one blob: the files below the command's home, so that a later
//! attempt goes on where this one was.
//!
//! The platform does not look into it; the format tag says who can. Only what the
//! program's profile names as its session is taken, and never what the runner
//! writes there itself. Restoring writes below the home only, whatever the blob says.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    time::SystemTime,
};

use crate::domain::redact::Redactor;

/// The tag of this format.
pub const FORMAT: &str = "codex-k8s-files/1";
const MAGIC: &[u8] = b"CK8SFILES1\n";

/// Why a blob cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// It is not what its tag says.
    #[error("the session is damaged")]
    Damaged,
    /// One of its paths leads out of the home.
    #[error("the session holds a path that leads out: {0}")]
    LeadsOut(String),
    /// A file could not be read or written.
    #[error("a file of the session failed")]
    File(#[from] io::Error),
}

/// The files below `home` as one blob of at most `limit` bytes; the newest files
/// go in first. `None` where there are none.
///
/// Of what lies directly in it only the `wanted` is taken, or everything where none is named;
/// the files `ours`, by their paths, never. Known secrets are taken out of texts: a program may
/// have printed them.
pub fn pack(
    home: &Path,
    wanted: &[String],
    ours: &[PathBuf],
    redactor: &Redactor,
    limit: usize,
) -> Result<Option<Vec<u8>>, SessionError> {
    let mut files = Vec::new();
    collect(home, Path::new(""), wanted, &mut files)?;
    files.retain(|(path, _)| !ours.contains(path));
    files.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut blob = MAGIC.to_vec();
    for (path, _) in &files {
        let Ok(content) = fs::read(home.join(path)) else {
            // It went away while the command works.
            continue;
        };
        let content = match String::from_utf8(content) {
            Ok(text) => redactor.redact_known(&text).into_bytes(),
            Err(binary) => binary.into_bytes(),
        };
        let Some(name) = path.to_str() else { continue };
        if blob.len() + name.len() + content.len() + 16 > limit {
            continue;
        }
        blob.extend((name.len() as u64).to_be_bytes());
        blob.extend((content.len() as u64).to_be_bytes());
        blob.extend(name.as_bytes());
        blob.extend(content);
    }
    Ok((blob.len() > MAGIC.len()).then_some(blob))
}

/// Writes a blob's files below `home`.
pub fn unpack(blob: &[u8], home: &Path) -> Result<(), SessionError> {
    let mut rest = blob.strip_prefix(MAGIC).ok_or(SessionError::Damaged)?;
    while !rest.is_empty() {
        let name_length = take_length(&mut rest)?;
        let content_length = take_length(&mut rest)?;
        let name = take(&mut rest, name_length)?;
        let content = take(&mut rest, content_length)?;
        let name = std::str::from_utf8(name).map_err(|_| SessionError::Damaged)?;
        let path = inside(home, name)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    Ok(())
}

fn collect(
    home: &Path,
    below: &Path,
    wanted: &[String],
    files: &mut Vec<(PathBuf, SystemTime)>,
) -> Result<(), SessionError> {
    let Ok(entries) = fs::read_dir(home.join(below)) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let name = entry.file_name();
        if !wanted.is_empty() && !wanted.iter().any(|wanted| name == wanted.as_str()) {
            continue;
        }
        // Links are not followed: they may lead anywhere.
        let Ok(metadata) = entry.path().symlink_metadata() else {
            continue;
        };
        if metadata.is_dir() {
            collect(home, &path, &[], files)?;
        } else if metadata.is_file() {
            files.push((path, metadata.modified()?));
        }
    }
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], SessionError> {
    let (taken, left) = rest.split_at_checked(length).ok_or(SessionError::Damaged)?;
    *rest = left;
    Ok(taken)
}

fn take_length(rest: &mut &[u8]) -> Result<usize, SessionError> {
    let bytes = take(rest, 8)?
        .try_into()
        .map_err(|_| SessionError::Damaged)?;
    usize::try_from(u64::from_be_bytes(bytes)).map_err(|_| SessionError::Damaged)
}

fn inside(home: &Path, name: &str) -> Result<PathBuf, SessionError> {
    let path = Path::new(name);
    let plain = path
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    if name.is_empty() || !plain {
        return Err(SessionError::LeadsOut(name.to_owned()));
    }
    Ok(home.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_comes_back_without_what_is_none() {
        let from = tempfile::tempdir().unwrap();
        fs::create_dir_all(from.path().join("sessions/2026")).unwrap();
        let session = "{\"printed\":\"the-run-token\"}";
        fs::write(from.path().join("sessions/2026/a.jsonl"), session).unwrap();
        let redactor = Redactor::knowing(["the-run-token".to_owned()]);
        fs::write(from.path().join("auth.json"), "secret").unwrap();
        fs::write(from.path().join("sessions/ours.toml"), "a = 1").unwrap();
        let wanted = ["sessions".to_owned(), "other".to_owned()];
        let ours = [PathBuf::from("sessions/ours.toml")];
        let blob = pack(from.path(), &wanted, &ours, &redactor, 10_000)
            .unwrap()
            .unwrap();
        let to = tempfile::tempdir().unwrap();
        unpack(&blob, to.path()).unwrap();
        assert_eq!(
            fs::read(to.path().join("sessions/2026/a.jsonl")).unwrap(),
            b"{\"printed\":\"[redacted]\"}"
        );
        assert!(!to.path().join("auth.json").exists());
        assert!(!to.path().join("sessions/ours.toml").exists());
        let everything = pack(from.path(), &[], &[], &redactor, 10_000)
            .unwrap()
            .unwrap();
        unpack(&everything, to.path()).unwrap();
        assert!(to.path().join("auth.json").exists());
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("big"), vec![0; 5000]).unwrap();
        assert!(
            pack(home.path(), &[], &[], &Redactor::default(), 1000)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_blob_that_leads_out_or_is_cut_is_refused() {
        let to = tempfile::tempdir().unwrap();
        let blob = |name: &str| {
            let mut blob = MAGIC.to_vec();
            blob.extend((name.len() as u64).to_be_bytes());
            blob.extend(1u64.to_be_bytes());
            blob.extend(name.as_bytes());
            blob.push(b'x');
            blob
        };
        for name in ["../x", "/etc/x", "a/../../x", ""] {
            assert!(unpack(&blob(name), to.path()).is_err(), "{name}");
        }
        let good = blob("a/b");
        for end in MAGIC.len() + 1..good.len() {
            assert!(unpack(&good[..end], to.path()).is_err(), "{end}");
        }
    }
}
