//! Calls of tools: judged by the run's grant, turned into facts, written down.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    super::{
        error::ApiResult,
        run::{Caller, RunApi, redactor},
        staff,
    },
    catalogue::{LabelsArguments, ListArguments, TransitionArguments, WaitArguments},
};
use crate::domain::{
    approval::{Approval, ApprovalAction, ApprovalId, ApprovalState},
    fact::{Fact, LabelsFact, WaitFact, WaitStage},
    ids::{IssueNumber, LabelName, Subject},
    run::FrozenRun,
    tools::{LabelWish, MAX_LABELS_A_CALL, ToolName, ToolOutcome},
};

/// The longest arguments that are written down as they are.
const MAX_ARGUMENT_BYTES: usize = 16 * 1024;
/// The longest name of a tool that is written down.
const MAX_NAME_CHARS: usize = 100;
/// How long a request that was just made may take to be put to people.
const RECORDED_WITHIN: Duration = Duration::from_secs(15);
/// How often a decision is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A call of a tool, as it is written down.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCallRecord {
    /// The tool, as the agent named it.
    pub tool: String,
    /// What it was called with, without secrets.
    pub arguments: Value,
    /// What became of it.
    pub outcome: ToolOutcome,
    /// Why, where it was refused or failed.
    pub detail: Option<String>,
}

/// What the agent is told.
pub(super) struct Answer {
    /// What came of it.
    pub(super) value: Value,
    /// Why it was refused, if it was.
    pub(super) refusal: Option<String>,
}

/// What came of a call that was not refused.
struct Done {
    outcome: ToolOutcome,
    value: Value,
}

/// Why a call did not go well.
enum Failure {
    /// It was not granted, or is not well formed.
    Refused(String),
    /// The platform failed.
    Failed(super::super::error::ApiError),
}

impl From<super::super::error::ApiError> for Failure {
    fn from(error: super::super::error::ApiError) -> Self {
        Self::Failed(error)
    }
}

/// Does what a call asks for, and writes it down.
pub(super) async fn call(
    api: &RunApi,
    caller: &Caller,
    name: &str,
    arguments: Value,
) -> ApiResult<Answer> {
    let done = judged(api, caller, name, &arguments).await;
    let (outcome, detail) = match &done {
        Ok(done) => (done.outcome, None),
        Err(Failure::Refused(why)) => (ToolOutcome::Refused, Some(why.clone())),
        Err(Failure::Failed(error)) => (ToolOutcome::Failed, Some(error.body.message.clone())),
    };
    write_down(api, caller, name, arguments, (outcome, detail)).await?;
    match done {
        Ok(done) => Ok(Answer {
            value: done.value,
            refusal: None,
        }),
        Err(Failure::Refused(why)) => Ok(Answer {
            value: Value::Null,
            refusal: Some(why),
        }),
        Err(Failure::Failed(error)) => Err(error),
    }
}

async fn write_down(
    api: &RunApi,
    caller: &Caller,
    name: &str,
    mut arguments: Value,
    (outcome, detail): (ToolOutcome, Option<String>),
) -> ApiResult<()> {
    let redactor = redactor(api, caller).await;
    redactor.redact_json(&mut arguments);
    let size = arguments.to_string().len();
    if size > MAX_ARGUMENT_BYTES {
        arguments = json!({ "bytes": size });
    }
    let named: String = name.chars().take(MAX_NAME_CHARS).collect();
    let record = ToolCallRecord {
        tool: redactor.redact(&named).replace('\0', "\u{fffd}"),
        arguments: without_nul(arguments),
        outcome,
        detail: detail.map(|detail| redactor.redact(&detail).replace('\0', "\u{fffd}")),
    };
    let known = granted(caller, name).map_or("other", Into::into);
    api.metrics.count_tool_call(known, outcome.into());
    tracing::info!(run.id = %caller.run(), tool = record.tool, %outcome, "a tool was called");
    let written = api
        .store
        .insert_tool_call(caller.run(), caller.attempt(), &record)
        .await;
    written.map_err(staff::refused)
}

