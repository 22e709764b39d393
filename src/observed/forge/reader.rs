//! One repository in one poll: bind it, read what moved, read the hot set,
//! hand it to the mirror. Any failed call ends it with nothing more moved.

use std::collections::BTreeSet;

use super::{
    batch::{MirrorBatch, MirrorError, MirrorStore},
    hot::Hot,
    memory::{Memory, is_due, later},
    report::{PollRequest, PollSettings, RepositoryBinding, RepositoryOutcome},
};
use crate::{
    domain::{
        Timestamp,
        forge::{PullRequest, RepositoryRecord, Review, SubjectState},
        ids::{EventId, InstallationId, IssueNumber, ReviewId},
        mirror::{
            BranchHead, MirrorCursors, OwnerMark, OwnerVariable, PermissionRecord, RepositoryMirror,
        },
    },
    forge::{Detection, Forge, ForgeError, ForgeErrorKind, ForgeResult, PullFilter, RepositoryRef},
};

/// Pull requests from these branches are the platform's: only theirs are read
/// with their reviews.
const OWN_BRANCHES: &str = "codex/";

/// How far back the first bind looks for pull requests.
const FIRST_PULLS: chrono::TimeDelta = chrono::TimeDelta::days(90);

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
    ) -> Result<Done, Failure> {
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
        let sweep = is_due(memory.swept, self.settings.sweep_every, now);
        let whole = self.hinted
            || sweep
            || !mirror.complete
            || mirror.unknown.is_some()
            || memory.settling_until.is_some();
        let hot = self.read_hot(memory, whole).await?;
        if hot.needs_events {
            memory.settling_until = Some(later(now, self.settings.visibility));
        }
        let mut batch = MirrorBatch::begun_at(self.began_at);
        if whole {
            rows += self.read_issues(&mut mirror, &hot).await?;
            self.read_rest(&mut mirror, &mut batch, sweep).await?;
        } else if hot.needs_events {
            self.read_events(&mut mirror, &mut batch).await?;
        }
        self.read_reviews(&mut batch, &hot).await?;
        self.read_branches(&mut batch, memory, whole).await?;
        self.read_permissions(&mut batch, memory, &mut notes).await;
        hot.give(&mut batch, memory);
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
        if whole && finished && memory.settling_until.is_some_and(|until| now >= until) {
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

    /// Pins the repository: first the marks up to which everything is
    /// historical, then, in later reads, everything else, so that nothing falls
    /// between the two.
    ///
    /// A repository that names us was ours before this database: it is bound
    /// again where it was, and everything since counts.
    async fn bind(&self) -> Result<(RepositoryMirror, u64), Failure> {
        let repository = self.repository();
        let record = self.forge.repository(&self.detection.name).await?;
        if record.id != self.detection.id {
            let why = format!("{} is two repositories at once", self.detection.name);
            return Err(Failure::Confused(why));
        }
        if let Some(mark) = self.own_mark().await? {
            let cursors = MirrorCursors {
                last_event: Some(mark.binding_event),
                ..MirrorCursors::default()
            };
            let marks = (mark.binding_event, mark.binding_review);
            return self.pin(record, marks, cursors).await;
        }
        let event = self.forge.newest_event(&repository).await?;
        let filter = PullFilter::Since(Some(self.began_at - FIRST_PULLS));
        let pulls = self.forge.pulls(&repository, &filter).await?;
        let own = pulls
            .iter()
            .filter(|pull| is_own(pull))
            .map(|pull| pull.number);
        let reviews = self.reviews_of(own.collect()).await?;
        let review = reviews.iter().map(|it| it.id).max();
        let marks = (event.unwrap_or(EventId(0)), review.unwrap_or(ReviewId(0)));
        self.pin(record, marks, MirrorCursors::default()).await
    }

    /// The repository's variable, where it names us.
    async fn own_mark(&self) -> Result<Option<OwnerMark>, Failure> {
        let name = &self.settings.owner_variable_name;
        match self.forge.variable(&self.repository(), name).await {
            Ok(value) => Ok(value
                .map(|value| OwnerMark::parse(&value))
                .filter(|mark| mark.installation == self.installation.as_str())),
            Err(error) if error.kind == ForgeErrorKind::Forbidden => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn pin(
        &self,
        record: RepositoryRecord,
        (binding_event, binding_review): (EventId, ReviewId),
        cursors: MirrorCursors,
    ) -> Result<(RepositoryMirror, u64), Failure> {
        let mirror = RepositoryMirror {
            forge: self.forge.kind(),
            project: self.binding.project.clone(),
            configured_name: self.binding.name.clone(),
            record,
            bound_at: self.began_at,
            binding_event,
            binding_review,
            adopt_existing: self.binding.adopt_existing,
            cursors,
            unknown: None,
            complete: false,
            owner_variable: OwnerVariable::Unread,
        };
        let written = self.commit_bookkeeping(mirror.clone()).await?;
        Ok((mirror, written))
    }

    async fn commit_bookkeeping(&self, mirror: RepositoryMirror) -> Result<u64, Failure> {
        let mut batch = MirrorBatch::begun_at(self.began_at);
        batch.mirror = Some(mirror);
        Ok(self.store.commit(batch).await?)
    }

    /// Reads whose the repository is. A credential that may not read variables
    /// is noted and stops nothing.
    async fn read_owner_variable(
        &self,
        mirror: &mut RepositoryMirror,
        memory: &mut Memory,
        notes: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let now = self.began_at;
        let settled = matches!(
            mirror.owner_variable,
            OwnerVariable::Ours | OwnerVariable::Forbidden
        );
        if settled && !is_due(memory.owner_read, self.settings.owner_variable_every, now) {
            return Ok(());
        }
        let name = &self.settings.owner_variable_name;
        mirror.owner_variable = match self.forge.variable(&self.repository(), name).await {
            Ok(None) => OwnerVariable::Absent,
            Ok(Some(value)) => match OwnerMark::parse(&value).installation {
                ours if ours == self.installation.as_str() => OwnerVariable::Ours,
                installation => OwnerVariable::Other { installation },
            },
            Err(error) if error.kind == ForgeErrorKind::Forbidden => {
                notes.push("our credential may not read repository variables".to_owned());
                OwnerVariable::Forbidden
            }
            Err(error) => return Err(error.into()),
        };
        memory.owner_read = Some(now);
        Ok(())
    }

    /// Reads the issues that moved, page by page: each page goes into the
    /// mirror with its mark. Hot subjects are left to the hot read, which knows
    /// their edit history.
    async fn read_issues(&self, mirror: &mut RepositoryMirror, hot: &Hot) -> Result<u64, Failure> {
        let repository = self.repository();
        let mut since = mirror.cursors.issues_since;
        let mut rows = 0;
        for _ in 0..self.settings.issue_pages.max(1) {
            let page = self.forge.issues_since(&repository, since).await?;
            let cold = page
                .items
                .into_iter()
                .filter(|issue| !hot.has(issue.number));
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
        sweep: bool,
    ) -> Result<(), Failure> {
        let repository = self.repository();
        self.read_events(mirror, batch).await?;
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
            for label in &self.request.sweep_labels {
                let found = self.forge.issues_with_label(&repository, label).await?;
                let hot = self.hot_numbers();
                batch
                    .issues
                    .extend(found.into_iter().filter(|it| !hot.contains(&it.number)));
            }
            batch.issues.sort_by_key(|issue| issue.number);
            batch.issues.dedup_by_key(|issue| issue.number);
        }
        Ok(())
    }

    /// Reads events back to the last known one, or so far back as a first read goes.
    async fn read_events(
        &self,
        mirror: &mut RepositoryMirror,
        batch: &mut MirrorBatch,
    ) -> Result<(), Failure> {
        let pages = if mirror.adopt_existing {
            u32::MAX
        } else {
            self.settings.first_event_pages
        };
        let known = mirror.cursors.last_event;
        let events = self
            .forge
            .issue_events(&self.repository(), known, pages)
            .await?;
        let newest = events.iter().map(|event| event.id).max();
        mirror.cursors.last_event = newest.max(known).or(Some(mirror.binding_event));
        batch.events = events;
        Ok(())
    }

    /// Reads the reviews of our own pull requests that moved or are hot.
    async fn read_reviews(&self, batch: &mut MirrorBatch, hot: &Hot) -> Result<(), Failure> {
        let open = |pull: &&PullRequest| is_own(pull) && pull.state == SubjectState::Open;
        let moved = batch.pulls.iter().filter(open).map(|pull| pull.number);
        let numbers: BTreeSet<IssueNumber> = moved.chain(hot.pulls()).collect();
        batch.reviews = self.reviews_of(numbers.into_iter().collect()).await?;
        Ok(())
    }

    async fn reviews_of(&self, numbers: Vec<IssueNumber>) -> ForgeResult<Vec<Review>> {
        let mut reviews = Vec::new();
        for number in numbers {
            match self.forge.reviews(&self.repository(), number).await {
                Err(error) if error.says_subject_left() => {}
                read => reviews.extend(read?),
            }
        }
        Ok(reviews)
    }

    /// Reads where the wanted branches stand: when the repository moved, and
    /// otherwise each visibility time, since nothing announces a push.
    async fn read_branches(
        &self,
        batch: &mut MirrorBatch,
        memory: &mut Memory,
        whole: bool,
    ) -> Result<(), Failure> {
        let id = self.detection.id;
        let wanted = self
            .request
            .branches
            .iter()
            .filter(|(repository, _)| *repository == id);
        for (_, branch) in wanted {
            let last = memory.branches.get(branch).copied();
            if !whole && !is_due(last, self.settings.visibility, self.began_at) {
                continue;
            }
            let head = self.forge.ref_head(&self.repository(), branch).await?;
            memory.branches.insert(branch.clone(), self.began_at);
            batch.branches.push(BranchHead {
                repository: id,
                branch: branch.clone(),
                head,
                ours: false,
            });
        }
        Ok(())
    }

    /// Reads the rights of actors. One that cannot be read is noted and stays
    /// unknown; the rest goes on.
    async fn read_permissions(
        &self,
        batch: &mut MirrorBatch,
        memory: &mut Memory,
        notes: &mut Vec<String>,
    ) {
        let id = self.detection.id;
        let wanted = self
            .request
            .actors
            .iter()
            .filter(|(repository, _)| *repository == id);
        // Read again a little before the old reading is too old.
        let every = self.settings.permission_age * 3 / 4;
        for (_, account) in wanted {
            let last = memory.permissions.get(&account.id).copied();
            if !is_due(last, every, self.began_at) {
                continue;
            }
            match self.forge.permission(&self.repository(), account).await {
                Ok(permission) => {
                    memory.permissions.insert(account.id, self.began_at);
                    batch.permissions.push(PermissionRecord {
                        repository: id,
                        user: account.id,
                        permission,
                        read_at: self.began_at,
                    });
                }
                Err(error) => notes.push(Failure::from(error).reason()),
            }
        }
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

fn is_own(pull: &PullRequest) -> bool {
    pull.head.as_str().starts_with(OWN_BRANCHES)
}
