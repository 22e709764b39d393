//! From the client's errors to ours.

use std::fmt::Display;

use kube::core::Status;

use super::super::error::{ClusterError, ErrorClass};

/// The cause by which the server says that a namespace is going away.
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

/// Classifies a failed call.
pub(super) fn classify(
    verb: &'static str,
    object: impl Display,
    error: kube::Error,
) -> ClusterError {
    let (class, message) = match &error {
        kube::Error::Api(status) => (status_class(status), status.message.clone()),
        kube::Error::Auth(_) => (ErrorClass::Unauthorized, "credentials failed".to_owned()),
        kube::Error::BuildRequest(_) | kube::Error::HttpError(_) => {
            (ErrorClass::Invalid, "no request can be built".to_owned())
        }
        kube::Error::SerdeError(_) => (
            ErrorClass::Transient,
            "the answer cannot be read".to_owned(),
        ),
        _ => (ErrorClass::Transient, "no answer".to_owned()),
    };
    let source = match error {
        // The status is told in full already.
        kube::Error::Api(_) => None,
        other => Some(Box::new(other) as Box<dyn std::error::Error + Send + Sync>),
    };
    ClusterError {
        class,
        verb,
        object: object.to_string(),
        message,
        source,
    }
}

/// The failure of a call that took too long.
pub(super) fn timed_out(verb: &'static str, object: impl Display) -> ClusterError {
    ClusterError::new(ErrorClass::Transient, verb, object, "no answer in time")
}

/// What an answer with an error status means.
pub(super) fn status_class(status: &Status) -> ErrorClass {
    match status.code {
        401 => ErrorClass::Unauthorized,
        403 if is_terminating(status) => ErrorClass::Conflict,
        403 if status.message.contains("exceeded quota") => ErrorClass::QuotaExceeded,
        403 => ErrorClass::Forbidden,
        404 => ErrorClass::NotFound,
        409 => ErrorClass::Conflict,
        422 if is_replaced(status) => ErrorClass::Conflict,
        410 => ErrorClass::Gone,
        408 | 429 => ErrorClass::Transient,
        400..=499 => ErrorClass::Invalid,
        _ => ErrorClass::Transient,
    }
}

/// Whether the object that stands there has another uid than the one we named: to the
/// server that is an attempt to change a field that never changes.
fn is_replaced(status: &Status) -> bool {
    let causes = status
        .details
        .as_ref()
        .map_or(&[][..], |details| &details.causes);
    causes.iter().any(|cause| cause.field == "metadata.uid")
}

fn is_terminating(status: &Status) -> bool {
    let causes = status
        .details
        .as_ref()
        .map_or(&[][..], |details| &details.causes);
    causes
        .iter()
        .any(|cause| cause.reason == NAMESPACE_TERMINATING)
        || status.message.contains("because it is being terminated")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_classified_by_what_the_caller_does_about_it() {
        let terminating =
            "unable to create new content in namespace n because it is being terminated";
        for (code, message, class) in [
            (401, "Unauthorized", ErrorClass::Unauthorized),
            (403, "forbidden: no", ErrorClass::Forbidden),
            (
                403,
                "forbidden: exceeded quota: codex-run",
                ErrorClass::QuotaExceeded,
            ),
            (403, terminating, ErrorClass::Conflict),
            (404, "not found", ErrorClass::NotFound),
            (409, "conflict", ErrorClass::Conflict),
            (410, "too old", ErrorClass::Gone),
            (415, "media type", ErrorClass::Invalid),
            (422, "invalid", ErrorClass::Invalid),
            (429, "later", ErrorClass::Transient),
            (503, "down", ErrorClass::Transient),
        ] {
            let status = Status::failure(message, "").with_code(code);
            assert_eq!(status_class(&status), class, "{code} {message}");
        }
    }

    #[test]
    fn another_uid_than_the_one_that_was_named_is_a_conflict() {
        // As Kubernetes 1.34 answers an apply or a patch.
        let refused = |field: &str| {
            let answer = serde_json::json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": format!("ServiceAccount \"a\" is invalid: {field}: Invalid value: \
                    \"0\": field is immutable"),
                "reason": "Invalid",
                "details": {"name": "a", "kind": "ServiceAccount", "causes": [{
                    "reason": "FieldValueInvalid",
                    "message": "Invalid value: \"0\": field is immutable",
                    "field": field,
                }]},
                "code": 422,
            });
            status_class(&serde_json::from_value(answer).unwrap())
        };
        assert_eq!(refused("metadata.uid"), ErrorClass::Conflict);
        assert_eq!(refused("spec.template"), ErrorClass::Invalid);
    }
}
