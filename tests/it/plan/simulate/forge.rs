//! The forge as a plan leaves it.

use codex_k8s::{
    domain::{
        event::NewEvent,
        fact::{PushFact, PushOutcome},
        forge::{Comment, Issue, IssueEventKind, LabelRecord, PullRequest, SubjectState},
        ids::{BranchName, CommentId, IssueNumber, LabelName, RepositoryId, Subject},
        marker::runs_marked_in,
        mirror::{BranchHead, OwnerVariable},
        snapshot::{PushOutcomeRow, RepositoryLabel, RepositoryVariable},
    },
    plan::{Action, ActionKind, CommentContent, PullRequestContent},
};

use crate::plan::world::{World, actor};

impl World {
    pub(super) fn write_forge(&mut self, action: &Action) {
        match &action.kind {
            ActionKind::PushBranch {
                fact, push, event, ..
            } => self.push_branch(action, *fact, push, event),
            ActionKind::OpenPullRequest {
                content,
                subject,
                event,
            } => {
                self.intend(action);
                let number = self
                    .opened_before(action, subject.repository)
                    .unwrap_or_else(|| self.open_pull(content, subject.repository));
                self.done(action, Some(&number.to_string()), event);
            }
            ActionKind::EditPullRequest {
                number,
                content,
                subject,
                event,
            } => {
                let mut pulls = self.rows.pulls.iter_mut();
                let pull = pulls
                    .find(|row| row.repository == subject.repository && row.number == *number)
                    .expect("the pull request is there");
                pull.body.clone_from(&content.body);
                pull.title.clone_from(&content.title);
                self.edit(
                    Subject {
                        number: *number,
                        ..*subject
                    },
                    "platform",
                );
                self.done(action, Some(&number.to_string()), event);
            }
            ActionKind::UpsertComment { content, event } => {
                self.intend(action);
                let id = self.upsert_comment(content);
                self.done(action, Some(&id.to_string()), event);
            }
            ActionKind::AddLabels {
                subject,
                labels,
                event,
                ..
            } => {
                for label in labels {
                    self.put_label(*subject, label, "platform", None);
                }
                self.done(action, None, event);
            }
            ActionKind::RemoveLabel {
                subject,
                label,
                event,
                ..
            } => {
                self.take_label(*subject, label, "platform");
                self.done(action, None, event);
            }
            ActionKind::EnsureLabel {
                repository_id,
                label,
                change,
                event,
                ..
            } => {
                self.define_label(*repository_id, label, *change);
                self.done(action, None, event);
            }
            ActionKind::SetVariable {
                repository_id,
                variable,
                event,
                ..
            } => {
                let (repository, variable) = (*repository_id, variable.clone());
                if !self.lagging {
                    self.rows.variables.retain(|row| {
                        row.repository != repository || row.variable.name != variable.name
                    });
                    self.rows.variables.push(RepositoryVariable {
                        repository,
                        variable,
                    });
                }
                self.done(action, None, event);
            }
            ActionKind::SetOwnerVariable {
                repository_id,
                event,
                ..
            } => {
                self.repository_mut(*repository_id).owner_variable = OwnerVariable::Ours;
                self.done(action, None, event);
            }
            other => panic!("{} is not written at the forge", other.name()),
        }
    }

    /// The forge has it; the mirror shows it unless it lags.
    fn define_label(&mut self, repository: RepositoryId, label: &LabelRecord, change: bool) {
        if self.lagging {
            return;
        }
        let same = |row: &&mut RepositoryLabel| {
            row.repository == repository && row.label.name == label.name
        };
        match self.rows.labels.iter_mut().find(same) {
            Some(row) if change => row.label.clone_from(label),
            Some(_) => {}
            None => self.rows.labels.push(RepositoryLabel {
                is_confirmed: true,
                repository,
                label: label.clone(),
            }),
        }
    }

    pub(super) fn push_outcome(&mut self, action: &Action, fact: i64, outcome: PushOutcome) {
        let run = action.run.expect("pushes are of runs");
        if !self.rows.push_outcomes.iter().any(|row| row.fact == fact) {
            self.rows
                .push_outcomes
                .push(PushOutcomeRow { fact, run, outcome });
        }
    }

    pub(super) fn push_branch(
        &mut self,
        action: &Action,
        fact: i64,
        push: &PushFact,
        event: &NewEvent,
    ) {
        self.intend(action);
        let id = action.run.expect("pushes are of runs");
        let repository = self.run(id).repository;
        let head = self.head(repository, &push.branch);
        if head != push.old && head.as_ref() != Some(&push.new) {
            let reason = "the branch moved at the forge: fetch first".to_owned();
            self.push_outcome(action, fact, PushOutcome::Refused { reason });
            self.done(action, None, event);
            return;
        }
        self.push_outcome(action, fact, PushOutcome::Accepted);
        self.set_head(repository, &push.branch, &push.new);
        let run = self.run_mut(id);
        run.accepted_head = Some(push.new.clone());
        run.version += 1;
        self.done(action, Some(push.new.as_str()), event);
    }

