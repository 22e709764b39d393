//! How a command's end is put into words: from the result file it may have
//! written, else from what it said last.
//!
//! Prompts ask for one JSON object at the end of the last message. An agent that
//! answers in plain words has still answered: its words are the summary.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::domain::{
    fact::{Answer, Explanation, ResultStatus},
    ids::LabelName,
};

use super::machine::CommandEnd;

/// The longest result file that is read.
pub const MAX_RESULT_FILE_BYTES: u64 = 64 * 1024;
/// What of a command's words is kept.
const MAX_SUMMARY_CHARS: usize = 16 * 1024;
const MAX_TITLE_CHARS: usize = 200;
const MAX_TESTS_CHARS: usize = 8 * 1024;
const MAX_QUESTIONS: usize = 20;
const MAX_QUESTION_CHARS: usize = 1_000;
const MAX_REQUESTS: usize = 10;
const MAX_EXPLANATIONS: usize = 10;
const MAX_EXPLANATION_CHARS: usize = 2_000;
/// A forge takes no longer label.
const MAX_LABEL_CHARS: usize = 50;
/// How many lines make a summary where nothing better is known.
const LAST_LINES: usize = 20;

/// What a command may write into its result file or say at its end.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Said {
    status: Option<ResultStatus>,
    summary: Option<String>,
    title: Option<String>,
    tests: Option<String>,
    questions: Vec<String>,
    requests: Vec<String>,
    explanations: Vec<Explanation>,
}

const KNOWN: [&str; 7] = [
    "status",
    "summary",
    "title",
    "tests",
    "questions",
    "requests",
    "explanations",
];

/// The end of a command from its exit code, its result file, its last message and its output's
/// end.
pub fn command_end(
    exit_code: Option<i32>,
    file: Option<&[u8]>,
    message: Option<&str>,
    tail: &str,
) -> CommandEnd {
    let clean = if exit_code == Some(0) {
        ResultStatus::Completed
    } else {
        ResultStatus::Failed
    };
    let (status, said) = match file.map(serde_json::from_slice::<Said>) {
        None => {
            let said = said_last(message.unwrap_or(tail));
            (said.status.unwrap_or(clean), said)
        }
        Some(Ok(said)) => (said.status.unwrap_or(clean), said),
        Some(Err(error)) => {
            let words = format!("The command's result file is not valid: {error}");
            let said = Said {
                summary: Some(words),
                ..Said::default()
            };
            (ResultStatus::Failed, said)
        }
    };
    let words = message.map_or_else(|| last_lines(tail), str::to_owned);
    // A command that failed has not completed, whatever it wrote before.
    let failed = clean == ResultStatus::Failed;
    CommandEnd {
        status: if failed { clean } else { status },
        answer: answer(said, &words),
        exit_code,
    }
}

fn answer(said: Said, words: &str) -> Answer {
    let summary = said.summary.filter(|text| !text.trim().is_empty());
    let kept = |text: String, chars: usize| {
        let text = cut(text.trim(), chars);
        (!text.is_empty()).then_some(text)
    };
    let title = said.title.and_then(|title| {
        let line = title.lines().next().unwrap_or_default().to_owned();
        kept(line, MAX_TITLE_CHARS)
    });
    let questions = said.questions.into_iter();
    let requests = said.requests.into_iter();
    Answer {
        summary: cut(summary.as_deref().unwrap_or(words), MAX_SUMMARY_CHARS),
        title,
        tests: said.tests.and_then(|text| kept(text, MAX_TESTS_CHARS)),
        questions: questions
            .filter_map(|text| kept(text, MAX_QUESTION_CHARS))
            .take(MAX_QUESTIONS)
            .collect(),
        requests: requests
            .filter_map(|text| kept(text, MAX_LABEL_CHARS))
            .take(MAX_REQUESTS)
            .map(LabelName::new)
            .collect(),
        explanations: said
            .explanations
            .iter()
            .take(MAX_EXPLANATIONS)
            .map(short)
            .collect(),
    }
}

fn short(said: &Explanation) -> Explanation {
    let short = |text: &str| cut(text.trim(), MAX_EXPLANATION_CHARS);
    Explanation {
        file: said.file.as_deref().map(short),
        why: short(&said.why),
        gains: short(&said.gains),
        alternatives: short(&said.alternatives),
    }
}

