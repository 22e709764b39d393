//! `serve` as it is, and what it takes.

use std::{collections::BTreeMap, fs, net::TcpListener, time::Duration};

use codex_k8s::sandbox::world::{ServeChild, ServeCommand};
use secrecy::ExposeSecret;

use crate::real::outside::{INSTALLATION, Outside};

/// The key that the world's run tokens are made with.
const KEY: &[u8] = b"a key for the tests of the stepped world";
/// Passes in a row without anything to do before the measurement begins.
const AT_REST: u64 = 20;
/// How long is measured.
const MEASURED: Duration = Duration::from_mins(1);
/// By then it is at rest.
const PATIENCE: Duration = Duration::from_mins(15);

/// What a process took.
pub(crate) struct Figures {
    /// The mean pass.
    pub(crate) pass: Duration,
    passes: u64,
    /// Bytes in memory at the end.
    pub(crate) resident: u64,
    /// The most that it ever had.
    peak: u64,
    /// What was written, by place.
    pub(crate) writes: BTreeMap<String, i64>,
}

impl Figures {
    pub(crate) fn print(&self, of: &str) {
        println!(
            "{of}: a pass takes {:.3} s (mean of {}), {} MiB resident ({} MiB at most), writes: {:?}",
            self.pass.as_secs_f64(),
            self.passes,
            self.resident >> 20,
            self.peak >> 20,
            self.writes,
        );
    }
}

/// Lets `serve` come to rest in a world and measures it then.
pub(crate) async fn measure(outside: &Outside) -> Figures {
    let port = free_port();
    let command = command(outside, port);
    let mut child = command.spawn().unwrap();
    let metrics = format!("http://127.0.0.1:{port}/metrics");
    comes_to_rest(&metrics, &command, &mut child).await;
    let (before, wrote) = (passes(&metrics).await.unwrap(), writes(outside).await);
    tokio::time::sleep(MEASURED).await;
    let (after, written) = (passes(&metrics).await.unwrap(), writes(outside).await);
    let passes = after.count - before.count;
    let figures = Figures {
        pass: Duration::from_secs_f64((after.seconds - before.seconds) / count(passes)),
        passes,
        resident: memory(&child, "VmRSS:"),
        peak: memory(&child, "VmHWM:"),
        writes: written
            .into_iter()
            .map(|(place, now)| {
                let before = wrote.get(&place).copied().unwrap_or(0);
                (place, now - before)
            })
            .filter(|(_, more)| *more != 0)
            .collect(),
    };
    child.stop(Duration::from_secs(15)).await.unwrap();
    figures
}

/// A port that nobody listens on, and none of those that connections are given.
fn free_port() -> u16 {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let mut ports = first..first + 1_000;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).unwrap()
}

fn count(passes: u64) -> f64 {
    f64::from(u32::try_from(passes).unwrap())
}

fn command(outside: &Outside, port: u16) -> ServeCommand {
    let folder = outside.folder.path();
    let kubeconfig = folder.join("kubeconfig");
    fs::write(&kubeconfig, outside.kubernetes.kubeconfig()).unwrap();
    let settings = [
        ("INSTALLATION_ID", INSTALLATION.to_owned()),
        (
            "DATABASE_URL",
            outside.database.url.expose_secret().to_owned(),
        ),
        ("CONFIG_SOURCE", outside.config.path().display().to_string()),
        ("FORGE_API_URL", outside.github.rest_url()),
        ("FORGE_GRAPHQL_URL", outside.github.graphql_url()),
        ("FORGE_GIT_URL", outside.github.base_url()),
        ("FORGE_TOKEN", "writes".to_owned()),
        ("KUBECONFIG", kubeconfig.display().to_string()),
        ("RUN_URL", outside.run_url.clone()),
        ("RUN_TOKEN_KEYS", format!("1:{}", hex::encode(KEY))),
        (
            "RUN_GIT_CACHE",
            folder.join("serve-git").display().to_string(),
        ),
        ("OPS_LISTEN", format!("127.0.0.1:{port}")),
        ("LOG_FORMAT", "json".to_owned()),
    ];
    let settings = settings
        .into_iter()
        .map(|(name, value)| (format!("CODEXK8S_{name}"), value));
    ServeCommand {
        binary: env!("CARGO_BIN_EXE_codex-k8s").into(),
        arguments: vec!["--roles".to_owned(), "reconciler".to_owned()],
        settings: settings.collect(),
        log: folder.join("serve.log"),
        pid_file: folder.join("serve.pid"),
    }
}

/// Passes so far that found nothing to do, all others, and the time of the former.
#[derive(Clone, Copy)]
struct Passes {
    count: u64,
    seconds: f64,
    others: u64,
}

/// Waits until passes find nothing to do any more.
async fn comes_to_rest(metrics: &str, command: &ServeCommand, child: &mut ServeChild) {
    let began = std::time::Instant::now();
    let mut since: Option<Passes> = None;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(
            began.elapsed() < PATIENCE && child.ended().is_none(),
            "serve does not come to rest: {}",
            command.log_tail(20)
        );
        let Some(now) = passes(metrics).await else {
            continue;
        };
        match since {
            Some(since) if since.others == now.others => {
                if now.count >= since.count + AT_REST {
                    return;
                }
            }
            _ => since = Some(now),
        }
    }
}

/// The passes of the metrics; `None` while nobody answers.
async fn passes(metrics: &str) -> Option<Passes> {
    let text = reqwest::get(metrics).await.ok()?.text().await.ok()?;
    let mut passes = Passes {
        count: 0,
        seconds: 0.0,
        others: 0,
    };
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("codexk8s_pass_duration_seconds_") else {
            continue;
        };
        let (name, value) = rest.split_once(' ')?;
        let settled = name.contains("settled");
        if name.starts_with("sum") && settled {
            passes.seconds = value.parse().ok()?;
        } else if name.starts_with("count") && settled {
            passes.count = value.parse().ok()?;
        } else if name.starts_with("count") {
            passes.others += value.parse::<u64>().ok()?;
        }
    }
    Some(passes)
}

fn memory(child: &ServeChild, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.unwrap().trim().trim_end_matches(" kB");
    kibibytes.parse::<u64>().unwrap() << 10
}

/// Writes so far: at the forge, in the cluster, and rows of each table; the lease and its copy in
/// the cluster are kept all the time and are no part of it.
async fn writes(outside: &Outside) -> BTreeMap<String, i64> {
    // What a connection did is in the statistics once it has been idle for a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let tables: Vec<(String, i64)> = sqlx::query_as(
        "select relname::text, n_tup_ins + n_tup_upd + n_tup_del
         from pg_stat_user_tables where relname <> 'lease'",
    )
    .fetch_all(&outside.db)
    .await
    .unwrap();
    let in_cluster = outside.kubernetes.writes();
    let in_cluster = in_cluster
        .iter()
        .filter(|write| write.resource != "leases")
        .count();
    let forge = outside.github.counters().writes;
    tables
        .into_iter()
        .map(|(table, rows)| (format!("table {table}"), rows))
        .chain([
            ("cluster".to_owned(), i64::try_from(in_cluster).unwrap()),
            ("forge".to_owned(), i64::try_from(forge).unwrap()),
        ])
        .collect()
}
