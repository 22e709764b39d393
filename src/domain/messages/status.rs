//! The status comment: one a run, edited in place as the run goes on.

use std::fmt::Write as _;

use super::{
    Language, asked,
    catalogue::Word,
    neutral,
    pull_request::{MAX_SUMMARY_CHARS, list},
    reasons::reason_in,
    words::Catalogue as _,
};
use crate::domain::{
    Timestamp,
    answer::{Answer, AskedPart},
    ids::{AgentKey, BranchName, IssueNumber, LabelName, Locale, RunId},
    marker::comment_marker,
};

/// The longest reason shown, and the longest summary where a pull request has it whole.
const MAX_REASON_CHARS: usize = 600;

/// What the status comment of a run says.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusComment {
    /// The run.
    pub run: RunId,
    /// The label that asked for it, where one did.
    pub label: Option<LabelName>,
    /// The label that asks for the same again, where none asked for this run.
    pub start_label: Option<LabelName>,
    /// The label that has the result revised, where the stage knows one.
    pub revise_label: Option<LabelName>,
    /// The agent, once the run is frozen.
    pub agent: Option<AgentKey>,
    /// The model, where one is set.
    pub model: Option<String>,
    /// The reasoning effort, where one is set.
    pub reasoning: Option<String>,
    /// What it gets to work with, once the run is frozen.
    pub runtime_mode: Option<String>,
    /// The namespace it works in, once the run is frozen.
    pub namespace: Option<String>,
    /// The branch, from launch on.
    pub branch: Option<BranchName>,
    /// The pull request, once known.
    pub pull_request: Option<IssueNumber>,
    /// What the run is to leave behind.
    pub leaves: Leaves,
    /// Where the run stands.
    pub phase: Phase,
    /// What its stage asked for besides the usual.
    pub asked: Vec<AskedPart>,
    /// What has happened, oldest first.
    pub timeline: Vec<TimelineEntry>,
}

/// What a run is to leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// Changed files.
    Changes,
    /// Words alone.
    Words,
    /// An answer in a discussion.
    Reply,
}

/// Where a run stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// In the queue.
    Queued,
    /// In the queue and held back; the reason is ours.
    Held {
        /// Why.
        reason: String,
    },
    /// Its environment is being made.
    Starting,
    /// Its agent is at work.
    Running,
    /// It waits for an answer.
    Waiting,
    /// It is being stopped.
    Stopping {
        /// Why, where people caused it.
        cause: Option<StopCause>,
    },
    /// It ended well; without a pull request its answer is all that there is.
    Succeeded {
        /// The agent's words.
        answer: Option<Answer>,
    },
    /// It ended badly.
    Failed {
        /// Why; may hold the agent's words.
        reason: String,
        /// The agent's words, where it had any.
        answer: Option<Answer>,
    },
    /// Its time ran out.
    TimedOut,
    /// People took it back.
    Cancelled {
        /// How.
        cause: StopCause,
    },
    /// It was never launched.
    Rejected {
        /// Why.
        reason: String,
    },
}

/// How people take a run back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCause {
    /// The label was removed.
    LabelRemoved,
    /// The issue or pull request was closed, or is gone.
    Closed,
    /// Something else, such as a stop of the whole project.
    Other,
}

/// One line of the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineEntry {
    /// When, where that is known.
    pub at: Option<Timestamp>,
    /// What.
    pub step: TimelineStep,
}

/// What a line of the timeline says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimelineStep {
    /// It came into the queue.
    Queued,
    /// It left the queue.
    Started,
    /// A further attempt started; its number.
    Attempt(i32),
    /// It ended.
    Finished,
    /// Its workspace is gone.
    Cleaned,
}

/// The key of a run's status comment.
pub fn status_comment_key(run: &RunId) -> String {
    format!("run/{run}/status")
}

