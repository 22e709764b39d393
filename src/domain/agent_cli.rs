//! [`AgentCli`]: how an agent program is started, spoken to, understood and resumed.
//!
//! It is data, so that the runner knows no vendor: what is peculiar to a program stands in the
//! config repo (kind `AgentCli`), is frozen with the run and told to its runner.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The placeholder of the run token.
pub const RUN_TOKEN: &str = "{run_token}";

/// Placeholders that a runner fills, in words, environment and files alike.
pub const PLACEHOLDERS: [&str; 12] = [
    "{model}",
    "{reasoning}",
    "{session}",
    "{home}",
    "{work_dir}",
    "{prompt_file}",
    "{result_file}",
    "{runner}",
    "{run_url}",
    "{models_url}",
    "{mcp_url}",
    RUN_TOKEN,
];

/// How an agent program is started, spoken to, understood and resumed.
///
/// Placeholders such as `{model}` are filled by the runner. The run token may
/// stand in the environment alone: arguments show in process lists, files in snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentCli {
    /// The program and its first words, without a shell. The prompt is its standard input.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// Groups of further words. A group with a placeholder that has no value, such as the model
    /// of a run without one, is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Vec<String>>,
    /// Words that follow where a session goes on; they name it by `{session}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resume: Vec<String>,
    /// The last words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub end: Vec<String>,
    /// Environment variables of the program; those of the agent win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The variable that tells the program its home, where it keeps its sessions.
    #[serde(default = "codex_home")]
    pub home_variable: String,
    /// Files written into that home before each start: text by path. They are no part of a
    /// session.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// What below that home is the session, which a later attempt or run goes on with: files and
    /// folders directly in it. Everything where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub session_files: Vec<String>,
    /// How its output is read.
    #[serde(default)]
    pub output: OutputFormat,
    /// The provider of its models, by the name that `Platform` gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The program's own words for reasoning efforts, where it has others: `extra-high: xhigh`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub efforts: BTreeMap<String, String>,
}

fn codex_home() -> String {
    "CODEX_HOME".to_owned()
}

/// How a program's output is read: for its session, its last message, and whether it began.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "camelCase")]
pub enum OutputFormat {
    /// Lines for people; the last ones are what it says.
    #[default]
    Text,
    /// JSON lines as `codex exec --json` writes them (events `thread.started`, `item.completed`).
    CodexJson,
    /// JSON lines as `claude -p --output-format stream-json` writes them (`system`, `assistant`,
    /// `result`).
    ClaudeStreamJson,
}

impl AgentCli {
    /// A command that is no known program: words in, lines out.
    pub fn plain(command: Vec<String>) -> Self {
        Self {
            command,
            home_variable: codex_home(),
            ..Self::default()
        }
    }

    /// Its words in the order of the fields, each with its path below the spec.
    pub fn words(&self) -> Vec<(Vec<String>, &str)> {
        let at = |path: &[&str], index: usize| {
            let path = path.iter().map(|part| (*part).to_owned());
            path.chain([index.to_string()]).collect::<Vec<_>>()
        };
        let lists = [
            ("command", &self.command),
            ("resume", &self.resume),
            ("end", &self.end),
        ];
        let single = lists.into_iter().flat_map(|(field, words)| {
            let words = words.iter().enumerate();
            words.map(move |(index, word)| (at(&[field], index), word.as_str()))
        });
        let grouped = self.options.iter().enumerate().flat_map(|(group, words)| {
            let group = group.to_string();
            let words = words.iter().enumerate();
            words.map(move |(index, word)| (at(&["options", &group], index), word.as_str()))
        });
        single.chain(grouped).collect()
    }
}

/// The placeholders of a text, known or not, in its order: `{`, lower-case letters and
/// underscores, `}`.
pub fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('{').filter_map(|(at, _)| {
        let rest = &text[at..];
        let end = rest.find('}')? + 1;
        let name = &rest[1..end - 1];
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_name.then_some(&rest[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_told_from_other_braces() {
        let text = "{model} {\"a\": {}} { home } {work_dir}{x1} {unknown}";
        let found: Vec<_> = placeholders(text).collect();
        assert_eq!(found, ["{model}", "{work_dir}", "{unknown}"]);
    }

    #[test]
    fn every_word_has_its_path() {
        let cli = AgentCli {
            command: vec!["a".to_owned()],
            options: vec![vec!["b".to_owned(), "c".to_owned()]],
            end: vec!["-".to_owned()],
            ..AgentCli::default()
        };
        let words: Vec<_> = cli.words();
        let paths: Vec<_> = words.iter().map(|(path, _)| path.join("/")).collect();
        assert_eq!(paths, ["command/0", "end/0", "options/0/0", "options/0/1"]);
    }
}
