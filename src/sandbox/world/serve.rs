//! `serve` as a child: started, stopped, killed, started again.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How much of the log is looked at where its end is asked for.
const TAIL_BYTES: u64 = 64 * 1024;
/// How often a child that is asked to end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What to start, and where its output goes.
#[derive(Debug, Clone)]
pub struct ServeCommand {
    /// The program.
    pub binary: PathBuf,
    /// What follows `serve` on its command line.
    pub arguments: Vec<String>,
    /// All `CODEXK8S_*` variables.
    pub settings: BTreeMap<String, String>,
    /// The file its output is added to.
    pub log: PathBuf,
    /// The file that holds the process id while it runs, for whoever cleans up after us.
    pub pid_file: PathBuf,
}

/// A running `serve`. Dropping it kills it.
#[derive(Debug)]
pub struct ServeChild {
    child: Child,
    pid_file: PathBuf,
}

impl ServeCommand {
    /// Starts it.
    pub fn spawn(&self) -> std::io::Result<ServeChild> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let errors = log.try_clone()?;
        let mut command = Command::new(&self.binary);
        command
            .arg("serve")
            .args(&self.arguments)
            .env_clear()
            .envs(inherited())
            .envs(&self.settings);
        // A group of its own: Ctrl-C is ours to pass on.
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let child = command.spawn()?;
        fs::write(&self.pid_file, child.id().to_string())?;
        Ok(ServeChild {
            child,
            pid_file: self.pid_file.clone(),
        })
    }

    /// The last lines of its output.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines).unwrap_or_default()
    }
}

impl ServeChild {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it at once, as a crash does.
    pub fn kill(mut self) -> std::io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// Asks it to end, and kills it where it does not within `patience`.
    pub async fn stop(mut self, patience: Duration) -> std::io::Result<ExitStatus> {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(process) = process {
            // Gone already is as good.
            let _ = kill_process(process, Signal::TERM);
        }
        let began = Instant::now();
        while began.elapsed() < patience {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for ServeChild {
    fn drop(&mut self) {
        // Both fail only where it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.pid_file);
    }
}

/// What every program needs of our own environment.
fn inherited() -> impl Iterator<Item = (String, String)> {
    [
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "RUST_BACKTRACE",
        "RUST_LIB_BACKTRACE",
    ]
    .into_iter()
    .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
}

fn tail(path: &Path, lines: usize) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<_> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}
