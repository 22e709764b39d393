//! A gate in front of the run API: it sees every call of every pod, and at the one that a
//! run's point names it kills that run's pod, as the loss of its node does.
//!
//! From that moment nothing of the pod comes through, so that all of it died at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, Response, header, request::Parts},
};
use bytes::Bytes;
use codex_k8s::domain::{ids::RunId, run_token::RunToken};
use futures::{StreamExt, stream};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::PgPool;

/// More than any call of the test holds.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// How long the second half of what is cut does not come before the connection breaks.
const CUT_AFTER: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// So that snapshots come while a test waits for them; the platform says two minutes.
const SNAPSHOT_SECONDS: u64 = 1;
/// Longer than the pause before a next attempt.
const FORGE_AWAY: Duration = Duration::from_secs(5);

/// A call of the run API, as a runner or its program makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Facts,
    Heartbeat,
    CloneRefs,
    CloneTalk,
    /// Logs that hold these words.
    Log(&'static str),
    ReadSession,
    Model,
    /// A session that holds something of the talk.
    Snapshot,
    /// A session after the last push.
    LastSession,
    PushRefs,
    Push,
    Result,
}

/// Where in a call the pod dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// It was sent, and does not reach the platform.
    Sent,
    /// Half of it has reached the platform.
    Cut,
    /// The platform has begun to answer: a push is stored, its outcome open.
    Begun,
    /// The same, while the forge takes no push until the pod is long dead.
    BegunForgeAway,
    /// The platform has answered, and the pod did not hear it.
    Answered,
    /// Half of the answer has reached the pod.
    HalfHeard,
}

/// A point of a run's first attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) name: &'static str,
    pub(super) call: Call,
    /// Which of these calls, from 1.
    pub(super) nth: usize,
    pub(super) moment: Moment,
    /// Whether the platform then holds something of the talk.
    pub(super) talk: bool,
}

/// What came by of one attempt.
#[derive(Debug, Default, Clone)]
pub(super) struct Life {
    pub(super) killed: bool,
    /// Calls of the point's kind.
    calls: usize,
    model_calls: usize,
    pushed: usize,
    /// The commands of the talk that the newest saved session holds.
    pub(super) saved: BTreeSet<String>,
    /// Those that the first call of the model told of.
    pub(super) told: Option<BTreeSet<String>>,
}

/// The gate.
pub(super) struct Gate {
    pub(super) db: PgPool,
    /// The run API.
    pub(super) upstream: String,
    /// Where pods have their folders.
    pub(super) pods: PathBuf,
    /// The forge model's control endpoint for faults, and its secret.
    pub(super) faults: (String, String),
    /// Where the run of an issue dies.
    pub(super) points: BTreeMap<i64, Point>,
    pub(super) lives: Mutex<BTreeMap<(RunId, i32), Life>>,
    pub(super) http: reqwest::Client,
}

impl Gate {
    /// Opens it; its address.
    pub(super) async fn open(self: &Arc<Self>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new()
            .fallback(pass)
            .with_state(Arc::clone(self));
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    pub(super) fn life(&self, run: RunId, attempt: i32) -> Life {
        let lives = self.lives();
        lives.get(&(run, attempt)).cloned().unwrap_or_default()
    }

    fn lives(&self) -> MutexGuard<'_, BTreeMap<(RunId, i32), Life>> {
        self.lives.lock().unwrap()
    }

