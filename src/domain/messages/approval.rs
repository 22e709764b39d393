//! The comment of a request: what the agent asks for, who may decide and how, and in the end
//! what came of it.
//!
//! It is rendered from the row alone, so that a text which differs from it is not ours any more.

use std::fmt::Write as _;

use super::{
    Language,
    catalogue::Word,
    neutral,
    status::{code_span, push_section, table_of},
    words::{Catalogue as _, words},
};
use crate::domain::{
    approval::{Approval, ApprovalMode, ApprovalState},
    marker::comment_marker,
};

/// The longest reason shown.
const MAX_REASON_CHARS: usize = 600;

words! {
    /// The words of requests, one text each in every language, as in [`super::catalogue`].
    AskWord {
        Title: "The agent asks for {}", "Агент просит: {}";
        Body:
            "It asks for a further step. Nothing starts without a person's word.",
            "Он просит о дальнейшем шаге. Без решения человека ничего не начнётся.";
        Code: "Code", "Код";
        Who: "Who decides", "Кто решает";
        Owner: "members with the project's highest role", "участники с высшей ролью в проекте";
        Member:
            "any member who may ask for work",
            "любой участник, который может просить о работе";
        Until: "Until", "До";
        Ask:
            "Write a comment with one of these lines, and do not edit it afterwards. Closing the issue ends the request.",
            "Напишите комментарий с одной из этих строк и не правьте его потом. Закрытие задачи снимает запрос.";
        Granted: "Approved by {}; the work is asked for.", "Одобрено: {}; работа запрошена.";
        Denied: "Denied by {}.", "Отклонено: {}.";
        Expired:
            "Nobody decided in time. Put the label on to start it yourself.",
            "Никто не решил вовремя. Чтобы начать самому, поставьте метку.";
        Withdrawn:
            "The issue was closed before anybody decided.",
            "Задача закрыта раньше, чем кто-либо решил.";
        Failed:
            "Approved by {}, but the issue was closed before it could start.",
            "Одобрено: {}, но задача закрыта раньше, чем работа началась.";
    }
}

/// The key of a request's comment; each posting of it has its own.
pub fn approval_comment_key(approval: &Approval) -> String {
    format!("approval/{}/{}", approval.id, approval.posting)
}

/// The body of a request's comment, as the request stands.
pub fn approval_comment(approval: &Approval) -> String {
    let language = Language::of(&approval.locale);
    let target = code_span(&neutral::one_line(approval.target.as_str(), 50));
    let title = AskWord::Title.with(language, &target);
    let mut body = format!("### {title}\n\n");
    match (&approval.code, approval.state) {
        (Some(code), ApprovalState::Requested) => body.push_str(&asking(approval, code, language)),
        _ => body.push_str(&outcome(approval, language)),
    }
    let mark = comment_marker(&approval_comment_key(approval));
    write!(body, "\n{mark}\n").expect("a String takes every write");
    body
}

fn asking(approval: &Approval, code: &str, language: Language) -> String {
    let who = match approval.mode {
        ApprovalMode::Owner | ApprovalMode::None => AskWord::Owner,
        ApprovalMode::Delegated => AskWord::Member,
    };
    let until = approval.expires_at.format("%Y-%m-%d %H:%M UTC");
    let rows = [
        (
            Word::Agent.text(language),
            code_span(approval.agent.as_str()),
        ),
        (
            Word::Run.text(language),
            code_span(&approval.run.to_string()),
        ),
        (AskWord::Code.text(language), code_span(code)),
        (AskWord::Who.text(language), who.text(language).to_owned()),
        (AskWord::Until.text(language), until.to_string()),
    ];
    let mut text = format!("{}\n\n", AskWord::Body.text(language));
    text.push_str(&table_of(rows));
    let ask = AskWord::Ask.text(language);
    push_section(&mut text, Word::WhatYouCanDo.text(language), ask);
    let reason = Word::Reason.text(language).to_lowercase();
    write!(
        text,
        "\n```text\n/approve {code}\n/deny {code} {reason}\n```\n"
    )
    .expect("a String takes every write");
    text
}

fn outcome(approval: &Approval, language: Language) -> String {
    let decision = approval.decision.as_ref();
    let by = decision
        .and_then(|decision| decision.actor.as_ref())
        .map_or_else(|| "–".to_owned(), |actor| code_span(&actor.login));
    let text = match approval.state {
        ApprovalState::Requested | ApprovalState::Approved | ApprovalState::Applied => {
            AskWord::Granted.with(language, &by)
        }
        ApprovalState::Denied => AskWord::Denied.with(language, &by),
        ApprovalState::Expired => AskWord::Expired.text(language).to_owned(),
        ApprovalState::Withdrawn | ApprovalState::Refused => {
            AskWord::Withdrawn.text(language).to_owned()
        }
        ApprovalState::Failed => AskWord::Failed.with(language, &by),
    };
    let mut text = format!("{text}\n");
    if let Some(reason) = decision.and_then(|decision| decision.reason.as_ref()) {
        let reason = neutral::one_line(reason, MAX_REASON_CHARS);
        push_section(&mut text, Word::Reason.text(language), &reason);
    }
    text
}
