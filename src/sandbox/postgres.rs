//! A private Postgres from the system's binaries: own data folder, own random
//! port on the loopback address, own password.
//!
//! It runs as another user where we are root (Postgres refuses root), and it
//! stops when the value is dropped or the process dies in whatever way: its
//! watcher waits at a pipe that only we hold open. A data folder is used again
//! as it is, also after a crash.

mod place;

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use secrecy::SecretString;

use place::{Place, Runner};

/// Runs the server beside a pipe: a signal's name that comes through it stops the server by that
/// and starts it again; at the pipe's end the server is stopped at once and cleanly, and the
/// folder removed where asked.
const WATCHER: &str = r#"
clean=$1; shift
"$@" </dev/null &
server=$!
while read -r signal; do
    kill "-$signal" "$server"
    wait "$server"
    "$@" </dev/null &
    server=$!
done
kill -INT "$server"
wait "$server"
[ -z "$clean" ] || rm -rf -- "$clean"
"#;

/// How long a server may take to answer, recovery after a crash included.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How often it is asked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why there is no private Postgres.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The binaries are not there.
    #[error(
        "PostgreSQL's server binaries are not found in PG_BIN, /usr/lib/postgresql/*/bin or PATH; \
         install them (Debian, Ubuntu: `apt-get install postgresql`) or set DATABASE_URL"
    )]
    NotInstalled,
    /// We are root and know nobody to run it as.
    #[error("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")]
    NoUser,
    /// A folder or file cannot be used.
    #[error("cannot use `{path}` for PostgreSQL")]
    Folder {
        /// It.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A program failed.
    #[error("`{program}` failed: {output}")]
    Program {
        /// Which.
        program: String,
        /// What it said last.
        output: String,
    },
    /// The server does not answer.
    #[error("PostgreSQL does not answer on port {port}: {log}")]
    Silent {
        /// Its port.
        port: u16,
        /// The end of its log.
        log: String,
    },
}

/// How a private Postgres is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// What is committed survives the machine's crash.
    Safe,
    /// Faster, for data that nobody will miss.
    Fast,
}

/// How a server is stopped before it is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// `pg_ctl -m fast`: connections are ended, what is committed is written.
    Fast,
    /// `pg_ctl -m immediate`: as by a crash; the start recovers.
    Immediate,
}

/// A running private Postgres; dropping it stops it.
#[derive(Debug)]
pub struct PrivatePostgres {
    watcher: Child,
    root: PathBuf,
    port: u16,
    password: String,
}

