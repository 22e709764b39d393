//! What can go wrong with a forge, sorted by what the caller does about it.
//!
//! It holds no retry: the next poll, or the effect's backoff, is the retry.
//! Texts name the call and the object, never a credential.

use std::{error::Error as StdError, fmt, time::Duration};

use super::metrics::Purpose;

/// What a failure means for the caller.
#[derive(Debug, Clone, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ForgeErrorKind {
    /// The credential was refused.
    Unauthorized,
    /// The credential may not do this.
    Forbidden,
    /// Definitely not there (404); a forge also says so of what we may not see.
    NotFound,
    /// Definitely deleted (410).
    Gone,
    /// It lives elsewhere now: renamed or transferred. The redirect is never followed.
    Moved {
        /// Where, as far as the forge said.
        to: Option<String>,
    },
    /// It is not as the request expected.
    Conflict,
    /// The forge refuses what was asked (422).
    Unprocessable,
    /// The forge refuses for a while.
    RateLimited {
        /// How long, from now.
        retry_after: Duration,
    },
    /// We refuse before the forge would: the credential's budget is used up.
    Budget {
        /// How long, from now.
        retry_after: Duration,
    },
    /// No answer in time.
    Timeout,
    /// The forge failed (5xx).
    Server,
    /// The answer broke off, or a page of a whole is missing.
    Truncated,
    /// No connection.
    Network,
    /// The write gate was closed: certainly nothing was sent.
    NotSent,
    /// The answer is not what the forge documents, or our request cannot be made.
    Invalid,
}

impl ForgeErrorKind {
    /// The stable name, for metrics and reports.
    pub fn as_str(&self) -> &'static str {
        self.into()
    }
}

/// A failed call to the forge: what was tried on what, and why it failed.
#[derive(Debug, Clone)]
pub struct ForgeError {
    /// What the caller does about it.
    pub kind: ForgeErrorKind,
    /// What the call was for.
    pub purpose: Purpose,
    /// What it was about: `example-org/shop#7`.
    pub object: String,
    /// The forge's or the transport's words, without secrets.
    pub message: String,
    /// Whether a changing request may have taken effect all the same.
    pub maybe_applied: bool,
}

impl ForgeError {
    /// A failure that certainly changed nothing.
    pub fn new(
        kind: ForgeErrorKind,
        purpose: Purpose,
        object: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            purpose,
            object: object.to_string(),
            message: message.into(),
            maybe_applied: false,
        }
    }

    /// Marks a failure after which a changing request may have taken effect.
    #[must_use]
    pub fn possibly_applied(mut self) -> Self {
        self.maybe_applied = true;
        self
    }

    /// Whether the object is definitely not there: the only errors from which
    /// absence may be concluded.
    pub fn is_absent(&self) -> bool {
        matches!(self.kind, ForgeErrorKind::NotFound | ForgeErrorKind::Gone)
    }

    /// Whether it says that a subject is not in its repository any more:
    /// absent, or transferred to another one.
    pub fn says_subject_left(&self) -> bool {
        self.is_absent() || matches!(self.kind, ForgeErrorKind::Moved { .. })
    }

    /// How long to wait at least before the next try, where the forge or our
    /// budget said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            ForgeErrorKind::RateLimited { retry_after }
            | ForgeErrorKind::Budget { retry_after } => Some(retry_after),
            _ => None,
        }
    }
}

impl fmt::Display for ForgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            purpose,
            object,
            message,
            ..
        } = self;
        write!(f, "{purpose} {object}: {message} ({})", kind.as_str())?;
        match kind {
            ForgeErrorKind::Moved { to: Some(to) } => write!(f, ", now {to}"),
            _ => Ok(()),
        }
    }
}

impl StdError for ForgeError {}
