//! The cluster: objects by server-side apply under our field manager, deletions by uid.
//!
//! Applying is naturally idempotent; the intent is recorded all the same, so
//! that a view of the cluster that is older than the call proves nothing.

use super::{ActionError, Outcome, Performing};
use crate::{
    cluster::manifests::{
        AttemptSpec, RunEnvironment, RunToken as MountedToken, attempt_job, attempt_secret,
        environment_objects,
    },
    domain::{
        event::NewEvent,
        ids::{AttemptNo, RunId},
        run::{AttemptState, Environment, EnvironmentState},
    },
    plan::ActionKind,
    store::{Edge, StoreError},
};

impl Performing<'_> {
    /// Performs an action on the cluster.
    pub(super) async fn write_cluster(&self) -> Result<Outcome, ActionError> {
        match &self.action.kind {
            ActionKind::ApplyEnvironment {
                environment,
                input_hash,
                event,
            } => self.apply_environment(environment, input_hash, event).await,
            ActionKind::ApplyAttempt {
                number,
                spec,
                event,
            } => self.apply_attempt(*number, spec, event).await,
            ActionKind::DeleteObject { target, event } => {
                self.applier.cluster.delete(target).await?;
                let mut tx = self.begin().await?;
                self.done(&mut tx, Some(&target.uid), false, event).await?;
                tx.commit().await?;
                Ok(Outcome::Done)
            }
            ActionKind::DeleteNamespace {
                target,
                orphan,
                event,
            } => {
                self.applier.cluster.delete(target).await?;
                let mut tx = self.begin().await?;
                self.done(&mut tx, Some(&target.uid), false, event).await?;
                if !orphan {
                    self.environment(&mut tx, EnvironmentState::Deleting, None)
                        .await?;
                }
                tx.commit().await?;
                Ok(Outcome::Done)
            }
            _ => Ok(Outcome::Skipped),
        }
    }

    async fn apply_environment(
        &self,
        environment: &RunEnvironment,
        input_hash: &str,
        event: &NewEvent,
    ) -> Result<Outcome, ActionError> {
        self.intend().await?;
        let objects = environment_objects(environment);
        let applied = self.applier.cluster.apply_all(&objects).await?;
        let Some(applied) = applied.first() else {
            return Err(ActionError::Missing("a namespace to apply".to_owned()));
        };
        let mut tx = self.begin().await?;
        let row = Environment {
            run: self.run_id()?,
            namespace: environment.namespace.clone(),
            state: EnvironmentState::Active,
            uid: Some(applied.uid.clone()),
            input_hash: Some(input_hash.to_owned()),
            created_at: self.now,
            retained_at: None,
            deleting_at: None,
        };
        tx.upsert_environment(&row, None).await?;
        self.done(&mut tx, Some(&applied.uid), false, event).await?;
        tx.commit().await?;
        Ok(Outcome::Done)
    }

    async fn apply_attempt(
        &self,
        number: AttemptNo,
        spec: &AttemptSpec,
        event: &NewEvent,
    ) -> Result<Outcome, ActionError> {
        let version = i32::try_from(spec.token_key_version).unwrap_or(1);
        let token = self
            .applier
            .tokens
            .token(version, RunId(spec.identity.run), number);
        let token = token.ok_or_else(|| {
            ActionError::Missing(format!("there is no run token key of version {version}"))
        })?;
        self.intend().await?;
        let mounted = MountedToken::new(token.expose().to_owned());
        self.applier
            .cluster
            .apply(&attempt_secret(spec, &mounted))
            .await?;
        self.edge(Edge::BetweenCalls).await;
        let job = self.applier.cluster.apply(&attempt_job(spec)).await?;
        self.record_job(number, &job.uid, event).await
    }

    /// Records the Job's uid. The attempt may have spoken meanwhile and moved on by itself.
    async fn record_job(
        &self,
        number: AttemptNo,
        uid: &str,
        event: &NewEvent,
    ) -> Result<Outcome, ActionError> {
        let mut tx = self.begin().await?;
        for state in [AttemptState::Starting, AttemptState::Running] {
            let mut attempt = self.attempt(number, state, None)?;
            attempt.job_uid = Some(uid.to_owned());
            match tx.update_attempt(state, &attempt, None).await {
                Ok(()) => break,
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.done(&mut tx, Some(uid), false, event).await?;
        tx.commit().await?;
        Ok(Outcome::Done)
    }
}
