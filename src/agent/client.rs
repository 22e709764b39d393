//! Calls of the run API. A call either gets an answer, a refusal that is meant,
//! or nothing, in which case trying again is right.

use std::{path::Path, time::Duration};

use anyhow::Context;
use reqwest::{Method, RequestBuilder, StatusCode};
use url::Url;

use crate::domain::{
    fact::ResultRecord,
    run_api::{
        EndedNotice, ErrorBody, LogBatch, LogChunk, Order, RUN_API_PREFIX, RunFacts,
        SESSION_FORMAT_HEADER,
    },
    run_token::RunToken,
};

/// Longer than an answer takes, shorter than the silence that ends a runner.
const CALL_TIME: Duration = Duration::from_secs(15);
/// Sessions are large.
const SESSION_TIME: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The run API is away or overburdened: try again.
    #[error("the run API is not available: {0}")]
    Away(String),
    /// It will not do this, however often it is asked.
    #[error("the run API refuses: {message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// Its words.
        message: String,
    },
}

impl CallError {
    /// Whether the attempt itself is refused.
    pub(crate) fn ends_the_attempt(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: StatusCode::UNAUTHORIZED | StatusCode::CONFLICT | StatusCode::GONE,
                ..
            }
        )
    }
}

/// A session as it was saved.
#[derive(Debug)]
pub(crate) struct SavedSession {
    /// Its format.
    pub(crate) format: String,
    /// The blob.
    pub(crate) bytes: Vec<u8>,
}

/// The run API, as one runner speaks to it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: RunToken,
}

impl Client {
    /// A client for the API at `base`.
    pub(crate) fn new(base: Url, token: RunToken, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5));
        if let Some(path) = ca_file {
            let pem = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&pem)?);
        }
        Ok(Self {
            http: builder.build()?,
            base,
            token,
        })
    }

    /// The run token, for those who speak to the API in our place.
    pub(crate) fn token(&self) -> &str {
        self.token.expose()
    }

    /// The address of a path of the API.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    /// The run's facts.
    pub(crate) async fn facts(&self) -> Result<RunFacts, CallError> {
        let answer = self.send(self.request(Method::GET, "/facts")).await?;
        answer.json().await.map_err(away)
    }

    /// One heartbeat.
    pub(crate) async fn heartbeat(&self) -> Result<Order, CallError> {
        let answer = self.send(self.request(Method::POST, "/heartbeat")).await?;
        answer.json().await.map_err(away)
    }

    /// Hands in log chunks.
    pub(crate) async fn logs(&self, chunks: Vec<LogChunk>) -> Result<(), CallError> {
        let request = self.request(Method::POST, "/logs");
        self.send(request.json(&LogBatch { chunks })).await?;
        Ok(())
    }

    /// The session to go on from.
    pub(crate) async fn session(&self) -> Result<Option<SavedSession>, CallError> {
        let request = self.request(Method::GET, "/session").timeout(SESSION_TIME);
        let answer = self.send(request).await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let format = answer.headers().get(SESSION_FORMAT_HEADER);
        let format = format.and_then(|value| value.to_str().ok());
        Ok(Some(SavedSession {
            format: format.unwrap_or_default().to_owned(),
            bytes: answer.bytes().await.map_err(away)?.to_vec(),
        }))
    }

    /// Saves the session.
    pub(crate) async fn save_session(&self, format: &str, blob: Vec<u8>) -> Result<(), CallError> {
        let request = self.request(Method::PUT, "/session").timeout(SESSION_TIME);
        let request = request.header(SESSION_FORMAT_HEADER, format).body(blob);
        self.send(request).await?;
        Ok(())
    }

    /// Hands in the result.
    pub(crate) async fn result(&self, record: &ResultRecord) -> Result<(), CallError> {
        let request = self.request(Method::POST, "/result");
        self.send(request.json(record)).await?;
        Ok(())
    }

    /// Says that the runner ends itself.
    pub(crate) async fn ended(&self, reason: String) -> Result<(), CallError> {
        let request = self.request(Method::POST, "/ended");
        self.send(request.json(&EndedNotice { reason })).await?;
        Ok(())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let address = self.address(&format!("{RUN_API_PREFIX}{path}"));
        self.http
            .request(method, address)
            .timeout(CALL_TIME)
            .bearer_auth(self.token.expose())
    }

    async fn send(&self, request: RequestBuilder) -> Result<reqwest::Response, CallError> {
        let answer = request.send().await.map_err(away)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.bytes().await.unwrap_or_default();
        let message = serde_json::from_slice::<ErrorBody>(&body)
            .map_or_else(|_| format!("status {status}"), |body| body.message);
        let again = matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
        );
        if status.is_server_error() || again {
            return Err(CallError::Away(message));
        }
        Err(CallError::Refused { status, message })
    }
}

fn away(error: reqwest::Error) -> CallError {
    CallError::Away(error.without_url().to_string())
}

/// Repeats a call until there is an answer; whoever waits may stop waiting.
pub(crate) async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match call().await {
            Err(CallError::Away(why)) => {
                tracing::warn!(reason = why, "the run API is not available, trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            answer => return answer,
        }
    }
}
