//! How a command's end is put into words: from the result file it may have
//! written, else from what it said last.
//!
//! Prompts ask for one JSON object at the end of the last message. An agent that
//! answers in plain words has still answered: its words are the summary.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::domain::{
    answer::{Answer, AnswerPart, AskedPart, COMMON_PARTS, Explanation},
    fact::ResultStatus,
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
const MAX_PART_CHARS: usize = 8 * 1024;
const MAX_PART_ITEMS: usize = 30;
const MAX_PART_ITEM_CHARS: usize = 1_000;
/// A forge takes no longer label.
const MAX_LABEL_CHARS: usize = 50;
/// How many lines make a summary where nothing better is known.
const LAST_LINES: usize = 20;

/// What a command may write into its result file or say at its end.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Said {
    /// What its stage asked for besides.
    #[serde(skip)]
    parts: BTreeMap<String, AnswerPart>,
    status: Option<ResultStatus>,
    summary: Option<String>,
    title: Option<String>,
    #[serde(skip)]
    tests: Option<String>,
    #[serde(skip)]
    questions: Vec<String>,
    #[serde(skip)]
    requests: Vec<String>,
    #[serde(skip)]
    explanations: Vec<Explanation>,
}

/// The end of a command from its exit code, its result file, its last message and its output's
/// end. Its answer has the parts that were asked for.
pub fn command_end(
    asked: &[AskedPart],
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
    let (status, said) = match file.map(|file| said_in_file(file, asked)) {
        None => {
            let said = said_last(message.unwrap_or(tail), asked);
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
        parts: said.parts,
    }
}

/// Takes what was asked for out of an object. What is empty counts as missing.
fn take_parts(
    object: &mut Map<String, Value>,
    asked: &[AskedPart],
) -> BTreeMap<String, AnswerPart> {
    let mut parts = BTreeMap::new();
    for part in asked {
        let Some(value) = object.remove(&part.name) else {
            continue;
        };
        let mut items = items(value);
        let said = if part.list {
            items.truncate(MAX_PART_ITEMS);
            let items = items.iter().map(|item| cut(item, MAX_PART_ITEM_CHARS));
            AnswerPart::List(items.collect())
        } else {
            AnswerPart::Text(cut(&items.join("\n"), MAX_PART_CHARS))
        };
        if !items.is_empty() {
            parts.insert(part.name.clone(), said);
        }
    }
    parts
}

/// The texts of a value; what is no text is written as JSON, for an agent cannot be asked again.
fn items(value: Value) -> Vec<String> {
    let all = match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items,
        one => vec![one],
    };
    let all = all.into_iter().map(|item| match item {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    });
    all.filter(|text| !text.is_empty()).collect()
}

/// What a result file says.
fn said_in_file(file: &[u8], asked: &[AskedPart]) -> Result<Said, serde_json::Error> {
    said(serde_json::from_slice(file)?, asked)
}

/// What an object says. Lists are taken in whatever shape they come: one that is odd must not
/// take the rest of the answer with it.
fn said(mut object: Map<String, Value>, asked: &[AskedPart]) -> Result<Said, serde_json::Error> {
    let mut take = |name: &str| object.remove(name).unwrap_or_default();
    let tests = items(take("tests"));
    let questions = items(take("questions"));
    let requests = items(take("requests"));
    let explanations = explanations(take("explanations"));
    let parts = take_parts(&mut object, asked);
    let said: Said = serde_json::from_value(Value::Object(object))?;
    Ok(Said {
        parts,
        tests: (!tests.is_empty()).then(|| tests.join("\n")),
        questions,
        requests,
        explanations,
        ..said
    })
}

