//! An error of a config commit: where it is, which kind it is, what is wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of error it is. The names are stable: scripts may match on them.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Code {
    /// The text is not YAML.
    InvalidYaml,
    /// The file is not UTF-8.
    NotUtf8,
    /// The file, or all files together, are larger than what is read.
    TooLarge,
    /// The document is nested deeper than what is read.
    TooDeep,
    /// Aliases expand to more than what is read.
    AliasBomb,
    /// A mapping has a key twice.
    DuplicateKey,
    /// A path leads out of the config repo.
    PathEscapes,
    /// A symbolic link stands where a document is expected.
    SymbolicLink,
    /// A file cannot be read.
    Unreadable,
    /// The `apiVersion` is not one of ours.
    UnknownApiVersion,
    /// There is no such kind.
    UnknownKind,
    /// The kind comes with a later version.
    UnsupportedKind,
    /// There is no such field.
    UnknownField,
    /// A required field is absent.
    MissingField,
    /// A value has another type than the field.
    WrongType,
    /// A value is not allowed for its field.
    InvalidValue,
    /// A required document is absent.
    MissingDocument,
    /// A document stands where its kind may not.
    WrongPlace,
    /// A name is taken.
    DuplicateName,
    /// A name refers to nothing.
    DanglingReference,
    /// A label is read as input and written as output.
    LabelsNotDisjoint,
    /// A limit is above the one it must stay below.
    LimitExceeded,
    /// A project, an agent or a policy goes beyond the guardrails.
    GuardrailExceeded,
    /// A prompt template does not parse or uses what it cannot have.
    InvalidTemplate,
    /// More errors than are listed.
    TooManyErrors,
}

/// An error of a config commit.
///
/// *Guarantees*: its text form is one line, `FILE:LINE:COLUMN: message`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
pub struct ConfigError {
    /// The file, relative to the root of the config repo.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The place inside the document, as a JSON pointer; empty for a whole document.
    pub path: String,
    /// What kind of error it is.
    pub code: Code,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            printable(&self.file),
            self.line,
            self.column,
            printable(&self.message)
        )
    }
}

impl ConfigError {
    /// An error of a whole file.
    pub(crate) fn in_file(file: &str, code: Code, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 1,
            column: 1,
            path: String::new(),
            code,
            message: message.into(),
        }
    }
}

/// One line without control characters, so that a file's name or content cannot forge output.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
