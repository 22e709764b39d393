//! The mirror in the store: a batch becomes one transaction of the lease holder.

use async_trait::async_trait;

use super::batch::{Conversation, MirrorBatch, MirrorError, MirrorStore};
use crate::{
    domain::{
        Timestamp,
        event::{EventActor, EventKind, NewEvent},
        forge::{Comment, Issue},
        ids::{CommentId, IssueNumber, RepositoryId, Subject},
        mirror::RepositoryMirror,
    },
    store::{CommentSeries, HolderTx, LeaseGrant, NewBinding, Store, StoreError},
};

/// The store's mirror tables, written under one lease.
#[derive(Debug, Clone)]
pub struct StoreMirror {
    store: Store,
    grant: LeaseGrant,
}

impl StoreMirror {
    /// The mirror under a lease; once that is lost, writes fail.
    pub fn new(store: Store, grant: LeaseGrant) -> Self {
        Self { store, grant }
    }
}

fn failed(doing: &'static str) -> impl Fn(StoreError) -> MirrorError {
    move |error| MirrorError {
        doing,
        message: error.to_string(),
    }
}

#[async_trait]
impl MirrorStore for StoreMirror {
    async fn now(&self) -> Result<Timestamp, MirrorError> {
        self.store.now().await.map_err(failed("ask the time"))
    }

    async fn mirrors(&self) -> Result<Vec<RepositoryMirror>, MirrorError> {
        let rows = self.store.mirrors().await;
        rows.map_err(failed("read bound repositories"))
    }

    async fn issues(
        &self,
        repository: RepositoryId,
        numbers: &[IssueNumber],
    ) -> Result<Vec<Issue>, MirrorError> {
        let rows = self.store.mirrored_issues(repository, numbers).await;
        rows.map_err(failed("read mirrored issues"))
    }

    async fn commit(&self, batch: MirrorBatch) -> Result<u64, MirrorError> {
        let failed = failed("write the mirror");
        let mut tx = self
            .store
            .begin_holder(&self.grant)
            .await
            .map_err(&failed)?
            .named("mirror");
        let rows = write(&mut tx, &batch).await.map_err(&failed)?;
        tx.commit().await.map_err(&failed)?;
        Ok(rows)
    }

    async fn mark_unknown(
        &self,
        repository: RepositoryId,
        reason: &str,
    ) -> Result<(), MirrorError> {
        let failed = failed("note a failed read");
        let mut tx = self
            .store
            .begin_holder(&self.grant)
            .await
            .map_err(&failed)?
            .named("mirror unknown");
        tx.mark_unknown(repository, reason).await.map_err(&failed)?;
        tx.commit().await.map_err(&failed)
    }
}

/// Writes a batch; answers how many rows changed.
async fn write(tx: &mut HolderTx, batch: &MirrorBatch) -> Result<u64, StoreError> {
    let began = batch.read_began_at;
    let mut rows = 0;
    for identity in &batch.identities {
        rows += u64::from(tx.put_identity(identity).await?);
    }
    if let Some(mirror) = &batch.mirror {
        rows += write_bookkeeping(tx, mirror).await?;
    }
    if !batch.issues.is_empty() {
        rows += tx.put_issues(&batch.issues, began).await?;
    }
    for (repository, number) in &batch.gone {
        let (repository, number) = (*repository, *number);
        rows += u64::from(tx.mark_subject_gone(Subject { repository, number }).await?);
    }
    if !batch.events.is_empty() {
        rows += tx.put_events(&batch.events).await?;
    }
    if let Some((repository, labels)) = &batch.labels {
        rows += tx.put_labels(*repository, labels, began).await?;
    }
    if let Some((repository, variables)) = &batch.variables {
        rows += tx.put_variables(*repository, variables, began).await?;
    }
    if !batch.pulls.is_empty() {
        rows += tx.put_pulls(&batch.pulls, began).await?;
    }
    if !batch.reviews.is_empty() {
        rows += tx.put_reviews(&batch.reviews).await?;
    }
    for conversation in &batch.conversations {
        rows += write_conversation(tx, conversation, began).await?;
    }
    for branch in &batch.branches {
        rows += u64::from(tx.put_branch(branch).await?);
    }
    for permission in &batch.permissions {
        tx.put_permission(permission).await?;
        rows += 1;
    }
    Ok(rows)
}

async fn write_bookkeeping(
    tx: &mut HolderTx,
    mirror: &RepositoryMirror,
) -> Result<u64, StoreError> {
    let binding = NewBinding {
        forge: mirror.forge,
        project: mirror.project.clone(),
        configured_name: mirror.configured_name.clone(),
        record: mirror.record.clone(),
        binding_event: mirror.binding_event,
        binding_review: mirror.binding_review,
        adopt_existing: mirror.adopt_existing,
    };
    let id = mirror.id();
    let mut rows = 0;
    // First the config's word, so that a repository that changed projects is
    // not taken for one that two projects claim.
    rows += u64::from(
        tx.rebind_repository(
            id,
            &mirror.project,
            &mirror.configured_name,
            mirror.adopt_existing,
        )
        .await?,
    );
    rows += u64::from(tx.bind_repository(&binding, &bound_event(mirror)).await?);
    rows += u64::from(tx.put_repository(&mirror.record).await?);
    rows += u64::from(tx.set_cursors(id, &mirror.cursors).await?);
    rows += u64::from(tx.set_owner_variable(id, &mirror.owner_variable).await?);
    if mirror.complete && mirror.unknown.is_none() {
        rows += u64::from(tx.mark_known(id).await?);
    }
    Ok(rows)
}

fn bound_event(mirror: &RepositoryMirror) -> NewEvent {
    NewEvent {
        kind: EventKind::RepositoryBound,
        correlation: format!("repository/{}", mirror.id()),
        actor: EventActor::System,
        project: Some(mirror.project.clone()),
        run: None,
        subject: None,
        payload: serde_json::json!({
            "repository": mirror.id(),
            "name": mirror.record.name,
            "binding_event": mirror.binding_event,
            "binding_review": mirror.binding_review,
            "adopt_existing": mirror.adopt_existing,
        }),
    }
}

/// Writes a subject's whole conversation: what it does not hold is deleted.
async fn write_conversation(
    tx: &mut HolderTx,
    conversation: &Conversation,
    began: Timestamp,
) -> Result<u64, StoreError> {
    let subject = Subject {
        repository: conversation.repository,
        number: conversation.number,
    };
    let mut rows = 0;
    if !conversation.comments.is_empty() {
        rows += tx.put_comments(&conversation.comments, began).await?;
    }
    let on_diff = |comment: &Comment| comment.place.is_some();
    for (series, diff) in [(CommentSeries::Issue, false), (CommentSeries::Diff, true)] {
        let present: Vec<CommentId> = conversation
            .comments
            .iter()
            .filter(|comment| on_diff(comment) == diff)
            .map(|comment| comment.id)
            .collect();
        rows += tx
            .delete_comments_missing(subject, series, &present, began)
            .await?;
    }
    Ok(rows)
}
