//! Users, apps, installations.

use serde_json::{Map, Value, json};

use super::super::world::{App, User, UserKind, World};
use super::{node_id, time};

impl UserKind {
    const fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Organization => "Organization",
            Self::Bot => "Bot",
        }
    }
}

impl World {
    /// The account GitHub shows for users that are gone.
    fn ghost() -> User {
        User {
            id: 10_137,
            login: "ghost".to_owned(),
            kind: UserKind::User,
            created_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    pub(in super::super) fn user_or_ghost(&self, id: u64) -> User {
        self.users.get(&id).cloned().unwrap_or_else(Self::ghost)
    }

    pub(in super::super) fn user_url(&self, user: &User) -> String {
        match user.login.strip_suffix("[bot]") {
            Some(slug) => format!("{}/apps/{slug}", self.base),
            None => format!("{}/{}", self.base, user.login),
        }
    }

    /// GitHub's short form of a user.
    pub(in super::super) fn user_json(&self, id: u64) -> Value {
        let user = self.user_or_ghost(id);
        let url = format!("{}/api/v3/users/{}", self.base, super::escaped(&user.login));
        json!({
            "login": user.login,
            "id": user.id,
            "node_id": node_id("U", user.id),
            "avatar_url": format!("{}/avatars/u/{}", self.base, user.id),
            "gravatar_id": "",
            "url": url,
            "html_url": self.user_url(&user),
            "followers_url": format!("{url}/followers"),
            "following_url": format!("{url}/following{{/other_user}}"),
            "gists_url": format!("{url}/gists{{/gist_id}}"),
            "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{url}/subscriptions"),
            "organizations_url": format!("{url}/orgs"),
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events{{/privacy}}"),
            "received_events_url": format!("{url}/received_events"),
            "type": user.kind.name(),
            "user_view_type": "public",
            "site_admin": false,
        })
    }

    /// The long form, as `/user` and `/users/{login}` answer it.
    pub(in super::super) fn user_profile_json(&self, id: u64) -> Value {
        let user = self.user_or_ghost(id);
        let more = json!({
            "name": null, "company": null, "blog": "", "location": null, "email": null,
            "hireable": null, "bio": null, "twitter_username": null,
            "public_repos": 0, "public_gists": 0, "followers": 0, "following": 0,
            "created_at": time(user.created_at), "updated_at": time(user.created_at),
        });
        merged(self.user_json(id), more)
    }

    pub(in super::super) fn installation_json(&self, app: &App) -> Value {
        let api = format!("{}/api/v3", self.base);
        let owner = self.user_or_ghost(app.owner);
        json!({
            "id": app.installation,
            "account": self.user_json(app.owner),
            "repository_selection": if app.repositories.is_some() { "selected" } else { "all" },
            "access_tokens_url": format!("{api}/app/installations/{}/access_tokens", app.installation),
            "repositories_url": format!("{api}/installation/repositories"),
            "html_url": format!("{}/settings/installations/{}", self.base, app.installation),
            "app_id": app.id,
            "client_id": app.client_id(),
            "target_id": app.owner,
            "target_type": owner.kind.name(),
            "permissions": app.permissions,
            "events": [],
            "created_at": time(app.created_at),
            "updated_at": time(app.created_at),
            "single_file_name": null,
            "has_multiple_single_files": false,
            "single_file_paths": [],
            "app_slug": app.slug,
            "suspended_by": null,
            "suspended_at": null,
        })
    }

    /// The app something was done through, or null.
    pub(in super::super) fn via_app_json(&self, app: Option<u64>) -> Value {
        let known = app.and_then(|id| self.apps.get(&id));
        known.map_or(Value::Null, |app| app_json(self, app))
    }
}

/// An app as GitHub describes it.
pub(in super::super) fn app_json(world: &World, app: &App) -> Value {
    json!({
        "id": app.id,
        "client_id": app.client_id(),
        "slug": app.slug,
        "node_id": node_id("A", app.id),
        "owner": world.user_json(app.owner),
        "name": app.slug,
        "description": "",
        "external_url": format!("{}/apps/{}", world.base, app.slug),
        "html_url": format!("{}/apps/{}", world.base, app.slug),
        "created_at": time(app.created_at),
        "updated_at": time(app.created_at),
        "permissions": app.permissions,
        "events": [],
    })
}

impl App {
    /// The id by which newer apps sign their JWTs.
    pub(in super::super) fn client_id(&self) -> String {
        format!("Iv23li{:014}", self.id)
    }
}

/// One JSON object with another's members laid over it.
pub(in super::super) fn merged(base: Value, more: Value) -> Value {
    let object = |value| match value {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let mut members = object(base);
    members.extend(object(more));
    Value::Object(members)
}
