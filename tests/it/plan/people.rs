//! What people do at the forge.

use codex_k8s::desired::model::{Member, MemberRole};
use codex_k8s::domain::{
    approval::{DecisionFact, Verdict},
    forge::{
        Comment, ContentEdit, EditHistory, IssueEvent, IssueEventKind, PullRequest, Review,
        ReviewState, SubjectState,
    },
    ids::{CommentId, EventId, LabelName, RepositoryId, ReviewId, Subject},
};

use super::world::{World, actor, sha};

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

    /// Somebody puts a commit on top of a pull request.
    pub(super) fn commit(&mut self, pull: Subject) {
        let of =
            |row: &&PullRequest| (row.repository, row.number) == (pull.repository, pull.number);
        let row = self.rows.pulls.iter().find(of);
        let branch = row.expect("a pull request").head.clone();
        let commit = sha(self.next_id());
        self.set_head(pull.repository, &branch, &commit);
    }

    /// Somebody edits the text.
    pub(super) fn edit(&mut self, subject: Subject, by: &str) {
        let at = self.now;
        let Some(issue) = self.issue_mut(subject) else {
            return;
        };
        issue.body.push_str(" And more.");
        let edit = ContentEdit {
            at,
            editor: Some(actor(by).id),
            login: Some(by.to_owned()),
        };
        if let EditHistory::Read { edits } = &mut issue.edits {
            edits.push(edit.clone());
        }
        self.edits.entry(subject).or_default().push(edit);
    }

    /// What a read says of an issue's edits: all of them, that nobody asked, or nothing.
    pub(super) fn history(&mut self, subject: Subject, what: &str) {
        self.open_issue(subject);
        let edits = self.edits.get(&subject).cloned().unwrap_or_default();
        let issue = self.issue_mut(subject).expect("an issue");
        issue.edits = match what {
            "read" => EditHistory::Read { edits },
            "unread" => EditHistory::Unread,
            "withheld" => EditHistory::Withheld,
            other => panic!("no history is {other}"),
        };
    }

    /// Ada is a member, and so is everyone with this permission.
    pub(super) fn members(&mut self, permission: &str) {
        let members = &mut self.spec().members;
        members.truncate(1);
        members.push(Member::AnyoneWith {
            permission: permission.parse().expect("a permission"),
            role: MemberRole::ReadWrite,
        });
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
            via_app: None,
        });
    }

    /// Somebody writes this comment.
    pub(super) fn say(&mut self, subject: Subject, by: &str, body: &str, via_app: Option<&str>) {
        self.comment(subject, by);
        let said = self.rows.comments.last_mut().expect("just written");
        said.body = body.to_owned();
        said.via_app = via_app.map(str::to_owned);
    }

    /// Somebody edits the newest comment of someone; the text where it is given.
    pub(super) fn edit_comment(&mut self, subject: Subject, of: &str, body: Option<&str>) {
        let (now, author) = (self.now + chrono::Duration::seconds(1), actor(of).id);
        let mut rows = self.rows.comments.iter_mut();
        let newest = rows.rfind(|row| {
            row.repository == subject.repository
                && row.number == subject.number
                && row.author.as_ref().is_some_and(|by| by.id == author)
        });
        let comment = newest.expect("there is such a comment");
        comment.updated_at = now;
        if let Some(body) = body {
            body.clone_into(&mut comment.body);
        }
    }

    /// Somebody deletes the newest comment of someone.
    pub(super) fn delete_comment(&mut self, subject: Subject, of: &str) {
        let author = actor(of).id;
        let at = self.rows.comments.iter().rposition(|row| {
            row.repository == subject.repository
                && row.number == subject.number
                && row.author.as_ref().is_some_and(|by| by.id == author)
        });
        self.rows
            .comments
            .remove(at.expect("there is such a comment"));
    }

    /// The code of the newest request on an issue.
    pub(super) fn code(&self, subject: Subject) -> Option<String> {
        let of = self.rows.approvals.iter();
        let mut of = of.filter(|row| row.subject() == subject && row.code.is_some());
        of.next_back()?.code.clone()
    }

    /// A decision comes in by command line or staff API.
    pub(super) fn staff_decides(&mut self, subject: Subject, verdict: Verdict, login: &str) {
        let code = self.code(subject).expect("a request is there");
        let mut rows = self.rows.approvals.iter();
        let approval = rows.find(|row| row.code.as_ref() == Some(&code));
        let approval = approval.expect("a request is there").id;
        let id = self.next_id();
        self.rows.decisions.push(DecisionFact {
            id,
            approval,
            code,
            verdict,
            login: login.to_owned(),
            reason: None,
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
