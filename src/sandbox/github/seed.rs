//! Filling the model: users, organisations, tokens, apps, repositories, labels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::TimeDelta;

use super::GitHubModel;
use super::change::{Changed, ModelError};
use super::store::{self, Author, Files};
use super::world::{App, Permission, Principal, Repo, Token, User, UserKind, World};

/// A repository to be made.
#[derive(Debug, Clone, Default)]
pub struct RepositorySeed {
    /// The first commit's files on the default branch; none, and the repository is empty.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Labels it begins with: (name, colour).
    pub labels: Vec<(String, String)>,
    /// Who may do what: (login, permission).
    pub permissions: Vec<(String, Permission)>,
    /// Visible only to those named.
    pub private: bool,
}

impl RepositorySeed {
    /// A repository with one README.
    pub fn with_readme(text: &str) -> Self {
        Self::default().file("README.md", text)
    }

    /// A repository with everything below a folder.
    pub fn from_folder(folder: &Path) -> Result<Self, ModelError> {
        Ok(Self {
            files: store::files_of(folder)?,
            ..Self::default()
        })
    }

    /// One more file.
    #[must_use]
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files
            .insert(path.to_owned(), content.as_bytes().to_vec());
        self
    }

    /// One more label.
    #[must_use]
    pub fn label(mut self, name: &str) -> Self {
        self.labels.push((name.to_owned(), "ededed".to_owned()));
        self
    }

    /// One more person with access.
    #[must_use]
    pub fn permission(mut self, login: &str, permission: Permission) -> Self {
        self.permissions.push((login.to_owned(), permission));
        self
    }
}

/// A token to be made.
#[derive(Debug, Clone, Default)]
pub struct TokenSeed {
    /// Full names of the repositories it covers; None: all its owner may see.
    pub repositories: Option<Vec<String>>,
    /// Its permission groups (`issues` → `write` …); None: all its owner may do.
    pub permissions: Option<BTreeMap<String, String>>,
    /// When it expires, counted from now.
    pub expires_in: Option<TimeDelta>,
    /// The slug of the app that holds it on the user's behalf.
    pub via_app: Option<String>,
}

/// An app and its installation on an account.
#[derive(Debug, Clone)]
pub struct AppSeed {
    /// The app's name in addresses; its bot is `slug[bot]`.
    pub slug: String,
    /// The account it is installed on.
    pub account: String,
    /// Full names of the repositories it covers; None: all of the account.
    pub repositories: Option<Vec<String>>,
    /// Its permission groups.
    pub permissions: BTreeMap<String, String>,
}

impl AppSeed {
    /// An app with what the platform needs, on all repositories of an account.
    pub fn new(slug: &str, account: &str) -> Self {
        let groups = ["issues", "pull_requests", "contents", "actions_variables"];
        let mut permissions: BTreeMap<String, String> = groups
            .iter()
            .map(|group| ((*group).to_owned(), "write".to_owned()))
            .collect();
        permissions.insert("metadata".to_owned(), "read".to_owned());
        Self {
            slug: slug.to_owned(),
            account: account.to_owned(),
            repositories: None,
            permissions,
        }
    }
}

impl World {
    fn add_account(&mut self, login: &str, kind: UserKind) -> u64 {
        if let Some(known) = self.user_named(login) {
            return known.id;
        }
        let (id, created_at) = (self.take_id(), self.now());
        self.users.insert(
            id,
            User {
                id,
                login: login.to_owned(),
                kind,
                created_at,
            },
        );
        id
    }

    pub(super) fn account(&self, login: &str) -> Changed<u64> {
        let known = self.user_named(login);
        known
            .map(|user| user.id)
            .ok_or_else(|| ModelError::NotFound(format!("user {login}")))
    }

    /// A repository's id by its name now.
    pub(super) fn repo_id(&self, full_name: &str) -> Changed<u64> {
        let known = self.repo_named(full_name);
        known
            .or_else(|| self.repo_formerly(full_name))
            .map(|repo| repo.id)
            .ok_or_else(|| ModelError::NotFound(format!("repository {full_name}")))
    }

    fn repo_ids(&self, names: Option<&Vec<String>>) -> Changed<Option<BTreeSet<u64>>> {
        names
            .map(|names| names.iter().map(|name| self.repo_id(name)).collect())
            .transpose()
    }

