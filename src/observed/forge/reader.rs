//! One repository in one poll: bind it, read what moved, read the hot set,
//! hand it to the mirror. Any failed call ends it with nothing more moved.

use std::collections::BTreeSet;

use super::{
    ahead::Ahead,
    batch::{MirrorBatch, MirrorError, MirrorStore},
    memory::{Memory, earlier, is_due, later},
    parts::FIRST_PULLS,
    report::{PollRequest, PollSettings, RepositoryBinding, RepositoryOutcome},
};
use crate::{
    domain::{
        Timestamp,
        forge::{PullRequest, RepositoryRecord},
        ids::{InstallationId, IssueNumber},
        mirror::{OwnerVariable, RepositoryMirror},
    },
    forge::{Detection, EventsQuery, Forge, ForgeError, ForgeErrorKind, PullFilter, RepositoryRef},
};

/// Pull requests from these branches are the platform's: only theirs are read
/// with their reviews.
const OWN_BRANCHES: &str = "codex/";

/// Why a repository could not be read.
#[derive(Debug)]
pub(super) enum Failure {
    /// The forge.
    Forge(ForgeError),
    /// The mirror.
    Mirror(MirrorError),
    /// It took longer than one repository may.
    TooSlow,
    /// What two answers say does not fit together.
    Confused(String),
}

impl From<ForgeError> for Failure {
    fn from(error: ForgeError) -> Self {
        Self::Forge(error)
    }
}

impl From<MirrorError> for Failure {
    fn from(error: MirrorError) -> Self {
        Self::Mirror(error)
    }
}

impl Failure {
    /// The reason for people and for the mirror. Stored when it changes, so
    /// passing troubles are told without the forge's varying words.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Forge(error) => match error.kind {
                ForgeErrorKind::RateLimited { .. }
                | ForgeErrorKind::Server
                | ForgeErrorKind::Timeout
                | ForgeErrorKind::Network
                | ForgeErrorKind::Truncated => {
                    format!("{} not read ({})", error.purpose, error.kind.as_str())
                }
                _ => error.to_string(),
            },
            Self::Mirror(error) => error.to_string(),
            Self::TooSlow => "reading it took too long".to_owned(),
            Self::Confused(why) => why.clone(),
        }
    }
}

/// What reading a repository came to.
pub(super) struct Done {
    pub(super) outcome: RepositoryOutcome,
    pub(super) owner_variable: OwnerVariable,
    pub(super) notes: Vec<String>,
}

/// How much of a repository was looked at.
struct Look {
    /// Whether all that moved is among it.
    whole: bool,
    /// Whether what bears our labels is.
    sweep: bool,
}

/// One repository in one poll.
pub(super) struct Reader<'a> {
    pub(super) forge: &'a dyn Forge,
    pub(super) store: &'a dyn MirrorStore,
    pub(super) settings: &'a PollSettings,
    pub(super) installation: &'a InstallationId,
    pub(super) request: &'a PollRequest,
    pub(super) binding: &'a RepositoryBinding,
    pub(super) detection: &'a Detection,
    pub(super) began_at: Timestamp,
    pub(super) hinted: bool,
}

