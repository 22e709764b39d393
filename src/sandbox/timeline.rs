//! A run's timeline as people follow it: from the label to a pull request and an
//! empty cluster.
//!
//! It is fed with what was recorded and what the GitHub model shows, in any
//! order and as often as one likes; each step is told once. It asks nobody and
//! waits for nothing: that is its caller's work.

use std::collections::BTreeSet;

use serde_json::Value;
use strum::IntoEnumIterator;

use crate::domain::{
    Timestamp,
    event::{EventKind, FlowEvent},
    ids::RunId,
};

/// A step of the main path, in its order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::EnumIter, strum::IntoStaticStr,
)]
pub enum Step {
    /// The platform read the label.
    #[strum(serialize = "label seen")]
    Seen,
    /// It entered a run.
    #[strum(serialize = "run")]
    Run,
    /// The run has a slot.
    #[strum(serialize = "launched")]
    Launched,
    /// The namespace and its objects are there.
    #[strum(serialize = "namespace")]
    Namespace,
    /// The Job is there.
    #[strum(serialize = "job")]
    Job,
    /// Its pod is at work.
    #[strum(serialize = "agent")]
    Agent,
    /// The branch is pushed.
    #[strum(serialize = "branch")]
    Branch,
    /// The pull request is open.
    #[strum(serialize = "pull request")]
    PullRequest,
    /// The run ended well.
    #[strum(serialize = "succeeded")]
    Succeeded,
    /// `state:in-review` is set.
    #[strum(serialize = "in review")]
    InReview,
    /// The trigger label is off.
    #[strum(serialize = "trigger off")]
    TriggerOff,
    /// The namespace is gone.
    #[strum(serialize = "namespace gone")]
    NamespaceGone,
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// What, in a word or two.
    pub what: String,
    /// More of it.
    pub detail: String,
}

/// A timeline of one issue.
#[derive(Debug, Clone)]
pub struct Timeline {
    issue: u64,
    repository: i64,
    trigger: String,
    run: Option<RunId>,
    seen: BTreeSet<Step>,
    pull_request: Option<String>,
    failure: Option<String>,
}

impl Timeline {
    /// Of what a label starts on an issue.
    pub fn new(repository: i64, issue: u64, trigger: &str) -> Self {
        Self {
            issue,
            repository,
            trigger: trigger.to_owned(),
            run: None,
            seen: BTreeSet::new(),
            pull_request: None,
            failure: None,
        }
    }

    /// Steps that are still to come.
    pub fn missing(&self) -> Vec<Step> {
        Step::iter()
            .filter(|step| !self.seen.contains(step))
            .collect()
    }

    /// Whether every step was seen.
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// Why the run will never get there, if so.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The pull request's page.
    pub fn pull_request(&self) -> Option<&str> {
        self.pull_request.as_deref()
    }

    /// The run.
    pub fn run(&self) -> Option<RunId> {
        self.run
    }

    /// Takes in a recorded event; the line it makes, if it makes one.
    pub fn record(&mut self, event: &FlowEvent) -> Option<Line> {
        let new = &event.event;
        let subject = new.subject?;
        let issue = i64::try_from(self.issue).ok()?;
        let ours = subject.repository.0 == self.repository
            && (subject.number.0 == issue || (new.run.is_some() && new.run == self.run));
        if !ours {
            return None;
        }
        let line = |what: &str, detail: String| Line {
            at: event.created_at,
            what: what.to_owned(),
            detail,
        };
        if let Some((step, detail)) = self.step_of(event) {
            let first = self.seen.insert(step);
            return first.then(|| line(step.into(), detail));
        }
        match new.kind {
            EventKind::RunFailed
            | EventKind::RunTimedOut
            | EventKind::RunCancelled
            | EventKind::RunRejected
            | EventKind::TriggerRefused
            | EventKind::TriggerWithdrawn => {
                let reason = format!("{}: {}", new.kind, text(&new.payload, "reason"));
                self.failure = Some(reason.clone());
                Some(line("ended", reason))
            }
            EventKind::PushRefused => Some(line("push refused", text(&new.payload, "reason"))),
            EventKind::AttemptEnded => Some(line("agent ended", text(&new.payload, "reason"))),
            EventKind::CommentUpserted => Some(line("comment", "status written".to_owned())),
            _ => None,
        }
    }

    fn step_of(&mut self, event: &FlowEvent) -> Option<(Step, String)> {
        let new = &event.event;
        let payload = |name: &str| text(&new.payload, name);
        let found = match new.kind {
            EventKind::TriggerSeen => (Step::Seen, payload("label")),
            EventKind::RunEnqueued => {
                self.run = new.run;
                (
                    Step::Run,
                    new.run.map(|run| run.to_string()).unwrap_or_default(),
                )
            }
            EventKind::RunLaunched => {
                let detail = format!("slot {}, agent {}", payload("slot"), payload("agent"));
                (Step::Launched, detail)
            }
            EventKind::NamespacePrepared => (Step::Namespace, payload("namespace")),
            EventKind::ObjectApplied => (Step::Job, format!("attempt {}", payload("attempt"))),
            EventKind::RunStarted => (Step::Agent, "pod at work".to_owned()),
            EventKind::PushAccepted => (
                Step::Branch,
                format!("{} at {}", payload("branch"), short(&payload("new"))),
            ),
            EventKind::RunSucceeded => (Step::Succeeded, payload("reason")),
            EventKind::NamespaceCleaned => (Step::NamespaceGone, payload("namespace")),
            _ => return None,
        };
        Some(found)
    }

