//! The checked-out repository: made once, found again after a restart, committed
//! and pushed without doing anything twice.

use std::{fs, io, path::Path, process::Output as Ended, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::domain::{
    ids::CommitSha,
    run_api::{PUSH_PENDING, RunFacts},
    run_token::RunToken,
};

use super::places::Places;

/// Passed on from the runner's environment to git.
const KEPT: [&str; 3] = ["PATH", "TMPDIR", "SSL_CERT_FILE"];
/// Written when clone and checkout are through.
const READY: &str = "codexk8s-ready";

/// Why the workspace did not get where it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkspaceError {
    /// A git command failed.
    #[error("git {verb} failed: {message}")]
    Git {
        /// The subcommand.
        verb: String,
        /// Its last words.
        message: String,
    },
    /// A file could not be read or written.
    #[error("a file of the workspace failed")]
    File(#[from] io::Error),
}

/// What a push came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// The forge has it.
    Done,
    /// It was refused for good.
    Refused(String),
    /// Nothing was decided: push again.
    Again(String),
    /// The branch has moved on: bring the work on top of it first.
    Moved,
}

/// The run's repository in the work folder.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    places: Places,
    remote: String,
    token: RunToken,
    ca_file: Option<std::path::PathBuf>,
}

impl Workspace {
    /// The repository whose remote is at `remote`.
    pub(crate) fn new(
        places: Places,
        remote: String,
        token: RunToken,
        ca_file: Option<std::path::PathBuf>,
    ) -> Self {
        Self {
            places,
            remote,
            token,
            ca_file,
        }
    }

    /// Checks out the run's branch, or finds it as it was left.
    pub(crate) async fn prepare(&self, facts: &RunFacts) -> Result<(), WorkspaceError> {
        let repository = &self.places.repository;
        let ready = repository.join(".git").join(READY);
        if ready.exists() {
            return Ok(());
        }
        if repository.exists() {
            fs::remove_dir_all(repository)?;
        }
        let target = repository.display().to_string();
        let clone = [
            "clone",
            "--quiet",
            "--no-checkout",
            "--no-tags",
            &self.remote,
            &target,
        ];
        self.run(self.places.state(), &clone).await?;
        let branch = facts.branch.as_str();
        let theirs = format!("refs/remotes/origin/{branch}");
        let base = format!("refs/remotes/origin/{}", facts.base_branch);
        let start = if self.commit_of(&theirs).await?.is_some() {
            theirs
        } else {
            base
        };
        self.git(&["checkout", "--quiet", "--no-track", "-B", branch, &start])
            .await?;
        self.git(&["config", "user.name", &facts.author.name])
            .await?;
        self.git(&["config", "user.email", &facts.author.email])
            .await?;
        fs::write(ready, b"")?;
        Ok(())
    }

    /// Commits what is left uncommitted; the head, where the branch then holds
    /// anything beyond its base.
    pub(crate) async fn commit(
        &self,
        facts: &RunFacts,
        title: Option<&str>,
    ) -> Result<Option<CommitSha>, WorkspaceError> {
        // Left by a git command that was killed.
        drop(fs::remove_file(
            self.places.repository.join(".git/index.lock"),
        ));
        self.git(&["add", "--all"]).await?;
        let staged = self.ended(&self.places.repository, &["diff", "--cached", "--quiet"]);
        if !staged.await?.status.success() {
            let message = format!(
                "{}\n\nRefs: #{}\n",
                title.unwrap_or(&facts.issue_title),
                facts.issue
            );
            self.git(&["commit", "--quiet", "--no-verify", "--message", &message])
                .await?;
        }
        let base = format!("^refs/remotes/origin/{}", facts.base_branch);
        let beyond = self.git(&["rev-list", "--count", "HEAD", &base]).await?;
        if beyond == "0" {
            return Ok(None);
        }
        self.commit_of("HEAD").await
    }

    /// Pushes the head to the run's branch.
    pub(crate) async fn push(&self, facts: &RunFacts) -> Result<Push, WorkspaceError> {
        let refspec = format!("HEAD:refs/heads/{}", facts.branch);
        let push = ["push", "--porcelain", "--no-verify", "origin", &refspec];
        let ended = self.ended(&self.places.repository, &push).await?;
        Ok(pushed(&ended))
    }

    /// Brings the work on top of what others pushed meanwhile; whether it fits.
    pub(crate) async fn rebase(&self, facts: &RunFacts) -> Result<bool, WorkspaceError> {
        let branch = &facts.branch;
        let refspec = format!("+refs/heads/{branch}:refs/remotes/origin/{branch}");
        self.git(&["fetch", "--quiet", "origin", &refspec]).await?;
        let upstream = format!("refs/remotes/origin/{branch}");
        let rebase = ["rebase", "--quiet", &upstream];
        if self
            .ended(&self.places.repository, &rebase)
            .await?
            .status
            .success()
        {
            return Ok(true);
        }
        self.git(&["rebase", "--abort"]).await?;
        Ok(false)
    }

