//! What a runner is told, and the facts it hands in.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
};

use crate::domain::{
    fact::{Fact, ResultRecord, WaitStage},
    ids::AttemptNo,
    messages::answers_block,
    run_api::{CommitAuthor, EndedNotice, GIT_PATH, MAX_RESULT_BYTES, Order, RunFacts},
};

use super::{
    super::{
        body,
        error::{ApiError, ApiResult},
        mcp,
        port::Inserted,
        staff,
    },
    Caller, RunApi, caller,
    output::redactor,
};

/// A notice is a sentence.
const MAX_NOTICE_BYTES: usize = 16 * 1024;
/// Heartbeats after which a program that was told to end and to wait is ended.
const PARKING_HEARTBEATS: u32 = 3;
/// What of a runner's reason is kept.
const MAX_REASON_CHARS: usize = 500;

/// The facts of the caller's run.
pub(super) async fn show(
    State(api): State<RunApi>,
    headers: HeaderMap,
) -> ApiResult<Json<RunFacts>> {
    let caller = caller(&api, &headers).await?;
    caller.must_be_live()?;
    facts(&api, &caller).await.map(Json)
}

async fn facts(api: &RunApi, caller: &Caller) -> ApiResult<RunFacts> {
    let frozen = caller.frozen()?;
    let run = api.store.get_run(caller.run()).await;
    let run = run
        .map_err(staff::refused)?
        .ok_or_else(ApiError::unauthorized)?;
    let handed_in = api.store.has_result(caller.run(), caller.attempt()).await;
    let answers = answers(api, caller).await?;
    let Some(branch) = run.branch.clone() else {
        tracing::error!(run.id = %run.id, "a launched run has no branch");
        return Err(ApiError::internal());
    };
    Ok(RunFacts {
        run: run.id,
        attempt: caller.attempt(),
        state: run.state,
        kind: run.kind.clone(),
        repository: frozen.repository_name.clone(),
        issue: run.work_item,
        issue_title: frozen.issue_title.clone(),
        branch,
        base_branch: frozen.base_branch.clone(),
        changes_files: frozen.changes_files(),
        accepted_head: run.accepted_head.clone(),
        git_path: GIT_PATH.to_owned(),
        prompt: format!("{answers}{}", frozen.prompt),
        asked: frozen.asked.clone(),
        cli: frozen.cli.clone(),
        environment: frozen.environment.clone(),
        model: frozen.model.clone(),
        reasoning: frozen.reasoning.clone(),
        locale: frozen.locale.clone(),
        author: CommitAuthor {
            name: frozen.author.name.clone(),
            email: frozen.author.email.clone(),
        },
        pace: api.settings.pace(frozen.timeout_seconds),
        result_handed_in: handed_in.map_err(staff::refused)?,
    })
}

/// What people decided on requests of earlier attempts, for the one that goes on.
async fn answers(api: &RunApi, caller: &Caller) -> ApiResult<String> {
    if caller.attempt() == AttemptNo(1) {
        return Ok(String::new());
    }
    let asked = api.store.approvals_of(caller.run()).await;
    let asked = asked.map_err(staff::refused)?;
    Ok(answers_block(&caller.frozen()?.locale, &asked))
}

/// Takes a heartbeat; the answer is how the platform stops a runner.
pub(super) async fn heartbeat(
    State(api): State<RunApi>,
    headers: HeaderMap,
) -> ApiResult<Json<Order>> {
    let caller = caller(&api, &headers).await?;
    let state = caller.access.state;
    if !state.takes_facts() {
        let run = api.store.get_run(caller.run()).await;
        let reason = run.map_err(staff::refused)?.and_then(|run| run.reason);
        let reason = reason.unwrap_or_else(|| format!("the run is {state}"));
        return Ok(Json(Order::Stop { reason }));
    }
    caller.say(&api, &Fact::Heartbeat).await?;
    if state.waits() && is_overstaying(&api, &caller).await? {
        let reason = "the attempt waits for people; the next one goes on with their answer";
        return Ok(Json(Order::Stop {
            reason: reason.to_owned(),
        }));
    }
    Ok(Json(Order::Continue))
}

/// Whether an attempt that was told to end and to wait has had time enough to do so.
async fn is_overstaying(api: &RunApi, caller: &Caller) -> ApiResult<bool> {
    let wait = api.store.wait_of(caller.run(), caller.attempt()).await;
    let wait = wait.map_err(staff::refused)?;
    let grace = api.settings.heartbeat * PARKING_HEARTBEATS;
    Ok(wait.is_some_and(|(wait, at)| {
        let since = (caller.access.now - at).to_std().unwrap_or_default();
        wait.stage == WaitStage::Parked && since > grace
    }))
}

/// Takes the attempt's result record, once.
pub(super) async fn result(
    State(api): State<RunApi>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<StatusCode> {
    let caller = caller(&api, &headers).await?;
    caller.must_be_live()?;
    if mcp::is_parked(&api, &caller).await? {
        let message = "the attempt waits for people; the next one goes on with their answer";
        return Err(ApiError::conflict("run_waits", message));
    }
    let record: ResultRecord = body::json(&headers, body, MAX_RESULT_BYTES).await?;
    if record
        .head
        .as_ref()
        .is_some_and(|head| !is_commit(head.as_str()))
    {
        return Err(ApiError::bad_field(
            "head",
            "a commit is 40 or 64 hex digits",
        ));
    }
    let asked = &caller.frozen()?.asked;
    let mut said = record.answer.parts.keys();
    if let Some(name) = said.find(|name| !asked.iter().any(|part| part.name == **name)) {
        let message = format!("the stage asks for no part `{name}`");
        return Err(ApiError::bad_field("parts", message));
    }
    let record = redacted(&api, &caller, record).await?;
    match caller.say(&api, &Fact::Result(record)).await? {
        Inserted::New => Ok(StatusCode::CREATED),
        Inserted::Repeated => Ok(StatusCode::OK),
        Inserted::Differs => Err(ApiError::conflict(
            "result_handed_in",
            "this attempt handed in another result before",
        )),
    }
}

/// The record without secrets in the agent's words: they go into a pull request.
async fn redacted(api: &RunApi, caller: &Caller, record: ResultRecord) -> ApiResult<ResultRecord> {
    let redactor = redactor(api, caller).await;
    let answer = serde_json::to_value(&record.answer).and_then(|mut answer| {
        redactor.redact_json(&mut answer);
        serde_json::from_value(answer)
    });
    let answer = answer.map_err(|error| ApiError::bad_field("answer", error.to_string()))?;
    Ok(ResultRecord { answer, ..record })
}

/// Takes the notice that the runner ends itself.
pub(super) async fn ended(
    State(api): State<RunApi>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<StatusCode> {
    let caller = caller(&api, &headers).await?;
    caller.must_be_live()?;
    let notice: EndedNotice = body::json(&headers, body, MAX_NOTICE_BYTES).await?;
    let reason = redactor(&api, &caller).await.redact(&notice.reason);
    let reason = reason.chars().take(MAX_REASON_CHARS).collect();
    caller.say(&api, &Fact::Ended { reason }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether a text is a full object id.
pub(crate) fn is_commit(text: &str) -> bool {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    matches!(text.len(), 40 | 64) && text.chars().all(hex)
}
