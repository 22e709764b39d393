//! Running the `git` program over folders of ours, with nothing of the
//! surroundings but the path and the proxies, and credentials in its
//! environment, never in its arguments.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use tokio::{
    fs::File,
    process::{Child, ChildStdout, Command},
};

/// Longer than any honest call: a fetch of a large repository the first time.
pub(crate) const TIME_LIMIT: Duration = Duration::from_mins(5);
/// Passed on from our own environment.
const KEPT: [&str; 8] = [
    "PATH",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
];

/// Why a git command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// It could not be run.
    #[error("git {verb} could not be run")]
    Run {
        /// The subcommand.
        verb: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It took too long.
    #[error("git {0} took longer than {TIME_LIMIT:?}")]
    Slow(String),
    /// It failed.
    #[error("git {verb} failed: {message}")]
    Failed {
        /// The subcommand.
        verb: String,
        /// What it said last.
        message: String,
    },
    /// A file of ours could not be read or written.
    #[error("a file of a Git cache failed")]
    File(#[from] std::io::Error),
}

/// One git command to be run.
pub(crate) struct Git {
    command: Command,
    verb: String,
    settings: Vec<(String, String)>,
}

impl Git {
    /// A command on the repository at `dir`.
    pub(crate) fn new(dir: &Path, args: &[&str]) -> Self {
        let mut command = Command::new("git");
        command
            .args(args)
            .current_dir(dir)
            .env_clear()
            .env("HOME", dir)
            .env("LC_ALL", "C")
            .env("GIT_DIR", ".")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for name in KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let settings = [
            ("core.hooksPath", "/dev/null"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("http.followRedirects", "false"),
            ("protocol.allow", "never"),
            ("protocol.http.allow", "always"),
            ("protocol.https.allow", "always"),
        ];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            command,
            verb: args.first().copied().unwrap_or_default().to_owned(),
            settings: settings.map(own).to_vec(),
        }
    }

    /// Adds a setting for this command alone.
    pub(crate) fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends this `Authorization` with every request.
    pub(crate) fn authorization(self, value: Option<&SecretString>) -> Self {
        match value {
            Some(value) => {
                let header = format!("Authorization: {}", value.expose_secret());
                self.setting("http.extraHeader", &header)
            }
            None => self,
        }
    }

    /// Trusts these certificates.
    pub(crate) fn trusting(self, ca_file: Option<&PathBuf>) -> Self {
        match ca_file {
            Some(path) => self.setting("http.sslCAInfo", &path.display().to_string()),
            None => self,
        }
    }

    /// Sets where further objects are read from.
    pub(crate) fn input(mut self, file: File) -> Self {
        // A file that has no operation under way converts at once.
        if let Ok(file) = file.try_into_std() {
            self.command.stdin(file);
        }
        self
    }

    /// Reads what another command says.
    pub(crate) fn fed_by(mut self, other: &mut Running) -> Result<Self, GitError> {
        self.command
            .stdin(TryInto::<Stdio>::try_into(other.take_output()?)?);
        Ok(self)
    }

    /// Starts it, for an output that is too long to keep; its complaints are lost.
    pub(crate) fn start(mut self) -> Result<Running, GitError> {
        self.take_settings();
        let spawned = self.command.stderr(Stdio::null()).spawn();
        let verb = self.verb;
        match spawned {
            Ok(child) => Ok(Running { child, verb }),
            Err(source) => Err(GitError::Run { verb, source }),
        }
    }

    fn take_settings(&mut self) {
        self.command
            .env("GIT_CONFIG_COUNT", self.settings.len().to_string());
        for (at, (name, value)) in self.settings.iter().enumerate() {
            self.command.env(format!("GIT_CONFIG_KEY_{at}"), name);
            self.command.env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
    }

    /// Runs it; any end is an answer.
    pub(crate) async fn output(mut self) -> Result<Output, GitError> {
        self.take_settings();
        match tokio::time::timeout(TIME_LIMIT, self.command.output()).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(source)) => Err(GitError::Run {
                verb: self.verb,
                source,
            }),
            Err(_) => Err(GitError::Slow(self.verb)),
        }
    }

    /// Runs it and takes its output; an end other than 0 is an error.
    pub(crate) async fn run(self) -> Result<Vec<u8>, GitError> {
        let verb = self.verb.clone();
        let output = self.output().await?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let message = said.lines().rev().take(3).collect::<Vec<_>>().join("; ");
        Err(GitError::Failed { verb, message })
    }

    /// Runs it and takes its output as text without the last line's end.
    pub(crate) async fn text(self) -> Result<String, GitError> {
        let output = self.run().await?;
        Ok(String::from_utf8_lossy(&output).trim_end().to_owned())
    }
}

/// A git command at work. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    verb: String,
}

impl Running {
    /// What it says; once.
    pub(crate) fn take_output(&mut self) -> Result<ChildStdout, GitError> {
        let taken = || std::io::Error::other("its output is taken already");
        Ok(self.child.stdout.take().ok_or_else(taken)?)
    }

    /// Waits until it ends; an end other than 0 is an error.
    pub(crate) async fn ended(mut self) -> Result<(), GitError> {
        let status = self.child.wait().await?;
        if status.success() {
            return Ok(());
        }
        Err(GitError::Failed {
            verb: self.verb,
            message: status.to_string(),
        })
    }
}
