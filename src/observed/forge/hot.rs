//! The hot set: subjects with a live trigger, run or approval, read every
//! period in one batch; their conversations and reviews only when they moved.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    batch::{Conversation, MirrorBatch},
    memory::Memory,
    reader::{Failure, Reader},
};
use crate::{
    domain::{
        Timestamp,
        forge::{Issue, SubjectState},
        ids::{IssueNumber, RepositoryId},
    },
    forge::{CommentFilter, SubjectRead},
};

/// What the hot read found.
#[derive(Debug, Default)]
pub(super) struct Hot {
    numbers: BTreeSet<IssueNumber>,
    reads: Vec<SubjectRead>,
    gone: Vec<(RepositoryId, IssueNumber)>,
    moved: BTreeSet<IssueNumber>,
    conversations: Vec<(Conversation, Timestamp)>,
    /// Whether a newest event was not read, or a label set differs from what is known.
    pub(super) needs_events: bool,
}

impl Hot {
    pub(super) fn numbers(&self) -> &BTreeSet<IssueNumber> {
        &self.numbers
    }

    /// The pull requests among what moved.
    pub(super) fn pulls(&self) -> impl Iterator<Item = IssueNumber> {
        let pulls = self.reads.iter().filter(|read| read.issue.is_pull_request);
        pulls
            .map(|read| read.issue.number)
            .filter(|number| self.moved.contains(number))
    }

    /// Hands everything over, and remembers what was seen.
    pub(super) fn give(self, batch: &mut MirrorBatch, memory: &mut Memory) {
        memory
            .conversations
            .retain(|number, _| self.numbers.contains(number));
        for (conversation, at) in self.conversations {
            memory.conversations.insert(conversation.number, at);
            batch.conversations.push(conversation);
        }
        batch
            .issues
            .extend(self.reads.into_iter().map(|read| read.issue));
        batch.gone.extend(self.gone);
    }
}

impl Reader<'_> {
    /// Reads the hot subjects. `whole`: the repository may lag, so read their
    /// conversations whatever their update times say.
    pub(super) async fn read_hot(&self, memory: &mut Memory, whole: bool) -> Result<Hot, Failure> {
        let numbers = self.hot_numbers();
        if numbers.is_empty() {
            return Ok(Hot::default());
        }
        let list: Vec<IssueNumber> = numbers.iter().copied().collect();
        let rows = self.store.issues(self.detection.id, &list).await?;
        let rows: BTreeMap<IssueNumber, Issue> = rows
            .into_iter()
            .map(|issue| (issue.number, issue))
            .collect();
        let mut hot = Hot {
            numbers,
            ..Hot::default()
        };
        self.read_subjects(&mut hot, &rows).await?;
        memory.events.note_shown(&hot.reads, self.began_at);
        hot.needs_events = memory.events.has_unread();
        for index in 0..hot.reads.len() {
            let read = &hot.reads[index];
            let issue = &read.issue;
            let number = issue.number;
            let row = rows.get(&number);
            hot.needs_events |= row.is_none_or(|row| differs(row, issue));
            let read_at = memory.conversations.get(&number);
            if whole || read_at != Some(&issue.updated_at) {
                let at = issue.updated_at;
                // What is said on lines is read once the reviews are.
                let conversation = self.read_conversation(number, false).await?;
                hot.conversations.push((conversation, at));
                hot.moved.insert(number);
            }
        }
        Ok(hot)
    }

    /// One batch for what the mirror knows by node id; single reads for the
    /// rest and for what seems to have left.
    async fn read_subjects(
        &self,
        hot: &mut Hot,
        rows: &BTreeMap<IssueNumber, Issue>,
    ) -> Result<(), Failure> {
        let repository = self.repository();
        let keys: Vec<(IssueNumber, String)> = rows
            .values()
            .filter(|row| row.state != SubjectState::Gone)
            .map(|row| (row.number, row.node_id.clone()))
            .collect();
        let mut missing: Vec<IssueNumber> = hot
            .numbers
            .iter()
            .copied()
            .filter(|number| !rows.contains_key(number))
            .collect();
        if !keys.is_empty() {
            let reads = self.forge.subjects(&repository, &keys).await?;
            for ((number, _), read) in keys.iter().zip(reads) {
                match read {
                    Some(read) => hot.reads.push(read),
                    None => missing.push(*number),
                }
            }
        }
        for number in missing {
            match self.forge.issue(&repository, number).await {
                Ok(issue) => hot.reads.push(SubjectRead {
                    issue,
                    newest_event: None,
                    pull: None,
                }),
                // Definite, and the repository itself was detected in this poll.
                Err(error) if error.says_subject_left() => {
                    hot.gone.push((repository.id, number));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what is said on the lines of the hot pull requests that moved.
    pub(super) async fn read_hot_lines(&self, hot: &mut Hot) -> Result<(), Failure> {
        let pulls: BTreeSet<IssueNumber> = hot.pulls().collect();
        let of_pulls = hot.conversations.iter_mut();
        for (conversation, _) in of_pulls.filter(|(it, _)| pulls.contains(&it.number)) {
            let lines = self
                .forge
                .review_comments(&self.repository(), conversation.number)
                .await?;
            conversation.comments.extend(lines);
        }
        Ok(())
    }

    pub(super) async fn read_conversation(
        &self,
        number: IssueNumber,
        is_pull_request: bool,
    ) -> Result<Conversation, Failure> {
        let repository = self.repository();
        let mut comments = self
            .forge
            .comments(&repository, CommentFilter::On(number))
            .await?;
        if is_pull_request {
            comments.extend(self.forge.review_comments(&repository, number).await?);
        }
        Ok(Conversation {
            repository: repository.id,
            number,
            comments,
        })
    }
}

/// Whether state or labels of a subject are other than the mirror has them.
pub(super) fn differs(row: &Issue, read: &Issue) -> bool {
    let labels = |issue: &Issue| issue.labels.iter().cloned().collect::<BTreeSet<_>>();
    row.state != read.state || labels(row) != labels(read)
}
