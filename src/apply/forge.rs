//! The forge: comments under their key, labels, definitions, variables.

use super::{ActionError, Outcome, Performing};
use crate::{
    domain::{
        effect::Effect,
        event::NewEvent,
        forge::{Comment, LabelRecord, VariableRecord},
        ids::{CommentId, LabelName, RepositoryId, RepositoryName, Subject},
        mirror::OwnerVariable,
    },
    forge::{OWNER_VARIABLE, RepositoryRef},
    plan::{ActionKind, CommentContent},
};

impl Performing<'_> {
    /// Performs an action at the forge.
    pub(super) async fn write_forge(&self) -> Result<Outcome, ActionError> {
        match &self.action.kind {
            ActionKind::UpsertComment { content, event } => {
                self.upsert_comment(content, event).await
            }
            ActionKind::AddLabels {
                subject,
                repository,
                labels,
                event,
            } => self.add_labels(*subject, repository, labels, event).await,
            ActionKind::RemoveLabel {
                subject,
                repository,
                label,
                event,
            } => self.remove_label(*subject, repository, label, event).await,
            ActionKind::EnsureLabel {
                repository_id,
                repository,
                label,
                change,
                event,
            } => {
                let at = reference(*repository_id, repository);
                self.ensure_label(&at, label, *change, event).await
            }
            ActionKind::SetVariable {
                repository_id,
                repository,
                variable,
                event,
            } => {
                let at = reference(*repository_id, repository);
                self.set_variable(&at, variable, event).await
            }
            ActionKind::SetOwnerVariable {
                repository_id,
                repository,
                value,
                event,
            } => {
                self.set_owner(*repository_id, repository, value, event)
                    .await
            }
            ActionKind::OpenPullRequest {
                content,
                subject,
                event,
            } => self.open_pull_request(content, *subject, event).await,
            ActionKind::EditPullRequest {
                number,
                content,
                subject,
                event,
            } => {
                self.edit_pull_request(*number, content, *subject, event)
                    .await
            }
            ActionKind::PushBranch {
                fact,
                repository,
                push,
                event,
            } => self.push(*fact, repository, push, event).await,
            _ => Ok(Outcome::Skipped),
        }
    }

    /// Writes a label's definition and lays it over the mirror.
    async fn ensure_label(
        &self,
        at: &RepositoryRef,
        label: &LabelRecord,
        change: bool,
        event: &NewEvent,
    ) -> Result<Outcome, ActionError> {
        let forge = &self.applier.forge;
        let stands = if change {
            forge.change_label(at, label).await?
        } else {
            forge.define_label(at, label).await?
        };
        let visibility = self.applier.settings.visibility;
        let mut tx = self.begin().await?;
        tx.overlay_label(at.id, &stands, visibility).await?;
        self.done(&mut tx, None, false, event).await?;
        tx.commit().await?;
        Ok(Outcome::Done)
    }

    /// Sets a variable and lays it over the mirror.
    async fn set_variable(
        &self,
        at: &RepositoryRef,
        variable: &VariableRecord,
        event: &NewEvent,
    ) -> Result<Outcome, ActionError> {
        let forge = &self.applier.forge;
        forge
            .set_variable(at, &variable.name, &variable.value)
            .await?;
        let visibility = self.applier.settings.visibility;
        let mut tx = self.begin().await?;
        tx.overlay_variable(at.id, variable, visibility).await?;
        self.done(&mut tx, None, false, event).await?;
        tx.commit().await?;
        Ok(Outcome::Done)
    }

    async fn set_owner(
        &self,
        id: RepositoryId,
        name: &RepositoryName,
        value: &str,
        event: &NewEvent,
    ) -> Result<Outcome, ActionError> {
        self.applier
            .forge
            .set_variable(&reference(id, name), OWNER_VARIABLE, value)
            .await?;
        let mut tx = self.begin().await?;
        tx.set_owner_variable(id, &OwnerVariable::Ours).await?;
        self.done(&mut tx, None, false, event).await?;
        tx.commit().await?;
        Ok(Outcome::Done)
    }

    async fn add_labels(
        &self,
        subject: Subject,
        repository: &RepositoryName,
        labels: &[LabelName],
        event: &NewEvent,
    ) -> Result<Outcome, ActionError> {
        let at = reference(subject.repository, repository);
        self.applier
            .forge
            .add_labels(&at, subject.number, labels)
            .await?;
        self.overlay(subject, event, |present| {
            for label in labels {
                if !present.contains(label) {
                    present.push(label.clone());
                }
            }
        })
        .await
    }

    async fn remove_label(
        &self,
        subject: Subject,
        repository: &RepositoryName,
        label: &LabelName,
        event: &NewEvent,
    ) -> Result<Outcome, ActionError> {
        let at = reference(subject.repository, repository);
        self.applier
            .forge
            .remove_label(&at, subject.number, label)
            .await?;
        self.overlay(subject, event, |present| {
            present.retain(|other| other != label);
        })
        .await
    }

    /// Records a label write and lays it over the mirror, which keeps it until a later read
    /// agrees or the visibility time is over.
    async fn overlay(
        &self,
        subject: Subject,
        event: &NewEvent,
        change: impl FnOnce(&mut Vec<LabelName>),
    ) -> Result<Outcome, ActionError> {
        let issue = self.applier.store.reads().issue(subject).await?;
        let mut tx = self.begin().await?;
        if let Some(mut issue) = issue {
            change(&mut issue.labels);
            tx.overlay_issue_labels(subject, &issue.labels, self.applier.settings.visibility)
                .await?;
        }
        self.done(&mut tx, None, false, event).await?;
        tx.commit().await?;
        Ok(Outcome::Done)
    }

    async fn upsert_comment(
        &self,
        content: &CommentContent,
        event: &NewEvent,
    ) -> Result<Outcome, ActionError> {
        let before = self.effect().await?;
        let at = reference(content.subject.repository, &content.repository);
        let known = self.known_comment(&at, content, before.as_ref()).await?;
        self.intend().await?;
        let (comment, recovered) = match known {
            Some(known) => (self.edit_comment(&at, content, known).await?, true),
            None => (None, false),
        };
        let comment = match comment {
            Some(comment) => comment,
            None => {
                self.applier
                    .forge
                    .create_comment(&at, content.subject.number, &content.body)
                    .await?
            }
        };
        let edited = before
            .as_ref()
            .is_some_and(|effect| effect.done_at.is_some());
        let mut tx = self.begin().await?;
        self.done(
            &mut tx,
            Some(&comment.id.to_string()),
            recovered && !edited,
            event,
        )
        .await?;
        tx.commit().await?;
        Ok(if recovered && !edited {
            Outcome::Recovered
        } else {
            Outcome::Done
        })
    }

    /// The comment that carries this key already: by our author and marker, else by the id we
    /// kept. Where an earlier call may have made one that is not visible yet, absence does not
    /// count. Duplicates are looked for also where the id is known: a former holder's request
    /// may have arrived after we looked for it in vain.
    async fn known_comment(
        &self,
        at: &RepositoryRef,
        content: &CommentContent,
        before: Option<&Effect>,
    ) -> Result<Option<CommentId>, ActionError> {
        let kept = before
            .and_then(|effect| effect.external_id.as_ref())
            .and_then(|id| id.parse().ok())
            .map(CommentId);
        let found = self
            .applier
            .forge
            .find_comments(at, content.subject.number, &content.marker, self.own)
            .await?;
        self.heal(at, &found).await?;
        if let Some(known) = found.first().map(|first| first.id).or(kept) {
            return Ok(Some(known));
        }
        match self.hidden_until(before) {
            Some(until) => Err(ActionError::NotYet(until)),
            None => Ok(None),
        }
    }

    /// Duplicates heal: the lowest id stays.
    async fn heal(&self, at: &RepositoryRef, found: &[Comment]) -> Result<(), ActionError> {
        for duplicate in found.iter().skip(1) {
            self.applier.forge.delete_comment(at, duplicate.id).await?;
        }
        Ok(())
    }

    /// Edits a comment; `None` where it is gone and must be written anew.
    async fn edit_comment(
        &self,
        at: &RepositoryRef,
        content: &CommentContent,
        id: CommentId,
    ) -> Result<Option<Comment>, ActionError> {
        match self
            .applier
            .forge
            .edit_comment(at, content.subject, id, &content.body)
            .await
        {
            Ok(comment) => Ok(Some(comment)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A repository as the forge port names it.
pub(super) fn reference(id: RepositoryId, name: &RepositoryName) -> RepositoryRef {
    RepositoryRef {
        id,
        name: name.clone(),
    }
}
