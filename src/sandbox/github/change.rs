//! What changes issues, labels and comments, whoever asks: REST handlers and people's actions.
//!
//! Every function applies one change at the model's time, with the events GitHub would record.
//! Rights are checked by the callers.

use chrono::{DateTime, Utc};

use super::lag::Stream;
use super::lag::Versioned;
use super::world::{
    Actor, Comment, Edit, Event, EventKind, Issue, Label, Pull, Repo, StateReason, World,
};

/// Why a change was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The thing named does not exist (any more).
    #[error("{0} not found")]
    NotFound(String),
    /// The change breaks one of GitHub's rules.
    #[error("{0}")]
    Refused(String),
    /// The repository's folder could not be read or written.
    #[error("git: {0}")]
    Git(String),
}

impl From<git2::Error> for ModelError {
    fn from(error: git2::Error) -> Self {
        Self::Git(error.message().to_owned())
    }
}

impl From<std::io::Error> for ModelError {
    fn from(error: std::io::Error) -> Self {
        Self::Git(error.to_string())
    }
}

pub(super) type Changed<T = ()> = Result<T, ModelError>;

/// What a new issue says.
#[derive(Debug, Clone, Default)]
pub(super) struct NewIssue {
    pub title: String,
    pub body: Option<String>,
    pub labels: Vec<String>,
    pub pull: Option<Pull>,
}

/// The colour GitHub gives a label that came into being by being used.
const DEFAULT_COLOR: &str = "ededed";

impl World {
    pub(super) fn repo(&self, repo: u64) -> Changed<&Repo> {
        self.repos
            .get(&repo)
            .ok_or_else(|| ModelError::NotFound(format!("repository {repo}")))
    }

    pub(super) fn repo_mut(&mut self, repo: u64) -> Changed<&mut Repo> {
        self.repos
            .get_mut(&repo)
            .ok_or_else(|| ModelError::NotFound(format!("repository {repo}")))
    }

    /// The newest version of an issue or pull request.
    pub(super) fn issue(&self, repo: u64, number: u64) -> Changed<&Issue> {
        let known = self.repo(repo)?.issues.get(&number);
        known
            .map(Versioned::current)
            .ok_or_else(|| ModelError::NotFound(format!("issue {number}")))
    }

    pub(super) fn comment(&self, repo: u64, id: u64) -> Changed<&Comment> {
        let known = self.repo(repo)?.comments.get(&id).map(Versioned::current);
        known
            .filter(|comment| !comment.deleted)
            .ok_or_else(|| ModelError::NotFound(format!("comment {id}")))
    }

    /// Begins a new version of an issue, stamped as updated now.
    pub(super) fn edit_issue(&mut self, repo: u64, number: u64) -> Changed<&mut Issue> {
        let now = self.now();
        self.issue(repo, number)?;
        let seen_at = self.issue_seen_at(repo);
        let repo = self.repo_mut(repo)?;
        repo.updated_at = now;
        let versions = repo
            .issues
            .get_mut(&number)
            .ok_or_else(|| ModelError::NotFound(format!("issue {number}")))?;
        let issue = versions.edit(now, seen_at);
        issue.updated_at = now;
        Ok(issue)
    }

    pub(super) fn record_event(
        &mut self,
        repo: u64,
        number: u64,
        kind: EventKind,
        actor: Actor,
    ) -> Changed {
        let event = Event {
            id: self.take_id(),
            number,
            kind,
            actor,
            created_at: self.now(),
            seen_at: self.seen_at(repo, Stream::Events),
        };
        self.repo_mut(repo)?.events.push(event);
        Ok(())
    }

    pub(super) fn open_issue(&mut self, repo: u64, new: NewIssue, actor: Actor) -> Changed<u64> {
        let now = self.now();
        let id = self.take_id();
        let seen_at = self.issue_seen_at(repo);
        let known = self.repo_mut(repo)?;
        let number = known.next_number;
        known.next_number += 1;
        known.updated_at = now;
        let issue = Issue {
            id,
            number,
            title: new.title,
            body: new.body,
            closed: false,
            state_reason: None,
            author: actor.user,
            via_app: actor.app,
            labels: Vec::new(),
            created_at: now,
            updated_at: now,
            closed_at: None,
            closed_by: None,
            edits: Vec::new(),
            pull: new.pull,
        };
        known.issues.insert(number, Versioned::new(issue, seen_at));
        self.add_labels(repo, number, &new.labels, actor)?;
        Ok(number)
    }

