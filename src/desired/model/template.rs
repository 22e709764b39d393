//! `PromptTemplate`: the words an agent gets, per stage, kind and language.
//!
//! Rendering is `prompts/`; here is what a template is and which one is meant.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::kind::ObjectName;
use crate::domain::ids::{AgentKey, Locale, StageKind};

/// A prompt: front matter of a Markdown file, whose text is the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PromptTemplateSpec {
    /// The agent it speaks to.
    pub agent: AgentKey,
    /// The stage it is for.
    pub stage: StageKind,
    /// Whether it asks for new work or for a revision.
    pub kind: TemplateKind,
    /// Its language.
    pub locale: Locale,
    /// The text. In a Markdown file it is what follows the front matter, and is not given here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Whether a prompt asks for new work or for a revision.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum TemplateKind {
    /// New work.
    Work,
    /// A revision of existing work.
    Review,
}

impl TemplateKind {
    /// The name as written in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Review => "review",
        }
    }
}

/// Where a template comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TemplateScope {
    /// The program itself.
    BuiltIn,
    /// The root of the config repo.
    Platform,
    /// The project's own folder.
    Project,
}

impl TemplateScope {
    /// The name as runs keep it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::Platform => "platform",
            Self::Project => "project",
        }
    }
}

/// What a template is for, as `AGENT/STAGE/KIND/LOCALE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TemplateKey(String);

impl TemplateKey {
    /// The key of what a template is for. Locales compare without case.
    pub fn new(agent: &AgentKey, stage: &StageKind, kind: TemplateKind, locale: &Locale) -> Self {
        Self(format!(
            "{agent}/{stage}/{}/{}",
            kind.as_str(),
            locale.as_str().to_lowercase()
        ))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TemplateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A template of a validated commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// The document's name.
    pub name: ObjectName,
    /// Where it comes from.
    pub scope: TemplateScope,
    /// The agent it speaks to.
    pub agent: AgentKey,
    /// The stage it is for.
    pub stage: StageKind,
    /// Whether it asks for new work or for a revision.
    pub kind: TemplateKind,
    /// Its language.
    pub locale: Locale,
    /// The text.
    pub body: String,
}

impl Template {
    /// What it is for.
    pub fn key(&self) -> TemplateKey {
        TemplateKey::new(&self.agent, &self.stage, self.kind, &self.locale)
    }

    /// The SHA-256 of its text, in hexadecimal.
    pub fn hash(&self) -> String {
        hex::encode(Sha256::digest(self.body.as_bytes()))
    }
}

/// The blocks every template has, in this order, each begun by its mark.
pub const BLOCKS: [&str; 5] = ["policy", "runtime", "context", "task", "output"];

/// The mark that begins a block: an HTML comment, which Markdown does not show.
pub fn block_mark(block: &str) -> String {
    format!("<!-- block: {block} -->")
}

/// What is wrong with the blocks of a rendered prompt: those that are missing, out of order or
/// without a word.
pub fn lacking_blocks(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut rest = text;
    let mut before = None;
    let empty = |mark: Option<String>, words: &str| {
        let mark = mark.filter(|_| words.trim().is_empty())?;
        Some(format!("block `{mark}` is empty"))
    };
    for mark in BLOCKS.map(block_mark) {
        let Some((above, below)) = rest.split_once(&mark) else {
            wrong.push(format!("block `{mark}` is missing or out of order"));
            continue;
        };
        wrong.extend(empty(before, above));
        (rest, before) = (below, Some(mark));
    }
    wrong.extend(empty(before, rest));
    wrong
}

/// Values such as a run's prompt is rendered with, all variables among them.
pub fn sample(kind: TemplateKind) -> Value {
    let revise = kind == TemplateKind::Review;
    let url = "https://forge.example/acme/app";
    let pull = json!({
        "number": 2, "title": "A title", "body": "A text.", "url": url,
        "head": "codex/issue-1", "base": "main",
    });
    let said = json!([{ "author": "ada", "body": "A remark." }]);
    let remarks = json!([{ "author": "ada", "body": "A remark.", "path": "a.rs", "line": 1 }]);
    json!({
        "run": { "id": "00000000-0000-0000-0000-000000000000" },
        "project": { "key": "app", "name": "App" },
        "repository": { "full_name": "acme/app", "url": url },
        "issue": {
            "number": 1, "title": "A title", "body": "A text.", "labels": ["bug"], "url": url,
            "author": "ada", "comments": said,
        },
        "pull_request": revise.then_some(pull),
        "branch": { "name": "codex/issue-1", "base": "main" },
        "agent": { "key": "dev", "name": "Developer" },
        "model": "a-model",
        "reasoning": "high",
        "stage": { "kind": "dev", "revise": revise },
        "locale": "en",
        "namespace": "run-app-1",
        "review": { "comments": if revise { remarks } else { json!([]) } },
    })
}

/// The variables that templates are given. Of lists, such as comments, the items' fields are not named here.
pub const VARIABLES: [&str; 26] = [
    "run.id",
    "project.key",
    "project.name",
    "repository.full_name",
    "issue.number",
    "issue.title",
    "issue.body",
    "issue.labels",
    "issue.url",
    "issue.author",
    "issue.comments",
    "pull_request.number",
    "pull_request.title",
    "pull_request.body",
    "pull_request.url",
    "branch.name",
    "branch.base",
    "agent.key",
    "agent.name",
    "model",
    "reasoning",
    "stage.kind",
    "stage.revise",
    "locale",
    "namespace",
    "review.comments",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_every_variable() {
        let sample = sample(TemplateKind::Review);
        for name in VARIABLES {
            let pointer = format!("/{}", name.replace('.', "/"));
            let value = sample.pointer(&pointer);
            assert!(value.is_some_and(|value| !value.is_null()), "{name}");
        }
    }

    #[test]
    fn a_block_is_there_in_its_place_and_says_something() {
        let whole = BLOCKS.map(|block| format!("{}\nword\n", block_mark(block)));
        assert!(lacking_blocks(&whole.concat()).is_empty());
        let cases = [
            (
                whole.concat().replacen("word", " ", 1),
                "block `<!-- block: policy -->` is empty",
            ),
            (
                whole.concat().trim_end_matches("word\n").to_owned(),
                "block `<!-- block: output -->` is empty",
            ),
            (
                whole.concat().replace(&block_mark("task"), ""),
                "block `<!-- block: task -->` is missing or out of order",
            ),
        ];
        for (text, wrong) in cases {
            assert_eq!(lacking_blocks(&text), [wrong]);
        }
    }
}
