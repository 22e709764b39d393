//! What changes pull requests and reviews, and what a push does to them.

use std::collections::BTreeMap;

use super::change::{Changed, ModelError, NewIssue};
use super::lag::Stream;
use super::store::{self, Author};
use super::world::{
    Actor, EventKind, Pull, Review, ReviewComment, ReviewState, StateReason, World,
};

/// What a new pull request says.
#[derive(Debug, Clone)]
pub(super) struct NewPull {
    pub title: String,
    pub body: Option<String>,
    pub head: String,
    pub base: String,
    pub draft: bool,
}

/// A line remark in a new review.
#[derive(Debug, Clone)]
pub(super) struct Remark {
    pub path: String,
    pub line: u64,
    pub body: String,
}

impl World {
    /// The open pull request of a head and base branch.
    pub(super) fn open_pull(&self, repo: u64, head: &str, base: &str) -> Option<u64> {
        let issues = self.repos.get(&repo)?.issues.iter();
        let mut open = issues.filter(|(_, issue)| {
            let issue = issue.current();
            let matches = |pull: &Pull| pull.head_ref == head && pull.base_ref == base;
            !issue.closed && issue.pull.as_ref().is_some_and(matches)
        });
        open.next().map(|(number, _)| *number)
    }

    /// Opens a pull request; the callers have checked GitHub's rules.
    pub(super) fn create_pull(&mut self, repo: u64, new: NewPull, actor: Actor) -> Changed<u64> {
        let path = self.repo(repo)?.path.clone();
        let tip = |branch: &str| {
            let found = store::branch(&path, branch);
            found.ok_or_else(|| ModelError::NotFound(format!("branch {branch}")))
        };
        let pull = Pull {
            id: self.take_id(),
            head_sha: tip(&new.head)?,
            base_sha: tip(&new.base)?,
            head_ref: new.head,
            base_ref: new.base,
            draft: new.draft,
            merged_at: None,
            merged_by: None,
            merge_commit: None,
        };
        let issue = NewIssue {
            title: new.title,
            body: new.body,
            labels: Vec::new(),
            pull: Some(pull),
        };
        self.open_issue(repo, issue, actor)
    }

    pub(super) fn pull(&self, repo: u64, number: u64) -> Changed<&Pull> {
        let pull = self.issue(repo, number)?.pull.as_ref();
        pull.ok_or_else(|| ModelError::NotFound(format!("pull request {number}")))
    }

    pub(super) fn edit_pull(&mut self, repo: u64, number: u64) -> Changed<&mut Pull> {
        self.pull(repo, number)?;
        let pull = self.edit_issue(repo, number)?.pull.as_mut();
        pull.ok_or_else(|| ModelError::NotFound(format!("pull request {number}")))
    }

    pub(super) fn add_review(
        &mut self,
        repo: u64,
        number: u64,
        state: ReviewState,
        body: &str,
        remarks: Vec<Remark>,
        actor: Actor,
    ) -> Changed<u64> {
        let commit = self.pull(repo, number)?.head_sha.clone();
        let (now, seen_at) = (self.now(), self.seen_at(repo, Stream::Comments));
        let review = Review {
            id: self.take_id(),
            number,
            author: actor.user,
            body: body.to_owned(),
            state,
            commit: commit.clone(),
            submitted_at: now,
            seen_at,
        };
        let id = review.id;
        self.edit_issue(repo, number)?;
        self.repo_mut(repo)?.reviews.push(review);
        for remark in remarks {
            let comment = ReviewComment {
                id: self.take_id(),
                review: id,
                number,
                author: actor.user,
                path: remark.path,
                line: remark.line,
                body: remark.body,
                commit: commit.clone(),
                resolved: false,
                created_at: now,
                seen_at,
            };
            self.repo_mut(repo)?.review_comments.push(comment);
        }
        Ok(id)
    }

    /// Resolves the thread of a pull request that begins with these words. GitHub does not say
    /// that this makes the pull request newer, so it does not here.
    pub(super) fn resolve_thread(&mut self, repo: u64, number: u64, words: &str) -> Changed {
        let mut comments = self.repo_mut(repo)?.review_comments.iter_mut();
        let found = |it: &&mut ReviewComment| it.number == number && it.body == words;
        let comment = comments.find(found);
        let missing = || ModelError::NotFound(format!("a remark on #{number}: {words}"));
        comment.ok_or_else(missing)?.resolved = true;
        Ok(())
    }

