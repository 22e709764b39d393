//! Where things lie below the work folder, and what is remembered there across
//! a restart of the runner.

use std::{fs, io, path::PathBuf};

use crate::domain::ids::AttemptNo;

use super::{heard::is_session, machine::CommandEnd};

/// The file in the home that names the session the program was in last.
pub(crate) const SESSION_FILE: &str = "codexk8s-session";

/// The work folder's layout.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The checked-out repository.
    pub(crate) repository: PathBuf,
    /// The program's home, where it keeps its sessions.
    pub(crate) home: PathBuf,
    /// What the runner remembers.
    state: PathBuf,
}

impl Places {
    /// Makes the folders.
    pub(crate) fn below(work: &std::path::Path) -> io::Result<Self> {
        fs::create_dir_all(work)?;
        let work = work.canonicalize()?;
        let places = Self {
            repository: work.join("repository"),
            home: work.join("home"),
            state: work.join("runner"),
        };
        fs::create_dir_all(&places.home)?;
        fs::create_dir_all(&places.state)?;
        Ok(places)
    }

    /// A folder that only the runner writes to.
    pub(crate) fn state(&self) -> &std::path::Path {
        &self.state
    }

    /// The prompt, as a file.
    pub(crate) fn prompt_file(&self) -> PathBuf {
        self.state.join("prompt.md")
    }

    /// Where the command may write its result.
    pub(crate) fn result_file(&self) -> PathBuf {
        self.state.join("result.json")
    }

    /// The name of the session that the program was in last; it goes with the home.
    pub(crate) fn session_file(&self) -> PathBuf {
        self.home.join(SESSION_FILE)
    }

    /// Makes the home as empty as at first.
    pub(crate) fn empty_home(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.home)?;
        fs::create_dir_all(&self.home)
    }

    /// The session to go on with. A snapshot may have brought the name along.
    pub(crate) fn session(&self) -> Option<String> {
        let name = fs::read_to_string(self.session_file()).ok();
        name.filter(|name| is_session(name))
    }

    /// The command's process group, while it runs.
    pub(crate) fn group_file(&self) -> PathBuf {
        self.state.join("command.pid")
    }

    /// How the attempt's command ended, if it did before.
    pub(crate) fn finished(&self, attempt: AttemptNo) -> Option<CommandEnd> {
        let bytes = fs::read(self.finished_file(attempt)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Remembers how the attempt's command ended.
    pub(crate) fn remember(&self, attempt: AttemptNo, end: &CommandEnd) -> io::Result<()> {
        let bytes = serde_json::to_vec(end)?;
        replace(&self.finished_file(attempt), &bytes)
    }

    /// A block of log sequence numbers that no earlier start of this attempt used.
    pub(crate) fn log_sequences(&self, attempt: AttemptNo, block: i64) -> io::Result<i64> {
        let file = self.state.join(format!("log-sequence-{attempt}"));
        let first = fs::read_to_string(&file)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(1);
        replace(&file, (first + block).to_string().as_bytes())?;
        Ok(first)
    }

    fn finished_file(&self, attempt: AttemptNo) -> PathBuf {
        self.state.join(format!("finished-{attempt}.json"))
    }
}

/// Writes a file so that it is either as before or whole.
pub(crate) fn replace(path: &std::path::Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, bytes)?;
    fs::rename(new, path)
}
