//! Pods as local processes.
//!
//! Each pod has a folder of its own: its volumes are folders in it, and what
//! the container would see at a mount path is told to the process by the real
//! path, in environment, arguments and working directory. Nothing isolates the
//! process: that is what a real cluster is for.
//!
//! A container's processes end with it, whatever groups they made for
//! themselves. Here a pod is a session of its own (`setsid`), and what is left
//! of the session when its leader has gone is killed before the pod counts as
//! ended.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::log::PodLog;
use super::pod::{PodEnd, PodLaunch, PodRunner, Stop, stop_requested};

/// The command by which images of the platform start.
const PLATFORM_COMMAND: &str = "codex-k8s";
/// What a pod whose folder or process cannot be made ends with.
const CANNOT_START: i32 = 128;
/// How long output may still come after the process has gone.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// Runs pods as processes under one folder.
#[derive(Debug, Clone)]
pub struct ProcessRunner {
    root: PathBuf,
    binary: PathBuf,
    env: BTreeMap<String, String>,
}

impl ProcessRunner {
    /// Pods in folders under `root`; `codex-k8s` in a command means `binary`.
    pub fn new(root: impl Into<PathBuf>, binary: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            binary: binary.into(),
            env: BTreeMap::new(),
        }
    }

    /// Pods run the program that is running now.
    pub fn of_this_program(root: impl Into<PathBuf>) -> io::Result<Self> {
        Ok(Self::new(root, std::env::current_exe()?))
    }

    /// Adds a variable to every pod's environment, beneath the pod's own.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The folder of a pod.
    pub fn folder(&self, namespace: &str, pod: &str) -> PathBuf {
        self.root.join(namespace).join(pod)
    }

    fn start(&self, launch: &PodLaunch) -> io::Result<Child> {
        let mounts = lay_out(&self.folder(&launch.namespace, &launch.name), launch)?;
        let words = |field: &str| {
            let all = launch.container[field].as_array().into_iter().flatten();
            all.filter_map(Value::as_str)
                .map(|word| mounts.translate(word))
                .collect::<Vec<_>>()
        };
        let mut words = words("command").into_iter().chain(words("args"));
        let program = words
            .next()
            .ok_or_else(|| io::Error::other("the container has no command"))?;
        let program = if program == PLATFORM_COMMAND {
            self.binary.clone()
        } else {
            PathBuf::from(program)
        };
        let folder = match launch.container["workingDir"].as_str() {
            Some(path) => PathBuf::from(mounts.translate(path)),
            None => mounts.folder.clone(),
        };
        let mut command = Command::new("setsid");
        command
            .arg(program)
            .args(words)
            .current_dir(folder)
            .env_clear()
            .env("PATH", self.path());
        command.envs(&self.env);
        command.envs(
            launch
                .env()
                .into_iter()
                .map(|(name, value)| (name, mounts.translate(&value))),
        );
        command.kill_on_drop(true).stdin(Stdio::null());
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// The parent's search path with the platform's binary in front.
    fn path(&self) -> String {
        let inherited = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        match self.binary.parent() {
            Some(folder) => format!("{}:{inherited}", folder.display()),
            None => inherited,
        }
    }
}

#[async_trait]
impl PodRunner for ProcessRunner {
    async fn run(
        &self,
        launch: PodLaunch,
        log: Arc<PodLog>,
        mut stop: watch::Receiver<Stop>,
    ) -> PodEnd {
        let mut child = match self.start(&launch) {
            Ok(child) => child,
            Err(error) => {
                log.append(format!("cannot start: {error}\n").as_bytes());
                return PodEnd {
                    exit_code: CANNOT_START,
                    reason: "StartError".to_owned(),
                };
            }
        };
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let output = [
            copy(child.stdout.take(), &log),
            copy(child.stderr.take(), &log),
        ];
        let status = wait(&mut child, group, &mut stop).await;
        // The leader has gone; what it left behind goes with it.
        end_session(group).await;
        for task in output {
            let _ = tokio::time::timeout(LAST_OUTPUT, task).await;
        }
        status.map_or_else(
            |error| {
                log.append(format!("cannot be waited for: {error}\n").as_bytes());
                PodEnd::exited(CANNOT_START)
            },
            |status| PodEnd::exited(exit_code(status)),
        )
    }

    async fn forget(&self, namespace: &str, name: &str) {
        let folder = self.folder(namespace, name);
        if let Err(error) = tokio::fs::remove_dir_all(&folder).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(pod.folder = %folder.display(), error.message = %error, "pod folder stays");
        }
        // Gone with its last pod; not empty is no matter.
        let _ = tokio::fs::remove_dir(self.root.join(namespace)).await;
    }
}

