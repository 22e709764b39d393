//! What people do: methods that act in someone's name, without HTTP, rights or limits.

use std::collections::BTreeMap;

use super::GitHubModel;
use super::change::{Changed, ModelError, NewIssue};
use super::pulls::Remark;
use super::store;
use super::world::{Actor, Departed, EventKind, Permission, ReviewState, StateReason, World};

/// A repository and someone acting in it.
struct Scene<'w> {
    world: &'w mut World,
    repo: u64,
    actor: Actor,
}

impl GitHubModel {
    fn act<T>(
        &self,
        repo: &str,
        login: &str,
        act: impl FnOnce(Scene<'_>) -> Changed<T>,
    ) -> Changed<T> {
        let mut state = self.shared.lock();
        let world = &mut state.world;
        let repo = world.repo_id(repo)?;
        let actor = world.acting(login)?;
        act(Scene { world, repo, actor })
    }

    /// Opens an issue with labels; returns its number.
    pub fn open_issue(
        &self,
        repo: &str,
        login: &str,
        title: &str,
        body: &str,
        labels: &[&str],
    ) -> Result<u64, ModelError> {
        let new = NewIssue {
            title: title.to_owned(),
            body: Some(body.to_owned()),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            pull: None,
        };
        self.act(repo, login, |scene| {
            scene.world.open_issue(scene.repo, new, scene.actor)
        })
    }

    /// Puts a label on an issue or pull request.
    pub fn add_label(
        &self,
        repo: &str,
        number: u64,
        login: &str,
        label: &str,
    ) -> Result<(), ModelError> {
        let labels = [label.to_owned()];
        self.act(repo, login, |scene| {
            scene
                .world
                .add_labels(scene.repo, number, &labels, scene.actor)
        })
    }

    /// Takes a label off an issue or pull request.
    pub fn remove_label(
        &self,
        repo: &str,
        number: u64,
        login: &str,
        label: &str,
    ) -> Result<(), ModelError> {
        self.act(repo, login, |scene| {
            scene
                .world
                .remove_label(scene.repo, number, label, scene.actor)
        })
    }

    /// Comments; returns the comment's id.
    pub fn comment(
        &self,
        repo: &str,
        number: u64,
        login: &str,
        body: &str,
    ) -> Result<u64, ModelError> {
        self.act(repo, login, |scene| {
            scene
                .world
                .add_comment(scene.repo, number, body, scene.actor)
        })
    }

    /// Edits a comment.
    pub fn edit_comment(
        &self,
        repo: &str,
        comment: u64,
        login: &str,
        body: &str,
    ) -> Result<(), ModelError> {
        self.act(repo, login, |scene| {
            scene
                .world
                .edit_comment(scene.repo, comment, body, scene.actor)
        })
    }

    /// Deletes a comment.
    pub fn delete_comment(&self, repo: &str, comment: u64) -> Result<(), ModelError> {
        self.act(repo, "ghost", |scene| {
            scene.world.delete_comment(scene.repo, comment)
        })
    }

    /// Edits an issue's or pull request's body.
    pub fn edit_issue_body(
        &self,
        repo: &str,
        number: u64,
        login: &str,
        body: &str,
    ) -> Result<(), ModelError> {
        self.act(repo, login, |scene| {
            scene.world.edit_body(scene.repo, number, body, scene.actor)
        })
    }

    /// Edits an issue's or pull request's title.
    pub fn edit_issue_title(
        &self,
        repo: &str,
        number: u64,
        login: &str,
        title: &str,
    ) -> Result<(), ModelError> {
        self.act(repo, login, |scene| {
            scene
                .world
                .rename_issue(scene.repo, number, title, scene.actor)
        })
    }

    /// Closes an issue or pull request.
    pub fn close(&self, repo: &str, number: u64, login: &str) -> Result<(), ModelError> {
        let reason = StateReason::Completed;
        self.act(repo, login, |scene| {
            scene
                .world
                .close_issue(scene.repo, number, reason, scene.actor)
        })
    }

    /// Reopens an issue or pull request.
    pub fn reopen(&self, repo: &str, number: u64, login: &str) -> Result<(), ModelError> {
        self.act(repo, login, |scene| {
            scene.world.reopen_issue(scene.repo, number, scene.actor)
        })
    }

    /// Reviews a pull request; returns the review's id.
    pub fn review(
        &self,
        repo: &str,
        number: u64,
        login: &str,
        state: ReviewState,
        body: &str,
    ) -> Result<u64, ModelError> {
        self.act(repo, login, |scene| {
            scene
                .world
                .add_review(scene.repo, number, state, body, Vec::new(), scene.actor)
        })
    }

    /// Dismisses a review.
    pub fn dismiss_review(&self, repo: &str, login: &str, review: u64) -> Result<(), ModelError> {
        self.act(repo, login, |scene| {
            scene.world.dismiss_review(scene.repo, review)
        })
    }

    /// Reviews a pull request with one remark on a line; returns the review's id.
    pub fn review_line(
        &self,
        repo: &str,
        number: u64,
        login: &str,
        (path, line): (&str, u64),
        body: &str,
    ) -> Result<u64, ModelError> {
        let remark = Remark {
            path: path.to_owned(),
            line,
            body: body.to_owned(),
        };
        let state = ReviewState::ChangesRequested;
        self.act(repo, login, |scene| {
            scene
                .world
                .add_review(scene.repo, number, state, "", vec![remark], scene.actor)
        })
    }

    /// Resolves the thread of a pull request that begins with these words.
    pub fn resolve_thread(
        &self,
        repo: &str,
        number: u64,
        login: &str,
        words: &str,
    ) -> Result<(), ModelError> {
        self.act(repo, login, |scene| {
            scene.world.resolve_thread(scene.repo, number, words)
        })
    }

    /// Merges a pull request with a merge commit; returns it.
    pub fn merge_pull(&self, repo: &str, number: u64, login: &str) -> Result<String, ModelError> {
        self.act(repo, login, |scene| {
            scene.world.merge_pull(scene.repo, number, scene.actor)
        })
    }

    /// Commits files to a branch (made from the default branch where new); returns the commit.
    pub fn push_commit(
        &self,
        repo: &str,
        branch: &str,
        login: &str,
        files: &[(&str, &str)],
        message: &str,
    ) -> Result<String, ModelError> {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
        let files: BTreeMap<_, _> = files.collect();
        self.act(repo, login, |scene| {
            let repo = scene.world.repo(scene.repo)?;
            let (path, base) = (repo.path.clone(), repo.default_branch.clone());
            let before = store::refs(&path)?;
            let base = store::branch(&path, &base).map(|_| base);
            let author = scene.world.author(scene.actor);
            let commit = store::commit(&path, branch, base.as_deref(), &files, message, &author)?;
            scene.world.refs_changed(scene.repo, &before, scene.actor)?;
            Ok(commit)
        })
    }

    /// Sets a branch to any commit, as a force-push does.
    pub fn force_push(
        &self,
        repo: &str,
        branch: &str,
        login: &str,
        commit: &str,
    ) -> Result<(), ModelError> {
        self.set_branch(repo, branch, login, Some(commit))
    }

    /// Deletes a branch; its open pull requests close.
    pub fn delete_branch(&self, repo: &str, branch: &str, login: &str) -> Result<(), ModelError> {
        self.set_branch(repo, branch, login, None)
    }

    fn set_branch(&self, repo: &str, branch: &str, login: &str, commit: Option<&str>) -> Changed {
        self.act(repo, login, |scene| {
            let path = scene.world.repo(scene.repo)?.path.clone();
            let before = store::refs(&path)?;
            store::set_branch(&path, branch, commit)?;
            scene.world.refs_changed(scene.repo, &before, scene.actor)
        })
    }

    /// The commit a branch is at.
    pub fn branch_commit(&self, repo: &str, branch: &str) -> Option<String> {
        let state = self.shared.lock();
        let repo = state.world.repo_id(repo).ok()?;
        store::branch(&state.world.repo(repo).ok()?.path, branch)
    }

    /// Makes a label.
    pub fn create_label(&self, repo: &str, label: &str) -> Result<(), ModelError> {
        self.act(repo, "ghost", |scene| {
            scene.world.ensure_label(scene.repo, label).map(|_| ())
        })
    }

    /// Deletes a label from the repository and so from every issue.
    pub fn delete_label_from_repository(
        &self,
        repo: &str,
        login: &str,
        label: &str,
    ) -> Result<(), ModelError> {
        self.act(repo, login, |scene| {
            scene.world.delete_label(scene.repo, label, scene.actor)
        })
    }

    /// Renames a label; issues keep it, no event tells of it.
    pub fn rename_label(&self, repo: &str, from: &str, to: &str) -> Result<(), ModelError> {
        self.act(repo, "ghost", |scene| {
            let label = scene.world.repo(scene.repo)?.label_named(from);
            let id = label.map(|label| label.id);
            let known =
                id.and_then(|id| scene.world.repos.get_mut(&scene.repo)?.labels.get_mut(&id));
            let label = known.ok_or_else(|| ModelError::NotFound(format!("label {from}")))?;
            to.clone_into(&mut label.name);
            Ok(())
        })
    }

    /// Gives a repository another name; the old one redirects.
    pub fn rename_repository(&self, repo: &str, name: &str) -> Result<(), ModelError> {
        self.act(repo, "ghost", |scene| {
            name.clone_into(&mut scene.world.repo_mut(scene.repo)?.name);
            scene
                .world
                .former_names
                .insert(repo.to_ascii_lowercase(), scene.repo);
            Ok(())
        })
    }

    /// Gives a repository to another account; the old name redirects.
    pub fn transfer_repository(&self, repo: &str, to: &str) -> Result<(), ModelError> {
        self.act(repo, "ghost", |scene| {
            let owner = scene.world.account(to)?;
            let known = scene.world.repo_mut(scene.repo)?;
            known.owner = owner;
            known.permissions.insert(owner, Permission::Admin);
            scene
                .world
                .former_names
                .insert(repo.to_ascii_lowercase(), scene.repo);
            Ok(())
        })
    }

    /// Deletes a repository.
    pub fn delete_repository(&self, repo: &str) -> Result<(), ModelError> {
        self.act(repo, "ghost", |scene| {
            scene.world.former_names.retain(|_, id| *id != scene.repo);
            scene.world.repos.remove(&scene.repo);
            Ok(())
        })
    }

    /// Moves an issue to another repository; returns its number there.
    pub fn transfer_issue(
        &self,
        repo: &str,
        number: u64,
        login: &str,
        to: &str,
    ) -> Result<u64, ModelError> {
        self.act(repo, login, |scene| scene.transfer(number, to))
    }

    /// Deletes an issue; its address answers 410 from then on.
    pub fn delete_issue(&self, repo: &str, number: u64) -> Result<(), ModelError> {
        self.act(repo, "ghost", |scene| {
            scene.world.issue(scene.repo, number)?;
            let repo = scene.world.repo_mut(scene.repo)?;
            repo.leave(number, Departed::Deleted);
            Ok(())
        })
    }

    /// Sets what someone may do in a repository.
    pub fn set_permission(
        &self,
        repo: &str,
        login: &str,
        permission: Permission,
    ) -> Result<(), ModelError> {
        self.act(repo, login, |scene| {
            let user = scene.actor.user;
            scene
                .world
                .repo_mut(scene.repo)?
                .permissions
                .insert(user, permission);
            Ok(())
        })
    }

    /// Makes a token worthless.
    pub fn invalidate_token(&self, text: &str) {
        self.shared.lock().world.tokens.remove(text);
    }

    /// Suspends an app's installation, or ends that.
    pub fn suspend_app(&self, slug: &str, suspended: bool) -> Result<(), ModelError> {
        let mut state = self.shared.lock();
        let id = state.world.app_named(slug)?;
        let app = state.world.apps.get_mut(&id);
        app.ok_or_else(|| ModelError::NotFound(format!("app {slug}")))?
            .suspended = suspended;
        Ok(())
    }

    /// Makes a repository read-only, or ends that.
    pub fn archive_repository(&self, repo: &str, archived: bool) -> Result<(), ModelError> {
        self.act(repo, "ghost", |scene| {
            scene.world.repo_mut(scene.repo)?.archived = archived;
            Ok(())
        })
    }
}

impl super::world::Repo {
    /// Takes an issue and all that hangs on it out of the repository.
    fn leave(&mut self, number: u64, departed: Departed) {
        self.issues.remove(&number);
        self.comments
            .retain(|_, comment| comment.current().number != number);
        self.events.retain(|event| event.number != number);
        self.departed.insert(number, departed);
    }
}

impl World {
    /// Someone by login; `ghost` acts where nobody's name matters.
    pub(super) fn acting(&self, login: &str) -> Changed<Actor> {
        if login == "ghost" {
            return Ok(Actor { user: 0, app: None });
        }
        let user = self.account(login)?;
        let app = self
            .apps
            .values()
            .find(|app| app.bot == user)
            .map(|app| app.id);
        Ok(Actor { user, app })
    }
}

impl Scene<'_> {
    fn transfer(self, number: u64, to: &str) -> Changed<u64> {
        let target = self.world.repo_id(to)?;
        let issue = self.world.issue(self.repo, number)?.clone();
        let known = self.world.repo(target)?;
        let names = self.world.label_names(self.repo, number)?;
        // Labels of the same name go along; others are lost.
        let labels = names
            .iter()
            .filter_map(|name| known.label_named(name))
            .map(|label| label.name.clone());
        let labels: Vec<String> = labels.collect();
        let author = Actor {
            user: issue.author,
            app: issue.via_app,
        };
        let new = NewIssue {
            title: issue.title,
            body: issue.body,
            labels: Vec::new(),
            pull: None,
        };
        let arrived = self.world.open_issue(target, new, author)?;
        self.world
            .record_event(target, arrived, EventKind::Transferred, self.actor)?;
        self.world
            .add_labels(target, arrived, &labels, self.actor)?;
        let departed = Departed::Transferred {
            repo: target,
            number: arrived,
        };
        self.world.repo_mut(self.repo)?.leave(number, departed);
        Ok(arrived)
    }
}