/// The body of a run's status comment.
pub fn status_comment(comment: &StatusComment, locale: &Locale) -> String {
    let language = Language::of(locale);
    let state = state_word(comment).text(language);
    let mut body = format!("### {}\n\n", Word::StatusTitle.with(language, state));
    body.push_str(&facts(comment, language));
    if let Some(reason) = reason_of(&comment.phase) {
        let text = neutral::one_line(&reason_in(reason, language), MAX_REASON_CHARS);
        push_section(&mut body, Word::Reason.text(language), &text);
    }
    if let Some(answer) = answer_of(&comment.phase) {
        push_answer(&mut body, comment, answer, language);
    }
    push_timeline(&mut body, &comment.timeline, language);
    let advice = advice(comment, language);
    push_section(&mut body, Word::WhatYouCanDo.text(language), &advice);
    body.push('\n');
    body.push_str(&comment_marker(&status_comment_key(&comment.run)));
    body.push('\n');
    body
}

fn state_word(comment: &StatusComment) -> Word {
    match &comment.phase {
        Phase::Queued => Word::StateQueued,
        Phase::Held { .. } => Word::StateHeld,
        Phase::Starting => Word::StateStarting,
        Phase::Running => Word::StateRunning,
        Phase::Waiting => Word::StateWaiting,
        Phase::Stopping { .. } => Word::StateStopping,
        Phase::Succeeded { .. } => succeeded_word(comment),
        Phase::Failed { .. } => Word::StateFailed,
        Phase::TimedOut => Word::StateTimedOut,
        Phase::Cancelled { cause } => cancelled_word(*cause),
        Phase::Rejected { .. } => Word::StateRejected,
    }
}

fn succeeded_word(comment: &StatusComment) -> Word {
    match comment.leaves {
        Leaves::Reply => Word::StateReplied,
        _ if asks_people(comment) => Word::StateAsks,
        Leaves::Changes if comment.pull_request.is_none() => Word::StateSucceededNoChange,
        Leaves::Changes | Leaves::Words => Word::StateSucceeded,
    }
}

/// Whether a run left nothing to review but questions.
fn asks_people(comment: &StatusComment) -> bool {
    let answer = answer_of(&comment.phase);
    comment.pull_request.is_none() && answer.is_some_and(|answer| !answer.questions.is_empty())
}

fn cancelled_word(cause: StopCause) -> Word {
    match cause {
        StopCause::LabelRemoved => Word::StateCancelledLabel,
        StopCause::Closed => Word::StateCancelledClosed,
        StopCause::Other => Word::StateCancelledOther,
    }
}

fn facts(comment: &StatusComment, language: Language) -> String {
    let code = |text: &str| code_span(text);
    let rows = [
        (Word::Run, Some(code(&comment.run.to_string()))),
        (
            Word::Trigger,
            comment.label.as_ref().map(|label| code(label.as_str())),
        ),
        (
            Word::Agent,
            comment.agent.as_ref().map(|agent| code(agent.as_str())),
        ),
        (Word::Model, comment.model.as_deref().map(code)),
        (Word::Reasoning, comment.reasoning.as_deref().map(code)),
        (Word::RuntimeMode, comment.runtime_mode.as_deref().map(code)),
        (Word::Namespace, comment.namespace.as_deref().map(code)),
        (
            Word::State,
            Some(state_word(comment).text(language).to_owned()),
        ),
        (
            Word::Branch,
            comment.branch.as_ref().map(|branch| code(branch.as_str())),
        ),
        (
            Word::PullRequest,
            comment.pull_request.map(|number| format!("#{number}")),
        ),
    ];
    table(&rows, language)
}

/// A table of facts; rows without a value are left out.
pub(super) fn table(rows: &[(Word, Option<String>)], language: Language) -> String {
    let rows = rows.iter();
    table_of(rows.filter_map(|(word, value)| Some((word.text(language), value.clone()?))))
}

/// A table of names and values.
pub(super) fn table_of(rows: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut text = String::from("| | |\n|---|---|\n");
    for (name, value) in rows {
        writeln!(text, "| {name} | {value} |").expect("a String takes every write");
    }
    text
}