/// The object at the end of what was said last. What is not asked for in it is passed over,
/// and one of the wrong shape counts as words: an agent cannot be asked again.
fn said_last(words: &str) -> Said {
    let read = |mut object: Map<String, Value>| {
        object.retain(|key, value| KNOWN.contains(&key.as_str()) && !value.is_null());
        object.get("summary")?;
        serde_json::from_value(Value::Object(object)).ok()
    };
    object_at_end(words).and_then(read).unwrap_or_default()
}

/// The JSON object with which a text ends, in a code fence or without.
fn object_at_end(text: &str) -> Option<Map<String, Value>> {
    let text = text.trim_end();
    let text = text.strip_suffix("```").unwrap_or(text).trim_end();
    if !text.ends_with('}') {
        return None;
    }
    let mut starts = text.match_indices('{');
    starts.find_map(|(at, _)| serde_json::from_str(&text[at..]).ok())
}

/// The last lines of what was said.
fn last_lines(words: &str) -> String {
    let lines: Vec<_> = words
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
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
        let end = command_end(Some(0), Some(file), Some("noise"), "noise");
        assert_eq!(end.answer.summary, "Added a line.");
        assert_eq!(end.answer.title.as_deref(), Some("Greet"));
        assert_eq!(end.status, ResultStatus::Completed);
    }

    #[test]
    fn a_failed_command_has_not_completed_whatever_it_wrote() {
        let file = br#"{"status":"completed","summary":"fine"}"#;
        let end = command_end(Some(2), Some(file), None, "");
        assert_eq!(end.status, ResultStatus::Failed);
    }

    #[test]
    fn an_invalid_result_file_fails_the_result() {
        let end = command_end(Some(0), Some(b"{\"outcome\":1}"), None, "");
        assert_eq!(end.status, ResultStatus::Failed);
        assert!(end.answer.summary.contains("not valid"));
    }

    #[test]
    fn without_a_file_the_last_message_counts() {
        let end = command_end(Some(0), None, Some("two\n\nlines"), "a\n");
        assert_eq!(end.answer.summary, "two\n\nlines");
        let end = command_end(Some(0), None, None, "a\n\nb\n");
        assert_eq!(end.answer.summary, "a\nb");
    }

    #[test]
    fn the_object_that_ends_the_last_message_is_the_answer() {
        let said = "I am through {really}.\n```json\n{\"summary\":\"Wrote it.\",\"title\":\"Brief\",\
             \"tests\":\"none\",\"questions\":[\"Who pays?\",\"  \"],\"requests\":[\"run:vision\"],\
             \"explanations\":[{\"why\":\"it is short\"}],\"mood\":\"fine\"}\n```";
        for (message, tail) in [
            (Some(said), "{\"type\":\"turn.completed\"}\n"),
            (None, said),
        ] {
            let end = command_end(Some(0), None, message, tail);
            assert_eq!(end.status, ResultStatus::Completed);
            assert_eq!(end.answer.summary, "Wrote it.");
            assert_eq!(end.answer.title.as_deref(), Some("Brief"));
            assert_eq!(end.answer.tests.as_deref(), Some("none"));
            assert_eq!(end.answer.questions, ["Who pays?"]);
            assert_eq!(end.answer.explanations[0].why, "it is short");
            assert_eq!(end.answer.requests, [LabelName::new("run:vision")]);
        }
    }

    #[test]
    fn an_object_of_another_shape_counts_as_words() {
        for said in [
            "see {\"a\":1}",
            "{\"summary\":[1]}",
            "{\"summary\":\"x\", broken}",
        ] {
            let end = command_end(Some(0), None, None, said);
            assert_eq!(end.answer.summary, said);
            assert_eq!(end.answer.questions, Vec::<String>::new());
        }
    }

    #[test]
    fn an_agent_may_say_that_it_failed() {
        let said = "{\"summary\":\"no way\",\"status\":\"failed\"}";
        assert_eq!(
            command_end(Some(0), None, None, said).status,
            ResultStatus::Failed
        );
    }
}