impl Reader<'_> {
    pub(super) fn repository(&self) -> RepositoryRef {
        RepositoryRef {
            id: self.detection.id,
            name: self.detection.name.clone(),
        }
    }

    /// Reads the repository into the mirror.
    pub(super) async fn read(
        &self,
        mirror: Option<RepositoryMirror>,
        memory: &mut Memory,
        ahead: Ahead,
    ) -> Result<Done, Failure> {
        let before = mirror.clone();
        let mut notes = Vec::new();
        let mut rows = 0;
        let mut mirror = if let Some(mirror) = mirror {
            mirror
        } else {
            let (mirror, written) = self.bind().await?;
            rows += written;
            mirror
        };
        self.read_owner_variable(&mut mirror, memory, &mut notes)
            .await?;
        if let OwnerVariable::Other { installation } = &mirror.owner_variable {
            let reason = format!("other installation: {installation}");
            let owner_variable = mirror.owner_variable.clone();
            self.commit_bookkeeping(mirror).await?;
            let outcome = RepositoryOutcome::Refused { reason };
            return Ok(Done {
                outcome,
                owner_variable,
                notes,
            });
        }
        let now = self.began_at;
        if mirror.cursors.detected.as_ref() != Some(&self.detection.detected) {
            memory.settling_until = Some(later(now, self.settings.visibility));
        }
        let mut batch = MirrorBatch::begun_at(self.began_at);
        let look = match ahead {
            Ahead::Failed(why) => return Err(Failure::Confused(why)),
            Ahead::Nothing => {
                return self.done_with(mirror, before, notes).await;
            }
            Ahead::Read(both) => {
                let (asked, read) = *both;
                let look = Look {
                    whole: asked.since.is_some(),
                    sweep: !asked.sweep.is_empty(),
                };
                rows += self
                    .read_light(&mut mirror, &mut batch, memory, (&asked, read))
                    .await?;
                look
            }
            Ahead::Alone => {
                let (look, written) = self.read_lists(&mut mirror, &mut batch, memory).await?;
                rows += written;
                look
            }
        };
        let Look { whole, sweep } = look;
        if sweep && self.are_variables_due(before.as_ref(), memory) {
            self.read_variables(&mut mirror, &mut batch, &mut notes)
                .await?;
        }
        self.read_permissions(&mut batch, memory, &mut notes).await;
        self.update_record(&mut mirror);
        let owner_variable = mirror.owner_variable.clone();
        let finished = mirror.complete;
        if finished {
            mirror.cursors.detected = Some(self.detection.detected.clone());
        }
        mirror.unknown = None;
        batch.mirror = Some(mirror);
        rows += self.store.commit(batch).await?;
        if sweep && finished {
            memory.swept = Some(now);
        }
        // Only a read begun after that time shows all that the forge may have hidden until then.
        let settled = memory.settling_until.is_some_and(|until| now >= until);
        if whole && finished && settled && !memory.events.has_unread() {
            memory.settling_until = None;
        }
        let outcome = if whole || rows > 0 {
            RepositoryOutcome::Read { rows }
        } else {
            RepositoryOutcome::Unchanged
        };
        Ok(Done {
            outcome,
            owner_variable,
            notes,
        })
    }

    /// Reads the repository by itself: whole lists where it moved, else the hot set.
    async fn read_lists(
        &self,
        mirror: &mut RepositoryMirror,
        batch: &mut MirrorBatch,
        memory: &mut Memory,
    ) -> Result<(Look, u64), Failure> {
        let now = self.began_at;
        let mut rows = 0;
        let sweep = is_due(memory.swept, self.settings.sweep_every, now);
        let whole = self.hinted
            || sweep
            || !mirror.complete
            || mirror.unknown.is_some()
            || memory.settling_until.is_some();
        let mut hot = self.read_hot(memory, whole).await?;
        if hot.needs_events {
            memory.settling_until = Some(later(now, self.settings.visibility));
        }
        if whole {
            rows += self.read_issues(mirror, hot.numbers()).await?;
            self.read_rest(mirror, batch, memory, sweep).await?;
        } else if hot.needs_events {
            self.read_events(mirror, batch, memory).await?;
        }
        self.read_reviews(batch, &mut hot).await?;
        self.read_branches(batch, memory, whole).await?;
        hot.give(batch, memory);
        Ok((Look { whole, sweep }, rows))
    }

    /// Ends a read for which there was nothing to do; what was found of the repository's owner is
    /// kept where it is new.
    async fn done_with(
        &self,
        mirror: RepositoryMirror,
        before: Option<RepositoryMirror>,
        notes: Vec<String>,
    ) -> Result<Done, Failure> {
        let owner_variable = mirror.owner_variable.clone();
        let rows = match before {
            Some(before) if before == mirror => 0,
            _ => self.commit_bookkeeping(mirror).await?,
        };
        let outcome = if rows > 0 {
            RepositoryOutcome::Read { rows }
        } else {
            RepositoryOutcome::Unchanged
        };
        Ok(Done {
            outcome,
            owner_variable,
            notes,
        })
    }

    pub(super) async fn commit_bookkeeping(
        &self,
        mirror: RepositoryMirror,
    ) -> Result<u64, Failure> {
        let mut batch = MirrorBatch::begun_at(self.began_at);
        batch.mirror = Some(mirror);
        Ok(self.store.commit(batch).await?)
    }

    /// Reads the issues that moved, page by page: each page goes into the
    /// mirror with its mark. Hot subjects are left to the hot read, which knows
    /// their edit history.
    pub(super) async fn read_issues(
        &self,
        mirror: &mut RepositoryMirror,
        hot: &BTreeSet<IssueNumber>,
    ) -> Result<u64, Failure> {
        let repository = self.repository();
        let mut since = mirror.cursors.issues_since;
        let mut rows = 0;
        for _ in 0..self.settings.issue_pages.max(1) {
            let page = self.forge.issues_since(&repository, since).await?;
            let cold = page
                .items
                .into_iter()
                .filter(|issue| !hot.contains(&issue.number));
            let mut batch = MirrorBatch::begun_at(self.began_at);
            batch.issues = cold.collect();
            mirror.cursors.issues_since = page.cursor;
            batch.mirror = Some(mirror.clone());
            rows += self.store.commit(batch).await?;
            if page.go_on.is_none() {
                mirror.complete = true;
                return Ok(rows);
            }
            since = page.go_on;
        }
        // The next poll goes on; until then the repository is not complete.
        mirror.complete = false;
        mirror.cursors.issues_since = since;
        Ok(rows)
    }

    /// Events, labels, pull requests, and at a sweep what bears our labels.
    async fn read_rest(
        &self,
        mirror: &mut RepositoryMirror,
        batch: &mut MirrorBatch,
        memory: &mut Memory,
        sweep: bool,
    ) -> Result<(), Failure> {
        let repository = self.repository();
        self.read_events(mirror, batch, memory).await?;
        batch.labels = Some((repository.id, self.forge.labels(&repository).await?));
        let seen = mirror
            .cursors
            .detected
            .as_ref()
            .and_then(|seen| seen.pulls.0);
        let late = chrono::TimeDelta::from_std(self.settings.visibility).unwrap_or_default();
        let since = seen.map_or(self.began_at - FIRST_PULLS, |seen| seen - late);
        batch.pulls = self
            .forge
            .pulls(&repository, &PullFilter::Since(Some(since)))
            .await?;
        if sweep {
            self.sweep(batch).await?;
        }
        Ok(())
    }

    /// Reads what bears our labels, label by label.
    pub(super) async fn sweep(&self, batch: &mut MirrorBatch) -> Result<(), Failure> {
        let (repository, hot) = (self.repository(), self.hot_numbers());
        for label in &self.request.sweep_labels {
            let found = self.forge.issues_with_label(&repository, label).await?;
            batch
                .issues
                .extend(found.into_iter().filter(|it| !hot.contains(&it.number)));
        }
        batch.issues.sort_by_key(|issue| issue.number);
        batch.issues.dedup_by_key(|issue| issue.number);
        Ok(())
    }

    /// Reads events back to the last known one, or so far back as a first read goes; anew where
    /// a subject has long shown one that the pages do not have.
    pub(super) async fn read_events(
        &self,
        mirror: &mut RepositoryMirror,
        batch: &mut MirrorBatch,
        memory: &mut Memory,
    ) -> Result<(), Failure> {
        let pages = if mirror.adopt_existing {
            u32::MAX
        } else {
            self.settings.first_event_pages
        };
        let known = mirror.cursors.last_event;
        let visible = earlier(self.began_at, self.settings.visibility);
        // A page that was wrongly confirmed would be so for ever.
        let anew = memory.events.misses_since(visible);
        let query = EventsQuery {
            back_to: known,
            max_pages: pages,
            anew,
        };
        let read = self.forge.issue_events(&self.repository(), query).await?;
        memory.events.note_read(&read.node_ids);
        if anew {
            memory.events.settle(visible);
        }
        let newest = read.events.iter().map(|event| event.id).max();
        mirror.cursors.last_event = newest.max(known).or(Some(mirror.binding_event));
        batch.events = read.events;
        Ok(())
    }

    /// Follows what detection says of the repository itself.
    fn update_record(&self, mirror: &mut RepositoryMirror) {
        let record: &mut RepositoryRecord = &mut mirror.record;
        if record.name != self.detection.name {
            let (old, new) = (record.name.to_string(), self.detection.name.to_string());
            record.html_url = record.html_url.replacen(&old, &new, 1);
            record.clone_url = record.clone_url.replacen(&old, &new, 1);
            record.name = self.detection.name.clone();
        }
        record.archived = self.detection.archived;
        if let Some(branch) = &self.detection.default_branch {
            record.default_branch = branch.clone();
        }
        let head = self.detection.detected.head.clone();
        record.default_head = head.map(crate::domain::ids::CommitSha::new);
    }

    pub(super) fn hot_numbers(&self) -> BTreeSet<IssueNumber> {
        let hot = self.request.hot.iter();
        hot.filter(|subject| subject.repository == self.detection.id)
            .map(|subject| subject.number)
            .collect()
    }
}

pub(super) fn is_own(pull: &PullRequest) -> bool {
    pull.head.as_str().starts_with(OWN_BRANCHES)
}
