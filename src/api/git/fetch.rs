//! Fetches: streamed through to the forge with our credential that only reads.
//! Nothing is kept and nothing is looked into; which repository is meant is
//! fixed by the run.

use std::{path::Path, time::Duration};

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use secrecy::ExposeSecret;

use super::super::{
    error::{ApiError, ApiResult},
    port::GitRemote,
};

/// Passed on to the forge.
const REQUEST_HEADERS: [HeaderName; 4] = [
    header::ACCEPT,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    HeaderName::from_static("git-protocol"),
];
/// Passed back to the agent.
const RESPONSE_HEADERS: [HeaderName; 2] = [header::CONTENT_TYPE, header::CACHE_CONTROL];

/// The client of fetches: no redirects, as they would lead to another
/// repository or carry the credential elsewhere.
pub(crate) fn http_client(ca_file: Option<&Path>) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_mins(2))
        .user_agent("git/codex-k8s");
    if let Some(path) = ca_file {
        let certificates = reqwest::Certificate::from_pem_bundle(&std::fs::read(path)?)?;
        builder = builder.tls_certs_merge(certificates);
    }
    Ok(builder.build()?)
}

/// Asks the forge and hands its answer through.
pub(crate) async fn through(
    client: &reqwest::Client,
    remote: &GitRemote,
    tail: &str,
    headers: &HeaderMap,
    body: Option<Body>,
) -> ApiResult<Response> {
    let url = format!("{}/{tail}", remote.url.as_str().trim_end_matches('/'));
    let mut request = match body {
        None => client.get(&url),
        Some(body) => client
            .post(&url)
            .body(reqwest::Body::wrap_stream(body.into_data_stream())),
    };
    for name in REQUEST_HEADERS {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    if let Some(authorization) = &remote.authorization {
        let mut value = HeaderValue::from_str(authorization.expose_secret())
            .map_err(|_| ApiError::internal())?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let answer = request.send().await.map_err(|error| {
        tracing::warn!(error = %error.without_url(), "the forge's Git did not answer");
        ApiError::bad_gateway("the forge did not answer, try again")
    })?;
    if answer.status() != StatusCode::OK {
        let status = answer.status().as_u16();
        tracing::warn!(http.status = status, "the forge's Git refused a fetch");
        return Err(ApiError::bad_gateway(format!(
            "the forge answered {status}"
        )));
    }
    let mut response = Response::new(Body::empty());
    for name in RESPONSE_HEADERS {
        if let Some(value) = answer.headers().get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    *response.body_mut() = Body::from_stream(answer.bytes_stream());
    Ok(response)
}
