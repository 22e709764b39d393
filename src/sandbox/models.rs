//! A model that follows a script: a server on loopback that speaks the APIs of two providers
//! as far as agents' programs use them, and answers with prepared commands.
//!
//! What it stands for is the provider alone. The program that asks it, what that program does
//! with a command, and everything between are real.

mod messages;
mod responses;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What the model does with each message it is sent: its commands one after the other, then
/// its last words.
#[derive(Debug, Clone)]
pub struct ModelScript {
    /// Commands for a shell in the agent's repository. One that reads `tool NAME ARGUMENTS`, with
    /// the arguments as JSON, calls a tool of the platform instead.
    pub commands: Vec<String>,
    /// What it says when all have run.
    pub answer: String,
    /// How long it thinks before each reply.
    pub pause: Duration,
}

impl ModelScript {
    /// A small change to the example's repository, and how it was made.
    pub fn example() -> Self {
        let commands = [
            "ls && cat src/greeting.txt",
            "mkdir -p work && printf '# Issue %s: %s\\n\\n- A step by a real program (%s)\\n' \
             \"$CODEXK8S_ISSUE_NUMBER\" \"$CODEXK8S_ISSUE_TITLE\" \"$CODEXK8S_RUN_KIND\" \
             >> \"work/issue-$CODEXK8S_ISSUE_NUMBER.md\"",
            "git status --short",
        ];
        let answer = json!({
            "summary": "Wrote down a first step, as a real program does it.",
            "title": "Write down a first step",
            "tests": "None were needed.",
        });
        Self {
            commands: commands.map(str::to_owned).to_vec(),
            answer: format!("The work is done.\n\n{answer}"),
            pause: Duration::from_millis(200),
        }
    }
}

/// A call that it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCall {
    /// The path.
    pub path: String,
    /// The model that was asked.
    pub model: String,
    /// The whole request.
    pub body: String,
    /// All its headers, as `name: value` lines.
    pub headers: String,
}

/// A running model. It ends when dropped.
#[derive(Debug)]
pub struct ScriptedModel {
    address: SocketAddr,
    inner: Arc<Inner>,
    _end: DropGuard,
}

#[derive(Debug)]
struct Inner {
    key: String,
    script: Mutex<ModelScript>,
    seen: Mutex<Vec<SeenCall>>,
}

/// What comes next.
enum Reply {
    /// Run this; the call's id says which of the commands it is, and is never used again.
    Command { id: String, command: String },
    /// Call this tool of the platform.
    Tool {
        id: String,
        name: String,
        arguments: Value,
    },
    /// It is through.
    Words(String),
}

/// The number of a call, which answers are named by, and the tokens it is said to have used.
struct Counted {
    number: usize,
    input: usize,
    cached: usize,
    output: usize,
}

impl ScriptedModel {
    /// Starts it on loopback; calls without `key` are refused.
    pub async fn start(key: &str, script: ModelScript) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.context("listen for the scripted model")?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner {
            key: key.to_owned(),
            script: Mutex::new(script),
            seen: Mutex::default(),
        });
        let router = Router::new()
            .route("/v1/responses", post(responses::answer))
            .route("/v1/messages", post(messages::answer))
            .with_state(Arc::clone(&inner));
        let end = CancellationToken::new();
        let ended = end.clone().cancelled_owned();
        tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(ended);
            if let Err(error) = served.await {
                tracing::error!(error = %error, "the scripted model ended");
            }
        });
        Ok(Self {
            address,
            inner,
            _end: end.drop_guard(),
        })
    }

    /// Its address; the APIs lie at `URL/v1/…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what it does from the next call on.
    pub fn follow(&self, script: ModelScript) {
        *lock(&self.inner.script) = script;
    }

    /// What it was sent so far.
    pub fn seen(&self) -> Vec<SeenCall> {
        lock(&self.inner.seen).clone()
    }
}

impl Inner {
    /// Notes a call and says what to answer it: what follows on the model's own last words,
    /// which `asked` finds: the id of the command it asked for, `None` where it was through.
    /// An answer instead where it has not the key or is no request.
    async fn reply(
        &self,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
        asked: impl Fn(&Value) -> Option<&str>,
    ) -> Result<(Value, Reply, Counted), Response> {
        let request: Value = serde_json::from_slice(body)
            .map_err(|error| refused(StatusCode::BAD_REQUEST, &error.to_string()))?;
        let lines = headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            format!("{name}: {value}\n")
        });
        let number = {
            let mut seen = lock(&self.seen);
            seen.push(SeenCall {
                path: path.to_owned(),
                model: text(&request, "model"),
                body: String::from_utf8_lossy(body).into_owned(),
                headers: lines.collect(),
            });
            seen.len()
        };
        if !self.is_known(headers) {
            return Err(refused(StatusCode::UNAUTHORIZED, "the key is not known"));
        }
        let script = lock(&self.script).clone();
        tokio::time::sleep(script.pause).await;
        let next = asked(&request).and_then(step).map_or(0, |step| step + 1);
        let reply = match script.commands.get(next) {
            None => Reply::Words(script.answer),
            Some(command) => asked_for(format!("call_{next}_{number}"), command),
        };
        let said = match &reply {
            Reply::Command { command: text, .. } | Reply::Words(text) => text.len(),
            Reply::Tool { arguments, .. } => arguments.to_string().len(),
        };
        let counted = Counted {
            number,
            input: body.len() / 4,
            cached: body.len() / 8,
            output: said / 4 + 1,
        };
        Ok((request, reply, counted))
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = value(header::AUTHORIZATION.as_str());
        let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
        bearer.or_else(|| value("x-api-key")) == Some(self.key.as_str())
    }
}

fn asked_for(id: String, command: &str) -> Reply {
    let tool = command.strip_prefix("tool ");
    let tool = tool.and_then(|rest| rest.split_once(' '));
    let tool = tool.and_then(|(name, rest)| Some((name, serde_json::from_str(rest).ok()?)));
    match tool {
        Some((name, arguments)) => Reply::Tool {
            id,
            name: name.to_owned(),
            arguments,
        },
        None => Reply::Command {
            id,
            command: command.to_owned(),
        },
    }
}

/// Which of the commands a call's id means.
fn step(id: &str) -> Option<usize> {
    id.strip_prefix("call_")?.split('_').next()?.parse().ok()
}

fn refused(status: StatusCode, message: &str) -> Response {
    let error = json!({ "type": "invalid_request_error", "message": message });
    (status, Json(json!({ "type": "error", "error": error }))).into_response()
}

/// An answer as a stream of events, each under its own `type`.
fn events(events: &[Value]) -> Response {
    let text = events.iter().fold(String::new(), |text, event| {
        let kind = event["type"].as_str().unwrap_or_default();
        text + &format!("event: {kind}\ndata: {event}\n\n")
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream")];
    (headers, Bytes::from(text)).into_response()
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// The names of the tools that a request offers.
fn offers(request: &Value, tool: &str) -> bool {
    let tools = request["tools"].as_array();
    tools.is_some_and(|tools| tools.iter().any(|offered| offered["name"] == tool))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Model = State<Arc<Inner>>;
