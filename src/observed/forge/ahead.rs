//! Reading ahead: what the repositories of a poll need of the forge, asked for together.
//!
//! A repository is asked about when it moved or may still hide something, when it has hot
//! subjects or branches to look at, and at a sweep. One that needs nothing costs nothing.

use std::{collections::BTreeMap, time::Duration};

use super::{
    batch::MirrorStore,
    memory::{Memory, is_due, later},
    observer::{Candidate, Poll},
    reader::Failure,
    report::PollSettings,
};
use crate::{
    domain::{
        Timestamp,
        forge::SubjectState,
        ids::{BranchName, IssueNumber, RepositoryId, Subject},
        mirror::{OwnerVariable, RepositoryMirror},
    },
    forge::{Detection, Forge, HotSubject, MovedQuery, MovedRead, RepositoryRef},
};

/// What is known of a repository before it is read by itself.
#[derive(Debug)]
pub(super) enum Ahead {
    /// It is to be read by itself, list by list.
    Alone,
    /// There is nothing to read.
    Nothing,
    /// What was asked and read.
    Read(Box<(MovedQuery, MovedRead)>),
    /// It could not be read: why.
    Failed(String),
}

/// Reads what the candidates need.
pub(super) async fn read_ahead(
    forge: &dyn Forge,
    settings: &PollSettings,
    poll: &Poll<'_>,
    candidates: &mut [&mut Candidate<'_>],
) {
    let wanted = Wanted::of(poll);
    let mut asked = Vec::new();
    let mut queries = Vec::new();
    for (at, candidate) in candidates.iter_mut().enumerate() {
        let Some(mirror) = candidate
            .mirror
            .as_ref()
            .filter(|mirror| mirror.complete && !candidate.rebound)
        else {
            continue;
        };
        let looked = Looked {
            mirror,
            detection: &candidate.detection,
            memory: &candidate.memory,
            hinted: candidate.hinted,
            now: poll.began_at,
        };
        match looked.query(settings, &wanted, poll.store).await {
            Ok(Some(query)) => {
                asked.push(at);
                queries.push(query);
            }
            Ok(None) => candidate.ahead = Ahead::Nothing,
            Err(failure) => candidate.ahead = Ahead::Failed(failure.reason()),
        }
    }
    if queries.is_empty() {
        return;
    }
    let answers = match forge.moved(&queries).await {
        Ok(Some(answers)) => answers,
        Ok(None) => return,
        Err(error) => {
            let reason = Failure::from(error).reason();
            for at in asked {
                candidates[at].ahead = Ahead::Failed(reason.clone());
            }
            return;
        }
    };
    for ((at, query), answer) in asked.into_iter().zip(queries).zip(answers) {
        candidates[at].ahead = match answer {
            Ok(read) => Ahead::Read(Box::new((query, read))),
            Err(error) => Ahead::Failed(Failure::from(error).reason()),
        };
    }
}

/// What the request wants, by repository.
struct Wanted<'a> {
    hot: BTreeMap<RepositoryId, Vec<IssueNumber>>,
    branches: BTreeMap<RepositoryId, Vec<&'a BranchName>>,
    poll: &'a Poll<'a>,
}

impl<'a> Wanted<'a> {
    fn of(poll: &'a Poll<'a>) -> Self {
        let mut wanted = Self {
            hot: BTreeMap::new(),
            branches: BTreeMap::new(),
            poll,
        };
        for Subject { repository, number } in &poll.request.hot {
            wanted.hot.entry(*repository).or_default().push(*number);
        }
        for (repository, branch) in &poll.request.branches {
            wanted.branches.entry(*repository).or_default().push(branch);
        }
        wanted
    }
}

/// One repository as a poll finds it.
struct Looked<'a> {
    mirror: &'a RepositoryMirror,
    detection: &'a Detection,
    memory: &'a Memory,
    hinted: bool,
    now: Timestamp,
}

