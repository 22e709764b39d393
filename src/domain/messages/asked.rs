//! What a stage asks of an answer besides the usual, below the prompt.

use std::fmt::Write as _;

use serde_json::{Map, json};

use super::{
    Language, neutral,
    pull_request::{MAX_SUMMARY_CHARS, list},
    words::{Catalogue as _, words},
};
use crate::domain::{
    answer::{AnswerPart, AskedPart},
    ids::Locale,
};

words! {
    /// The words of what is asked.
    Word {
        Title: "Your answer, besides", "Твой ответ, кроме прочего";
        Ask: "Add to the JSON object of your answer:", "Добавь в JSON-объект своего ответа:";
        Required: "must not be missing", "обязательно";
    }
}

/// The block that asks for a stage's own parts of the answer: each with what belongs there.
pub fn asked_block(locale: &Locale, asked: &[(AskedPart, &str)]) -> String {
    if asked.is_empty() {
        return String::new();
    }
    let language = Language::of(locale);
    let (mut lines, mut form) = (String::new(), Map::new());
    for (part, what) in asked {
        let required = if part.required {
            format!(" ({})", Word::Required.text(language))
        } else {
            String::new()
        };
        writeln!(lines, "- `{}`{required}: {what}", part.name).expect("a String takes every write");
        let shape = if part.list {
            json!(["…"])
        } else {
            json!("…")
        };
        form.insert(part.name.clone(), shape);
    }
    format!(
        "\n<!-- block: answer -->\n# {title}\n\n{asks}\n\n{lines}\n```json\n{form:#}\n```\n",
        title = Word::Title.text(language),
        asks = Word::Ask.text(language),
        form = serde_json::Value::Object(form),
    )
}

/// What was said to one part, without its power.
pub(super) fn part(said: &AnswerPart) -> String {
    match said {
        AnswerPart::Text(text) => neutral::paragraphs(text, MAX_SUMMARY_CHARS),
        AnswerPart::List(items) => list(items),
    }
}
