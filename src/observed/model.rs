//! Observations as values. Absence and ignorance are different: what was not
//! read whole is [`Observed::Unknown`], and nothing destructive is planned on it.

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;

/// Something observed, or why it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Observed<T> {
    /// Read whole.
    Known {
        /// When the read began (database clock).
        at: Timestamp,
        /// What was read.
        value: T,
    },
    /// Not read, or not whole.
    Unknown {
        /// Why, for people.
        reason: String,
    },
}

impl<T> Observed<T> {
    /// The value, if known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Unknown { .. } => None,
        }
    }

    /// Ignorance with its reason.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown {
            reason: reason.into(),
        }
    }
}
