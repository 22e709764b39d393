//! Title and body of the pull request that the platform opens for a run.
//!
//! The link that closes the issue is written here and only here: the agent's
//! words cannot close anything.

use super::{
    Language,
    catalogue::Word,
    neutral,
    status::{code_span, table},
};
use crate::domain::{
    ids::{AgentKey, CommitSha, IssueNumber, LabelName, Locale, RunId},
    marker::pull_request_marker,
};

/// The longest title that is written.
const MAX_TITLE_CHARS: usize = 120;

/// The longest summary that is taken over; the rest is cut. A forge refuses bodies of
/// more than 65,536 characters.
const MAX_SUMMARY_CHARS: usize = 20_000;

/// What the body of a run's pull request says.
#[derive(Debug, Clone, PartialEq)]
pub struct PullRequestBody {
    /// The run.
    pub run: RunId,
    /// The issue that the work is for; merging closes it.
    pub issue: IssueNumber,
    /// The label that asked for it, where one did.
    pub label: Option<LabelName>,
    /// The agent.
    pub agent: AgentKey,
    /// The model, where one is set.
    pub model: Option<String>,
    /// The commit of the config repo that the run was frozen with.
    pub config_sha: CommitSha,
    /// The agent's words.
    pub summary: String,
}

/// The body of a run's pull request.
pub fn pull_request_body(body: &PullRequestBody, locale: &Locale) -> String {
    let language = Language::of(locale);
    let summary: String = body.summary.chars().take(MAX_SUMMARY_CHARS).collect();
    let neutral = neutral::neutralise(&summary);
    let summary = match neutral.trim() {
        "" => Word::NoSummary.text(language),
        text => text,
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
        "{intro}\n\nCloses #{issue}\n\n### {title}\n\n{summary}\n\n### {facts_title}\n\n{facts}\n{notice}\n\n{mark}\n",
        intro = Word::PullRequestIntro.text(language),
        issue = body.issue,
        title = Word::Summary.text(language),
        facts_title = Word::PullRequestFacts.text(language),
        notice = Word::PullRequestNotice.text(language),
        mark = pull_request_marker(&body.run),
    )
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
