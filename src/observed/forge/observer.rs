//! The poll: identities, detection of everything at once, then every
//! repository for itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;

use super::{
    batch::{MirrorBatch, MirrorStore},
    binding::{Binding, judge},
    hints::Hints,
    memory::{Memory, later},
    reader::{Failure, Reader},
    report::{
        PollReport, PollRequest, PollSettings, RepositoryBinding, RepositoryOutcome,
        RepositoryReport,
    },
};
use crate::{
    domain::{
        Timestamp,
        ids::{InstallationId, RepositoryId, RepositoryName},
        mirror::{IdentityRecord, OwnerVariable, RepositoryMirror},
    },
    forge::{Detection, Forge, ForgeResult},
};

/// Polls bound repositories into the mirror.
#[derive(Debug)]
pub struct ForgeObserver {
    forge: Arc<dyn Forge>,
    installation: InstallationId,
    settings: PollSettings,
    identity: Mutex<Option<IdentityRecord>>,
    memories: Mutex<BTreeMap<RepositoryId, Memory>>,
    hints: Hints,
}

/// What all repositories of a poll share.
struct Poll<'a> {
    request: &'a PollRequest,
    store: &'a dyn MirrorStore,
    mirrors: Vec<RepositoryMirror>,
    claims: Vec<(RepositoryBinding, RepositoryId)>,
    hinted: BTreeSet<RepositoryName>,
    began_at: Timestamp,
}

impl ForgeObserver {
    /// An observer that has read nothing yet.
    pub fn new(
        forge: Arc<dyn Forge>,
        installation: InstallationId,
        settings: PollSettings,
    ) -> Self {
        Self {
            forge,
            installation,
            settings,
            identity: Mutex::default(),
            memories: Mutex::default(),
            hints: Hints::default(),
        }
    }