    /// Takes a review back that approves or asks for changes.
    pub(super) fn dismiss_review(&mut self, repo: u64, id: u64) -> Changed {
        let mut reviews = self.repo_mut(repo)?.reviews.iter_mut();
        let review = reviews.find(|review| review.id == id);
        let review = review.ok_or_else(|| ModelError::NotFound(format!("review {id}")))?;
        if review.state == ReviewState::Commented {
            let message = "Can not dismiss a commented pull request review";
            return Err(ModelError::Refused(message.to_owned()));
        }
        review.state = ReviewState::Dismissed;
        let number = review.number;
        self.edit_issue(repo, number).map(drop)
    }

    pub(super) fn merge_pull(&mut self, repo: u64, number: u64, actor: Actor) -> Changed<String> {
        let pull = self.pull(repo, number)?.clone();
        if self.issue(repo, number)?.closed {
            return Err(ModelError::Refused(
                "Pull Request is not mergeable".to_owned(),
            ));
        }
        let path = self.repo(repo)?.path.clone();
        let title = format!("Merge pull request #{number} from {}", pull.head_ref);
        let author = self.author(actor);
        let commit = store::merge(&path, &pull.base_ref, &pull.head_sha, &title, &author)?;
        let now = self.now();
        let merged = self.edit_pull(repo, number)?;
        merged.merged_at = Some(now);
        merged.merged_by = Some(actor.user);
        merged.merge_commit = Some(commit.clone());
        let kind = EventKind::Merged {
            commit: commit.clone(),
        };
        self.record_event(repo, number, kind, actor)?;
        self.close_issue(repo, number, StateReason::Completed, actor)?;
        self.repo_mut(repo)?.pushed_at = now;
        Ok(commit)
    }

    /// The person a commit made through the model is by.
    pub(super) fn author(&self, actor: Actor) -> Author {
        Author {
            name: self.user_or_ghost(actor.user).login,
            at_seconds: self.now().timestamp(),
        }
    }

    /// Brings pull requests after refs changed from `before` to what the repository holds now.
    pub(super) fn refs_changed(
        &mut self,
        repo: u64,
        before: &BTreeMap<String, String>,
        actor: Actor,
    ) -> Changed {
        let path = self.repo(repo)?.path.clone();
        let after = store::refs(&path)?;
        if after == *before {
            return Ok(());
        }
        let now = self.now();
        self.repo_mut(repo)?.pushed_at = now;
        for (number, pull) in self.open_pulls(repo)? {
            let name = format!("refs/heads/{}", pull.head_ref);
            match after.get(&name) {
                Some(sha) if *sha == pull.head_sha => {}
                Some(sha) => self.head_moved(repo, number, &pull, sha, actor)?,
                None => {
                    self.record_event(repo, number, EventKind::HeadRefDeleted, actor)?;
                    self.close_issue(repo, number, StateReason::Completed, actor)?;
                }
            }
        }
        Ok(())
    }

    fn open_pulls(&self, repo: u64) -> Changed<Vec<(u64, Pull)>> {
        let issues = self.repo(repo)?.issues.iter();
        let open = issues.filter(|(_, issue)| !issue.current().closed);
        let pulls =
            open.filter_map(|(number, issue)| Some((*number, issue.current().pull.clone()?)));
        Ok(pulls.collect())
    }

    fn head_moved(
        &mut self,
        repo: u64,
        number: u64,
        pull: &Pull,
        sha: &str,
        actor: Actor,
    ) -> Changed {
        let path = self.repo(repo)?.path.clone();
        sha.clone_into(&mut self.edit_pull(repo, number)?.head_sha);
        if !store::is_ancestor(&path, &pull.head_sha, sha) {
            let kind = EventKind::HeadRefForcePushed {
                commit: sha.to_owned(),
            };
            self.record_event(repo, number, kind, actor)?;
        }
        Ok(())
    }
}