impl PrivatePostgres {
    /// Starts a server on this data folder, made where absent; without one on a folder that is
    /// removed when it stops.
    pub async fn start(
        data_dir: Option<PathBuf>,
        durability: Durability,
    ) -> Result<Self, PostgresError> {
        let start = move || Self::launch(data_dir.as_deref(), durability);
        let server = tokio::task::spawn_blocking(start).await.map_err(|error| {
            PostgresError::Program {
                program: "launching".to_owned(),
                output: error.to_string(),
            }
        })??;
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// The address of a database as the superuser.
    pub fn url(&self, database: &str) -> SecretString {
        self.url_as(database, "postgres", &self.password)
    }

    /// The address of a database as this login. Names and password must need no escaping.
    pub fn url_as(&self, database: &str, user: &str, password: &str) -> SecretString {
        let port = self.port;
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}").into()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's main process.
    pub fn process(&self) -> Option<i32> {
        let file = fs::read_to_string(self.root.join("data/postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }

    /// Stops the server and starts it again on the same port; returns when it answers.
    pub async fn restart(&self, how: Shutdown) -> Result<(), PostgresError> {
        let before = self.process();
        let signal: &[u8] = match how {
            Shutdown::Fast => b"INT\n",
            Shutdown::Immediate => b"QUIT\n",
        };
        let told = self
            .watcher
            .stdin
            .as_ref()
            .map(|mut pipe| pipe.write_all(signal));
        if !matches!(told, Some(Ok(()))) {
            return Err(self.silent());
        }
        let began = Instant::now();
        while began.elapsed() < START_LIMIT {
            if self.process().is_some_and(|now| Some(now) != before) {
                return self.wait_until_ready().await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(self.silent())
    }

    fn launch(data_dir: Option<&Path>, durability: Durability) -> Result<Self, PostgresError> {
        let bin = find_binaries().ok_or(PostgresError::NotInstalled)?;
        let runner = Runner::find()?;
        let place = Place::prepare(data_dir, &runner)?;
        let password = place.password()?;
        let data = place.root.join("data");
        if data.join("PG_VERSION").exists() {
            stop_leftover(&bin, &runner, &data)?;
        } else {
            initialise(&bin, &runner, &place)?;
        }
        let port = free_port().map_err(|source| folder(&place.root, source))?;
        let watcher = watch(&bin, &runner, &place, port, durability)?;
        Ok(Self {
            watcher,
            root: place.root,
            port,
            password,
        })
    }

    async fn wait_until_ready(&self) -> Result<(), PostgresError> {
        let began = Instant::now();
        while began.elapsed() < START_LIMIT {
            if crate::store::admin::answers(&self.url("postgres")).await {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(self.silent())
    }

    fn silent(&self) -> PostgresError {
        let log = fs::read_to_string(self.root.join("log")).unwrap_or_default();
        PostgresError::Silent {
            port: self.port,
            log: tail(&log),
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        // Nothing is left to do where waiting fails: the watcher stops the server all the same.
        let _ = self.watcher.wait();
    }
}

fn watch(
    bin: &Path,
    runner: &Runner,
    place: &Place,
    port: u16,
    durability: Durability,
) -> Result<Child, PostgresError> {
    let log_path = place.root.join("log");
    let log = fs::File::create(&log_path).map_err(|source| folder(&log_path, source))?;
    let errors = log
        .try_clone()
        .map_err(|source| folder(&log_path, source))?;
    let clean = if place.temporary {
        place.root.as_os_str()
    } else {
        std::ffi::OsStr::new("")
    };
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", WATCHER, "postgres-watcher"])
        .arg(clean)
        .arg(bin.join("postgres"))
        .arg("-D")
        .arg(place.root.join("data"))
        .args(["-p", &port.to_string()])
        .args(settings(durability).iter().flat_map(|s| ["-c", *s]));
    runner.apply(&mut command);
    command
        // Out of reach of Ctrl-C: who holds the pipe decides when it ends.
        .process_group(0)
        .current_dir(&place.root)
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(|source| folder(&place.root, source))
}

fn settings(durability: Durability) -> &'static [&'static str] {
    const SAFE: &[&str] = &[
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=300",
        "fsync=on",
    ];
    const FAST: &[&str] = &[
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=300",
        "fsync=off",
        "full_page_writes=off",
        "autovacuum=off",
    ];
    match durability {
        Durability::Safe => SAFE,
        Durability::Fast => FAST,
    }
}

fn initialise(bin: &Path, runner: &Runner, place: &Place) -> Result<(), PostgresError> {
    // Left behind by a first start that was broken off.
    let data = place.root.join("data");
    if data.exists() {
        fs::remove_dir_all(&data).map_err(|source| folder(&data, source))?;
    }
    let mut command = Command::new(bin.join("initdb"));
    command
        .arg("-D")
        .arg(&data)
        .args(["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8"])
        .args(["--locale=C", "--no-sync", "--no-instructions"])
        .arg(format!("--pwfile={}", place.password_file().display()));
    run(runner, &place.root, command).map(|_| ())
}

/// Stops a server that still runs on the folder, as after the death of its watcher.
fn stop_leftover(bin: &Path, runner: &Runner, data: &Path) -> Result<(), PostgresError> {
    let mut status = Command::new(bin.join("pg_ctl"));
    status.arg("status").arg("-D").arg(data);
    if run(runner, data, status).is_err() {
        return Ok(());
    }
    let mut stop = Command::new(bin.join("pg_ctl"));
    stop.args(["stop", "-m", "fast", "-w", "-D"]).arg(data);
    run(runner, data, stop).map(|_| ())
}

fn run(runner: &Runner, dir: &Path, mut command: Command) -> Result<String, PostgresError> {
    runner.apply(&mut command);
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| folder(Path::new(&program), source))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(text);
    }
    Err(PostgresError::Program {
        program,
        output: tail(&text),
    })
}

fn find_binaries() -> Option<PathBuf> {
    let named = std::env::var_os("PG_BIN").map(PathBuf::from);
    let mut packaged: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    let version = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.parse::<u32>().unwrap_or_default()
    };
    packaged.sort_by_key(|path| std::cmp::Reverse(version(path)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    named
        .into_iter()
        .chain(packaged.into_iter().map(|path| path.join("bin")))
        .chain(std::env::split_paths(&path))
        .find(|dir| {
            ["postgres", "initdb", "pg_ctl"]
                .iter()
                .all(|p| dir.join(p).is_file())
        })
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn folder(path: &Path, source: std::io::Error) -> PostgresError {
    PostgresError::Folder {
        path: path.to_owned(),
        source,
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("; ")
}
