//! Who calls: the run token against the run's row, at every call.
//!
//! A token with our signature names an attempt that we made. Where the rows do not know it,
//! they are a restored database's: the answer is 503, so that the runner waits until its run
//! is rebuilt.
//!
//! Order of judgement: the signature (before any row is read), the run, the
//! attempt, and then what the run's state still takes.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};

use crate::domain::{
    fact::Fact,
    ids::{AttemptNo, RunId},
    run::{FrozenRun, RunState},
    run_token::{RunToken, TokenClaim},
};

use super::{
    super::{
        error::{ApiError, ApiResult},
        port::{Inserted, RunAccess},
        secret, staff,
    },
    RunApi,
};

/// A verified caller: the newest attempt of a run that exists.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The run and its attempt.
    pub(crate) access: RunAccess,
}

/// Verifies a request's run token.
pub(crate) async fn caller(api: &RunApi, headers: &HeaderMap) -> ApiResult<Caller> {
    let token = token(headers).ok_or_else(ApiError::unauthorized)?;
    let claim = api.keys.verify(&token).ok_or_else(ApiError::unauthorized)?;
    let access = api.store.run_access(claim.run).await;
    let access = access
        .map_err(staff::refused)?
        .ok_or_else(ApiError::unavailable)?;
    let newest = access.attempt;
    if claim.attempt < newest {
        let message = format!("attempt {} was followed by attempt {newest}", claim.attempt);
        return Err(ApiError::conflict("attempt_superseded", message));
    }
    if claim.attempt > newest {
        return Err(ApiError::unavailable());
    }
    if claim.key_version != access.key_version {
        return Err(ApiError::unauthorized());
    }
    Ok(Caller { access })
}

/// Whom a request's token proves, whatever its run's row says of it.
pub(super) fn claim(api: &RunApi, headers: &HeaderMap) -> Option<TokenClaim> {
    api.keys.verify(&token(headers)?)
}

impl Caller {
    /// The run.
    pub(crate) fn run(&self) -> RunId {
        self.access.run
    }

    /// The attempt.
    pub(crate) fn attempt(&self) -> AttemptNo {
        self.access.attempt
    }

    /// Refuses unless the run still takes facts.
    pub(crate) fn must_be_live(&self) -> ApiResult<()> {
        if self.access.state.takes_facts() {
            return Ok(());
        }
        Err(self.over())
    }

    /// Refuses unless the run takes facts or its last words.
    pub(crate) fn may_speak(&self, last_words: std::time::Duration) -> ApiResult<()> {
        let access = &self.access;
        let in_time = access.state == RunState::Stopping
            && access.stopping_at.is_none_or(|at| {
                let since = (access.now - at).to_std().unwrap_or_default();
                since <= last_words
            });
        if access.state.takes_facts() || in_time {
            return Ok(());
        }
        Err(self.over())
    }

    /// What was fixed at launch. An attempt without it cannot be.
    pub(crate) fn frozen(&self) -> ApiResult<&FrozenRun> {
        self.access.frozen.as_ref().ok_or_else(|| {
            tracing::error!(run.id = %self.run(), "a run with an attempt has nothing frozen");
            ApiError::internal()
        })
    }

    /// Inserts a fact of this attempt.
    pub(crate) async fn say(&self, api: &RunApi, fact: &Fact) -> ApiResult<Inserted> {
        let inserted = api
            .store
            .insert_fact(self.run(), self.attempt(), fact)
            .await;
        inserted.map_err(staff::refused)
    }

    fn over(&self) -> ApiError {
        let state = self.access.state;
        ApiError::gone("run_over", format!("the run is {state}"))
    }
}

/// The run token: a bearer, or the password of Git's basic credentials.
fn token(headers: &HeaderMap) -> Option<RunToken> {
    if let Some(bearer) = secret::bearer(headers) {
        return Some(RunToken::from_text(bearer));
    }
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (_, password) = decoded.split_once(':')?;
    Some(RunToken::from_text(password))
}
