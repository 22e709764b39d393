//! The light read: a repository whose subjects, conversations and branches were read ahead.
//! By itself it asks for events only where a subject shows one that was not read, and for what
//! GraphQL cannot give: rights, and reviews of our own pull requests that moved.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    batch::{Conversation, MirrorBatch},
    hot::differs,
    memory::{Memory, later},
    reader::{Failure, Reader, is_own},
};
use crate::{
    domain::{
        forge::{Issue, IssueEventKind, SubjectState},
        ids::IssueNumber,
        mirror::{BranchHead, RepositoryMirror},
    },
    forge::{CommentFilter, MovedQuery, MovedRead, SubjectRead},
};

impl Reader<'_> {
    /// Takes over what was read ahead and reads what is missing; answers how many rows were
    /// written on the way.
    pub(super) async fn read_light(
        &self,
        mirror: &mut RepositoryMirror,
        batch: &mut MirrorBatch,
        memory: &mut Memory,
        (asked, read): (&MovedQuery, MovedRead),
    ) -> Result<u64, Failure> {
        let mut rows = 0;
        let mut read = read;
        self.read_unmirrored(asked, &mut read, batch).await?;
        memory.events.note_shown(&read.subjects, self.began_at);
        let mut events = memory.events.has_unread() || self.stand_otherwise(&read.subjects).await?;
        if asked.since.is_some() && !read.reaches_back {
            let hot = asked.hot.iter().map(|hot| hot.number).collect();
            rows += self.read_issues(mirror, &hot).await?;
            events = true;
        } else {
            let mark = &mut mirror.cursors.issues_since;
            *mark = read.newest.max(*mark);
        }
        if events {
            memory.settling_until = Some(later(self.began_at, self.settings.visibility));
            self.read_events(mirror, batch, memory).await?;
            let unlabeled =
                |what: &IssueEventKind| matches!(what, IssueEventKind::Unlabeled { .. });
            // Whether a label that was taken off still exists decides what that means.
            if batch.events.iter().any(|event| unlabeled(&event.what)) {
                let labels = self.forge.labels(&asked.repository).await?;
                batch.labels = Some((asked.repository.id, labels));
            }
        }
        let labels = match read.labels.take() {
            // More than one query gives.
            None if !asked.sweep.is_empty() && batch.labels.is_none() => {
                Some(self.forge.labels(&asked.repository).await?)
            }
            labels => labels,
        };
        if let Some(labels) = labels {
            batch.labels.get_or_insert((asked.repository.id, labels));
        }
        if !asked.sweep.is_empty() && !read.swept {
            self.sweep(batch).await?;
        }
        self.take_conversations(asked, &mut read, batch, memory)
            .await?;
        self.take_branches(&mut read, batch, memory);
        let subjects = read.subjects.into_iter();
        for SubjectRead { issue, pull, .. } in subjects {
            batch.pulls.extend(pull);
            batch.issues.push(issue);
        }
        Ok(rows)
    }

    /// Reads hot subjects that the mirror does not have yet, and confirms that others have left.
    async fn read_unmirrored(
        &self,
        asked: &MovedQuery,
        read: &mut MovedRead,
        batch: &mut MirrorBatch,
    ) -> Result<(), Failure> {
        let known: BTreeSet<IssueNumber> = asked.hot.iter().map(|hot| hot.number).collect();
        let listed: BTreeSet<IssueNumber> =
            read.subjects.iter().map(|it| it.issue.number).collect();
        let numbers = self.hot_numbers();
        let gone: BTreeSet<IssueNumber> = self.gone_already(&numbers, &known).await?;
        let unmirrored = numbers
            .into_iter()
            .filter(|number| !known.contains(number) && !listed.contains(number))
            .filter(|number| !gone.contains(number));
        for number in unmirrored.chain(std::mem::take(&mut read.left)) {
            match self.forge.issue(&asked.repository, number).await {
                Ok(issue) => read.subjects.push(SubjectRead {
                    issue,
                    newest_event: None,
                    pull: None,
                }),
                // Definite, and the repository itself was detected in this poll.
                Err(error) if error.says_subject_left() => {
                    batch.gone.push((asked.repository.id, number));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Which of the hot subjects that were not asked for are known to be gone.
    async fn gone_already(
        &self,
        numbers: &BTreeSet<IssueNumber>,
        asked: &BTreeSet<IssueNumber>,
    ) -> Result<BTreeSet<IssueNumber>, Failure> {
        let rest: Vec<IssueNumber> = numbers.difference(asked).copied().collect();
        if rest.is_empty() {
            return Ok(BTreeSet::new());
        }
        let rows = self.store.issues(self.detection.id, &rest).await?;
        let gone = rows.into_iter();
        Ok(gone
            .filter(|row| row.state == SubjectState::Gone)
            .map(|row| row.number)
            .collect())
    }

    /// Whether a subject stands otherwise than the mirror has it: then an event says why.
    async fn stand_otherwise(&self, subjects: &[SubjectRead]) -> Result<bool, Failure> {
        if subjects.is_empty() {
            return Ok(false);
        }
        let numbers: Vec<IssueNumber> = subjects.iter().map(|read| read.issue.number).collect();
        let rows = self.store.issues(self.detection.id, &numbers).await?;
        let rows: BTreeMap<IssueNumber, Issue> =
            rows.into_iter().map(|row| (row.number, row)).collect();
        Ok(subjects.iter().any(|read| {
            match rows.get(&read.issue.number) {
                Some(row) => differs(row, &read.issue),
                // A new issue without labels has nothing to explain.
                None => !read.issue.labels.is_empty(),
            }
        }))
    }

    async fn take_conversations(
        &self,
        asked: &MovedQuery,
        read: &mut MovedRead,
        batch: &mut MirrorBatch,
        memory: &mut Memory,
    ) -> Result<(), Failure> {
        let repository = &asked.repository;
        let mut found = std::mem::take(&mut read.conversations);
        let mut by_rest = std::mem::take(&mut read.long_conversations);
        // Only REST says through which app a comment was written, and so whether it counts.
        found.retain(|(number, _)| {
            let discussed = self.is_discussed(read, *number);
            if discussed {
                by_rest.push(*number);
            }
            !discussed
        });
        for number in by_rest {
            let on = CommentFilter::On(number);
            found.push((number, self.forge.comments(repository, on).await?));
        }
        let hot: BTreeSet<IssueNumber> = asked.hot.iter().map(|hot| hot.number).collect();
        memory
            .conversations
            .retain(|number, _| hot.contains(number));
        let mut reviewed: BTreeSet<IssueNumber> = BTreeSet::new();
        for read in &read.subjects {
            let moved = match &read.pull {
                // Those that are not hot are here because they moved.
                Some(pull) if is_own(pull) && pull.state == SubjectState::Open => {
                    !hot.contains(&pull.number)
                }
                _ => false,
            };
            if moved {
                reviewed.insert(read.issue.number);
            }
        }
        let pulls = read.subjects.iter().map(|read| &read.issue);
        let pulls = pulls.filter(|issue| issue.is_pull_request);
        let pulls = pulls.map(|issue| issue.number);
        reviewed.extend(pulls.filter(|it| found.iter().any(|(number, _)| number == it)));
        // Reviews before what is said on lines: so no review is known without its lines.
        batch.reviews = self.reviews_of(&reviewed).await?;
        for (number, mut comments) in found {
            let subject = read.subjects.iter().find(|it| it.issue.number == number);
            let Some(issue) = subject.map(|read| &read.issue) else {
                continue;
            };
            if issue.is_pull_request {
                comments.extend(self.forge.review_comments(repository, number).await?);
            }
            memory.conversations.insert(number, issue.updated_at);
            batch.conversations.push(Conversation {
                repository: repository.id,
                number,
                comments,
            });
        }
        self.read_remarks(batch, &reviewed).await
    }

    fn is_discussed(&self, read: &MovedRead, number: IssueNumber) -> bool {
        let mut subjects = read.subjects.iter().map(|read| &read.issue);
        let issue = subjects.find(|issue| issue.number == number);
        let label = self.request.discussed.as_ref();
        issue
            .zip(label)
            .is_some_and(|(issue, label)| issue.labels.contains(label))
    }

    fn take_branches(&self, read: &mut MovedRead, batch: &mut MirrorBatch, memory: &mut Memory) {
        for (branch, head) in std::mem::take(&mut read.branches) {
            memory.branches.insert(branch.clone(), self.began_at);
            batch.branches.push(BranchHead {
                repository: self.detection.id,
                branch,
                head,
                ours: false,
            });
        }
    }
}
