//! The one error answer of every listener: a status and `{code, message, field?}`.
//!
//! What is said outward is fixed by the constructors; inner detail is logged
//! where the error is made and never sent.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::domain::run_api::ErrorBody;

/// What a handler returns.
pub type ApiResult<T> = Result<T, ApiError>;

/// An error as the caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body.
    pub body: ErrorBody,
}

impl ApiError {
    /// An error with this status, code and message.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            body: ErrorBody {
                code: code.to_owned(),
                message: message.into(),
                field: None,
            },
        }
    }

    /// The request is not well formed.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// One field of the request is wrong.
    pub fn bad_field(field: &str, message: impl Into<String>) -> Self {
        let mut error = Self::bad_request(message);
        error.body.field = Some(field.to_owned());
        error
    }

    /// No credential, or one that does not hold.
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "a valid credential is needed",
        )
    }

    /// There is no such thing.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", what)
    }

    /// The call comes too late or contradicts what is there.
    pub fn conflict(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// The run takes no more of this.
    pub fn gone(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, code, message)
    }

    /// The body is longer than allowed.
    pub fn too_large(limit: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body may hold at most {limit} bytes"),
        )
    }

    /// The database is away; the caller tries again.
    pub fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the platform's database is not available, try again",
        )
    }

    /// The forge did not answer as it should.
    pub fn bad_gateway(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "bad_gateway", message)
    }

    /// Something of ours failed; the log says what.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the platform failed, its log says why",
        )
    }
}

/// The code of an error answer, for whoever writes down what was refused.
#[derive(Debug, Clone)]
pub(crate) struct ErrorCode(pub(crate) String);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let unauthorized = self.status == StatusCode::UNAUTHORIZED;
        let unavailable = self.status == StatusCode::SERVICE_UNAVAILABLE;
        let code = ErrorCode(self.body.code.clone());
        let mut response = (self.status, Json(self.body)).into_response();
        response.extensions_mut().insert(code);
        let headers = response.headers_mut();
        if unauthorized {
            // Git asks for credentials only where a scheme is named.
            let realm = HeaderValue::from_static("Basic realm=\"codex-k8s\"");
            headers.insert(header::WWW_AUTHENTICATE, realm);
        }
        if unavailable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
