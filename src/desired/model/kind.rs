//! What every document has: `apiVersion`, `kind` and `metadata.name`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The one `apiVersion` this version of the platform reads.
pub const API_VERSION: &str = "codex-k8s.dev/v1alpha1";

/// Kinds that are named in the design and come with a later version. They are
/// refused by name, so that nobody believes them to be in force.
pub const LATER_KINDS: [&str; 4] = ["Secret", "Variable", "Database", "Docset"];

/// A kind of document.
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
    JsonSchema,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
pub enum Kind {
    /// Rules and ceilings for the whole installation; exactly one.
    Platform,
    /// The labels the platform reads and writes; exactly one.
    LabelCatalog,
    /// The stages work goes through; exactly one.
    StageModel,
    /// An agent: image, command and defaults.
    Agent,
    /// How an agent program is started, spoken to, understood and resumed.
    AgentCli,
    /// Limits and time-outs that agents refer to.
    AgentPolicy,
    /// Who decides on what agents ask for.
    ApprovalPolicy,
    /// A project: members, locale, slots and limits.
    Project,
    /// A repository of a project.
    Repository,
    /// A stage asked for by the clock.
    Schedule,
    /// A prompt, as Markdown with front matter.
    PromptTemplate,
}

impl Kind {
    /// All kinds, in the order documents are explained.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The name as written in `kind`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether exactly one document of this kind exists in a config repo.
    pub const fn is_single(self) -> bool {
        matches!(self, Self::Platform | Self::LabelCatalog | Self::StageModel)
    }

    /// Whether documents of this kind may stand below `projects/KEY/`.
    pub const fn allowed_in_project(self) -> bool {
        !self.is_single() && !matches!(self, Self::AgentCli)
    }

    /// Whether documents of this kind may stand outside `projects/`.
    pub const fn allowed_at_root(self) -> bool {
        !matches!(self, Self::Schedule)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of a document: unique inside its kind and scope.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct ObjectName(
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    String,
);

impl ObjectName {
    /// Takes the text as it is.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<&str> for ObjectName {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

/// What identifies a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Lower-case letters, digits and inner dashes; unique inside its kind and scope.
    pub name: ObjectName,
}