    fn add_repository(&mut self, full_name: &str, seed: &RepositorySeed) -> Changed<u64> {
        let malformed = || ModelError::Refused(format!("{full_name} is not owner/name"));
        let (owner, name) = full_name.split_once('/').ok_or_else(malformed)?;
        let owner_id = self.account(owner)?;
        if self.repo_named(full_name).is_some() {
            return Err(ModelError::Refused(format!("{full_name} exists already")));
        }
        let (id, now) = (self.take_id(), self.now());
        let path = self.dir.join(format!("{id}.git"));
        store::create(&path, "main")?;
        let files: &Files = &seed.files;
        if !files.is_empty() {
            let author = Author {
                name: owner.to_owned(),
                at_seconds: now.timestamp(),
            };
            store::commit(&path, "main", None, files, "Begin", &author)?;
        }
        let mut permissions = BTreeMap::from([(owner_id, Permission::Admin)]);
        for (login, permission) in &seed.permissions {
            permissions.insert(self.account(login)?, *permission);
        }
        let repo = Repo {
            id,
            owner: owner_id,
            name: name.to_owned(),
            private: seed.private,
            default_branch: "main".to_owned(),
            created_at: now,
            updated_at: now,
            pushed_at: now,
            path,
            permissions,
            labels: BTreeMap::new(),
            issues: BTreeMap::new(),
            comments: BTreeMap::new(),
            events: Vec::new(),
            reviews: Vec::new(),
            review_comments: Vec::new(),
            variables: BTreeMap::new(),
            departed: BTreeMap::new(),
            next_number: 1,
            archived: false,
        };
        self.former_names.remove(&full_name.to_ascii_lowercase());
        self.repos.insert(id, repo);
        for (label, color) in &seed.labels {
            self.create_label(id, label, color, None)?;
        }
        Ok(id)
    }

    fn add_token(&mut self, login: &str, text: &str, seed: &TokenSeed) -> Changed {
        let app = match &seed.via_app {
            Some(slug) => Some(self.app_named(slug)?),
            None => None,
        };
        let token = Token {
            principal: Principal::User {
                user: self.account(login)?,
                app,
            },
            repositories: self.repo_ids(seed.repositories.as_ref())?,
            permissions: seed.permissions.clone(),
            expires_at: seed.expires_in.map(|life| self.now() + life),
        };
        self.tokens.insert(text.to_owned(), token);
        Ok(())
    }

    pub(super) fn app_named(&self, slug: &str) -> Changed<u64> {
        let known = self.apps.values().find(|app| app.slug == slug);
        known
            .map(|app| app.id)
            .ok_or_else(|| ModelError::NotFound(format!("app {slug}")))
    }

    fn add_app(&mut self, seed: &AppSeed) -> Changed<(u64, u64)> {
        let owner = self.account(&seed.account)?;
        let repositories = self.repo_ids(seed.repositories.as_ref())?;
        let bot = self.add_account(&format!("{}[bot]", seed.slug), UserKind::Bot);
        let (id, installation, created_at) = (self.take_id(), self.take_id(), self.now());
        let app = App {
            id,
            slug: seed.slug.clone(),
            bot,
            owner,
            installation,
            repositories,
            permissions: seed.permissions.clone(),
            created_at,
            suspended: false,
        };
        self.apps.insert(id, app);
        Ok((id, installation))
    }
}

impl GitHubModel {
    /// Adds a user (or finds the one of that login); returns the id.
    pub fn add_user(&self, login: &str) -> u64 {
        self.shared.lock().world.add_account(login, UserKind::User)
    }

    /// Adds an organisation (or finds the one of that login); returns the id.
    pub fn add_organization(&self, login: &str) -> u64 {
        self.shared
            .lock()
            .world
            .add_account(login, UserKind::Organization)
    }

    /// Adds a token of a user.
    pub fn add_token(&self, login: &str, text: &str, seed: &TokenSeed) -> Result<(), ModelError> {
        self.shared.lock().world.add_token(login, text, seed)
    }

    /// Adds an app with one installation; returns (app id, installation id).
    pub fn add_app(&self, seed: &AppSeed) -> Result<(u64, u64), ModelError> {
        self.shared.lock().world.add_app(seed)
    }

    /// Adds a repository with its first commit; returns its id. The owner must exist.
    pub fn add_repository(
        &self,
        full_name: &str,
        seed: &RepositorySeed,
    ) -> Result<u64, ModelError> {
        self.shared.lock().world.add_repository(full_name, seed)
    }

    /// The id of a repository by its name now.
    pub fn repository_id(&self, full_name: &str) -> Result<u64, ModelError> {
        self.shared.lock().world.repo_id(full_name)
    }

    /// The id of a user.
    pub fn user_id(&self, login: &str) -> Result<u64, ModelError> {
        self.shared.lock().world.account(login)
    }
}
