//! Parts of a repository's read: its first binding, reviews, branches and rights.

use std::collections::BTreeSet;

use super::{
    batch::MirrorBatch,
    hot::Hot,
    memory::{Memory, is_due},
    reader::{Failure, Reader, is_own},
};
use crate::{
    domain::{
        forge::{PullRequest, RepositoryRecord, Review, SubjectState},
        ids::{EventId, IssueNumber, ReviewId},
        mirror::{
            BranchHead, MirrorCursors, OwnerMark, OwnerVariable, PermissionRecord, RepositoryMirror,
        },
    },
    forge::{ForgeErrorKind, ForgeResult, PullFilter},
};

/// How far back the first bind looks for pull requests.
pub(super) const FIRST_PULLS: chrono::TimeDelta = chrono::TimeDelta::days(90);

impl Reader<'_> {
    /// Pins the repository: first the marks up to which everything is
    /// historical, then, in later reads, everything else, so that nothing falls
    /// between the two.
    ///
    /// A repository that names us was ours before this database: it is bound
    /// again where it was, and everything since counts.
    pub(super) async fn bind(&self) -> Result<(RepositoryMirror, u64), Failure> {
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
        let reviews = self.reviews_of(&own.collect()).await?;
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

    /// Reads the reviews of our own pull requests that moved or are hot, and then what is said on
    /// lines: in this order no review is known without its lines.
    pub(super) async fn read_reviews(
        &self,
        batch: &mut MirrorBatch,
        hot: &mut Hot,
    ) -> Result<(), Failure> {
        let open = |pull: &&PullRequest| is_own(pull) && pull.state == SubjectState::Open;
        let moved = batch.pulls.iter().filter(open).map(|pull| pull.number);
        let numbers: BTreeSet<IssueNumber> = moved.chain(hot.pulls()).collect();
        batch.reviews = self.reviews_of(&numbers).await?;
        self.read_hot_lines(hot).await?;
        self.read_remarks(batch, &numbers).await
    }

    /// Reads what is said on lines: it belongs to the reviews, and a run may start from them at
    /// once. Those of hot subjects are read with them.
    pub(super) async fn read_remarks(
        &self,
        batch: &mut MirrorBatch,
        numbers: &BTreeSet<IssueNumber>,
    ) -> Result<(), Failure> {
        for number in numbers.difference(&self.hot_numbers()) {
            match self.read_conversation(*number, true).await {
                Err(Failure::Forge(error)) if error.says_subject_left() => {}
                read => batch.conversations.push(read?),
            }
        }
        Ok(())
    }

    pub(super) async fn reviews_of(
        &self,
        numbers: &BTreeSet<IssueNumber>,
    ) -> ForgeResult<Vec<Review>> {
        let mut reviews = Vec::new();
        for number in numbers.iter().copied() {
            match self.forge.reviews(&self.repository(), number).await {
                Err(error) if error.says_subject_left() => {}
                read => reviews.extend(read?),
            }
        }
        Ok(reviews)
    }

    /// Reads where the wanted branches stand: when the repository moved, and
    /// otherwise each visibility time, since nothing announces a push.
    pub(super) async fn read_branches(
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
    pub(super) async fn read_permissions(
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
}
