//! What an agent that goes on is told: what people decided on what it asked for.

use super::{
    Language, neutral,
    words::{Catalogue as _, words},
};
use crate::domain::{
    approval::{Approval, ApprovalState},
    ids::Locale,
};

/// The longest reason that is passed on.
const MAX_REASON_CHARS: usize = 600;

words! {
    /// The words of answers.
    Word {
        Title: "Answers to what you asked for", "Ответы на ваши просьбы";
        Ask:
            "You ended your work to wait for them. Go on with it; what was done before stands.",
            "Вы прервали работу, чтобы их дождаться. Продолжайте; сделанное раньше остаётся.";
        Granted: "approved", "одобрено";
        Denied: "denied", "отклонено";
        Expired: "nobody decided in time", "никто не решил вовремя";
        Withdrawn: "withdrawn: the issue was closed", "снято: задача закрыта";
        Refused: "not put to people", "людям не передано";
        Failed: "approved, but it could not be begun", "одобрено, но начать не удалось";
    }
}

/// The block that stands above the prompt of a run that goes on after waiting; empty where
/// nothing is decided. Rendered from the rows alone.
pub fn answers_block(locale: &Locale, asked: &[Approval]) -> String {
    let language = Language::of(locale);
    let lines: String = asked
        .iter()
        .filter_map(|approval| line(approval, language))
        .collect();
    if lines.is_empty() {
        return lines;
    }
    format!(
        "<!-- block: answers -->\n# {}\n\n{}\n\n{lines}\n",
        Word::Title.text(language),
        Word::Ask.text(language),
    )
}

fn line(approval: &Approval, language: Language) -> Option<String> {
    let word = match approval.state {
        ApprovalState::Requested => return None,
        ApprovalState::Approved | ApprovalState::Applied => Word::Granted,
        ApprovalState::Denied => Word::Denied,
        ApprovalState::Expired => Word::Expired,
        ApprovalState::Withdrawn => Word::Withdrawn,
        ApprovalState::Refused => Word::Refused,
        ApprovalState::Failed => Word::Failed,
    };
    let decision = approval.decision.as_ref();
    let by = decision.and_then(|decision| decision.actor.as_ref());
    let by = by.map_or_else(String::new, |actor| format!(" (@{})", actor.login));
    let said = decision.and_then(|decision| decision.reason.as_ref());
    let said = said.or(approval.reason.as_ref());
    let said = said.map_or_else(String::new, |said| {
        format!(": {}", neutral::one_line(said, MAX_REASON_CHARS))
    });
    let target = neutral::one_line(approval.target.as_str(), 50);
    Some(format!("- `{target}`: {}{by}{said}\n", word.text(language)))
}
