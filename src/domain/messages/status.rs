//! The status comment: one a run, edited in place as the run goes on.

use std::fmt::Write as _;

use super::{
    Language, asked, catalogue::Word, neutral, pull_request::list, reasons::reason_in,
    words::Catalogue as _,
};
use crate::domain::{
    Timestamp,
    answer::{Answer, AskedPart},
    ids::{AgentKey, BranchName, IssueNumber, LabelName, Locale, RunId},
    marker::comment_marker,
};

/// The longest reason or summary shown.
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
    /// The branch, from launch on.
    pub branch: Option<BranchName>,
    /// The pull request, once known.
    pub pull_request: Option<IssueNumber>,
    /// Where the run stands.
    pub phase: Phase,
    /// What its stage asked for besides the usual.
    pub asked: Vec<AskedPart>,
    /// What has happened, oldest first.
    pub timeline: Vec<TimelineEntry>,
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
    /// It ended well; without a pull request nothing had to be changed.
    Succeeded {
        /// The agent's words.
        answer: Option<Answer>,
    },
    /// It ended badly.
    Failed {
        /// Why; may hold the agent's words.
        reason: String,
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
    /// When.
    pub at: Timestamp,
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
    if let Some((word, text)) = words_of(&comment.phase) {
        let text = neutral::one_line(&reason_in(text, language), MAX_REASON_CHARS);
        push_section(&mut body, word.text(language), &text);
    }
    if let Phase::Succeeded {
        answer: Some(answer),
    } = &comment.phase
    {
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
        Phase::Succeeded { .. } if comment.pull_request.is_none() => Word::StateSucceededNoChange,
        Phase::Succeeded { .. } => Word::StateSucceeded,
        Phase::Failed { .. } => Word::StateFailed,
        Phase::TimedOut => Word::StateTimedOut,
        Phase::Cancelled { cause } => cancelled_word(*cause),
        Phase::Rejected { .. } => Word::StateRejected,
    }
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

/// The foreign or explaining words of a phase.
fn words_of(phase: &Phase) -> Option<(Word, &str)> {
    match phase {
        Phase::Held { reason } | Phase::Failed { reason } | Phase::Rejected { reason } => {
            Some((Word::Reason, reason.as_str()))
        }
        Phase::Stopping { .. }
        | Phase::Queued
        | Phase::Starting
        | Phase::Running
        | Phase::Waiting
        | Phase::TimedOut
        | Phase::Cancelled { .. } => None,
        Phase::Succeeded { answer } => {
            let answer = answer.as_ref();
            answer.map(|answer| (Word::Summary, answer.summary.as_str()))
        }
    }
    .filter(|(_, text)| !text.trim().is_empty())
}

pub(super) fn push_section(body: &mut String, title: &str, text: &str) {
    write!(body, "\n**{title}:** {text}\n").expect("a String takes every write");
}

/// What was asked for besides, where no pull request shows it, and what people are to answer.
fn push_answer(body: &mut String, comment: &StatusComment, answer: &Answer, language: Language) {
    let mut sections = Vec::new();
    if comment.pull_request.is_none() {
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
        writeln!(
            body,
            "- {} – {step}",
            entry.at.format("%Y-%m-%d %H:%M:%S UTC")
        )
        .expect("a String takes every write");
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
