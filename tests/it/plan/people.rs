//! What people do at the forge.

use codex_k8s::domain::{
    forge::{
        Comment, ContentEdit, EditHistory, IssueEvent, IssueEventKind, Review, ReviewState,
        SubjectState,
    },
    ids::{CommentId, EventId, LabelName, RepositoryId, ReviewId, Subject},
};

use super::world::{World, actor};

impl World {
    /// An event in the forge's order.
    pub(super) fn event(
        &mut self,
        subject: Subject,
        what: IssueEventKind,
        by: &str,
        via_app: Option<&str>,
    ) {
        let id = EventId(self.next_id());
        self.rows.events.push(IssueEvent {
            id,
            repository: subject.repository,
            number: subject.number,
            what,
            actor: Some(actor(by)),
            via_app: via_app.map(str::to_owned),
            created_at: self.now,
        });
    }

    /// Somebody puts a label on an issue, which is opened where it is new.
    pub(super) fn label(&mut self, subject: Subject, label: &str, by: &str) {
        self.open_issue(subject);
        self.put_label(subject, &LabelName::new(label), by, None);
    }

    /// Somebody takes a label off.
    pub(super) fn unlabel(&mut self, subject: Subject, label: &str, by: &str) {
        self.take_label(subject, &LabelName::new(label), by);
    }

    /// Somebody closes an issue or pull request.
    pub(super) fn close(&mut self, subject: Subject, by: &str) {
        self.set_state(subject, SubjectState::Open, SubjectState::Closed, by);
    }

    /// Somebody opens it again.
    pub(super) fn reopen(&mut self, subject: Subject, by: &str) {
        self.set_state(subject, SubjectState::Closed, SubjectState::Open, by);
    }

    /// Somebody merges a pull request and leaves its branch.
    pub(super) fn merge(&mut self, subject: Subject, by: &str) {
        let mut pulls = self.rows.pulls.iter_mut();
        let pull =
            pulls.find(|row| row.repository == subject.repository && row.number == subject.number);
        pull.expect("a pull request").merged = true;
        self.close(subject, by);
    }

    fn set_state(&mut self, subject: Subject, from: SubjectState, to: SubjectState, by: &str) {
        let Some(issue) = self.issue_mut(subject).filter(|issue| issue.state == from) else {
            return;
        };
        issue.state = to;
        let mut pulls = self.rows.pulls.iter_mut();
        if let Some(pull) =
            pulls.find(|row| row.repository == subject.repository && row.number == subject.number)
        {
            pull.state = to;
        }
        let what = match to {
            SubjectState::Open => IssueEventKind::Reopened,
            SubjectState::Closed | SubjectState::Gone => IssueEventKind::Closed,
        };
        self.event(subject, what, by, None);
    }

    /// The issue is deleted: no event says so.
    pub(super) fn vanish(&mut self, subject: Subject) {
        if let Some(issue) = self.issue_mut(subject) {
            issue.state = SubjectState::Gone;
        }
    }

    /// Somebody edits the text.
    pub(super) fn edit(&mut self, subject: Subject, by: &str) {
        let at = self.now;
        let Some(issue) = self.issue_mut(subject) else {
            return;
        };
        issue.body.push_str(" And more.");
        let editor = Some(actor(by).id);
        if let EditHistory::Read { edits } = &mut issue.edits {
            edits.push(ContentEdit { at, editor });
        }
    }

    /// Somebody writes a comment.
    pub(super) fn comment(&mut self, subject: Subject, by: &str) {
        let id = CommentId(self.next_id());
        self.rows.comments.push(Comment {
            id,
            repository: subject.repository,
            number: subject.number,
            author: Some(actor(by)),
            body: format!("Remark {id}."),
            created_at: self.now,
            updated_at: self.now,
            place: None,
        });
    }

    /// Somebody asks for changes on a pull request.
    pub(super) fn review(&mut self, subject: Subject, by: &str) {
        let review = Review {
            id: ReviewId(self.next_id()),
            repository: subject.repository,
            number: subject.number,
            author: Some(actor(by)),
            state: ReviewState::ChangesRequested,
            body: "Please name it better.".to_owned(),
            commit: None,
            submitted_at: Some(self.now),
        };
        self.rows.reviews.push(review);
    }

    /// Somebody deletes a label from a repository: it comes off everywhere.
    pub(super) fn delete_label(&mut self, repository: RepositoryId, label: &str, by: &str) {
        let label = LabelName::new(label);
        self.rows
            .labels
            .retain(|row| !(row.repository == repository && row.label.name == label));
        let carriers: Vec<Subject> = self
            .rows
            .issues
            .iter()
            .filter(|issue| issue.repository == repository)
            .map(|issue| Subject {
                repository,
                number: issue.number,
            })
            .collect();
        for subject in carriers {
            self.take_label(subject, &label, by);
        }
    }

    /// A label is missing in a read and no event says why.
    pub(super) fn lose_label(&mut self, subject: Subject, label: &str) {
        let label = LabelName::new(label);
        if let Some(issue) = self.issue_mut(subject) {
            issue.labels.retain(|other| *other != label);
        }
    }

    /// The label is seen again: the read was stale.
    pub(super) fn restore_label(&mut self, subject: Subject, label: &str) {
        let label = LabelName::new(label);
        if let Some(issue) = self.issue_mut(subject) {
            issue.labels.push(label);
        }
    }

    /// The repository is bound anew: everything up to now is historical.
    pub(super) fn bind(&mut self, repository: RepositoryId) {
        let last = EventId(self.last_id);
        self.repository_mut(repository).binding_event = last;
    }
}