impl Looked<'_> {
    /// What to ask of the forge; `None` where nothing is needed.
    async fn query(
        &self,
        settings: &PollSettings,
        wanted: &Wanted<'_>,
        store: &dyn MirrorStore,
    ) -> Result<Option<MovedQuery>, Failure> {
        let id = self.detection.id;
        if matches!(self.mirror.owner_variable, OwnerVariable::Other { .. }) {
            return Ok(None);
        }
        let unsettled = self.has_moved() || self.hinted || self.memory.settling_until.is_some();
        let mut hot = Vec::new();
        if let Some(numbers) = wanted.hot.get(&id) {
            let rows = store.issues(id, numbers).await?;
            let rows = rows.into_iter();
            hot.extend(
                rows.filter(|row| row.state != SubjectState::Gone)
                    .map(|row| HotSubject {
                        conversation_at: self
                            .memory
                            .conversations
                            .get(&row.number)
                            .filter(|_| !unsettled)
                            .copied(),
                        number: row.number,
                        node_id: row.node_id,
                        is_pull_request: row.is_pull_request,
                    }),
            );
            // One that is not mirrored yet is read by its number.
            let known = |number| hot.iter().any(|row: &HotSubject| row.number == number);
            let unknown = numbers.iter().any(|number| !known(*number));
            if unknown && hot.is_empty() && !unsettled {
                return Ok(Some(self.ask(None, hot, Vec::new(), Vec::new())));
            }
        }
        let all = wanted.branches.get(&id).into_iter().flatten();
        let branches = all
            .filter(|branch| {
                let last = self.memory.branches.get(**branch).copied();
                unsettled || is_due(last, settings.visibility, self.now)
            })
            .map(|branch| (*branch).clone())
            .collect::<Vec<_>>();
        let sweep = if is_due(self.memory.swept, settings.sweep_every, self.now) {
            wanted.poll.request.sweep_labels.clone()
        } else {
            Vec::new()
        };
        let since = unsettled.then(|| self.since(settings.visibility));
        let permissions = wanted
            .poll
            .request
            .actors
            .iter()
            .any(|(repository, _)| *repository == id);
        let nothing = since.is_none() && hot.is_empty() && branches.is_empty() && sweep.is_empty();
        if nothing && !permissions {
            return Ok(None);
        }
        Ok(Some(self.ask(since, hot, branches, sweep)))
    }

    fn ask(
        &self,
        since: Option<Timestamp>,
        hot: Vec<HotSubject>,
        branches: Vec<BranchName>,
        sweep: Vec<crate::domain::ids::LabelName>,
    ) -> MovedQuery {
        MovedQuery {
            repository: RepositoryRef {
                id: self.detection.id,
                name: self.detection.name.clone(),
            },
            since,
            hot,
            branches,
            sweep,
        }
    }

    /// Whether detection, or the mirror's own row, says that something is to be read.
    fn has_moved(&self) -> bool {
        let (row, found) = (&self.mirror.record, self.detection);
        let branch = found.default_branch.as_ref();
        self.mirror.unknown.is_some()
            || self.mirror.cursors.detected.as_ref() != Some(&found.detected)
            || row.name != found.name
            || row.archived != found.archived
            || branch.is_some_and(|branch| *branch != row.default_branch)
    }

    /// From when on subjects count as moved: what was read lately may have been hidden in part.
    fn since(&self, visibility: Duration) -> Timestamp {
        let back = chrono::TimeDelta::from_std(visibility).unwrap_or_default();
        let cursor = self.mirror.cursors.issues_since;
        cursor.map_or(Timestamp::UNIX_EPOCH, |cursor| cursor - back)
    }
}

/// A moment in the past, other for each repository, so that what is done to each at a long
/// interval is not done to all at once.
pub(super) fn staggered(id: RepositoryId, every: Duration, now: Timestamp) -> Timestamp {
    // Ids of one organisation lie close together: multiplied by a large odd number they do not.
    let mixed = u64::from_ne_bytes(id.0.to_ne_bytes()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let share = u32::try_from(mixed >> 48).unwrap_or(0);
    let ago = every / (1 << 16) * share;
    let ago = chrono::TimeDelta::from_std(ago).unwrap_or_default();
    later(now, Duration::ZERO) - ago
}
