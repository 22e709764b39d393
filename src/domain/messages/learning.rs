//! Learning mode: what agents are asked to explain, and the comment that shows it.

use std::fmt::Write as _;

use super::{
    Language, neutral,
    words::{Catalogue as _, words},
};
use crate::domain::{
    answer::Explanation,
    ids::{Locale, RunId},
    marker::comment_marker,
};

/// The longest part of an explanation that is shown.
const MAX_CHARS: usize = 1_500;

words! {
    /// The words of learning mode.
    Word {
        Title: "Explain what you do", "Объясняй, что делаешь";
        Ask:
            "Whoever asked for this work wants to learn from it. For each decision that matters (at most ten, in the files that matter most) say why this change and why here, what it buys, and which alternatives you considered and why they are worse. Put no secrets into it. Add to the JSON object of your answer:",
            "Тот, кто попросил об этой работе, хочет на ней учиться. О каждом важном решении (не больше десяти, в самых важных файлах) напиши, почему именно это изменение и почему здесь, что оно даёт, какие варианты ты рассматривал и чем они хуже. Секретам здесь не место. Добавь в JSON-объект своего ответа:";
        CommentTitle: "What there is to learn here", "Чему здесь можно научиться";
        Whole: "The work as a whole", "Работа в целом";
        Why: "Why", "Почему так";
        Gains: "What it buys", "Что это даёт";
        Alternatives: "Alternatives", "Другие варианты";
    }
}

/// The block that stands below a prompt in learning mode.
pub fn learning_block(locale: &Locale) -> String {
    let language = Language::of(locale);
    format!(
        "\n<!-- block: learning -->\n# {title}\n\n{asks}\n\n```json\n{form}\n```\n",
        title = Word::Title.text(language),
        asks = Word::Ask.text(language),
        form = r#""explanations": [{"file": "…", "why": "…", "gains": "…", "alternatives": "…"}]"#,
    )
}

/// The key of a run's learning comment.
pub fn learning_comment_key(run: &RunId) -> String {
    format!("run/{run}/learning")
}

/// The body of the comment that shows a run's explanations.
pub fn learning_comment(run: &RunId, explanations: &[Explanation], locale: &Locale) -> String {
    let language = Language::of(locale);
    let mut body = format!("### {}\n", Word::CommentTitle.text(language));
    for explanation in explanations {
        let about = match explanation
            .file
            .as_deref()
            .map(|file| neutral::one_line(file, 200))
        {
            Some(file) if !file.is_empty() => file,
            _ => Word::Whole.text(language).to_owned(),
        };
        write!(body, "\n#### {about}\n").expect("a String takes every write");
        for (word, text) in [
            (Word::Why, &explanation.why),
            (Word::Gains, &explanation.gains),
            (Word::Alternatives, &explanation.alternatives),
        ] {
            let text = neutral::one_line(text, MAX_CHARS);
            if !text.is_empty() {
                let word = word.text(language);
                write!(body, "\n**{word}:** {text}\n").expect("a String takes every write");
            }
        }
    }
    format!("{body}\n{}\n", comment_marker(&learning_comment_key(run)))
}