    /// The label of this name, made on the spot where there is none.
    pub(super) fn ensure_label(&mut self, repo: u64, name: &str) -> Changed<Label> {
        if let Some(label) = self.repo(repo)?.label_named(name) {
            return Ok(label.clone());
        }
        self.create_label(repo, name, DEFAULT_COLOR, None)
    }

    pub(super) fn create_label(
        &mut self,
        repo: u64,
        name: &str,
        color: &str,
        description: Option<String>,
    ) -> Changed<Label> {
        let label = Label {
            id: self.take_id(),
            name: name.to_owned(),
            color: color.to_owned(),
            description,
        };
        self.repo_mut(repo)?.labels.insert(label.id, label.clone());
        Ok(label)
    }

    pub(super) fn add_labels(
        &mut self,
        repo: u64,
        number: u64,
        names: &[String],
        actor: Actor,
    ) -> Changed {
        for name in names {
            let label = self.ensure_label(repo, name)?;
            if self.issue(repo, number)?.labels.contains(&label.id) {
                continue;
            }
            self.edit_issue(repo, number)?.labels.push(label.id);
            let kind = EventKind::Labeled {
                name: label.name,
                color: label.color,
            };
            self.record_event(repo, number, kind, actor)?;
        }
        Ok(())
    }

    pub(super) fn remove_label(
        &mut self,
        repo: u64,
        number: u64,
        name: &str,
        actor: Actor,
    ) -> Changed {
        let label = self.repo(repo)?.label_named(name).cloned();
        let on_issue = label.filter(|label| {
            self.issue(repo, number)
                .is_ok_and(|issue| issue.labels.contains(&label.id))
        });
        let Some(label) = on_issue else {
            return Err(ModelError::NotFound(format!("label {name} on {number}")));
        };
        self.edit_issue(repo, number)?
            .labels
            .retain(|id| *id != label.id);
        let kind = EventKind::Unlabeled {
            name: label.name,
            color: label.color,
        };
        self.record_event(repo, number, kind, actor)
    }

    /// Makes these the issue's labels, removing and adding what differs.
    pub(super) fn set_labels(
        &mut self,
        repo: u64,
        number: u64,
        names: &[String],
        actor: Actor,
    ) -> Changed {
        let present = self.label_names(repo, number)?;
        let gone = |name: &&String| !names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        for name in present.iter().filter(gone) {
            self.remove_label(repo, number, name, actor)?;
        }
        self.add_labels(repo, number, names, actor)
    }

    pub(super) fn label_names(&self, repo: u64, number: u64) -> Changed<Vec<String>> {
        let known = self.repo(repo)?;
        let issue = self.issue(repo, number)?;
        let labels = issue.labels.iter().filter_map(|id| known.labels.get(id));
        Ok(labels.map(|label| label.name.clone()).collect())
    }

    /// Deletes a label; it leaves every issue with an `unlabeled` event by whoever deleted it.
    pub(super) fn delete_label(&mut self, repo: u64, name: &str, actor: Actor) -> Changed {
        let label = self.repo(repo)?.label_named(name).cloned();
        let label = label.ok_or_else(|| ModelError::NotFound(format!("label {name}")))?;
        let wearing: Vec<u64> = self
            .repo(repo)?
            .issues
            .iter()
            .filter(|(_, issue)| issue.current().labels.contains(&label.id))
            .map(|(number, _)| *number)
            .collect();
        for number in wearing {
            self.remove_label(repo, number, &label.name, actor)?;
        }
        self.repo_mut(repo)?.labels.remove(&label.id);
        Ok(())
    }

    pub(super) fn close_issue(
        &mut self,
        repo: u64,
        number: u64,
        reason: StateReason,
        actor: Actor,
    ) -> Changed {
        if self.issue(repo, number)?.closed {
            return Ok(());
        }
        let now = self.now();
        let issue = self.edit_issue(repo, number)?;
        issue.closed = true;
        issue.state_reason = Some(reason);
        issue.closed_at = Some(now);
        issue.closed_by = Some(actor.user);
        self.record_event(repo, number, EventKind::Closed, actor)
    }

