//! What an agent that goes on is told: what people decided on what it asked for.

use super::{
    Language, neutral,
    reasons::reason_in,
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
        Title: "Answers to what you asked for", "Ответы на твои просьбы";
        Ask:
            "You ended your work to wait for them. Go on with it; what was done before stands.",
            "Ты прервал работу, чтобы их дождаться. Продолжай; сделанное раньше остаётся.";
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
    let said = decision.and_then(|decision| decision.reason.clone());
    // Our own reason says more than the word only where nothing came of the request.
    let ours = matches!(word, Word::Refused | Word::Failed)
        .then_some(approval.reason.as_ref())
        .flatten();
    let said = said.or_else(|| ours.map(|reason| reason_in(reason, language)));
    let said = said.map_or_else(String::new, |said| {
        format!(": {}", neutral::one_line(&said, MAX_REASON_CHARS))
    });
    let target = neutral::one_line(approval.target.as_str(), 50);
    Some(format!("- `{target}`: {}{by}{said}\n", word.text(language)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Timestamp,
        approval::{ApprovalAction, ApprovalId, ApprovalMode},
        forge::ForgeKind,
        ids::{AgentKey, EventId, IssueNumber, LabelName, ProjectKey, RepositoryId, RunId},
    };

    fn ended(state: ApprovalState, reason: &str) -> Approval {
        let (run, target) = (RunId(uuid::Uuid::nil()), LabelName::from("run:qa"));
        Approval {
            id: ApprovalId::of(&run, ApprovalAction::StartStage, &target),
            run,
            project: ProjectKey::from("demo"),
            forge: ForgeKind::Github,
            repository: RepositoryId(5),
            number: IssueNumber(12),
            action: ApprovalAction::StartStage,
            target,
            kind: None,
            agent: AgentKey::from("dev"),
            mode: ApprovalMode::Owner,
            locale: Locale::from("ru"),
            state,
            code: None,
            posting: 1,
            after_event: EventId(0),
            requested_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::UNIX_EPOCH,
            decision: None,
            reason: Some(reason.to_owned()),
            settled: true,
        }
    }

    #[test]
    fn our_own_reasons_are_said_in_the_language_of_the_prompt_and_once() {
        for (state, reason, said) in [
            (
                ApprovalState::Expired,
                "nobody decided in time",
                "- `run:qa`: никто не решил вовремя\n",
            ),
            (
                ApprovalState::Refused,
                "the same is asked for already",
                "- `run:qa`: людям не передано: об этом уже попросили\n",
            ),
        ] {
            let block = answers_block(&Locale::from("ru"), &[ended(state, reason)]);
            assert!(block.contains(said), "{block}");
        }
    }
}
