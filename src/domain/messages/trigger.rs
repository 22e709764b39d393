//! Comments about triggers that do not start: conflict, block, refusal.
//!
//! Each is one comment by key, edited in place when the matter is settled.
//!
//! A refusal is answered where somebody who may ask for work has to learn why nothing starts, and
//! could have known no better. Strangers and bots are not, or they could make us write; nor are
//! old labels, for which nobody waits.

use std::collections::BTreeSet;

use super::{
    Language,
    catalogue::Word,
    status::{code_span, push_section},
    words::Catalogue as _,
};
use crate::domain::{
    effect::content_hash,
    ids::{IssueNumber, LabelName, Locale, StageKind, Subject},
    marker::comment_marker,
    trigger::{RefusalReason, TriggerIdentity, TriggerSource},
};

/// Different work is asked for on one work item, or no longer is.
#[derive(Debug, Clone, PartialEq)]
pub struct ConflictComment {
    /// The work item.
    pub subject: Subject,
    /// The labels that contradict each other, or did: what the conflict is known by.
    pub labels: Vec<LabelName>,
    /// How it stands.
    pub state: ConflictState,
}

/// How a conflict stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConflictState {
    /// It keeps the work from starting.
    Open,
    /// Other labels contradict each other by now.
    Replaced,
    /// It is over.
    Over {
        /// The label that goes on.
        left: Option<LabelName>,
    },
}

/// Something stands in the way, or no longer does.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockedComment {
    /// The work item.
    pub subject: Subject,
    /// What; `None` once nothing does.
    pub obstacle: Option<Obstacle>,
}

/// What keeps a stage from starting until people do something about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// A label on the issue.
    Label(LabelName),
    /// A stage that must come first.
    Stage {
        /// The stage.
        stage: StageKind,
        /// The label that asks for it, where the catalogue has one.
        label: Option<LabelName>,
    },
    /// The work of a stage that must pass its review first.
    Review {
        /// The stage.
        stage: StageKind,
        /// The label that says so, where the catalogue has one.
        label: Option<LabelName>,
    },
}

/// A trigger was refused.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusalComment {
    /// The trigger.
    pub trigger: TriggerIdentity,
    /// The issue or pull request that carries it.
    pub number: IssueNumber,
    /// Its label; of what was granted on request, the one that asks for the same.
    pub label: LabelName,
    /// Why.
    pub reason: RefusalReason,
}

/// The key of a conflict's comment: its work item and the set of its labels.
pub fn conflict_comment_key(comment: &ConflictComment) -> String {
    let Subject { repository, number } = comment.subject;
    let set: BTreeSet<String> = comment.labels.iter().map(LabelName::folded).collect();
    let set = content_hash(set.into_iter().collect::<Vec<_>>().join("\n").as_bytes());
    format!("issue/{repository}/{number}/conflict/{}", &set[..12])
}

/// The key of a work item's blocked comment.
pub fn blocked_comment_key(subject: &Subject) -> String {
    format!("issue/{}/{}/blocked", subject.repository, subject.number)
}

/// The key of a refused trigger's comment.
pub fn refusal_comment_key(trigger: &TriggerIdentity) -> String {
    format!("trigger/{trigger}/refused")
}

/// The key of a refusal's comment. What the config asks for by the clock or by pushes comes again
/// and again: it is answered once an issue.
fn refusal_key(comment: &RefusalComment) -> String {
    let trigger = &comment.trigger;
    match trigger.source {
        TriggerSource::Schedule | TriggerSource::Push => {
            let reason: &str = (&comment.reason).into();
            let (source, repository) = (trigger.source, trigger.repository);
            format!(
                "issue/{repository}/{}/refused/{source}/{reason}",
                comment.number
            )
        }
        _ => refusal_comment_key(trigger),
    }
}

/// The body of the conflict comment.
pub fn conflict_comment(comment: &ConflictComment, locale: &Locale) -> String {
    let language = Language::of(locale);
    let body = match &comment.state {
        ConflictState::Open => {
            let mut labels = comment.labels.clone();
            labels.sort();
            labels.dedup();
            let names: Vec<_> = labels
                .iter()
                .map(|label| code_span(label.as_str()))
                .collect();
            let says = Word::ConflictBody.with(language, &names.join(", "));
            titled(
                Word::ConflictTitle.text(language),
                &says,
                Word::ConflictAsk.text(language),
                language,
            )
        }
        ConflictState::Replaced => format!("{}\n", Word::ConflictReplaced.text(language)),
        ConflictState::Over { left: None } => format!("{}\n", Word::ConflictOver.text(language)),
        ConflictState::Over { left: Some(label) } => {
            let label = code_span(label.as_str());
            format!("{}\n", Word::ConflictResolved.with(language, &label))
        }
    };
    marked(&body, &conflict_comment_key(comment))
}