/// The explanations of a value; a text alone is a reason.
fn explanations(value: Value) -> Vec<Explanation> {
    let all = match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items,
        one => vec![one],
    };
    let all = all.into_iter().map(|item| match item {
        Value::Object(mut said) => {
            let mut text = |name: &str| items(said.remove(name).unwrap_or_default()).join("; ");
            let file = text("file");
            Explanation {
                file: (!file.is_empty()).then_some(file),
                why: text("why"),
                gains: text("gains"),
                alternatives: text("alternatives"),
            }
        }
        other => Explanation {
            why: items(other).join("; "),
            ..Explanation::default()
        },
    });
    let says = |said: &Explanation| {
        ![&said.why, &said.gains, &said.alternatives]
            .iter()
            .all(|text| text.is_empty())
    };
    all.filter(says).collect()
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
fn said_last(words: &str, asked: &[AskedPart]) -> Said {
    let read = |mut object: Map<String, Value>| {
        let known =
            |key: &str| COMMON_PARTS.contains(&key) || asked.iter().any(|part| part.name == key);
        object.retain(|key, value| known(key) && !value.is_null());
        object.get("summary")?;
        said(object, asked).ok()
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
        let end = command_end(&[], Some(0), Some(file), Some("noise"), "noise");
        assert_eq!(end.answer.summary, "Added a line.");
        assert_eq!(end.answer.title.as_deref(), Some("Greet"));
        assert_eq!(end.status, ResultStatus::Completed);
    }

    #[test]
    fn a_failed_command_has_not_completed_whatever_it_wrote() {
        let file = br#"{"status":"completed","summary":"fine"}"#;
        let end = command_end(&[], Some(2), Some(file), None, "");
        assert_eq!(end.status, ResultStatus::Failed);
    }

    #[test]
    fn an_invalid_result_file_fails_the_result() {
        let end = command_end(&[], Some(0), Some(b"{\"outcome\":1}"), None, "");
        assert_eq!(end.status, ResultStatus::Failed);
        assert!(end.answer.summary.contains("not valid"));
    }

    #[test]
    fn without_a_file_the_last_message_counts() {
        let end = command_end(&[], Some(0), None, Some("two\n\nlines"), "a\n");
        assert_eq!(end.answer.summary, "two\n\nlines");
        let end = command_end(&[], Some(0), None, None, "a\n\nb\n");
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
            let end = command_end(&[], Some(0), None, message, tail);
            assert_eq!(end.status, ResultStatus::Completed);
            assert_eq!(end.answer.summary, "Wrote it.");
            assert_eq!(end.answer.title.as_deref(), Some("Brief"));
            assert_eq!(end.answer.tests.as_deref(), Some("none"));
            assert_eq!(end.answer.questions, ["Who pays?"]);
            assert_eq!(end.answer.explanations[0].why, "it is short");
            assert_eq!(end.answer.requests, [LabelName::new("run:vision")]);
        }
    }

    fn asked() -> [AskedPart; 2] {
        [("diagnosis", false), ("actions", true)].map(|(name, list)| AskedPart {
            name: name.to_owned(),
            title: name.to_owned(),
            list,
            required: true,
        })
    }

    #[test]
    fn what_a_stage_asks_for_is_taken_as_it_wants_it() {
        let text = |text: &str| AnswerPart::Text(text.to_owned());
        let list =
            |items: &[&str]| AnswerPart::List(items.iter().map(ToString::to_string).collect());
        for (said, parts) in [
            (
                r#"{"summary":"x","diagnosis":"slow","actions":["one"," two ",""]}"#,
                vec![
                    ("actions", list(&["one", "two"])),
                    ("diagnosis", text("slow")),
                ],
            ),
            // Of the other shape, and not of texts.
            (
                r#"{"summary":"x","diagnosis":["slow","late"],"actions":{"do":1}}"#,
                vec![
                    ("actions", list(&[r#"{"do":1}"#])),
                    ("diagnosis", text("slow\nlate")),
                ],
            ),
            // Nothing is missing.
            (r#"{"summary":"x","diagnosis":" ","actions":null}"#, vec![]),
        ] {
            let parts = parts
                .into_iter()
                .map(|(name, part)| (name.to_owned(), part))
                .collect();
            let by_file = command_end(&asked(), Some(0), Some(said.as_bytes()), None, "");
            assert_eq!(by_file.answer.parts, parts, "{said}");
            assert_eq!(by_file.status, ResultStatus::Completed);
            let by_words = command_end(&asked(), Some(0), None, Some(said), "");
            assert_eq!(by_words.answer, by_file.answer);
        }
        let other = br#"{"summary":"x","diagnosis":"slow"}"#;
        let end = command_end(&[], Some(0), Some(other), None, "");
        assert_eq!(end.status, ResultStatus::Failed, "nobody asked for it");
    }

    #[test]
    fn what_comes_in_an_odd_shape_takes_nothing_else_with_it() {
        let said = r#"{"summary":"Done.","title":"Greet","diagnosis":"slow","actions":["one"],
            "tests":["fmt","test"],"questions":"Who pays?","requests":null,
            "explanations":[{"why":"short","gains":null,"alternatives":["long","none"],"depth":1},
                "by the way",null,{"file":"a.md"},7]}"#;
        let file = command_end(&asked(), Some(0), Some(said.as_bytes()), None, "");
        assert_eq!(file.status, ResultStatus::Completed);
        let words = command_end(&asked(), Some(0), None, Some(said), "");
        assert_eq!(words.answer, file.answer);
        let answer = file.answer;
        assert_eq!(answer.title.as_deref(), Some("Greet"));
        assert_eq!(answer.parts.len(), 2);
        assert_eq!(answer.tests.as_deref(), Some("fmt\ntest"));
        assert_eq!(answer.questions, ["Who pays?"]);
        assert_eq!(answer.requests, Vec::<LabelName>::new());
        let said: Vec<_> = answer.explanations.iter().map(|it| &*it.why).collect();
        assert_eq!(said, ["short", "by the way", "7"]);
        assert_eq!(answer.explanations[0].alternatives, "long; none");
    }

    #[test]
    fn an_object_of_another_shape_counts_as_words() {
        for said in [
            "see {\"a\":1}",
            "{\"summary\":[1]}",
            "{\"summary\":\"x\", broken}",
        ] {
            let end = command_end(&[], Some(0), None, None, said);
            assert_eq!(end.answer.summary, said);
            assert_eq!(end.answer.questions, Vec::<String>::new());
        }
    }

    #[test]
    fn an_agent_may_say_that_it_failed() {
        let said = "{\"summary\":\"no way\",\"status\":\"failed\"}";
        assert_eq!(
            command_end(&[], Some(0), None, None, said).status,
            ResultStatus::Failed
        );
    }
}
