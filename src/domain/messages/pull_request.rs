//! Title and body of the pull request that the platform opens for a run.
//!
//! The link that closes the issue is written here and only here: the agent's
//! words cannot close anything.

use std::fmt::Write as _;

use super::{
    Language, asked,
    catalogue::Word,
    neutral,
    status::{code_span, table},
    words::Catalogue as _,
};
use crate::domain::{
    answer::{Answer, AskedPart},
    ids::{AgentKey, CommitSha, IssueNumber, LabelName, Locale, RunId},
    marker::pull_request_marker,
};

/// The longest title that is written.
const MAX_TITLE_CHARS: usize = 120;

/// The longest summary that is taken over; the rest is cut. A forge refuses bodies of
/// more than 65,536 characters.
pub(super) const MAX_SUMMARY_CHARS: usize = 20_000;

/// The longest sentence in a list.
const MAX_LINE_CHARS: usize = 600;

/// What the body of a run's pull request says.
#[derive(Debug, Clone, PartialEq)]
pub struct PullRequestBody {
    /// The run.
    pub run: RunId,
    /// The issue that the work is for.
    pub issue: IssueNumber,
    /// Whether merging closes it.
    pub closes_issue: bool,
    /// The label that asked for it, where one did.
    pub label: Option<LabelName>,
    /// The agent.
    pub agent: AgentKey,
    /// The model, where one is set.
    pub model: Option<String>,
    /// The commit of the config repo that the run was frozen with.
    pub config_sha: CommitSha,
    /// The agent's words.
    pub answer: Answer,
    /// What its stage asked for besides the usual.
    pub asked: Vec<AskedPart>,
}

/// The body of a run's pull request.
pub fn pull_request_body(body: &PullRequestBody, locale: &Locale) -> String {
    let language = Language::of(locale);
    let link = if body.closes_issue {
        format!("Closes #{}", body.issue)
    } else {
        Word::PartOf.with(language, &body.issue.to_string())
    };
    let facts = table(
        &[
            (Word::Run, Some(code_span(&body.run.to_string()))),
            (
                Word::Trigger,
                body.label.as_ref().map(|label| code_span(label.as_str())),
            ),
            (Word::Agent, Some(code_span(body.agent.as_str()))),
            (Word::Model, body.model.as_deref().map(code_span)),
            (Word::Config, Some(code_span(body.config_sha.as_str()))),
        ],
        language,
    );
    format!(
        "{intro}\n\n{link}\n\n{words}### {facts_title}\n\n{facts}\n{notice}\n\n{mark}\n",
        intro = Word::PullRequestIntro.text(language),
        words = words(body, language),
        facts_title = Word::PullRequestFacts.text(language),
        notice = Word::PullRequestNotice.text(language),
        mark = pull_request_marker(&body.run),
    )
}

/// The agent's words without their power, a section each.
fn words(body: &PullRequestBody, language: Language) -> String {
    let answer = &body.answer;
    let neutral = |text: &str| neutral::paragraphs(text, MAX_SUMMARY_CHARS);
    let summary = match neutral(&answer.summary) {
        text if text.is_empty() => Word::NoSummary.text(language).to_owned(),
        text => text,
    };
    let tests = answer.tests.as_deref().map(neutral).unwrap_or_default();
    let mut sections = vec![
        (Word::Summary.text(language), summary),
        (Word::Tests.text(language), tests),
    ];
    let told = answer.told(&body.asked).into_iter();
    sections.extend(told.map(|(title, said)| (title, asked::part(said))));
    let questions = list(&answer.questions);
    sections.push((Word::Questions.text(language), questions));
    let mut words = String::new();
    for (title, text) in sections.iter().filter(|(_, text)| !text.is_empty()) {
        write!(words, "### {title}\n\n{text}\n\n").expect("a String takes every write");
    }
    words
}

/// Foreign sentences as a list, a line each.
pub(super) fn list(sentences: &[String]) -> String {
    let lines: Vec<_> = sentences
        .iter()
        .map(|sentence| format!("- {}", neutral::one_line(sentence, MAX_LINE_CHARS)))
        .collect();
    lines.join("\n")
}

/// The title of a run's pull request: the agent's, else the issue's, else one of our own.
pub fn pull_request_title(
    agent_title: Option<&str>,
    issue_title: &str,
    issue: IssueNumber,
    locale: &Locale,
) -> String {
    let foreign = [agent_title.unwrap_or_default(), issue_title]
        .into_iter()
        .map(|title| neutral::one_line(title, MAX_TITLE_CHARS))
        .find(|title| !title.trim().is_empty());
    foreign.unwrap_or_else(|| Word::PullRequestTitle.with(Language::of(locale), &issue.to_string()))
}
