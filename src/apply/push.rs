//! Pushes: a stored pack passed on, if the branch stands where it must.

use bytes::Bytes;

use super::{ActionError, Outcome, Performing, forge::reference};
use crate::{
    domain::{
        event::{EventKind, NewEvent},
        fact::{PushFact, PushOutcome},
        ids::RepositoryName,
        mirror::BranchHead,
    },
    forge::{PushOutcome as ForgePush, PushRef},
    store::{HolderTx, RunChanges},
};

impl Performing<'_> {
    /// Passes a push on. The forge compares the expected old commit itself, so that a
    /// repeated call changes nothing and a person's commit is never overwritten.
    pub(super) async fn push(
        &self,
        fact: i64,
        repository: &RepositoryName,
        push: &PushFact,
        event: &NewEvent,
    ) -> Result<Outcome, ActionError> {
        let run_id = self.run_id()?;
        let run = self.applier.store.reads().get_run(run_id).await?;
        let run = run.ok_or_else(|| ActionError::Missing(format!("run {run_id} is not there")))?;
        let pack = self.applier.store.push_pack(fact).await?;
        let pack = pack.ok_or_else(|| ActionError::Missing(format!("push {fact} has no pack")))?;
        self.intend().await?;
        let at = reference(run.repository, repository);
        let update = PushRef {
            branch: push.branch.clone(),
            expected_old: push.old.clone(),
            new: push.new.clone(),
            pack: Bytes::from(pack),
        };
        let outcome = match self.applier.forge.push_ref(&at, &update).await? {
            ForgePush::Updated => Ok(false),
            ForgePush::AlreadyThere => Ok(true),
            ForgePush::Stale { .. } => Err("the branch moved at the forge: fetch first".to_owned()),
            ForgePush::Refused { reason } => Err(format!("the forge refused it: {reason}")),
        };
        let mut tx = self.begin().await?;
        let recovered = match outcome {
            Ok(recovered) => {
                tx.record_push_outcome(fact, &PushOutcome::Accepted).await?;
                let changes = RunChanges {
                    accepted_head: Some(push.new.clone()),
                    ..RunChanges::default()
                };
                tx.update_run_fields(run_id, run.version, &changes).await?;
                tx.put_branch(&BranchHead {
                    repository: run.repository,
                    branch: push.branch.clone(),
                    head: Some(push.new.clone()),
                    ours: true,
                })
                .await?;
                self.done(&mut tx, Some(push.new.as_str()), recovered, event)
                    .await?;
                recovered
            }
            Err(reason) => {
                self.refused(&mut tx, fact, reason, event).await?;
                false
            }
        };
        tx.commit().await?;
        Ok(if recovered {
            Outcome::Recovered
        } else {
            Outcome::Done
        })
    }

    async fn refused(
        &self,
        tx: &mut HolderTx,
        fact: i64,
        reason: String,
        event: &NewEvent,
    ) -> Result<(), ActionError> {
        let mut event = event.clone();
        event.kind = EventKind::PushRefused;
        if let Some(fields) = event.payload.as_object_mut() {
            fields.insert("reason".to_owned(), reason.clone().into());
        }
        tx.record_push_outcome(fact, &PushOutcome::Refused { reason })
            .await?;
        self.done(tx, None, false, &event).await
    }
}
