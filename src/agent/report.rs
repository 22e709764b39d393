//! How a command's end is put into words: from the result file it may have
//! written, else from what it said last.

use serde::Deserialize;
use serde_json::Value;

use crate::domain::fact::ResultStatus;

use super::machine::CommandEnd;

/// The longest result file that is read.
pub const MAX_RESULT_FILE_BYTES: u64 = 64 * 1024;
/// What of a command's words is kept.
const MAX_SUMMARY_CHARS: usize = 16 * 1024;
const MAX_TITLE_CHARS: usize = 200;
/// How many lines make a summary where nothing better is known.
const LAST_LINES: usize = 20;

/// The result file as a command may write it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultFile {
    status: Option<ResultStatus>,
    summary: Option<String>,
    title: Option<String>,
}

/// The end of a command from its exit code, its result file and its output's end.
pub fn command_end(exit_code: Option<i32>, file: Option<&[u8]>, tail: &str) -> CommandEnd {
    let clean = if exit_code == Some(0) {
        ResultStatus::Completed
    } else {
        ResultStatus::Failed
    };
    let (status, summary, title) = match file.map(serde_json::from_slice::<ResultFile>) {
        None => (clean, None, None),
        Some(Ok(file)) => {
            // A command that failed has not completed, whatever it wrote before.
            let failed = clean == ResultStatus::Failed;
            let status = if failed {
                clean
            } else {
                file.status.unwrap_or(clean)
            };
            (status, file.summary, file.title)
        }
        Some(Err(error)) => {
            let words = format!("The command's result file is not valid: {error}");
            (ResultStatus::Failed, Some(words), None)
        }
    };
    let summary = summary.filter(|text| !text.trim().is_empty());
    CommandEnd {
        status,
        summary: cut(
            &summary.unwrap_or_else(|| last_words(tail)),
            MAX_SUMMARY_CHARS,
        ),
        title: title
            .map(|title| {
                cut(
                    title.lines().next().unwrap_or_default().trim(),
                    MAX_TITLE_CHARS,
                )
            })
            .filter(|title| !title.is_empty()),
        exit_code,
    }
}

/// The last message of a stream of JSON events, else the last lines.
fn last_words(tail: &str) -> String {
    let message = tail.lines().rev().find_map(agent_message);
    message.unwrap_or_else(|| {
        let lines: Vec<_> = tail
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    })
}

/// The text of `{"type":"item.completed","item":{"type":"agent_message","text":…}}`.
fn agent_message(line: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    let item = event.get("item")?;
    let is_message = item.get("type")?.as_str()? == "agent_message";
    let text = item.get("text")?.as_str()?;
    is_message.then(|| text.to_owned())
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_file_speaks_first() {
        let file = br#"{"summary":"Added a line.","title":"Greet"}"#;
        let end = command_end(Some(0), Some(file), "noise");
        assert_eq!(end.summary, "Added a line.");
        assert_eq!(end.title.as_deref(), Some("Greet"));
        assert_eq!(end.status, ResultStatus::Completed);
    }

    #[test]
    fn a_failed_command_has_not_completed_whatever_it_wrote() {
        let file = br#"{"status":"completed","summary":"fine"}"#;
        let end = command_end(Some(2), Some(file), "");
        assert_eq!(end.status, ResultStatus::Failed);
    }

    #[test]
    fn an_invalid_result_file_fails_the_result() {
        let end = command_end(Some(0), Some(b"{\"outcome\":1}"), "");
        assert_eq!(end.status, ResultStatus::Failed);
        assert!(end.summary.contains("not valid"));
    }

    #[test]
    fn without_a_file_the_last_message_counts() {
        let tail = concat!(
            "{\"type\":\"item.completed\",\"item\":{\"type\":\"agent_message\",\"text\":\"one\"}}\n",
            "{\"type\":\"item.completed\",\"item\":{\"type\":\"agent_message\",\"text\":\"two\"}}\n",
            "{\"type\":\"turn.completed\"}\n",
        );
        assert_eq!(command_end(Some(0), None, tail).summary, "two");
        assert_eq!(command_end(Some(0), None, "a\n\nb\n").summary, "a\nb");
    }
}