    /// Takes in the GitHub model's state; the lines it makes.
    pub fn observe(&mut self, state: &Value, now: Timestamp) -> Vec<Line> {
        let repositories = state["repositories"].as_array().into_iter().flatten();
        let ours = repositories.filter(|repository| repository["id"] == self.repository);
        let issues: Vec<&Value> = ours
            .filter_map(|repository| repository["issues"].as_array())
            .flatten()
            .collect();
        let mut lines = Vec::new();
        if let Some(issue) = issues.iter().find(|issue| issue["number"] == self.issue) {
            self.observe_labels(issue, now, &mut lines);
        }
        let branch = format!("codex/issue-{}", self.issue);
        let pull = issues.iter().find(|issue| {
            let head = issue["pull"]["head"].as_str().unwrap_or_default();
            head == branch || head.starts_with(&format!("{branch}-"))
        });
        if let Some(pull) = pull {
            let url = text(pull, "url");
            self.pull_request = Some(url.clone());
            if self.seen.insert(Step::PullRequest) {
                let commit = short(&text(&pull["pull"], "head_sha"));
                lines.push(made(now, Step::PullRequest, format!("{url} at {commit}")));
            }
        }
        lines
    }

    fn observe_labels(&mut self, issue: &Value, now: Timestamp, lines: &mut Vec<Line>) {
        let labels = issue["labels"].as_array().into_iter().flatten();
        let labels: Vec<&str> = labels.filter_map(Value::as_str).collect();
        let in_review = labels.contains(&"state:in-review");
        if in_review && self.seen.insert(Step::InReview) {
            lines.push(made(now, Step::InReview, "state:in-review set".to_owned()));
        }
        // Only what was seen can have been taken off.
        let off = self.seen.contains(&Step::Seen) && !labels.contains(&self.trigger.as_str());
        if off && self.seen.insert(Step::TriggerOff) {
            let detail = format!("{} removed", self.trigger);
            lines.push(made(now, Step::TriggerOff, detail));
        }
    }
}

fn made(at: Timestamp, step: Step, detail: String) -> Line {
    let what: &str = step.into();
    Line {
        at,
        what: what.to_owned(),
        detail,
    }
}

/// A field as people read it; empty where it is not there.
fn text(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The beginning of a commit id.
fn short(sha: &str) -> String {
    sha.chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{
        event::{EventActor, NewEvent},
        ids::{IssueNumber, RepositoryId, Subject},
    };

    fn event(kind: EventKind, payload: Value) -> FlowEvent {
        FlowEvent {
            id: 1,
            event: NewEvent {
                kind,
                correlation: "c".to_owned(),
                actor: EventActor::System,
                project: None,
                run: None,
                subject: Some(Subject {
                    repository: RepositoryId(9),
                    number: IssueNumber(1),
                }),
                payload,
            },
            created_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    fn state(labels: &[&str]) -> Value {
        json!({ "repositories": [{ "id": 9, "issues": [
            { "number": 1, "labels": labels, "pull": null },
            { "number": 2, "url": "http://h/2", "labels": [],
              "pull": { "head": "codex/issue-1", "head_sha": "0123456789abcdef" } },
        ] }] })
    }

    #[test]
    fn each_step_is_told_once_and_the_path_ends_when_all_are_seen() {
        let mut timeline = Timeline::new(9, 1, "run:dev");
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        // Before it was seen, a label that is not there says nothing.
        assert_eq!(timeline.observe(&state(&[]), now).len(), 1);
        assert_eq!(timeline.pull_request(), Some("http://h/2"));
        for kind in [
            EventKind::TriggerSeen,
            EventKind::RunEnqueued,
            EventKind::RunLaunched,
            EventKind::NamespacePrepared,
            EventKind::ObjectApplied,
            EventKind::RunStarted,
            EventKind::PushAccepted,
            EventKind::RunSucceeded,
        ] {
            let event = event(kind, json!({}));
            assert!(timeline.record(&event).is_some(), "{kind}");
            assert_eq!(timeline.record(&event), None, "{kind}");
        }
        assert_eq!(timeline.observe(&state(&["run:dev"]), now), []);
        assert_eq!(timeline.observe(&state(&["state:in-review"]), now).len(), 2);
        assert_eq!(timeline.missing(), [Step::NamespaceGone]);
        timeline.record(&event(
            EventKind::NamespaceCleaned,
            json!({ "namespace": "n" }),
        ));
        assert!(timeline.is_complete());
        assert_eq!(timeline.failure(), None);
    }

    #[test]
    fn a_refusal_ends_the_path_with_its_reason() {
        let mut timeline = Timeline::new(9, 1, "run:dev");
        let refused = event(EventKind::TriggerRefused, json!({ "reason": "no rights" }));
        let line = timeline.record(&refused).unwrap();
        assert_eq!(line.detail, "trigger.refused: no rights");
        assert_eq!(timeline.failure(), Some("trigger.refused: no rights"));
    }
}
