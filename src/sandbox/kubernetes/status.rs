//! Failures in Kubernetes' form.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::resource::Resource;

/// A `Status` that says what went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiStatus {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) message: String,
    /// The first cause, where there is one.
    pub(super) cause: Option<Cause>,
}

/// One of the things that a failure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) reason: &'static str,
    /// The field that is wrong, where it is one.
    pub(super) field: Option<&'static str>,
}

impl ApiStatus {
    pub(super) fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            cause: None,
        }
    }

    pub(super) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(
            404,
            "NotFound",
            format!("{} \"{name}\" not found", full_name(resource)),
        )
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    pub(super) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", full_name(resource));
        Self::new(409, "AlreadyExists", message)
    }

    pub(super) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            full_name(resource)
        );
        Self::new(409, "Conflict", message)
    }

    pub(super) fn invalid(resource: &Resource, name: &str, why: &str) -> Self {
        Self::new(
            422,
            "Invalid",
            format!("{} \"{name}\" is invalid: {why}", resource.kind),
        )
    }

    /// An attempt to change a field that never changes.
    pub(super) fn immutable(resource: &Resource, name: &str, field: &'static str) -> Self {
        let why = format!("{field}: Invalid value: field is immutable");
        Self {
            cause: Some(Cause {
                reason: "FieldValueInvalid",
                field: Some(field),
            }),
            ..Self::invalid(resource, name, &why)
        }
    }

    pub(super) fn bad_request(why: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", why)
    }

    pub(super) fn expired() -> Self {
        Self::new(410, "Expired", "too old resource version")
    }

    pub(super) fn terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let message = format!(
            "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} \
             because it is being terminated",
            full_name(resource),
        );
        Self {
            cause: Some(Cause {
                reason: "NamespaceTerminating",
                field: None,
            }),
            ..Self::new(403, "Forbidden", message)
        }
    }

    /// The `Status` object.
    pub(super) fn body(&self) -> Value {
        let causes: Vec<Value> = self
            .cause
            .iter()
            .map(|cause| match cause.field {
                Some(field) => json!({"reason": cause.reason, "field": field}),
                None => json!({"reason": cause.reason}),
            })
            .collect();
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": {"causes": causes},
            "code": self.code,
        })
    }
}

impl IntoResponse for ApiStatus {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (code, axum::Json(self.body())).into_response()
    }
}

fn full_name(resource: &Resource) -> String {
    match resource.group {
        "" => resource.plural.to_owned(),
        group => format!("{}.{group}", resource.plural),
    }
}
