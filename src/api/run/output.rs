//! Logs and sessions: what a runner may still hand in while its run stops.

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};

use secrecy::ExposeSecret;

use crate::domain::{
    ids::AttemptNo,
    redact::Redactor,
    run_api::{
        LogBatch, MAX_LOG_BODY_BYTES, MAX_LOG_CHUNK_BYTES, MAX_SESSION_BYTES, SESSION_FORMAT_HEADER,
    },
};

use super::{
    super::{
        body,
        error::{ApiError, ApiResult},
        port::SessionBlob,
        staff,
    },
    Caller, RunApi, caller,
};

/// The longest name of a session format.
const MAX_FORMAT_CHARS: usize = 64;

/// Takes log chunks, without their secrets; a chunk sent twice counts once.
///
/// *Caveats*: of a secret that is cut between two calls, a part too short to be told from words
/// stays. Our runner ends a chunk with a line, so only a line too long for it is ever cut there.
pub(super) async fn logs(
    State(api): State<RunApi>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<StatusCode> {
    let caller = caller(&api, &headers).await?;
    caller.may_speak(api.settings.last_words)?;
    let mut batch: LogBatch = body::json(&headers, body, MAX_LOG_BODY_BYTES).await?;
    for chunk in &mut batch.chunks {
        if chunk.text.len() > MAX_LOG_CHUNK_BYTES {
            let message = format!("a chunk may hold at most {MAX_LOG_CHUNK_BYTES} bytes");
            return Err(ApiError::bad_field("chunks", message));
        }
        // Postgres texts hold no NUL.
        chunk.text = chunk.text.replace('\0', "\u{fffd}");
    }
    let redactor = redactor(&api, &caller).await;
    redactor.redact_pieces(batch.chunks.iter_mut().map(|chunk| &mut chunk.text));
    let (run, attempt) = (caller.run(), caller.attempt());
    let stored = api
        .store
        .append_log_chunks(run, attempt, &batch.chunks)
        .await;
    stored.map_err(staff::refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What takes secrets out of a pod's texts.
pub(crate) async fn redactor(api: &RunApi, caller: &Caller) -> Redactor {
    Redactor::knowing(known_values(api, caller).await)
}

/// What the run API knows and a run's agent may have come by, whatever keeps it from that: the
/// tokens of the run's attempts and the keys of models.
pub(crate) async fn known_values(api: &RunApi, caller: &Caller) -> Vec<String> {
    let access = &caller.access;
    let attempts = (1..=access.attempt.0).map(AttemptNo);
    let token = |attempt| api.keys.token(access.key_version, access.run, attempt);
    let tokens = attempts.filter_map(token);
    let mut values: Vec<String> = tokens.map(|token| token.expose().to_owned()).collect();
    let keys = api.models.all().await;
    values.extend(keys.iter().map(|key| key.expose_secret().to_owned()));
    values
}

/// Takes a session in place of the attempt's older one. Its format is the runner's affair, but a
/// secret that stands in it as it is stays out of the store.
pub(super) async fn save_session(
    State(api): State<RunApi>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<StatusCode> {
    let caller = caller(&api, &headers).await?;
    caller.may_speak(api.settings.last_words)?;
    let format = format_tag(&headers)?;
    let mut bytes = body::read(&headers, body, MAX_SESSION_BYTES)
        .await?
        .to_vec();
    let redactor = redactor(&api, &caller).await;
    redactor.overwrite_known(&mut bytes);
    let session = SessionBlob { format, bytes };
    let saved = api
        .store
        .save_session(caller.run(), caller.attempt(), session);
    saved.await.map_err(staff::refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The session to go on from, or 204.
pub(super) async fn read_session(
    State(api): State<RunApi>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let caller = caller(&api, &headers).await?;
    caller.must_be_live()?;
    let session = api.store.latest_session(caller.run()).await;
    let Some(session) = session.map_err(staff::refused)? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let tag = (
        HeaderName::from_static(SESSION_FORMAT_HEADER),
        session.format,
    );
    let kind = (header::CONTENT_TYPE, "application/octet-stream".to_owned());
    Ok(([tag, kind], Bytes::from(session.bytes)).into_response())
}

fn format_tag(headers: &HeaderMap) -> ApiResult<String> {
    let tag = headers
        .get(SESSION_FORMAT_HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|tag| !tag.is_empty() && tag.len() <= MAX_FORMAT_CHARS);
    tag.map(str::to_owned).ok_or_else(|| {
        ApiError::bad_field(
            SESSION_FORMAT_HEADER,
            "a session needs the tag of its format",
        )
    })
}
