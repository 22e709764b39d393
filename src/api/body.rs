//! Reading request bodies with the limit first: what is too long is refused
//! before anything looks at it.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::error::{ApiError, ApiResult};

/// Reads a whole body of at most `limit` bytes.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> ApiResult<Bytes> {
    let too_large = || ApiError::too_large(limit as u64);
    if announced(headers).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut stream = body.into_data_stream();
    let mut read = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| ApiError::bad_request("the body broke off"))?;
        if read.len() + piece.len() > limit {
            return Err(too_large());
        }
        read.extend_from_slice(&piece);
    }
    Ok(read.freeze())
}

/// Reads a JSON body of at most `limit` bytes.
pub(crate) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> ApiResult<T> {
    let bytes = read(headers, body, limit).await?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// The length the sender announces.
pub(crate) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_announced_or_not() {
        let mut headers = HeaderMap::new();
        let error = read(&headers, Body::from("12345"), 4).await.unwrap_err();
        assert_eq!(error.body.code, "too_large");
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("99"));
        let error = read(&headers, Body::from("1234"), 4).await.unwrap_err();
        assert_eq!(error.body.code, "too_large");
        let fits = read(&HeaderMap::new(), Body::from("1234"), 4).await;
        assert_eq!(fits.unwrap(), "1234");
    }
}
