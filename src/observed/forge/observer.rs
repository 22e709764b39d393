//! The poll: identities, detection of everything at once, then every
//! repository for itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;

use super::{
    ahead::{Ahead, read_ahead},
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
    forge::{BudgetWindow, Detection, Forge, ForgeResult},
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
pub(super) struct Poll<'a> {
    pub(super) request: &'a PollRequest,
    pub(super) store: &'a dyn MirrorStore,
    mirrors: Vec<RepositoryMirror>,
    claims: Vec<(RepositoryBinding, RepositoryId)>,
    hinted: BTreeSet<RepositoryName>,
    pub(super) began_at: Timestamp,
}

/// A repository that is to be read.
pub(super) struct Candidate<'a> {
    binding: &'a RepositoryBinding,
    pub(super) detection: Detection,
    /// Its row, where it is bound.
    pub(super) mirror: Option<RepositoryMirror>,
    pub(super) memory: Memory,
    pub(super) hinted: bool,
    pub(super) ahead: Ahead,
    /// Whether the config says otherwise of its binding than its row.
    pub(super) rebound: bool,
    report: RepositoryReport,
}

/// What one look at a detection comes to.
enum Line<'a> {
    /// It is to be read.
    Read(Box<Candidate<'a>>),
    /// It cannot be: why.
    Unknown(RepositoryReport, String),
    /// There is nothing more to say.
    Said(RepositoryReport),
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

    /// What is left of the forge's budgets.
    pub fn budget(&self) -> Vec<BudgetWindow> {
        self.forge.budget()
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

    /// Polls some of the bound repositories once: those with these ids that are bound already.
    pub async fn poll_some(
        &self,
        request: &PollRequest,
        repositories: &BTreeSet<RepositoryId>,
        store: &dyn MirrorStore,
    ) -> PollReport {
        let mut request = request.clone();
        let mirrors = match store.mirrors().await {
            Ok(mirrors) => mirrors,
            Err(error) => return all_unknown(&request, &error.to_string()),
        };
        let some = mirrors
            .iter()
            .filter(|row| repositories.contains(&row.id()));
        let names: BTreeSet<_> = some.map(|row| &row.configured_name).collect();
        request
            .bound
            .retain(|binding| names.contains(&binding.name));
        if request.bound.is_empty() {
            return PollReport::default();
        }
        self.poll_with(&request, store, BTreeSet::new()).await
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
        let mut lines: Vec<Line<'_>> = request
            .bound
            .iter()
            .zip(detections)
            .map(|(binding, detection)| self.look(&poll, binding, detection))
            .collect();
        let mut candidates: Vec<&mut Candidate<'_>> = lines
            .iter_mut()
            .filter_map(|line| match line {
                Line::Read(candidate) => Some(candidate.as_mut()),
                Line::Unknown(..) | Line::Said(_) => None,
            })
            .collect();
        read_ahead(&*self.forge, &self.settings, &poll, &mut candidates).await;
        let repositories = futures::stream::iter(lines)
            .map(|line| self.poll_one(&poll, line))
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

    /// Judges what was detected of a binding.
    fn look<'a>(
        &self,
        poll: &Poll<'_>,
        binding: &'a RepositoryBinding,
        detection: ForgeResult<Detection>,
    ) -> Line<'a> {
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
            Err(error) => return Line::Unknown(report, Failure::from(error).reason()),
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
                return Line::Unknown(report, reason);
            }
            Binding::Foreign { reason } => {
                report.outcome = RepositoryOutcome::Refused { reason };
                return Line::Said(report);
            }
        };
        report.id = Some(detection.id);
        let stored = poll.mirrors.iter().find(|row| row.id() == detection.id);
        Line::Read(Box::new(Candidate {
            memory: self.recall(detection.id, poll.began_at),
            hinted: poll.hinted.contains(&binding.name),
            // A binding that the config changed is written down by a read of its own.
            ahead: Ahead::Alone,
            rebound: mirror.as_ref() != stored,
            binding,
            detection,
            mirror,
            report,
        }))
    }

    async fn poll_one(&self, poll: &Poll<'_>, line: Line<'_>) -> RepositoryReport {
        match line {
            Line::Said(report) => report,
            Line::Unknown(report, reason) => unknown(poll.store, report, reason).await,
            Line::Read(candidate) => self.read(poll, *candidate).await,
        }
    }

    async fn read(&self, poll: &Poll<'_>, candidate: Candidate<'_>) -> RepositoryReport {
        let Candidate {
            binding,
            detection,
            mirror,
            mut memory,
            hinted,
            ahead,
            mut report,
            ..
        } = candidate;
        let reader = Reader {
            forge: &*self.forge,
            store: poll.store,
            settings: &self.settings,
            installation: &self.installation,
            request: poll.request,
            binding,
            detection: &detection,
            began_at: poll.began_at,
            hinted,
        };
        let was_bound = mirror.is_some();
        let read = reader.read(mirror, &mut memory, ahead);
        let result = tokio::time::timeout(self.settings.repository_timeout, read).await;
        let result = result.unwrap_or(Err(Failure::TooSlow));
        match result {
            Ok(done) => {
                report.owner_variable = done.owner_variable;
                report.notes.extend(done.notes);
                report.outcome = done.outcome;
                memory.known_at = Some(poll.began_at);
                self.remember(detection.id, memory);
                report
            }
            Err(failure) => {
                // What was skipped is made up for by reading all of it again.
                memory.settling_until = Some(later(poll.began_at, self.settings.visibility));
                self.remember(detection.id, memory);
                if !was_bound {
                    report.id = None;
                }
                unknown(poll.store, report, failure.reason()).await
            }
        }
    }

    /// Takes out what is remembered of a repository.
    fn recall(&self, id: RepositoryId, now: Timestamp) -> Memory {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.remove(&id).unwrap_or_else(|| Memory {
            // At first sight the forge may still lag behind what it accepted before.
            settling_until: Some(later(now, self.settings.visibility)),
            ..Memory::default()
        })
    }

    fn remember(&self, id: RepositoryId, memory: Memory) {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.insert(id, memory);
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
