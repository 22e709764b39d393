//! Pull requests: opened once under their head branch, edited in place.

use super::{ActionError, Outcome, Performing, forge::reference};
use crate::{
    domain::{
        event::NewEvent,
        forge::{PullRequest, SubjectState},
        ids::{IssueNumber, Subject},
        marker::runs_marked_in,
    },
    forge::{ForgeErrorKind, NewPull, PullEdit, RepositoryRef},
    plan::PullRequestContent,
};

impl Performing<'_> {
    /// Opens a pull request, or finds the one that an earlier call opened.
    pub(super) async fn open_pull_request(
        &self,
        content: &PullRequestContent,
        subject: Subject,
        event: &NewEvent,
    ) -> Result<Outcome, ActionError> {
        let before = self.effect().await?;
        let at = reference(subject.repository, &content.repository);
        if before
            .as_ref()
            .is_some_and(|effect| effect.attempted_at.is_some())
        {
            if let Some(found) = self.opened_before(&at, content).await? {
                return self.record_pull(&found, true, event).await;
            }
            if let Some(until) = self.hidden_until(before.as_ref()) {
                return Err(ActionError::NotYet(until));
            }
        }
        self.intend().await?;
        let new = NewPull {
            head: content.head.clone(),
            base: content.base.clone(),
            title: content.title.clone(),
            body: content.body.clone(),
            draft: false,
        };
        match self.applier.forge.create_pull(&at, &new).await {
            Ok(pull) => self.record_pull(&pull, false, event).await,
            Err(error) if error.kind == ForgeErrorKind::Unprocessable => {
                // "A pull request already exists": ours from a call whose answer was lost.
                match self.opened_before(&at, content).await? {
                    Some(found) => self.record_pull(&found, true, event).await,
                    None => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn opened_before(
        &self,
        at: &RepositoryRef,
        content: &PullRequestContent,
    ) -> Result<Option<PullRequest>, ActionError> {
        let run = self.run_id()?;
        let found = self
            .applier
            .forge
            .find_pulls_by_head(at, &content.head)
            .await?;
        let ours = |pull: &PullRequest| {
            let author = pull
                .author
                .as_ref()
                .is_some_and(|author| self.own.contains(&author.id));
            let marks = runs_marked_in(&pull.body);
            author
                && (marks.contains(&run) || (!marks.is_empty() && pull.state == SubjectState::Open))
        };
        Ok(found.into_iter().find(ours))
    }

    /// Edits a pull request's text.
    pub(super) async fn edit_pull_request(
        &self,
        number: IssueNumber,
        content: &PullRequestContent,
        subject: Subject,
        event: &NewEvent,
    ) -> Result<Outcome, ActionError> {
        let at = reference(subject.repository, &content.repository);
        let edit = PullEdit {
            title: Some(content.title.clone()),
            body: Some(content.body.clone()),
            base: None,
        };
        let pull = self.applier.forge.edit_pull(&at, number, &edit).await?;
        self.record_pull(&pull, false, event).await
    }

    async fn record_pull(
        &self,
        pull: &PullRequest,
        recovered: bool,
        event: &NewEvent,
    ) -> Result<Outcome, ActionError> {
        let mut tx = self.begin().await?;
        tx.overlay_pull(pull, self.applier.settings.visibility)
            .await?;
        self.done(&mut tx, Some(&pull.number.to_string()), recovered, event)
            .await?;
        tx.commit().await?;
        Ok(if recovered {
            Outcome::Recovered
        } else {
            Outcome::Done
        })
    }
}