/// Postgres keeps no NUL in JSON texts.
fn without_nul(value: Value) -> Value {
    let text = value.to_string();
    if text.contains("\\u0000") {
        return json!({ "bytes": text.len() });
    }
    value
}

/// The tool of that name, where the run was given it.
fn granted(caller: &Caller, name: &str) -> Option<ToolName> {
    let tool: ToolName = name.parse().ok()?;
    let frozen = caller.access.frozen.as_ref()?;
    frozen.tools.tools.contains(&tool).then_some(tool)
}

async fn judged(
    api: &RunApi,
    caller: &Caller,
    name: &str,
    arguments: &Value,
) -> Result<Done, Failure> {
    // What is hidden and what does not exist are not told apart.
    let tool = granted(caller, name)
        .ok_or_else(|| Failure::Refused(format!("this run has no tool `{name}`")))?;
    let frozen = caller.frozen()?;
    match tool {
        ToolName::LabelsList => {
            let taken: ListArguments = parsed(arguments)?;
            list(api, caller, taken.issue_number).await
        }
        ToolName::LabelsAdd => {
            let taken: LabelsArguments = parsed(arguments)?;
            let wanted = (taken.labels, Vec::new());
            change(api, caller, frozen, taken.issue_number, wanted).await
        }
        ToolName::LabelsRemove => {
            let taken: LabelsArguments = parsed(arguments)?;
            let wanted = (Vec::new(), taken.labels);
            change(api, caller, frozen, taken.issue_number, wanted).await
        }
        ToolName::LabelsTransition => {
            let taken: TransitionArguments = parsed(arguments)?;
            let wanted = (taken.add_labels, taken.remove_labels);
            change(api, caller, frozen, taken.issue_number, wanted).await
        }
        ToolName::RequestWait => {
            let taken: WaitArguments = parsed(arguments)?;
            wait(api, caller, frozen, &LabelName::new(taken.label)).await
        }
    }
}

fn parsed<T: DeserializeOwned>(arguments: &Value) -> Result<T, Failure> {
    T::deserialize(arguments).map_err(|error| Failure::Refused(format!("the arguments: {error}")))
}

/// The issue or pull request that a call is about: the run's own alone.
async fn subject(api: &RunApi, caller: &Caller, asked: Option<i64>) -> Result<Subject, Failure> {
    let run = api.store.get_run(caller.run()).await;
    let run = run.map_err(staff::refused)?;
    let run = run.ok_or_else(super::super::error::ApiError::unauthorized)?;
    let number = asked.map_or(run.work_item, IssueNumber);
    if run.works_on(number) {
        return Ok(Subject {
            repository: run.repository,
            number,
        });
    }
    Err(Failure::Refused(format!(
        "this run works on #{}, not on #{number}",
        run.work_item
    )))
}

async fn list(api: &RunApi, caller: &Caller, asked: Option<i64>) -> Result<Done, Failure> {
    let subject = subject(api, caller, asked).await?;
    let labels = api.store.labels_of(subject).await;
    let labels = labels.map_err(staff::refused)?;
    let labels = labels.ok_or_else(|| {
        Failure::Refused(format!(
            "#{} is not read from the forge yet",
            subject.number
        ))
    })?;
    Ok(Done {
        outcome: ToolOutcome::Ok,
        value: json!({ "issue_number": subject.number, "labels": labels }),
    })
}