    /// The hints: put some in, wait for some, ask when the next read is due.
    pub fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Forgets everything that was read: the next poll reads it again.
    pub fn forget(&self) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.clear();
    }

    /// When the last whole read of each repository began (the store's clock).
    pub fn known_at(&self) -> BTreeMap<RepositoryId, Timestamp> {
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let read = memories
            .iter()
            .filter_map(|(id, memory)| Some((*id, memory.known_at?)));
        read.collect()
    }

    /// Polls the bound repositories that a hint is due for; nothing without one.
    pub async fn poll_hinted(&self, request: &PollRequest, store: &dyn MirrorStore) -> PollReport {
        let hinted = self.hints.take_due(Instant::now());
        let mut request = request.clone();
        request
            .bound
            .retain(|binding| hinted.contains(&binding.name));
        if request.bound.is_empty() {
            return PollReport::default();
        }
        self.poll_with(&request, store, hinted).await
    }

    /// Polls all bound repositories once.
    pub async fn poll(&self, request: &PollRequest, store: &dyn MirrorStore) -> PollReport {
        let hinted = self.hints.take_due(Instant::now());
        self.poll_with(request, store, hinted).await
    }

    async fn poll_with(
        &self,
        request: &PollRequest,
        store: &dyn MirrorStore,
        hinted: BTreeSet<RepositoryName>,
    ) -> PollReport {
        let bookkeeping = match store.now().await {
            Ok(now) => store.mirrors().await.map(|mirrors| (now, mirrors)),
            Err(error) => Err(error),
        };
        let (began_at, mirrors) = match bookkeeping {
            Ok(both) => both,
            Err(error) => return all_unknown(request, &error.to_string()),
        };
        let identity_unknown = self.observe_identity(store, began_at).await.err();
        let names: Vec<_> = request
            .bound
            .iter()
            .map(|bound| bound.name.clone())
            .collect();
        let detections = match self.forge.detect(&names).await {
            Ok(detections) => detections,
            Err(error) => {
                let reason = Failure::from(error).reason();
                let bound: BTreeSet<_> = request.bound.iter().map(|bound| &bound.name).collect();
                for mirror in mirrors
                    .iter()
                    .filter(|it| bound.contains(&it.configured_name))
                {
                    note_unknown(store, mirror.id(), &reason).await;
                }
                let mut report = all_unknown(request, &reason);
                report.identity_unknown = identity_unknown;
                return report;
            }
        };
        let pairs = request.bound.iter().zip(&detections);
        let claims = pairs
            .filter_map(|(bound, found)| Some((bound.clone(), found.as_ref().ok()?.id)))
            .collect();
        let poll = Poll {
            request,
            store,
            mirrors,
            claims,
            hinted,
            began_at,
        };
        let lines = request.bound.iter().zip(detections);
        let repositories = futures::stream::iter(lines)
            .map(|(binding, detection)| self.poll_one(&poll, binding, detection))
            .buffered(self.settings.concurrency.max(1))
            .collect()
            .await;
        PollReport {
            repositories,
            identity_unknown,
        }
    }

    /// Reads who we are, once, and keeps it in the mirror.
    async fn observe_identity(
        &self,
        store: &dyn MirrorStore,
        began_at: Timestamp,
    ) -> Result<(), String> {
        let known = self
            .identity
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        if known {
            return Ok(());
        }
        let identity = self.forge.identity().await;
        let identity = identity.map_err(|error| Failure::from(error).reason())?;
        let mut batch = MirrorBatch::begun_at(began_at);
        batch.identities.push(identity.clone());
        store
            .commit(batch)
            .await
            .map_err(|error| error.to_string())?;
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
        Ok(())
    }

    async fn poll_one(
        &self,
        poll: &Poll<'_>,
        binding: &RepositoryBinding,
        detection: ForgeResult<Detection>,
    ) -> RepositoryReport {
        let mut report = RepositoryReport {
            binding: binding.clone(),
            id: None,
            outcome: RepositoryOutcome::Unchanged,
            owner_variable: OwnerVariable::Unread,
            notes: Vec::new(),
        };
        let bound = poll.mirrors.iter().find(|mirror| {
            mirror.configured_name == binding.name && mirror.project == binding.project
        });
        report.id = bound.map(RepositoryMirror::id);
        let detection = match detection {
            Ok(detection) => detection,
            Err(error) => {
                let reason = Failure::from(error).reason();
                return unknown(poll.store, report, reason).await;
            }
        };
        if detection.name != binding.name {
            let note = format!("renamed to {}: change the config", detection.name);
            report.notes.push(note);
        }
        let mirror = match judge(binding, &detection, &poll.mirrors, &poll.claims) {
            Binding::First => None,
            Binding::Pinned(mirror) => Some(*mirror),
            Binding::Changed { pinned, reason } => {
                report.id = Some(pinned);
                return unknown(poll.store, report, reason).await;
            }
            Binding::Foreign { reason } => {
                report.outcome = RepositoryOutcome::Refused { reason };
                return report;
            }
        };
        report.id = Some(detection.id);
        self.read(poll, &detection, mirror, report).await
    }

    async fn read(
        &self,
        poll: &Poll<'_>,
        detection: &Detection,
        mirror: Option<RepositoryMirror>,
        mut report: RepositoryReport,
    ) -> RepositoryReport {
        let mut memory = self.remember(detection.id, Memory::default(), poll.began_at);
        let hinted = poll.hinted.contains(&report.binding.name);
        let reader = Reader {
            forge: &*self.forge,
            store: poll.store,
            settings: &self.settings,
            installation: &self.installation,
            request: poll.request,
            binding: &report.binding,
            detection,
            began_at: poll.began_at,
            hinted,
        };
        let was_bound = mirror.is_some();
        let read = reader.read(mirror, &mut memory);
        let result = tokio::time::timeout(self.settings.repository_timeout, read).await;
        let result = result.unwrap_or(Err(Failure::TooSlow));
        match result {
            Ok(done) => {
                report.owner_variable = done.owner_variable;
                report.notes.extend(done.notes);
                report.outcome = done.outcome;
                memory.known_at = Some(poll.began_at);
                self.remember(detection.id, memory, poll.began_at);
                report
            }
            Err(failure) => {
                // What was skipped is made up for by reading all of it again.
                memory.settling_until = Some(later(poll.began_at, self.settings.visibility));
                self.remember(detection.id, memory, poll.began_at);
                if !was_bound {
                    report.id = None;
                }
                unknown(poll.store, report, failure.reason()).await
            }
        }
    }

    /// Exchanges what is remembered of a repository.
    fn remember(&self, id: RepositoryId, memory: Memory, now: Timestamp) -> Memory {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let settling = Memory {
            // At first sight the forge may still lag behind what it accepted before.
            settling_until: Some(later(now, self.settings.visibility)),
            ..Memory::default()
        };
        memories.insert(id, memory).unwrap_or(settling)
    }

    /// How long ago the repositories were read, for a metric: the oldest.
    pub fn oldest_read(&self, now: Timestamp) -> Option<Duration> {
        let oldest = self.known_at().into_values().min()?;
        (now - oldest).to_std().ok()
    }
}

async fn unknown(
    store: &dyn MirrorStore,
    mut report: RepositoryReport,
    reason: String,
) -> RepositoryReport {
    if let Some(id) = report.id {
        note_unknown(store, id, &reason).await;
    }
    report.outcome = RepositoryOutcome::Unknown { reason };
    report
}

async fn note_unknown(store: &dyn MirrorStore, id: RepositoryId, reason: &str) {
    if let Err(error) = store.mark_unknown(id, reason).await {
        tracing::warn!(repo.id = id.0, error = %error, "a failed read could not be noted");
    }
}

fn all_unknown(request: &PollRequest, reason: &str) -> PollReport {
    let line = |binding: &RepositoryBinding| RepositoryReport {
        binding: binding.clone(),
        id: None,
        outcome: RepositoryOutcome::Unknown {
            reason: reason.to_owned(),
        },
        owner_variable: OwnerVariable::Unread,
        notes: Vec::new(),
    };
    PollReport {
        repositories: request.bound.iter().map(line).collect(),
        identity_unknown: None,
    }
}