    /// Kills all of a run's pods.
    async fn kill(&self, run: RunId) {
        let namespace: String =
            sqlx::query_scalar("select namespace from environments where run_id = $1")
                .bind(run.0)
                .fetch_one(&self.db)
                .await
                .unwrap();
        let folder = self.pods.join(namespace);
        // Stopped first, so that none sees another die.
        for signal in [Signal::STOP, Signal::KILL] {
            for id in processes_in(&folder) {
                let _ = kill_process(id, signal);
            }
        }
        while let left = processes_in(&folder)
            && !left.is_empty()
        {
            for id in left {
                let _ = kill_process(id, Signal::KILL);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn forge_takes_pushes(&self, takes: bool) {
        let (url, secret) = &self.faults;
        let fault = json!({ "kind": "status", "status": 503, "retry_after": null });
        let rule = json!({
            "route": "GIT receive-pack", "fault": fault, "often": { "per-million": 1_000_000 },
            "skip": 0,
        });
        let request = if takes {
            self.http.delete(url)
        } else {
            self.http.post(url).json(&rule)
        };
        let answer = request.bearer_auth(secret).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    fn request(&self, parts: &Parts, body: reqwest::Body) -> reqwest::RequestBuilder {
        let mut headers = parts.headers.clone();
        for name in [
            header::HOST,
            header::CONNECTION,
            header::TRANSFER_ENCODING,
            header::EXPECT,
        ] {
            headers.remove(name);
        }
        let url = format!("{}{}", self.upstream, parts.uri);
        let request = self.http.request(parts.method.clone(), url);
        request.headers(headers).body(body)
    }
}

fn processes_in(folder: &std::path::Path) -> Vec<Pid> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| {
        let id: i32 = entry.file_name().to_str()?.parse().ok()?;
        let at = std::fs::read_link(entry.path().join("cwd")).ok()?;
        at.starts_with(folder).then(|| Pid::from_raw(id))?
    })
    .collect()
}

/// The commands of a talk, by the ids that the scripted model gave them.
fn commands(text: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(text);
    let ids = text.match_indices("call_").map(|(at, _)| {
        let id = text[at..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        id.take(1).collect::<String>()
    });
    let numbered = |id: &String| id.bytes().last().is_some_and(|byte| byte.is_ascii_digit());
    ids.filter(numbered).collect()
}

impl Call {
    fn is(self, parts: &Parts, body: &[u8], life: &Life) -> bool {
        let path = parts.uri.path();
        let of = |method: Method, end: &str| parts.method == method && path.ends_with(end);
        let query = parts.uri.query().unwrap_or_default();
        match self {
            Self::Facts => of(Method::GET, "/facts"),
            Self::Heartbeat => of(Method::POST, "/heartbeat"),
            Self::CloneRefs => {
                of(Method::GET, "/git/info/refs") && query.contains("git-upload-pack")
            }
            Self::CloneTalk => of(Method::POST, "/git/git-upload-pack"),
            Self::Log(words) => {
                of(Method::POST, "/logs") && String::from_utf8_lossy(body).contains(words)
            }
            Self::ReadSession => of(Method::GET, "/session"),
            Self::Model => of(Method::POST, "/responses"),
            Self::Snapshot => of(Method::PUT, "/session") && !commands(body).is_empty(),
            Self::LastSession => of(Method::PUT, "/session") && life.pushed > 1,
            Self::PushRefs => {
                of(Method::GET, "/git/info/refs") && query.contains("git-receive-pack")
            }
            Self::Push => of(Method::POST, "/git/git-receive-pack"),
            Self::Result => of(Method::POST, "/result"),
        }
    }
}

/// Whose call it is, by its token.
fn caller(headers: &HeaderMap) -> Option<(RunId, i32)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let token = value.split_once(' ')?.1;
    let claim = RunToken::from_text(token).claim()?;
    Some((claim.run, claim.attempt.0))
}

/// The dead neither speak nor hear.
async fn silence() -> Response<Body> {
    std::future::pending().await
}

async fn pass(State(gate): State<Arc<Gate>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MOST_BYTES).await else {
        return silence().await;
    };
    let caller = caller(&parts.headers).expect("every call carries a run token");
    if gate.life(caller.0, caller.1).killed {
        return silence().await;
    }
    let number: i64 = sqlx::query_scalar("select number from runs where run_id = $1")
        .bind(caller.0.0)
        .fetch_one(&gate.db)
        .await
        .unwrap();
    let point = gate.points[&number];
    note_model_call(&gate, caller, point, &parts, &body).await;
    let dies = {
        let mut lives = gate.lives();
        let life = lives.entry(caller).or_default();
        let counts = caller.1 == 1 && point.call.is(&parts, &body, life);
        life.calls += usize::from(counts);
        counts && life.calls == point.nth
    };
    if dies {
        return die(gate, caller.0, point.moment, parts, body).await;
    }
    let answer = gate.request(&parts, body.clone().into()).send().await;
    let Ok(answer) = answer else {
        return silence().await;
    };
    heard(&gate, caller, &parts, &body, answer).await
}

/// Notes what the model is told. Where the talk is to go on, the second call waits until a
/// session with all that was said up to it is saved.
async fn note_model_call(
    gate: &Gate,
    caller: (RunId, i32),
    point: Point,
    parts: &Parts,
    body: &Bytes,
) {
    if !Call::Model.is(parts, body, &Life::default()) {
        return;
    }
    let said = commands(body);
    let nth = {
        let mut lives = gate.lives();
        let life = lives.entry(caller).or_default();
        life.model_calls += 1;
        life.told.get_or_insert_with(|| said.clone());
        life.model_calls
    };
    let waits = point.talk || point.call == Call::Snapshot;
    if !waits || caller.1 != 1 || nth != 2 {
        return;
    }
    loop {
        let life = gate.life(caller.0, caller.1);
        if life.killed || said.is_subset(&life.saved) {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Hands an answer on, noting what is saved by it.
async fn heard(
    gate: &Gate,
    caller: (RunId, i32),
    parts: &Parts,
    body: &Bytes,
    answer: reqwest::Response,
) -> Response<Body> {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let Ok(mut bytes) = answer.bytes().await else {
        return silence().await;
    };
    saved(gate, caller, parts, body, status.is_success());
    let of_facts = Call::Facts.is(parts, body, &Life::default()) && status.is_success();
    if of_facts {
        let mut facts: Value = serde_json::from_slice(&bytes).unwrap();
        facts["pace"]["session_seconds"] = json!(SNAPSHOT_SECONDS);
        bytes = facts.to_string().into();
    }
    let mut told = Response::new(Body::from(bytes));
    *told.status_mut() = status;
    *told.headers_mut() = headers;
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        told.headers_mut().remove(name);
    }
    told
}

fn saved(gate: &Gate, caller: (RunId, i32), parts: &Parts, body: &Bytes, taken: bool) {
    let session = parts.method == Method::PUT && parts.uri.path().ends_with("/session");
    let mut lives = gate.lives();
    let life = lives.entry(caller).or_default();
    if session && taken {
        life.saved = commands(body);
    }
    if Call::Push.is(parts, body, &Life::default()) {
        life.pushed += 1;
    }
}

/// The pod dies at this call of its first attempt.
async fn die(
    gate: Arc<Gate>,
    run: RunId,
    moment: Moment,
    parts: Parts,
    body: Bytes,
) -> Response<Body> {
    // Whoever calls is killed, so the call goes on without it.
    let dying = tokio::spawn(async move {
        let mark = |gate: &Gate| gate.lives().entry((run, 1)).or_default().killed = true;
        match moment {
            Moment::Sent => mark(&gate),
            Moment::Cut => {
                let half = body.slice(..body.len() / 2);
                let broken = async {
                    tokio::time::sleep(CUT_AFTER).await;
                    Err(std::io::Error::other("cut"))
                };
                let pieces = stream::once(async { Ok(half) }).chain(stream::once(broken));
                let body = reqwest::Body::wrap_stream(pieces);
                drop(gate.request(&parts, body).send().await);
                mark(&gate);
            }
            Moment::Begun | Moment::BegunForgeAway => {
                let away = moment == Moment::BegunForgeAway;
                if away {
                    gate.forge_takes_pushes(false).await;
                }
                let answer = gate.request(&parts, body.clone().into()).send().await;
                assert!(answer.unwrap().status().is_success(), "{parts:?}");
                mark(&gate);
                if away {
                    gate.kill(run).await;
                    tokio::time::sleep(FORGE_AWAY).await;
                    gate.forge_takes_pushes(true).await;
                }
            }
            Moment::Answered | Moment::HalfHeard => {
                let answer = gate.request(&parts, body.clone().into()).send().await;
                let answer = answer.unwrap();
                let status = answer.status();
                assert!(status.is_success(), "{status} {parts:?}");
                let bytes = answer.bytes().await.unwrap();
                saved(&gate, (run, 1), &parts, &body, true);
                if moment == Moment::HalfHeard {
                    return Some((gate, bytes.slice(..bytes.len() / 2)));
                }
                mark(&gate);
            }
        }
        gate.kill(run).await;
        None
    });
    let Some((gate, half)) = dying.await.unwrap() else {
        return silence().await;
    };
    let then = stream::once(async move {
        tokio::time::sleep(CUT_AFTER).await;
        gate.lives().entry((run, 1)).or_default().killed = true;
        gate.kill(run).await;
        Err(std::io::Error::other("cut"))
    });
    let half = stream::once(async { Ok::<_, std::io::Error>(half) });
    Response::new(Body::from_stream(half.chain(then)))
}