/// A text as code, whatever it holds; fit for a table cell.
pub(super) fn code_span(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| match c {
            '`' => '\'',
            '|' => '/',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect();
    format!("`{plain}`")
}

/// Why a run stands where it does.
fn reason_of(phase: &Phase) -> Option<&str> {
    match phase {
        Phase::Held { reason } | Phase::Failed { reason, .. } | Phase::Rejected { reason } => {
            Some(reason.as_str()).filter(|text| !text.trim().is_empty())
        }
        Phase::Stopping { .. }
        | Phase::Queued
        | Phase::Starting
        | Phase::Running
        | Phase::Waiting
        | Phase::TimedOut
        | Phase::Cancelled { .. }
        | Phase::Succeeded { .. } => None,
    }
}

/// The agent's words on a run that is over.
fn answer_of(phase: &Phase) -> Option<&Answer> {
    match phase {
        Phase::Succeeded { answer } | Phase::Failed { answer, .. } => answer.as_ref(),
        _ => None,
    }
}

pub(super) fn push_section(body: &mut String, title: &str, text: &str) {
    write!(body, "\n**{title}:** {text}\n").expect("a String takes every write");
}

/// What the agent says: all of it where no pull request shows it, else a short summary and what
/// people are to answer.
fn push_answer(body: &mut String, comment: &StatusComment, answer: &Answer, language: Language) {
    let succeeded = matches!(comment.phase, Phase::Succeeded { .. });
    let mut sections = Vec::new();
    if succeeded && comment.pull_request.is_some() {
        let summary = neutral::one_line(&answer.summary, MAX_REASON_CHARS);
        if !summary.trim().is_empty() {
            push_section(body, Word::Summary.text(language), &summary);
        }
    } else {
        let summary = neutral::paragraphs(&answer.summary, MAX_SUMMARY_CHARS);
        sections.push((Word::Summary.text(language), summary));
        let told = answer.told(&comment.asked).into_iter();
        sections.extend(told.map(|(title, said)| (title, asked::part(said))));
    }
    let questions = list(&answer.questions);
    sections.push((Word::Questions.text(language), questions));
    for (title, text) in sections.iter().filter(|(_, text)| !text.is_empty()) {
        write!(body, "\n**{title}:**\n\n{text}\n").expect("a String takes every write");
    }
}

fn push_timeline(body: &mut String, timeline: &[TimelineEntry], language: Language) {
    if timeline.is_empty() {
        return;
    }
    write!(body, "\n**{}:**\n\n", Word::Timeline.text(language))
        .expect("a String takes every write");
    for entry in timeline {
        let step = match entry.step {
            TimelineStep::Queued => Word::StepQueued.text(language).to_owned(),
            TimelineStep::Started => Word::StepStarted.text(language).to_owned(),
            TimelineStep::Attempt(number) => Word::StepAttempt.with(language, &number.to_string()),
            TimelineStep::Finished => Word::StepFinished.text(language).to_owned(),
            TimelineStep::Cleaned => Word::StepCleaned.text(language).to_owned(),
        };
        let at = entry.at.map(|at| at.format("%Y-%m-%d %H:%M:%S UTC – "));
        let at = at.map(|at| at.to_string()).unwrap_or_default();
        writeln!(body, "- {at}{step}").expect("a String takes every write");
    }
}

fn advice(comment: &StatusComment, language: Language) -> String {
    let or_dash = |label: Option<&LabelName>| {
        label.map_or_else(|| "–".to_owned(), |label| code_span(label.as_str()))
    };
    let by_label = comment.label.is_some();
    let label = or_dash(comment.label.as_ref().or(comment.start_label.as_ref()));
    let word = match &comment.phase {
        Phase::Queued | Phase::Held { .. } if by_label => Word::DoQueued,
        Phase::Starting | Phase::Running | Phase::Waiting if by_label => Word::DoRunning,
        Phase::Queued | Phase::Held { .. } | Phase::Starting | Phase::Running | Phase::Waiting => {
            return Word::DoClose.text(language).to_owned();
        }
        Phase::Stopping { .. } => Word::DoStopping,
        Phase::Succeeded { .. } if comment.pull_request.is_some() => {
            let revise = comment.revise_label.as_ref().or(comment.label.as_ref());
            return Word::DoReview.with(language, &or_dash(revise));
        }
        Phase::Succeeded { .. } if comment.leaves == Leaves::Reply => Word::DoReply,
        Phase::Succeeded { .. } if asks_people(comment) => Word::DoAnswer,
        Phase::Succeeded { .. } => Word::DoNoChange,
        Phase::Cancelled {
            cause: StopCause::Closed,
        } => Word::DoReopen,
        Phase::Failed { .. }
        | Phase::TimedOut
        | Phase::Cancelled { .. }
        | Phase::Rejected { .. } => Word::DoAgain,
    };
    word.with(language, &label)
}