    pub(in crate::plan) fn head(
        &self,
        repository: RepositoryId,
        branch: &BranchName,
    ) -> Option<codex_k8s::domain::ids::CommitSha> {
        let mut rows = self.rows.branches.iter();
        let row = rows.find(|row| row.repository == repository && row.branch == *branch);
        row.and_then(|row| row.head.clone())
    }

    pub(in crate::plan) fn set_head(
        &mut self,
        repository: RepositoryId,
        branch: &BranchName,
        head: &codex_k8s::domain::ids::CommitSha,
    ) {
        self.rows
            .branches
            .retain(|row| !(row.repository == repository && row.branch == *branch));
        self.rows.branches.push(BranchHead {
            repository,
            branch: branch.clone(),
            head: Some(head.clone()),
            ours: true,
        });
        let pulls = self.rows.pulls.iter_mut();
        let of_branch = |row: &&mut PullRequest| {
            row.repository == repository && row.head == *branch && row.state == SubjectState::Open
        };
        for pull in pulls.filter(of_branch) {
            pull.head_sha = head.clone();
        }
    }

    /// The pull request of an earlier call, whose answer was lost.
    fn opened_before(&self, action: &Action, repository: RepositoryId) -> Option<IssueNumber> {
        let run = action.run?;
        let mut pulls = self.rows.pulls.iter();
        let found = pulls
            .find(|row| row.repository == repository && runs_marked_in(&row.body).contains(&run))?;
        Some(found.number)
    }

    pub(super) fn open_pull(
        &mut self,
        content: &PullRequestContent,
        repository: RepositoryId,
    ) -> IssueNumber {
        let twin = self.rows.pulls.iter().any(|row| {
            row.repository == repository
                && row.head == content.head
                && row.state == SubjectState::Open
        });
        assert!(!twin, "a second pull request for {}", content.head);
        self.last_number += 1;
        let number = IssueNumber(self.last_number);
        let head_sha = self
            .head(repository, &content.head)
            .expect("the branch was pushed");
        self.open_issue(Subject { repository, number });
        let issue: &mut Issue = self
            .issue_mut(Subject { repository, number })
            .expect("just opened");
        issue.is_pull_request = true;
        issue.title.clone_from(&content.title);
        issue.body.clone_from(&content.body);
        issue.author = Some(actor("platform"));
        self.rows.pulls.push(PullRequest {
            repository,
            number,
            title: content.title.clone(),
            body: content.body.clone(),
            state: SubjectState::Open,
            merged: false,
            author: Some(actor("platform")),
            head: content.head.clone(),
            head_repository: Some(repository),
            head_sha,
            base: content.base.clone(),
            html_url: format!("https://forge.example/pull/{number}"),
            updated_at: self.now,
        });
        number
    }

    pub(super) fn upsert_comment(&mut self, content: &CommentContent) -> CommentId {
        let now = self.now;
        let subject = content.subject;
        let mut comments = self.rows.comments.iter_mut();
        if let Some(known) = comments.find(|row| {
            row.repository == subject.repository
                && row.number == subject.number
                && row.body.contains(&content.marker)
        }) {
            known.body.clone_from(&content.body);
            known.updated_at = now;
            return known.id;
        }
        assert!(
            content.body.contains(&content.marker),
            "a comment carries its mark"
        );
        let id = CommentId(self.next_id());
        self.rows.comments.push(Comment {
            id,
            repository: subject.repository,
            number: subject.number,
            author: Some(actor("platform")),
            body: content.body.clone(),
            created_at: now,
            updated_at: now,
            place: None,
            via_app: None,
        });
        id
    }

    /// Puts a label on, with its event.
    pub(in crate::plan) fn put_label(
        &mut self,
        subject: Subject,
        label: &LabelName,
        by: &str,
        via_app: Option<&str>,
    ) {
        let Some(issue) = self.issue_mut(subject) else {
            return;
        };
        if issue.labels.contains(label) {
            return;
        }
        issue.labels.push(label.clone());
        let label = label.clone();
        self.event(subject, IssueEventKind::Labeled { label }, by, via_app);
    }

    /// Takes a label off, with its event.
    pub(in crate::plan) fn take_label(&mut self, subject: Subject, label: &LabelName, by: &str) {
        let Some(issue) = self.issue_mut(subject) else {
            return;
        };
        if !issue.labels.contains(label) {
            return;
        }
        issue.labels.retain(|other| other != label);
        let label = label.clone();
        self.event(subject, IssueEventKind::Unlabeled { label }, by, None);
    }
}
