//! The file by which small commands find a running sandbox.
//!
//! It lies in the user's runtime or cache folder and holds secrets, so only its
//! owner may read it.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// Where a running sandbox is and how one may act in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Handle {
    /// The sandbox's process.
    pub(super) process: u32,
    /// The GitHub model's address.
    pub(super) github: String,
    /// What the model's control endpoint asks for.
    pub(super) control_secret: String,
    /// The config repo.
    pub(super) config: PathBuf,
    /// The staff API.
    pub(super) api: String,
    /// Health and metrics.
    pub(super) ops: String,
    /// Where `serve` logs.
    pub(super) log: PathBuf,
    /// The settings of `serve`.
    pub(super) settings: BTreeMap<String, String>,
}

impl Handle {
    /// Writes the file; a newer sandbox takes the place of an older one.
    pub(super) fn publish(&self) -> anyhow::Result<Published> {
        let path = path()?;
        let folder = path.parent().context("the sandbox's file has a folder")?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("make {}", folder.display()))?;
        let new = path.with_extension(format!("{}.new", self.process));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .with_context(|| format!("write {}", new.display()))?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        fs::rename(&new, &path).with_context(|| format!("write {}", path.display()))?;
        Ok(Published {
            path,
            process: self.process,
        })
    }

    /// Finds the running sandbox.
    pub(super) fn find() -> anyhow::Result<Self> {
        let path = path()?;
        let handle = read(&path).filter(Self::is_alive);
        let Some(handle) = handle else {
            bail!("no sandbox is running; hint: start one with `codex-k8s sandbox`");
        };
        Ok(handle)
    }

    fn is_alive(&self) -> bool {
        let process = i32::try_from(self.process).ok();
        let process = process.and_then(rustix::process::Pid::from_raw);
        process.is_some_and(|process| rustix::process::test_kill_process(process).is_ok())
    }
}

/// The file of a running sandbox; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Published {
    path: PathBuf,
    process: u32,
}

impl Drop for Published {
    fn drop(&mut self) {
        let ours = read(&self.path).is_some_and(|handle| handle.process == self.process);
        if ours {
            // A file that stays names a process that has gone, which is noticed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn read(path: &std::path::Path) -> Option<Handle> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn path() -> anyhow::Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = folder("XDG_RUNTIME_DIR")
        .or_else(|| folder("XDG_CACHE_HOME"))
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(folder("HOME")?).join(".cache")))
        .context("HOME is not set, so there is no place for the sandbox's file")?;
    Ok(base.join("codex-k8s").join("sandbox.json"))
}
