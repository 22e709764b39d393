//! The config in force: polled, judged, accepted as a numbered revision, or refused with the
//! last good one left in force (invariant I6).

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde_json::json;

use crate::{
    apply::WriterProof,
    desired::{
        model::{Desired, Member},
        source::{ConfigSource, Polled, poll},
    },
    domain::{
        event::{EventActor, EventKind, NewEvent},
        ids::CommitSha,
    },
    store::{Member as StoredMember, ProjectMembers, Store},
    telemetry::metrics::{Load, Metrics},
};

/// The last good config.
#[derive(Debug, Clone, Default)]
pub struct ConfigInForce(Arc<Mutex<Option<Arc<Desired>>>>);

impl ConfigInForce {
    /// The last accepted config, if any.
    pub fn get(&self) -> Option<Arc<Desired>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, desired: Desired) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(desired));
    }
}

/// Polls the config repo into [`ConfigInForce`].
pub struct ConfigPoller {
    source: Arc<ConfigSource>,
    store: Store,
    in_force: ConfigInForce,
    metrics: Metrics,
}

impl ConfigPoller {
    /// A poller; nothing is in force until [`Self::restore`] or a first poll.
    pub fn new(
        source: Arc<ConfigSource>,
        store: Store,
        in_force: ConfigInForce,
        metrics: Metrics,
    ) -> Self {
        Self {
            source,
            store,
            in_force,
            metrics,
        }
    }

    /// Takes over the last revision that was accepted, so that a restart plans nothing below it.
    pub async fn restore(&self) -> anyhow::Result<()> {
        let Some(accepted) = self.store.last_accepted_config().await? else {
            return Ok(());
        };
        match serde_json::from_value::<Desired>(accepted.desired) {
            Ok(mut desired) => {
                desired.revision = Some(accepted.revision);
                self.metrics.desired.set_revision(accepted.revision.0);
                self.in_force.set(desired);
            }
            Err(error) => {
                // Written by another version of this program: the commit itself is read again.
                tracing::warn!(%error, config.sha = %accepted.sha, "stored config is of another form");
            }
        }
        Ok(())
    }

    /// Polls once; says whether another config is in force now.
    pub async fn poll(&self, proof: &dyn WriterProof) -> anyhow::Result<bool> {
        let last = match self.in_force.get() {
            Some(desired) => Some(desired.sha.clone()),
            None => self
                .store
                .last_accepted_config()
                .await?
                .map(|accepted| accepted.sha),
        };
        let known = self.in_force.get().is_some();
        let polled = poll(Arc::clone(&self.source), last.clone().filter(|_| known))
            .await
            .context("poll the config repo")?;
        match polled {
            Polled::Unchanged => Ok(false),
            Polled::Candidate {
                sha,
                result,
                refusal,
            } => match (*result, refusal) {
                (Ok(desired), None) => self.accept(proof, desired).await,
                (Ok(_), Some(refusal)) => {
                    let errors = json!([{ "code": "refused", "message": refusal.to_string() }]);
                    self.refuse(proof, &sha, errors, 1).await
                }
                (Err(errors), _) => {
                    let count = errors.len();
                    self.refuse(proof, &sha, serde_json::to_value(&errors)?, count)
                        .await
                }
            },
        }
    }

    async fn accept(&self, proof: &dyn WriterProof, mut desired: Desired) -> anyhow::Result<bool> {
        let grant = proof
            .grant()
            .context("accept a config: the lease is lost")?;
        let mut tx = self
            .store
            .begin_holder(&grant)
            .await?
            .named("config accepted");
        let value = serde_json::to_value(&desired)?;
        let revision = tx.accept_config(&desired.sha, &value).await?;
        tx.put_projects(&members(&desired)).await?;
        tx.insert_event(&config_event(
            EventKind::ConfigAccepted,
            &desired.sha,
            json!({ "revision": revision }),
        ))
        .await?;
        tx.commit().await?;
        tracing::info!(config.sha = %desired.sha, config.revision = revision.0, "config accepted");
        desired.revision = Some(revision);
        self.metrics.desired.loaded(Load::Accepted, 0);
        self.metrics.desired.set_revision(revision.0);
        self.in_force.set(desired);
        Ok(true)
    }

    async fn refuse(
        &self,
        proof: &dyn WriterProof,
        sha: &CommitSha,
        errors: serde_json::Value,
        count: usize,
    ) -> anyhow::Result<bool> {
        self.metrics.desired.loaded(Load::Rejected, count);
        let grant = proof
            .grant()
            .context("refuse a config: the lease is lost")?;
        let mut tx = self
            .store
            .begin_holder(&grant)
            .await?
            .named("config refused");
        if tx.record_refused_config(sha.as_str(), &errors).await? {
            tracing::warn!(config.sha = %sha, config.errors = count, "config refused, the last good one stays in force");
            let payload = json!({ "errors": errors });
            tx.insert_event(&config_event(EventKind::ConfigRefused, sha, payload))
                .await?;
        }
        tx.commit().await?;
        Ok(false)
    }
}

/// The member entries that name an account, for reports and exports; authority is judged by the
/// config itself.
fn members(desired: &Desired) -> Vec<ProjectMembers> {
    let named = |member: &Member| match member {
        Member::User {
            id, login, role, ..
        } => Some(StoredMember {
            id: *id,
            login: login.clone(),
            role: role.as_str().to_owned(),
        }),
        Member::AnyoneWith { .. } => None,
    };
    let projects = desired.projects.iter();
    projects
        .map(|(key, project)| ProjectMembers {
            project: key.clone(),
            members: project.spec.members.iter().filter_map(named).collect(),
        })
        .collect()
}

fn config_event(kind: EventKind, sha: &CommitSha, payload: serde_json::Value) -> NewEvent {
    NewEvent {
        kind,
        correlation: format!("config/{sha}"),
        actor: EventActor::System,
        project: None,
        run: None,
        subject: None,
        payload,
    }
}
