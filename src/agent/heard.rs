//! What a program says while it works, as far as it has a form: the session it is in, its last
//! message, and whether it began at all.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

use crate::domain::agent_cli::OutputFormat;

use super::places;

/// One line's meaning.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// It is in this session.
    Session(String),
    /// It is at work.
    Work,
    /// It says this, perhaps as its last words.
    Message(String),
}

/// Listens to one start of a program.
#[derive(Debug, Clone)]
pub(crate) struct Hearing {
    format: OutputFormat,
    /// Where the session's name is kept, so that a later start goes on with it.
    session_file: PathBuf,
    so_far: Arc<Mutex<SoFar>>,
}

#[derive(Debug, Default)]
struct SoFar {
    began: bool,
    message: Option<String>,
}

impl Hearing {
    /// Listens for a form of output.
    pub(crate) fn new(format: OutputFormat, session_file: PathBuf) -> Self {
        Self {
            format,
            session_file,
            so_far: Arc::default(),
        }
    }

    /// Takes a line of its standard output, redacted.
    pub(crate) fn hear(&self, line: &str) {
        let Some(event) = event(self.format, line) else {
            return;
        };
        match heard(self.format, &event) {
            None => {}
            Some(Heard::Session(session)) => {
                if let Err(error) = places::replace(&self.session_file, session.as_bytes()) {
                    tracing::warn!(error = %error, "the session's name is not kept");
                }
            }
            Some(Heard::Work) => self.so_far().began = true,
            Some(Heard::Message(text)) => {
                let mut so_far = self.so_far();
                so_far.began = true;
                so_far.message = Some(text);
            }
        }
    }

    /// Whether its form says that it did nothing yet. Of lines for people nothing is known.
    pub(crate) fn has_not_begun(&self) -> bool {
        self.format != OutputFormat::Text && !self.so_far().began
    }

    /// Its last message. Lines for people are none.
    pub(crate) fn message(&self) -> Option<String> {
        self.so_far().message.clone()
    }

    fn so_far(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event(format: OutputFormat, line: &str) -> Option<Value> {
    match format {
        OutputFormat::Text => None,
        OutputFormat::CodexJson | OutputFormat::ClaudeStreamJson => serde_json::from_str(line).ok(),
    }
}

fn heard(format: OutputFormat, event: &Value) -> Option<Heard> {
    let kind = event.get("type")?.as_str()?;
    match (format, kind) {
        (OutputFormat::CodexJson, "thread.started") => session(event.get("thread_id")?),
        (OutputFormat::CodexJson, "turn.started") => Some(Heard::Work),
        (OutputFormat::CodexJson, "item.completed") => {
            let item = event.get("item")?;
            (item.get("type")?.as_str()? == "agent_message").then_some(())?;
            message(item.get("text")?)
        }
        // Why a turn failed is all that it says then.
        (OutputFormat::CodexJson, "turn.failed") => message(event.get("error")?.get("message")?),
        (OutputFormat::ClaudeStreamJson, "system") => session(event.get("session_id")?),
        (OutputFormat::ClaudeStreamJson, "assistant") => {
            Some(message_of(event.get("message")?).map_or(Heard::Work, Heard::Message))
        }
        (OutputFormat::ClaudeStreamJson, "result") => message(event.get("result")?),
        _ => None,
    }
}

fn session(name: &Value) -> Option<Heard> {
    let name = name.as_str()?;
    is_session(name).then(|| Heard::Session(name.to_owned()))
}

/// Whether a text may be a session's name. It goes into the program's words, whoever wrote it
/// down: letters, digits and inner dashes.
pub(crate) fn is_session(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    (1..=128).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('-')
}

fn message(text: &Value) -> Option<Heard> {
    Some(Heard::Message(text.as_str()?.to_owned()))
}

/// The text of `{"content":[{"type":"text","text":…}]}`.
fn message_of(message: &Value) -> Option<String> {
    let parts = message.get("content")?.as_array()?;
    let texts = parts
        .iter()
        .filter_map(|part| part.get("text")?.as_str())
        .collect::<Vec<_>>();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listened(
        format: OutputFormat,
        lines: &[&str],
    ) -> (Hearing, Option<String>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("session");
        let hearing = Hearing::new(format, file.clone());
        for line in lines {
            hearing.hear(line);
        }
        (hearing, std::fs::read_to_string(file).ok(), dir)
    }

    // As version 0.169 of the codex CLI writes them.
    #[test]
    fn the_events_of_codex_are_understood() {
        let lines = [
            r#"{"type":"thread.started","thread_id":"01a1ff71-0f47"}"#,
            r#"{"type":"turn.started"}"#,
            r#"{"type":"item.completed","item":{"id":"1","type":"agent_message","text":"one"}}"#,
            r#"{"type":"item.completed","item":{"id":"2","type":"command_execution","text":"x"}}"#,
            r#"{"type":"item.completed","item":{"id":"3","type":"agent_message","text":"two"}}"#,
            r#"{"type":"turn.completed","usage":{"input_tokens":200}}"#,
        ];
        let (hearing, session, _dir) = listened(OutputFormat::CodexJson, &lines);
        assert_eq!(session.as_deref(), Some("01a1ff71-0f47"));
        assert_eq!(hearing.message().as_deref(), Some("two"));
        assert!(!hearing.has_not_begun());
    }

    // As version 2.1 of the claude CLI writes them.
    #[test]
    fn the_events_of_claude_are_understood() {
        let lines = [
            r#"{"type":"system","subtype":"init","session_id":"f4960b82"}"#,
            r#"{"type":"assistant","message":{"content":[{"type":"tool_use","name":"Bash"}]}}"#,
            r#"{"type":"assistant","message":{"content":[{"type":"text","text":"Done"}]}}"#,
            r#"{"type":"result","subtype":"success","result":"Done."}"#,
        ];
        let (hearing, session, _dir) = listened(OutputFormat::ClaudeStreamJson, &lines[..3]);
        assert_eq!(session.as_deref(), Some("f4960b82"));
        assert_eq!(hearing.message().as_deref(), Some("Done"));
        let (hearing, ..) = listened(OutputFormat::ClaudeStreamJson, &lines);
        assert_eq!(hearing.message().as_deref(), Some("Done."));
    }

    #[test]
    fn a_session_that_cannot_go_on_has_not_begun() {
        let (hearing, ..) = listened(OutputFormat::CodexJson, &[]);
        assert!(hearing.has_not_begun());
        // The init event of a program is not work yet.
        let line = r#"{"type":"system","subtype":"init","session_id":"a"}"#;
        let (hearing, ..) = listened(OutputFormat::ClaudeStreamJson, &[line]);
        assert!(hearing.has_not_begun());
        let (hearing, ..) = listened(OutputFormat::Text, &["words"]);
        assert!(!hearing.has_not_begun(), "of plain lines nothing is known");
    }

    #[test]
    fn a_session_with_a_strange_name_is_not_kept() {
        for name in ["", "--last", "a b", "../x", "a\nb"] {
            let line = serde_json::json!({ "type": "thread.started", "thread_id": name });
            let (_, session, _dir) = listened(OutputFormat::CodexJson, &[&line.to_string()]);
            assert_eq!(session, None, "{name}");
        }
    }
}
