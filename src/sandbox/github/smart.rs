//! Git over smart HTTP: real `git upload-pack` and `git receive-pack` on the bare repositories.
//!
//! Protocol versions 0 to 2, gzip request bodies, basic or bearer credentials. A push is refused
//! without write access and, when it came through, moves the open pull requests of its branches.

use std::process::Stdio;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::auth::authenticate;
use super::call::permission_in;
use super::journal::Write;
use super::server::{Asked, Shared};
use super::store;
use super::world::{Actor, Permission};

/// What a Git client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Advertise,
    UploadPack,
    ReceivePack,
}

/// The repository's full name and the service of a Git path.
pub(super) fn asked_for(path: &str) -> Option<(String, Service)> {
    let rest = path.trim_start_matches('/');
    let (repo, service) = if let Some(repo) = rest.strip_suffix("/info/refs") {
        (repo, Service::Advertise)
    } else if let Some(repo) = rest.strip_suffix("/git-upload-pack") {
        (repo, Service::UploadPack)
    } else {
        (
            rest.strip_suffix("/git-receive-pack")?,
            Service::ReceivePack,
        )
    };
    let repo = repo.strip_suffix(".git").unwrap_or(repo);
    (repo.split('/').count() == 2).then(|| (repo.to_owned(), service))
}

/// A request that was let through.
struct Admitted {
    repo: u64,
    path: std::path::PathBuf,
    actor: Actor,
    name: String,
}

fn plain(status: u16, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status == 401 {
        let realm = HeaderValue::from_static("Basic realm=\"GitHub\"");
        response.headers_mut().insert("www-authenticate", realm);
    }
    response
}

fn admit(
    shared: &Shared,
    asked: &Asked,
    name: &str,
    pushes: bool,
) -> Result<Admitted, Box<Response<Body>>> {
    let mut state = shared.lock();
    let verb = if pushes {
        "GIT receive-pack"
    } else {
        "GIT upload-pack"
    };
    state.journal.request(verb);
    let refused = || Box::new(plain(401, "Authentication failed"));
    let (principal, token) =
        authenticate(&state.world, asked.header("authorization")).map_err(|_| refused())?;
    let world = &state.world;
    let found = world.repo_named(name).or_else(|| world.repo_formerly(name));
    let repo = found.ok_or_else(|| Box::new(plain(404, "Repository not found.")))?;
    let permission = permission_in(world, principal, &token, repo);
    if permission < Permission::Read {
        return Err(Box::new(plain(404, "Repository not found.")));
    }
    let contents = token
        .permissions
        .as_ref()
        .map(|all| all.get("contents").map(String::as_str));
    let may_write =
        matches!(contents, None | Some(Some("write"))) && permission >= Permission::Write;
    let actor = world.actor_of(principal);
    let login = world.user_or_ghost(actor.user).login;
    if pushes && (!may_write || repo.archived) {
        return Err(Box::new(plain(
            403,
            &format!("Permission to {name}.git denied to {login}."),
        )));
    }
    Ok(Admitted {
        repo: repo.id,
        path: repo.path.clone(),
        actor,
        name: login,
    })
}

pub(super) async fn answer(
    shared: &Shared,
    asked: &Asked,
    name: String,
    service: Service,
) -> Response<Body> {
    let asked_service = asked.query().remove("service");
    let pushes = match service {
        Service::Advertise => asked_service.as_deref() == Some("git-receive-pack"),
        Service::UploadPack => false,
        Service::ReceivePack => true,
    };
    let admitted = match admit(shared, asked, &name, pushes) {
        Ok(admitted) => admitted,
        Err(response) => return *response,
    };
    let result = match service {
        Service::Advertise => advertise(asked, &admitted, pushes).await,
        Service::UploadPack => exchange(asked, &admitted, "upload-pack").await,
        Service::ReceivePack => receive(shared, asked, &admitted, &name).await,
    };
    result.unwrap_or_else(|error| plain(500, &error.to_string()))
}

fn git(asked: &Asked, service: &str) -> Command {
    let mut command = Command::new("git");
    command
        .arg(service)
        .arg("--stateless-rpc")
        .kill_on_drop(true);
    command
        .env_remove("GIT_DIR")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    if let Some(protocol) = asked.header("git-protocol") {
        command.env("GIT_PROTOCOL", protocol);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

async fn advertise(
    asked: &Asked,
    admitted: &Admitted,
    pushes: bool,
) -> std::io::Result<Response<Body>> {
    let service = if pushes {
        "receive-pack"
    } else {
        "upload-pack"
    };
    let output = git(asked, service)
        .arg("--advertise-refs")
        .arg(&admitted.path)
        .stdin(Stdio::null())
        .output()
        .await?;
    let mut body = Vec::new();
    if asked
        .header("git-protocol")
        .is_none_or(|protocol| !protocol.contains("version=2"))
        || pushes
    {
        let line = format!("# service=git-{service}\n");
        body.extend(format!("{:04x}{line}0000", line.len() + 4).into_bytes());
    }
    body.extend(output.stdout);
    Ok(pack_response(
        body,
        &format!("application/x-git-{service}-advertisement"),
    ))
}

fn pack_response(body: Vec<u8>, kind: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert("cache-control", HeaderValue::from_static("no-cache"));
    if let Ok(kind) = HeaderValue::from_str(kind) {
        headers.insert("content-type", kind);
    }
    response
}

async fn fed(mut command: Command, input: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A program that has read enough closes its end; its output says whether all is well.
            let _closed_early = stdin.write_all(input).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    Ok(output?.stdout)
}

async fn exchange(
    asked: &Asked,
    admitted: &Admitted,
    service: &str,
) -> std::io::Result<Response<Body>> {
    let mut command = git(asked, service);
    command.arg(&admitted.path);
    let output = match asked.header("content-encoding") {
        Some("gzip") => {
            let mut gunzip = Command::new("gzip");
            gunzip.arg("-dc").kill_on_drop(true);
            gunzip
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            fed(command, &fed(gunzip, &asked.body).await?).await?
        }
        _ => fed(command, &asked.body).await?,
    };
    Ok(pack_response(
        output,
        &format!("application/x-git-{service}-result"),
    ))
}

async fn receive(
    shared: &Shared,
    asked: &Asked,
    admitted: &Admitted,
    name: &str,
) -> std::io::Result<Response<Body>> {
    let before = store::refs(&admitted.path).unwrap_or_default();
    let response = exchange(asked, admitted, "receive-pack").await?;
    let mut state = shared.lock();
    if store::refs(&admitted.path).unwrap_or_default() != before {
        let write = Write {
            at: state.world.now(),
            actor: admitted.name.clone(),
            method: "PUSH".to_owned(),
            path: name.to_owned(),
            status: 200,
        };
        state.journal.write(write);
        if let Err(error) = state
            .world
            .refs_changed(admitted.repo, &before, admitted.actor)
        {
            tracing::warn!(repo.name = name, error = %error, "pull requests were not updated after a push");
        }
    }
    Ok(response)
}