/// Labels that are wanted on and off: all of them, or none.
async fn change(
    api: &RunApi,
    caller: &Caller,
    frozen: &FrozenRun,
    asked: Option<i64>,
    (add, remove): (Vec<String>, Vec<String>),
) -> Result<Done, Failure> {
    let labels = |names: Vec<String>| -> Vec<_> { names.into_iter().map(LabelName::new).collect() };
    let (add, remove) = (labels(add), labels(remove));
    let count = add.len() + remove.len();
    if count == 0 || count > MAX_LABELS_A_CALL {
        let why = format!("a call names 1 to {MAX_LABELS_A_CALL} labels, not {count}");
        return Err(Failure::Refused(why));
    }
    if let Some(label) = add.iter().find(|label| remove.contains(label)) {
        let why = format!("`{label}` is to be put on and taken off");
        return Err(Failure::Refused(why));
    }
    let grant = &frozen.tools;
    let judged = add.iter().map(|label| (label, grant.adding(label)));
    let judged = judged.chain(remove.iter().map(|label| (label, grant.removing(label))));
    let refused = judged.filter_map(|(label, wish)| match wish {
        LabelWish::Refused(why) => Some(format!("`{label}`: {why}")),
        LabelWish::Write | LabelWish::Request => None,
    });
    let refused: Vec<_> = refused.collect();
    if !refused.is_empty() {
        return Err(Failure::Refused(format!(
            "nothing is changed; {}",
            refused.join("; ")
        )));
    }
    let subject = subject(api, caller, asked).await?;
    let (requested, added): (Vec<_>, Vec<_>) = add
        .iter()
        .partition(|label| grant.adding(label) == LabelWish::Request);
    let value = json!({
        "status": if requested.is_empty() { "ok" } else { "approval_required" },
        "issue_number": subject.number,
        "added": added,
        "removed": remove,
        "requested": requested,
    });
    let outcome = if requested.is_empty() {
        ToolOutcome::Ok
    } else {
        ToolOutcome::Requested
    };
    let fact = LabelsFact {
        number: subject.number,
        add,
        remove,
    };
    caller.say(api, &Fact::Labels(fact)).await?;
    Ok(Done { outcome, value })
}

/// Holds the call open until people have decided, or for as long as a call may be held.
async fn wait(
    api: &RunApi,
    caller: &Caller,
    frozen: &FrozenRun,
    label: &LabelName,
) -> Result<Done, Failure> {
    if frozen.tools.adding(label) != LabelWish::Request {
        let why = format!("`{label}` is no label that people are asked about");
        return Err(Failure::Refused(why));
    }
    let id = ApprovalId::of(&caller.run(), ApprovalAction::StartStage, label);
    let recorded = Instant::now() + RECORDED_WITHIN.min(api.settings.tool_hold);
    let deadline = Instant::now() + api.settings.tool_hold;
    let say = async |stage| {
        let wait = WaitFact {
            approval: id,
            stage,
        };
        caller.say(api, &Fact::Wait(wait)).await
    };
    let mut asking = false;
    loop {
        let asked = api.store.approval(id).await.map_err(staff::refused)?;
        match asked {
            Some(asked) if asked.state != ApprovalState::Requested => {
                if asking || is_parked(api, caller).await? {
                    say(WaitStage::Answered).await?;
                }
                return Ok(Done {
                    outcome: ToolOutcome::Ok,
                    value: decided(&asked),
                });
            }
            Some(_) if !asking => {
                say(WaitStage::Asking).await?;
                asking = true;
            }
            None if Instant::now() >= recorded => {
                let why = format!("nobody is asked about `{label}` yet: add the label first");
                return Err(Failure::Refused(why));
            }
            Some(_) | None => {}
        }
        if Instant::now() >= deadline {
            say(WaitStage::Parked).await?;
            return Ok(Done {
                outcome: ToolOutcome::Waiting,
                value: json!({
                    "status": "waiting",
                    "label": label,
                    "what_to_do": "People have not decided yet. End your work now, without the \
                        answer that your task asks for: you are started again with their answer, and this conversation \
                        goes on. What you want to keep, commit and push.",
                }),
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether the caller's attempt was told to end and to wait for people.
pub(crate) async fn is_parked(api: &RunApi, caller: &Caller) -> ApiResult<bool> {
    let wait = api.store.wait_of(caller.run(), caller.attempt()).await;
    let wait = wait.map_err(staff::refused)?;
    Ok(wait.is_some_and(|(wait, _)| wait.stage == WaitStage::Parked))
}

fn decided(asked: &Approval) -> Value {
    let decision = asked.decision.as_ref();
    let by = decision.and_then(|decision| decision.actor.as_ref());
    let said = decision.and_then(|decision| decision.reason.as_ref());
    json!({
        "status": asked.state,
        "label": asked.target,
        "by": by.map(|actor| &actor.login),
        "reason": said.or(asked.reason.as_ref()),
    })
}