/// The body of the blocked comment.
pub fn blocked_comment(comment: &BlockedComment, locale: &Locale) -> String {
    let language = Language::of(locale);
    let title = Word::BlockedTitle.text(language);
    let body = match &comment.obstacle {
        Some(Obstacle::Label(label)) => {
            let says = Word::BlockedBody.with(language, &code_span(label.as_str()));
            titled(title, &says, Word::BlockedAsk.text(language), language)
        }
        Some(Obstacle::Stage { stage, label }) => {
            let says = Word::StageMissingBody.with(language, &code_span(stage.as_str()));
            let label = label.as_ref().map_or(stage.as_str(), LabelName::as_str);
            let asks = Word::StageMissingAsk.with(language, &code_span(label));
            titled(title, &says, &asks, language)
        }
        Some(Obstacle::Review { stage, label }) => {
            let says = Word::UnreviewedBody.with(language, &code_span(stage.as_str()));
            let asks = label.as_ref().map_or_else(
                || Word::UnreviewedMerge.text(language).to_owned(),
                |label| Word::UnreviewedAsk.with(language, &code_span(label.as_str())),
            );
            titled(title, &says, &asks, language)
        }
        None => format!("{}\n", Word::BlockedResolved.text(language)),
    };
    marked(&body, &blocked_comment_key(&comment.subject))
}

/// Whether a refusal is answered at all.
pub fn is_answered(reason: &RefusalReason) -> bool {
    answer(reason).is_some()
}

/// What is said of a refusal, and what people can do.
fn answer(reason: &RefusalReason) -> Option<(Word, Word)> {
    Some(match reason {
        RefusalReason::ContentChanged => (Word::RefusedContentChanged, Word::AskRelabel),
        RefusalReason::NoPullRequest => (Word::RefusedNoPullRequest, Word::AskStart),
        RefusalReason::NotRevisable => (Word::RefusedNotRevisable, Word::AskAnew),
        RefusalReason::Superseded => (Word::RefusedSuperseded, Word::AskLater),
        RefusalReason::PullRequestClosed => (Word::RefusedClosed, Word::AskAnew),
        RefusalReason::ForeignText => (Word::RefusedForeignText, Word::AskOwnText),
        RefusalReason::NotConfigured => (Word::RefusedNotConfigured, Word::AskConfig),
        RefusalReason::NoRights
        | RefusalReason::Bot
        | RefusalReason::Historical
        | RefusalReason::DiscussionOver
        | RefusalReason::Unbound
        | RefusalReason::Consumed => return None,
    })
}

/// A refusal's comment: its key and its body; `None` for refusals that are never answered.
pub fn refusal_comment(comment: &RefusalComment, locale: &Locale) -> Option<(String, String)> {
    let language = Language::of(locale);
    let (says, asks) = answer(&comment.reason)?;
    let label = code_span(comment.label.as_str());
    let title = match comment.trigger.source {
        TriggerSource::Review => Word::RefusedReviewTitle.text(language).to_owned(),
        TriggerSource::Command => Word::RefusedGrantTitle.with(language, &label),
        TriggerSource::Schedule | TriggerSource::Push => {
            Word::RefusedOrderTitle.text(language).to_owned()
        }
        _ => Word::RefusedTitle.with(language, &label),
    };
    let asks = match comment.trigger.source {
        TriggerSource::Command if asks == Word::AskRelabel => Word::AskLabel.with(language, &label),
        _ => asks.text(language).to_owned(),
    };
    let body = titled(&title, says.text(language), &asks, language);
    let key = refusal_key(comment);
    let body = marked(&body, &key);
    Some((key, body))
}

fn titled(title: &str, says: &str, asks: &str, language: Language) -> String {
    let mut body = format!("### {title}\n\n{says}\n");
    push_section(&mut body, Word::WhatYouCanDo.text(language), asks);
    body
}

fn marked(body: &str, key: &str) -> String {
    format!("{body}\n{}\n", comment_marker(key))
}
