//! A real Git server over HTTP for tests: `git upload-pack` and `receive-pack`
//! behind a small web server, and repositories made with libgit2.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Response, StatusCode, header},
};
use git2::{Oid, Repository, Signature};
use tokio::io::AsyncWriteExt;

/// One request that a server got.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
}

/// What a server does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Behaviour {
    /// The `Authorization` header it wants.
    pub(crate) authorization: Option<String>,
    /// Where `info/refs` is redirected to: the part before the repository's path.
    pub(crate) redirect_to: Option<String>,
    /// Answers everything with a page, as a login wall does.
    pub(crate) login_page: bool,
    /// Accepts requests and never answers.
    pub(crate) silent: bool,
}

#[derive(Clone)]
struct Served {
    root: PathBuf,
    behaviour: Arc<Mutex<Behaviour>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A running server; it ends with the runtime it runs on.
pub(crate) struct GitServer {
    pub(crate) url: String,
    served: Served,
    _runtime: tokio::runtime::Runtime,
}

impl GitServer {
    /// Serves the repositories below a folder.
    pub(crate) fn start(root: &Path, behaviour: Behaviour) -> Self {
        let served = Served {
            root: root.to_path_buf(),
            behaviour: Arc::new(Mutex::new(behaviour)),
            seen: Arc::default(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .fallback(answer)
            .with_state(served.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            served,
            _runtime: runtime,
        }
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.served.behaviour.lock().unwrap());
    }

    /// The requests since the last call.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.served.seen.lock().unwrap())
    }
}

fn status(code: StatusCode) -> Response<Body> {
    Response::builder()
        .status(code)
        .body(Body::empty())
        .unwrap()
}

async fn answer(State(served): State<Served>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let authorization = header_text(&parts.headers, header::AUTHORIZATION);
    served.seen.lock().unwrap().push(Seen {
        path: parts.uri.path().to_owned(),
        authorization: authorization.clone(),
    });
    let behaviour = served.behaviour.lock().unwrap().clone();
    if behaviour.silent {
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
    if behaviour.login_page {
        return Response::builder()
            .header(header::CONTENT_TYPE, "text/html")
            .body(Body::from("<p>log in</p>"))
            .unwrap();
    }
    if let Some(to) = &behaviour.redirect_to {
        let to = format!("{to}{}", parts.uri.path_and_query().unwrap());
        return Response::builder()
            .status(302)
            .header(header::LOCATION, to)
            .body(Body::empty())
            .unwrap();
    }
    if behaviour.authorization.is_some() && behaviour.authorization != authorization {
        return status(StatusCode::UNAUTHORIZED);
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let path = parts.uri.path();
    if let Some(repository) = path.strip_suffix("/info/refs") {
        let service = parts
            .uri
            .query()
            .unwrap_or_default()
            .trim_start_matches("service=")
            .to_owned();
        return advertise(&served.root, repository, &service).await;
    }
    for service in ["git-upload-pack", "git-receive-pack"] {
        if let Some(repository) = path.strip_suffix(&format!("/{service}")) {
            return exchange(&served.root, repository, service, body).await;
        }
    }
    status(StatusCode::NOT_FOUND)
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

async fn git(
    root: &Path,
    repository: &str,
    service: &str,
    advertise: bool,
    input: Bytes,
) -> Option<Vec<u8>> {
    let folder = root.join(repository.trim_start_matches('/'));
    if !folder.exists() {
        return None;
    }
    let mut command = tokio::process::Command::new("git");
    command.args([
        "-c",
        "safe.directory=*",
        "-c",
        "uploadpack.allowAnySHA1InWant=false",
    ]);
    command
        .arg(service.trim_start_matches("git-"))
        .arg("--stateless-rpc");
    if advertise {
        command.arg("--advertise-refs");
    }
    command
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writing = tokio::spawn(async move {
        let _ = stdin.write_all(&input).await;
    });
    let output = child.wait_with_output().await.unwrap();
    writing.await.unwrap();
    Some(output.stdout)
}

async fn advertise(root: &Path, repository: &str, service: &str) -> Response<Body> {
    let Some(refs) = git(root, repository, service, true, Bytes::new()).await else {
        return status(StatusCode::NOT_FOUND);
    };
    let line = format!("# service={service}\n");
    let mut answer = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
    answer.extend(refs);
    Response::builder()
        .header(
            header::CONTENT_TYPE,
            format!("application/x-{service}-advertisement"),
        )
        .body(Body::from(answer))
        .unwrap()
}

async fn exchange(root: &Path, repository: &str, service: &str, body: Bytes) -> Response<Body> {
    match git(root, repository, service, false, body).await {
        Some(output) => Response::builder()
            .header(
                header::CONTENT_TYPE,
                format!("application/x-{service}-result"),
            )
            .body(Body::from(output))
            .unwrap(),
        None => status(StatusCode::NOT_FOUND),
    }
}

/// A bare repository that tests commit to without a work tree.
pub(crate) struct TestRepository {
    pub(crate) path: PathBuf,
    repository: Repository,
}

/// What a commit puts at a path.
pub(crate) enum Put<'a> {
    /// A file with this content.
    File(&'a [u8]),
    /// A symbolic link to this target.
    Link(&'a str),
    /// Nothing: the path is removed.
    Nothing,
}

impl TestRepository {
    pub(crate) fn init(path: &Path) -> Self {
        let repository = Repository::init_bare(path).unwrap();
        Self {
            path: path.to_path_buf(),
            repository,
        }
    }

    /// The files of `state/` as puts.
    pub(crate) fn state() -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("state");
        let files = codex_k8s::desired::load::read_folder(&folder).unwrap();
        files
            .files
            .into_iter()
            .map(|file| (file.path, file.bytes))
            .collect()
    }

    /// Commits the example organisation.
    pub(crate) fn commit_state(&self, branch: &str) -> Oid {
        let files = Self::state();
        let puts: Vec<(&str, Put<'_>)> = files
            .iter()
            .map(|(path, bytes)| (path.as_str(), Put::File(bytes)))
            .collect();
        self.commit(branch, "Add the organisation", &puts)
    }

    /// Commits changes on top of a branch, which is made when absent.
    pub(crate) fn commit(&self, branch: &str, message: &str, puts: &[(&str, Put<'_>)]) -> Oid {
        let name = format!("refs/heads/{branch}");
        let parent = self
            .repository
            .find_reference(&name)
            .ok()
            .map(|found| found.peel_to_commit().unwrap());
        self.commit_on(&name, parent.map(|parent| parent.id()), message, puts)
    }

    /// Commits changes on top of a commit and moves a reference there, wherever it was.
    pub(crate) fn commit_on(
        &self,
        name: &str,
        parent: Option<Oid>,
        message: &str,
        puts: &[(&str, Put<'_>)],
    ) -> Oid {
        let parent = parent.map(|parent| self.repository.find_commit(parent).unwrap());
        let mut tree = git2::build::TreeUpdateBuilder::new();
        for (path, put) in puts {
            match put {
                Put::File(bytes) => {
                    let blob = self.repository.blob(bytes).unwrap();
                    tree.upsert(*path, blob, git2::FileMode::Blob);
                }
                Put::Link(target) => {
                    let blob = self.repository.blob(target.as_bytes()).unwrap();
                    tree.upsert(*path, blob, git2::FileMode::Link);
                }
                Put::Nothing => {
                    tree.remove(*path);
                }
            }
        }
        let empty = self.repository.treebuilder(None).unwrap().write().unwrap();
        let base = match &parent {
            Some(parent) => parent.tree().unwrap(),
            None => self.repository.find_tree(empty).unwrap(),
        };
        let tree = tree.create_updated(&self.repository, &base).unwrap();
        let tree = self.repository.find_tree(tree).unwrap();
        let author = Signature::now("Ada", "ada@example.org").unwrap();
        let parents: Vec<_> = parent.iter().collect();
        let commit = self
            .repository
            .commit(None, &author, &author, message, &tree, &parents)
            .unwrap();
        self.repository
            .reference(name, commit, true, "test")
            .unwrap();
        commit
    }

    /// Makes an annotated tag.
    pub(crate) fn tag(&self, name: &str, commit: Oid) {
        let object = self.repository.find_object(commit, None).unwrap();
        let author = Signature::now("Ada", "ada@example.org").unwrap();
        self.repository
            .tag(name, &object, &author, name, true)
            .unwrap();
    }

    pub(crate) fn has(&self, name: &str) -> Option<Oid> {
        self.repository.refname_to_id(name).ok()
    }
}
