//! What an attack is: a step that the agent takes, and the answer that counts as refused.

use serde_json::{Value, json};

/// What attacks of one kind have in common: a row of the table in `docs/security.md`.
#[derive(Debug)]
pub(super) struct Kind {
    /// What is tried.
    pub(super) what: &'static str,
    /// What refuses it.
    pub(super) guard: &'static str,
    /// Where a refusal is found afterwards.
    pub(super) audit: Audit,
}

/// Where a refusal is found afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audit {
    /// In the API server's audit log, with the account of the run.
    ApiServer,
    /// In the platform's log, with the run where a token proves one.
    RunApi,
    /// In the platform's log, as a call of the staff API.
    StaffApi,
    /// In the platform's log, as a push.
    Push,
    /// Nowhere: the kernel or the kubelet refuses it and writes nothing.
    Nowhere,
}

impl Audit {
    /// Its words in the table.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::ApiServer => "the API server's audit log, by the run's account",
            Self::RunApi => {
                "the platform's log (`refused a call of the run API`), `codexk8s_run_api_requests_total`"
            }
            Self::StaffApi => "the platform's log (`refused a call of the staff API`)",
            Self::Push => "the platform's log (`refused a push`), `codexk8s_run_pushes_total`",
            Self::Nowhere => "not at all",
        }
    }
}

/// One attack.
#[derive(Debug)]
pub(super) struct Attack {
    pub(super) kind: &'static Kind,
    /// Its name, and what the agent does.
    pub(super) step: Value,
    /// The status that refuses it: of HTTP, or a program's exit code.
    pub(super) status: i64,
    /// What the answer says of the reason.
    pub(super) words: Vec<String>,
    /// What the platform's log says of it, where the answer's words are not all.
    pub(super) logged: Option<&'static str>,
}

impl Attack {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        self.step["name"].as_str().unwrap()
    }
}

/// A request, as a step.
pub(super) fn request(name: &str, to: &str, method: &str, path: &str) -> Value {
    json!({"name": name, "to": to, "method": method, "path": path})
}

/// A request to the API server with a body.
pub(super) fn with_body(name: &str, method: &str, path: &str, body: Value) -> Value {
    let media = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let mut step = request(name, "api", method, path);
    step["type"] = json!(media);
    step["body"] = body;
    step
}

/// An attack with its reason.
pub(super) fn attack(kind: &'static Kind, step: Value, status: i64, words: &[&str]) -> Attack {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Attack {
        kind,
        step,
        status,
        words,
        logged: None,
    }
}