    /// The commit that the run's head is.
    pub(crate) async fn head(&self) -> Result<Option<CommitSha>, WorkspaceError> {
        self.commit_of("HEAD").await
    }

    async fn commit_of(&self, name: &str) -> Result<Option<CommitSha>, WorkspaceError> {
        let name = format!("{name}^{{commit}}");
        let args = ["rev-parse", "--quiet", "--verify", &name];
        let ended = self.ended(&self.places.repository, &args).await?;
        let text = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
        Ok((ended.status.success() && !text.is_empty()).then(|| CommitSha::new(text)))
    }

    async fn git(&self, args: &[&str]) -> Result<String, WorkspaceError> {
        self.run(&self.places.repository, args).await
    }

    async fn run(&self, dir: &Path, args: &[&str]) -> Result<String, WorkspaceError> {
        let ended = self.ended(dir, args).await?;
        if ended.status.success() {
            return Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned());
        }
        Err(WorkspaceError::Git {
            verb: args.first().copied().unwrap_or_default().to_owned(),
            message: last_lines(&ended.stderr),
        })
    }

    /// Runs git with the run token in its environment, where alone it is needed.
    async fn ended(&self, dir: &Path, args: &[&str]) -> io::Result<Ended> {
        let mut command = Command::new("git");
        command
            .args(args)
            .current_dir(dir)
            .env_clear()
            .env("HOME", self.places.state())
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_EDITOR", "true")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for name in KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let bearer = format!("Authorization: Bearer {}", self.token.expose());
        let scope = format!("http.{}.extraHeader", self.remote);
        let mut settings = vec![
            (scope.as_str(), bearer.as_str()),
            ("core.hooksPath", "/dev/null"),
            ("core.fsmonitor", "false"),
            ("gc.auto", "0"),
            ("http.followRedirects", "false"),
        ];
        let ca_file = self.ca_file.as_ref().map(|path| path.display().to_string());
        if let Some(path) = &ca_file {
            settings.push(("http.sslCAInfo", path));
        }
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (at, (name, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{at}"), name);
            command.env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        command.output().await
    }
}

/// Reads the answer of `git push --porcelain`.
fn pushed(ended: &Ended) -> Push {
    if ended.status.success() {
        return Push::Done;
    }
    let stdout = String::from_utf8_lossy(&ended.stdout);
    if let Some(line) = stdout.lines().find(|line| line.starts_with('!')) {
        let summary = line.rsplit('\t').next().unwrap_or_default();
        let moved = summary.starts_with("[rejected]") || summary.contains("fetch first");
        if summary.contains(PUSH_PENDING) {
            return Push::Again(PUSH_PENDING.to_owned());
        }
        if moved {
            return Push::Moved;
        }
        let reason = summary
            .split_once('(')
            .map_or(summary, |(_, reason)| reason);
        return Push::Refused(reason.trim_end_matches(')').to_owned());
    }
    let words = last_lines(&ended.stderr);
    // Of the statuses that git names, these will not change.
    let final_statuses = ["error: 400", "error: 404", "error: 413", "HTTP 413"];
    if final_statuses.iter().any(|status| words.contains(status)) {
        return Push::Refused(words);
    }
    Push::Again(words)
}

fn last_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

/// How long to wait before a Git call is made again.
pub(crate) fn pause(tries: u32) -> Duration {
    Duration::from_millis(500 * u64::from(1u32 << tries.min(6)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn ended(stdout: &str, stderr: &str) -> Push {
        pushed(&Ended {
            status: std::process::ExitStatus::from_raw(1 << 8),
            stdout: stdout.as_bytes().to_vec(),
            stderr: stderr.as_bytes().to_vec(),
        })
    }

    #[test]
    fn answers_of_a_push_are_told_apart() {
        let line = |summary: &str| format!("To x\n!\tHEAD:refs/heads/b\t{summary}\nDone\n");
        assert_eq!(
            ended(&line("[remote rejected] (this run may push b only)"), ""),
            Push::Refused("this run may push b only".to_owned())
        );
        assert_eq!(ended(&line("[rejected] (fetch first)"), ""), Push::Moved);
        let pending = line(&format!("[remote rejected] ({PUSH_PENDING})"));
        assert!(matches!(ended(&pending, ""), Push::Again(_)));
        assert!(matches!(
            ended("", "error: RPC failed; HTTP 503"),
            Push::Again(_)
        ));
        assert!(matches!(
            ended("", "error: RPC failed; HTTP 413"),
            Push::Refused(_)
        ));
    }
}
