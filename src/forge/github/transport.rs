//! The wire below octocrab: a tower service over one reqwest client.
//!
//! Octocrab's own client follows redirects (a renamed repository would pass
//! unnoticed, a POST would become a GET), knows no proxy and keeps half-read
//! pages in its cache. This one follows nothing, repeats nothing, reads each
//! answer whole and asks the write gate as the last thing before sending.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use octocrab::OctoBody;

use super::settings::GithubSettings;
use crate::forge::{gate::WriteGate, metrics::ForgeMetrics};

/// The longest answer that is read: GitHub's pages stay far below it.
const LONGEST_ANSWER: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum TransportError {
    /// The write gate was closed.
    #[error("{0}")]
    NotSent(String),
    /// No connection: nothing was sent.
    #[error("no connection: {0}")]
    Connect(String),
    /// It broke before an answer began.
    #[error("the request broke off: {0}")]
    Broken(String),
    /// The time is over.
    #[error("no answer in time")]
    Timeout,
    /// The answer broke off.
    #[error("the answer broke off: {0}")]
    Truncated(String),
    /// The request cannot be made.
    #[error("{0}")]
    Invalid(String),
}

impl TransportError {
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let words = innermost(error);
        if error.is_timeout() {
            Self::Timeout
        } else if error.is_connect() {
            Self::Connect(words)
        } else if error.is_body() || error.is_decode() {
            Self::Truncated(words)
        } else if error.is_builder() {
            Self::Invalid(words)
        } else {
            Self::Broken(words)
        }
    }
}

/// The words of the innermost cause: the outer ones repeat the address.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if std::ptr::eq(cause, std::ptr::from_ref(error)) {
        return "the HTTP client gave no cause".to_owned();
    }
    cause.to_string()
}

/// Builds the HTTP client that API calls and pushes share.
pub(super) fn http_client(settings: &GithubSettings) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(settings.request_timeout)
        .user_agent(&settings.user_agent);
    if let Some(pem) = &settings.ca_bundle {
        let bundle = reqwest::Certificate::from_pem_bundle(pem)
            .map_err(|error| format!("the CA bundle is unreadable: {error}"))?;
        builder = builder.tls_certs_merge(bundle);
    }
    if let Some(proxy) = &settings.proxy {
        let proxy = reqwest::Proxy::all(proxy.clone())
            .map_err(|_| "the proxy's address is not usable".to_owned())?;
        builder = builder.proxy(proxy);
    }
    builder
        .build()
        .map_err(|error| format!("the HTTP client cannot be built: {error}"))
}

/// The service under octocrab.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    client: reqwest::Client,
    rest_base: Arc<str>,
    graphql: Arc<str>,
    timeout: std::time::Duration,
    gate: Arc<dyn WriteGate>,
    metrics: Arc<ForgeMetrics>,
}

impl Transport {
    pub(super) fn new(
        client: reqwest::Client,
        settings: &GithubSettings,
        gate: Arc<dyn WriteGate>,
        metrics: Arc<ForgeMetrics>,
    ) -> Self {
        Self {
            client,
            rest_base: settings.rest_base().into(),
            graphql: settings.graphql_address().into(),
            timeout: settings.request_timeout,
            gate,
            metrics,
        }
    }

    fn address(&self, path_and_query: &str) -> String {
        if path_and_query == "/graphql" {
            return self.graphql.to_string();
        }
        format!("{}{path_and_query}", self.rest_base)
    }

    async fn exchange(
        self,
        request: Request<OctoBody>,
    ) -> Result<Response<Full<Bytes>>, TransportError> {
        let invalid = |error: &dyn std::fmt::Display| TransportError::Invalid(error.to_string());
        let (parts, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| invalid(&error))?
            .to_bytes();
        let path = parts.uri.path_and_query().map_or("/", |both| both.as_str());
        let mut headers = parts.headers;
        headers.remove(http::header::CONTENT_LENGTH);
        let mut outgoing = self
            .client
            .request(parts.method.clone(), self.address(path))
            .headers(headers)
            .timeout(self.timeout);
        if !body.is_empty() || parts.method == Method::POST {
            outgoing = outgoing.body(body);
        }
        let outgoing = outgoing
            .build()
            .map_err(|error| TransportError::of(&error))?;
        if changes_something(&parts.method, path) {
            self.gate.may_write().map_err(TransportError::NotSent)?;
            self.metrics.count_write();
        }
        let answer = self.client.execute(outgoing).await;
        read_whole(answer.map_err(|error| TransportError::of(&error))?).await
    }
}

/// Whether a request changes anything that people see: GraphQL is only
/// queried, and a token that is made for ourselves is nobody's business.
fn changes_something(method: &Method, path: &str) -> bool {
    *method != Method::GET && path != "/graphql" && !path.ends_with("/access_tokens")
}

async fn read_whole(
    mut answer: reqwest::Response,
) -> Result<Response<Full<Bytes>>, TransportError> {
    let truncated = |error: reqwest::Error| match TransportError::of(&error) {
        TransportError::Timeout => TransportError::Timeout,
        other => TransportError::Truncated(other.to_string()),
    };
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(truncated)? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(TransportError::Truncated("it is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(Full::new(body.freeze()));
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    Ok(response)
}

impl tower::Service<Request<OctoBody>> for Transport {
    type Response = Response<Full<Bytes>>;
    type Error = TransportError;
    type Future = BoxFuture<'static, Result<Self::Response, TransportError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<OctoBody>) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}
