//! What a prompt says of the platform's tools: those that the run was granted and no other.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    Language,
    status::code_span,
    words::{Catalogue as _, words},
};
use crate::domain::{
    ids::{LabelName, Locale},
    tools::{ToolGrant, ToolName},
};

words! {
    /// The words of the tools.
    Word {
        Title: "The platform's tools", "Инструменты платформы";
        Has:
            "Beside those of your own you have these, for the issue and the pull request that you work on:",
            "Кроме собственных у вас есть эти, для задачи и пул-реквеста, над которыми вы работаете:";
        List: "the labels, as last read from the forge", "метки, какими они прочитаны последний раз";
        Add: "puts labels on", "ставит метки";
        Remove: "takes labels off", "снимает метки";
        Transition:
            "takes some labels off and puts others on, as one change",
            "снимает одни метки и ставит другие одним изменением";
        Wait:
            "waits for what people decide on a request; your time stands still meanwhile",
            "ждёт решения людей по просьбе; ваше время тем временем стоит";
        Writable: "Labels you may put on and take off: {}.", "Метки, которые вы можете ставить и снимать: {}.";
        Requests:
            "Labels that ask for a stage: {}. Where you put one on, it becomes a request: people with that right in the project decide, and nothing starts before.",
            "Метки, которые просят начать этап: {}. Если вы ставите такую, она становится просьбой: решают те, у кого в проекте есть на это право, и до того ничего не начнётся.";
        Others: "All other labels of the platform are refused.", "Все остальные метки платформы вам не даны.";
    }
}

/// The block that says what a grant lets an agent do; empty where it has no tool.
pub fn tools_block(locale: &Locale, grant: &ToolGrant) -> String {
    if grant.tools.is_empty() {
        return String::new();
    }
    let language = Language::of(locale);
    let mut block = format!(
        "<!-- block: tools -->\n# {}\n\n{}\n\n",
        Word::Title.text(language),
        Word::Has.text(language),
    );
    for tool in &grant.tools {
        writeln!(block, "- `{tool}`: {}", what(*tool).text(language))
            .expect("a String takes every write");
    }
    let has = |tools: &[ToolName]| tools.iter().any(|tool| grant.tools.contains(tool));
    let puts_on = has(&[ToolName::LabelsAdd, ToolName::LabelsTransition]);
    let writes = puts_on || has(&[ToolName::LabelsRemove]);
    let labels = grant.labels.iter().map(LabelName::as_str);
    let writable = labels.chain(grant.patterns.iter().map(String::as_str));
    let requests = grant.requests.iter().map(LabelName::as_str);
    let lines = [
        (writes, Word::Writable, spans(writable)),
        (puts_on, Word::Requests, spans(requests)),
    ];
    for (_, word, names) in lines
        .iter()
        .filter(|(may, _, names)| *may && !names.is_empty())
    {
        let line = word.with(language, names);
        write!(block, "\n{line}\n").expect("a String takes every write");
    }
    if writes {
        let others = Word::Others.text(language);
        write!(block, "\n{others}\n").expect("a String takes every write");
    }
    block.push('\n');
    block
}

fn what(tool: ToolName) -> Word {
    match tool {
        ToolName::LabelsList => Word::List,
        ToolName::LabelsAdd => Word::Add,
        ToolName::LabelsRemove => Word::Remove,
        ToolName::LabelsTransition => Word::Transition,
        ToolName::RequestWait => Word::Wait,
    }
}

fn spans<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: BTreeSet<_> = names.map(code_span).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