    pub(super) fn reopen_issue(&mut self, repo: u64, number: u64, actor: Actor) -> Changed {
        if !self.issue(repo, number)?.closed {
            return Ok(());
        }
        let issue = self.edit_issue(repo, number)?;
        issue.closed = false;
        issue.state_reason = Some(StateReason::Reopened);
        issue.closed_at = None;
        issue.closed_by = None;
        self.record_event(repo, number, EventKind::Reopened, actor)
    }

    pub(super) fn rename_issue(
        &mut self,
        repo: u64,
        number: u64,
        title: &str,
        actor: Actor,
    ) -> Changed {
        let from = self.issue(repo, number)?.title.clone();
        if from == title {
            return Ok(());
        }
        title.clone_into(&mut self.edit_issue(repo, number)?.title);
        let kind = EventKind::Renamed {
            from,
            to: title.to_owned(),
        };
        self.record_event(repo, number, kind, actor)
    }

    pub(super) fn edit_body(
        &mut self,
        repo: u64,
        number: u64,
        body: &str,
        actor: Actor,
    ) -> Changed {
        if self.issue(repo, number)?.body.as_deref() == Some(body) {
            return Ok(());
        }
        let (now, created_at) = (self.now(), self.issue(repo, number)?.created_at);
        let (first, next) = (self.take_id(), self.take_id());
        let issue = self.edit_issue(repo, number)?;
        let (before, author) = (issue.body.replace(body.to_owned()), issue.author);
        let change = Change {
            before,
            author,
            created_at,
            now,
            editor: actor.user,
            ids: (first, next),
        };
        change.note(&mut issue.edits, body);
        Ok(())
    }

    pub(super) fn add_comment(
        &mut self,
        repo: u64,
        number: u64,
        body: &str,
        actor: Actor,
    ) -> Changed<u64> {
        self.edit_issue(repo, number)?;
        let now = self.now();
        let comment = Comment {
            id: self.take_id(),
            number,
            author: actor.user,
            via_app: actor.app,
            body: body.to_owned(),
            created_at: now,
            updated_at: now,
            edits: Vec::new(),
            deleted: false,
        };
        let (id, seen_at) = (comment.id, self.comment_seen_at(repo));
        self.repo_mut(repo)?
            .comments
            .insert(id, Versioned::new(comment, seen_at));
        Ok(id)
    }

    fn comment_version(&mut self, repo: u64, id: u64) -> Changed<&mut Comment> {
        self.comment(repo, id)?;
        let (now, seen_at) = (self.now(), self.comment_seen_at(repo));
        let versions = self.repo_mut(repo)?.comments.get_mut(&id);
        let versions = versions.ok_or_else(|| ModelError::NotFound(format!("comment {id}")))?;
        Ok(versions.edit(now, seen_at))
    }

    pub(super) fn edit_comment(&mut self, repo: u64, id: u64, body: &str, actor: Actor) -> Changed {
        let known = self.comment(repo, id)?;
        if known.body == body {
            return Ok(());
        }
        let (number, created_at, now) = (known.number, known.created_at, self.now());
        let ids = (self.take_id(), self.take_id());
        self.edit_issue(repo, number)?;
        let comment = self.comment_version(repo, id)?;
        let before = std::mem::replace(&mut comment.body, body.to_owned());
        comment.updated_at = now;
        let (before, author) = (Some(before), comment.author);
        let change = Change {
            before,
            author,
            created_at,
            now,
            editor: actor.user,
            ids,
        };
        change.note(&mut comment.edits, body);
        Ok(())
    }

    pub(super) fn delete_comment(&mut self, repo: u64, id: u64) -> Changed {
        let number = self.comment(repo, id)?.number;
        self.edit_issue(repo, number)?;
        self.comment_version(repo, id)?.deleted = true;
        Ok(())
    }
}

/// One edit of a text; the first one also records what stood there before, as GitHub does.
struct Change {
    before: Option<String>,
    author: u64,
    created_at: DateTime<Utc>,
    now: DateTime<Utc>,
    editor: u64,
    ids: (u64, u64),
}

impl Change {
    fn note(self, edits: &mut Vec<Edit>, text: &str) {
        if edits.is_empty() {
            edits.push(Edit {
                id: self.ids.0,
                at: self.created_at,
                editor: self.author,
                text: self.before.unwrap_or_default(),
            });
        }
        edits.push(Edit {
            id: self.ids.1,
            at: self.now,
            editor: self.editor,
            text: text.to_owned(),
        });
    }
}