/// Waits for the process, ending it when asked to.
async fn wait(
    child: &mut Child,
    group: Option<Pid>,
    stop: &mut watch::Receiver<Stop>,
) -> io::Result<ExitStatus> {
    let asked = tokio::select! {
        status = child.wait() => return status,
        asked = stop_requested(stop) => asked,
    };
    if let Stop::Gracefully(grace) = asked {
        signal(group, Signal::TERM);
        tokio::select! {
            status = child.wait() => return status,
            _ = stop.wait_for(|stop| *stop == Stop::Now) => {}
            () = tokio::time::sleep(grace) => {}
        }
    }
    signal(group, Signal::KILL);
    child.wait().await
}

/// Signals the leader's group, or the leader alone where it has not made its
/// group yet. One that has gone already is fine.
fn signal(leader: Option<Pid>, signal: Signal) {
    if let Some(leader) = leader
        && kill_process_group(leader, signal).is_err()
    {
        let _ = kill_process(leader, signal);
    }
}

/// Kills what is left of a session until nothing is.
async fn end_session(leader: Option<Pid>) {
    let Some(leader) = leader else { return };
    loop {
        let left = members(leader.as_raw_nonzero().get());
        if left.is_empty() {
            return;
        }
        for id in left {
            let _ = Pid::from_raw(id).map(|id| kill_process(id, Signal::KILL));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The living processes of a session.
fn members(session: i32) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        session_of(&stat) == Some(session)
    })
    .collect()
}

/// The session in a line of `/proc/ID/stat`, unless the process only waits to
/// be collected. The name in it may hold anything, so it is read from its end.
fn session_of(stat: &str) -> Option<i32> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(2)?.parse().ok(),
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(CANNOT_START)
}

fn copy(
    stream: Option<impl AsyncRead + Unpin + Send + 'static>,
    log: &Arc<PodLog>,
) -> tokio::task::JoinHandle<()> {
    let log = Arc::clone(log);
    tokio::spawn(async move {
        let Some(mut stream) = stream else { return };
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            log.append(&buffer[..length]);
        }
    })
}

/// Where the container's paths are in truth, the longest first.
struct Mounts {
    folder: PathBuf,
    paths: Vec<(String, String)>,
}

impl Mounts {
    /// Replaces a mount path at the beginning of a text.
    fn translate(&self, text: &str) -> String {
        for (mount, real) in &self.paths {
            if let Some(rest) = text.strip_prefix(mount.as_str())
                && (rest.is_empty() || rest.starts_with('/'))
            {
                return format!("{real}{rest}");
            }
        }
        text.to_owned()
    }
}

/// Makes the pod's folder with its volumes and their files.
fn lay_out(folder: &Path, launch: &PodLaunch) -> io::Result<Mounts> {
    let mut paths = Vec::new();
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    for (volume, files) in &launch.volumes {
        let place = folder.join(volume);
        std::fs::create_dir_all(&place)?;
        for (name, content) in files {
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).mode(0o600);
            io::Write::write_all(&mut file.open(place.join(name))?, content)?;
        }
    }
    for mount in launch.container["volumeMounts"]
        .as_array()
        .into_iter()
        .flatten()
    {
        if let (Some(path), Some(name)) = (mount["mountPath"].as_str(), mount["name"].as_str()) {
            paths.push((path.to_owned(), folder.join(name).display().to_string()));
        }
    }
    paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    Ok(Mounts {
        folder: folder.to_path_buf(),
        paths,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_read_whatever_the_name_holds() {
        assert_eq!(session_of("12 (a) R 1) S 1 12 7 0 -1"), Some(7));
        assert_eq!(session_of("12 (sh) Z 1 12 7 0 -1"), None);
        assert_eq!(session_of(""), None);
    }

    #[test]
    fn only_whole_path_parts_are_translated() {
        let mounts = Mounts {
            folder: PathBuf::from("/x"),
            paths: vec![
                ("/work/a".into(), "/x/a".into()),
                ("/work".into(), "/x/w".into()),
            ],
        };
        assert_eq!(mounts.translate("/work"), "/x/w");
        assert_eq!(mounts.translate("/work/b"), "/x/w/b");
        assert_eq!(mounts.translate("/work/a/b"), "/x/a/b");
        assert_eq!(mounts.translate("/workshop"), "/workshop");
        assert_eq!(mounts.translate("http://h/work"), "http://h/work");
    }
}
