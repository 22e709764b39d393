//! `serve` as `manifests/overlays/split` starts it: a part of the platform that holds no more
//! than its part needs.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::postgres::TestDatabase;

/// No start takes longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Starts it with these roles and the settings of the manifests; no cluster is named, and
/// this process is not in one.
fn serve(database: &TestDatabase, roles: &str, cache: &Path) -> Child {
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/base/settings.yaml");
    let token_keys = format!("1:{}", "ab".repeat(32));
    Command::new(env!("CARGO_BIN_EXE_codex-k8s"))
        .args(["serve", "--roles", roles])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CODEXK8S_CONFIG", settings)
        .env("CODEXK8S_DATABASE_URL", database.api_url.expose_secret())
        .env("CODEXK8S_FORGE_TOKEN", "reads-only")
        .env("CODEXK8S_RUN_TOKEN_KEYS", token_keys)
        .env("CODEXK8S_RUN_GIT_CACHE", cache)
        .env("CODEXK8S_RUN_LISTEN", "127.0.0.1:0")
        .env("CODEXK8S_API_LISTEN", "127.0.0.1:0")
        .env("CODEXK8S_OPS_LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The address of its ops listener, by its log, or all that it said until its end.
async fn ops(child: &mut Child) -> Result<SocketAddr, String> {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        said.push_str(&line);
        said.push('\n');
        let fields: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let fields = if fields["fields"].is_null() {
            &fields
        } else {
            &fields["fields"]
        };
        if fields["listener"] == "ops" {
            return Ok(fields["address"].as_str().unwrap().parse().unwrap());
        }
    }
    Err(said)
}

#[tokio::test]
async fn the_apis_start_without_a_cluster_and_with_the_login_that_adds_facts() {
    let database = TestDatabase::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut child = serve(&database, "api", folder.path());
    let address = tokio::time::timeout(DEADLINE, ops(&mut child)).await;
    let address = address
        .expect("it starts in time")
        .unwrap_or_else(|said| panic!("{said}"));
    let answer = reqwest::get(format!("http://{address}/readyz"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    child.kill().await.unwrap();
}

#[tokio::test]
async fn the_reconciler_does_not_start_without_a_cluster() {
    let database = TestDatabase::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut child = serve(&database, "reconciler", folder.path());
    let said = tokio::time::timeout(DEADLINE, ops(&mut child)).await;
    let said = said.expect("it ends in time").expect_err("it starts");
    assert!(said.contains("reach the cluster"), "{said}");
    assert!(!child.wait().await.unwrap().success());
}
