//! Identities as newtypes, so that an issue number never passes for a user id.
//!
//! Forge ids are the forge's immutable numeric ids; names (`owner/name`,
//! logins, label names) are attributes that may change under the same id.

use std::{cmp::Ordering, fmt, hash, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// Why a text is not a valid identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{value}` is not valid: {why}")]
pub struct InvalidId {
    /// What the text was meant to be, such as `repository name`.
    pub what: &'static str,
    /// The text.
    pub value: String,
    /// The rule it breaks.
    pub why: &'static str,
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $repr:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[derive(schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[derive(schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is.
            pub fn new(value: impl Into<String>) -> Self {
                Self(value.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self::new(value)
            }
        }
    };
}

number_id!(
    /// A repository's immutable id at its forge.
    RepositoryId, i64
);
number_id!(
    /// A user's, bot's or app user's immutable id at its forge.
    UserId, i64
);
number_id!(
    /// The number of an issue or pull request inside its repository: both share one series.
    IssueNumber, i64
);
number_id!(
    /// The forge's id of a label or state event (REST's numeric id).
    EventId, i64
);
number_id!(
    /// The forge's id of a pull request review.
    ReviewId, i64
);
number_id!(
    /// The forge's id of an issue comment.
    CommentId, i64
);
number_id!(
    /// The index of a slot inside its project, from 1.
    SlotNo, i32
);
number_id!(
    /// The number of an attempt inside its run, from 1.
    AttemptNo, i32
);
number_id!(
    /// A lease's epoch: it grows with every change of holder.
    Epoch, i64
);
number_id!(
    /// The number of an accepted revision of the config repo, from 1.
    Revision, i64
);

text_id!(
    /// A project's key: the name of its `Project` document.
    ProjectKey
);
text_id!(
    /// An agent's key: the name of its `Agent` document.
    AgentKey
);
text_id!(
    /// A stage's kind, such as `dev`.
    StageKind
);
text_id!(
    /// A Git object id in hexadecimal.
    CommitSha
);
text_id!(
    /// A branch name without `refs/heads/`.
    BranchName
);
text_id!(
    /// A language tag such as `en` or `ru`.
    Locale
);

/// The installation that owns what it marks: lower-case letters, digits and dashes, at most 40.
///
/// It is a required process setting and lives in no database, so that a copied
/// database never passes for the installation it was copied from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct InstallationId(String);

impl InstallationId {
    /// The text, usable as a Kubernetes label value.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace under which this installation's run ids are derived.
    pub fn uuid(&self) -> Uuid {
        Uuid::new_v5(
            &Uuid::NAMESPACE_DNS,
            format!("{}.codex-k8s.dev", self.0).as_bytes(),
        )
    }
}

impl fmt::Display for InstallationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for InstallationId {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let valid = (1..=40).contains(&value.len())
            && value.chars().all(|c| letter(c) || c == '-')
            && value.starts_with(letter)
            && value.ends_with(letter);
        if valid {
            return Ok(Self(value.to_owned()));
        }
        Err(InvalidId {
            what: "installation id",
            value: value.to_owned(),
            why: "use 1 to 40 lower-case letters, digits and inner dashes",
        })
    }
}

impl<'de> Deserialize<'de> for InstallationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A run's id: `UUIDv5` of the installation and the trigger's identity, so that a
/// restored or empty database arrives at the same names again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl RunId {
    /// The first eight hexadecimal digits, for branch names and log lines.
    pub fn short(&self) -> String {
        self.0.simple().to_string()[..8].to_owned()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(value: &str) -> Result<Self, uuid::Error> {
        value.parse().map(Self)
    }
}

/// Whether two texts are the same but for case; nearly all are ASCII and need no copy for it.
fn same_folded(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
        || !(one.is_ascii() && other.is_ascii()) && one.to_lowercase() == other.to_lowercase()
}

/// The order of two texts but for case; nearly all are ASCII and need no copy for it.
fn cmp_folded(one: &str, other: &str) -> Ordering {
    if !(one.is_ascii() && other.is_ascii()) {
        return one.to_lowercase().cmp(&other.to_lowercase());
    }
    let mine = one.bytes().map(|byte| byte.to_ascii_lowercase());
    mine.cmp(other.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// A repository's name at its forge. Comparison ignores case, as GitHub does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName {
    /// The user or organisation.
    pub owner: String,
    /// The repository below it.
    pub name: String,
}

impl PartialEq for RepositoryName {
    fn eq(&self, other: &Self) -> bool {
        same_folded(&self.owner, &other.owner) && same_folded(&self.name, &other.name)
    }
}

impl Eq for RepositoryName {}

impl PartialOrd for RepositoryName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RepositoryName {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_owner = cmp_folded(&self.owner, &other.owner);
        by_owner.then_with(|| cmp_folded(&self.name, &other.name))
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let part = |text: &str| {
            !text.is_empty()
                && text != "."
                && text != ".."
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        match value.split_once('/') {
            Some((owner, name)) if part(owner) && part(name) => Ok(Self {
                owner: owner.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(InvalidId {
                what: "repository name",
                value: value.to_owned(),
                why: "use OWNER/NAME of letters, digits, `-`, `_` and `.`",
            }),
        }
    }
}

impl TryFrom<String> for RepositoryName {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, InvalidId> {
        value.parse()
    }
}

impl From<RepositoryName> for String {
    fn from(name: RepositoryName) -> Self {
        name.to_string()
    }
}

/// A label's name. Equality, order and hash ignore case and surrounding blanks,
/// as people do; the text is kept as it was written.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct LabelName(String);

impl LabelName {
    /// Takes the text as it is.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form by which names are compared.
    pub fn folded(&self) -> String {
        self.0.trim().to_lowercase()
    }

    /// Without surrounding blanks, which nearly no name has: names are compared a lot.
    fn trimmed(&self) -> &str {
        match self.0.as_bytes() {
            [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => &self.0,
            _ => self.0.trim(),
        }
    }
}

impl From<&str> for LabelName {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

impl fmt::Display for LabelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for LabelName {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || same_folded(self.trimmed(), other.trimmed())
    }
}

impl Eq for LabelName {}

impl PartialOrd for LabelName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LabelName {
    /// The order of the folded forms.
    fn cmp(&self, other: &Self) -> Ordering {
        cmp_folded(self.trimmed(), other.trimmed())
    }
}

impl hash::Hash for LabelName {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

/// An issue or pull request of one repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// The repository.
    pub repository: RepositoryId,
    /// The issue's or pull request's number.
    pub number: IssueNumber,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.repository, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_compare_without_case_and_blanks() {
        assert_eq!(LabelName::from("Run:Dev "), LabelName::from("run:dev"));
        assert_ne!(LabelName::from("run:dev"), LabelName::from("run:qa"));
    }

    #[test]
    fn repository_names_are_two_parts() {
        assert!("example-org/hello".parse::<RepositoryName>().is_ok());
        for bad in ["hello", "a/b/c", "/x", "a/", "a/..", "a b/c"] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn installation_ids_are_label_values() {
        assert!("sandbox-1".parse::<InstallationId>().is_ok());
        for bad in ["", "-a", "a-", "A", "a_b", &"a".repeat(41)] {
            assert!(bad.parse::<InstallationId>().is_err(), "{bad}");
        }
    }
}
