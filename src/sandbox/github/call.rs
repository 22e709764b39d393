//! One REST request on its way through the model: its route, its rights, its parameters.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::reply::{Answer, Page, Reply};
use super::world::{Actor, Permission, Principal, Repo, Token, World};

/// The permission group a fine-grained token or an app needs for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Metadata,
    /// Issue routes also serve pull requests: either group will do.
    Issues,
    Pulls,
    Contents,
    Variables,
}

impl Scope {
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Metadata => &[],
            Self::Issues => &["issues", "pull_requests"],
            Self::Pulls => &["pull_requests"],
            Self::Contents => &["contents"],
            Self::Variables => &["actions_variables"],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// What a route asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Any valid credential.
    Anyone,
    /// An app's own JWT.
    App,
    /// An installation token.
    Installation,
    /// A repository: permission group and access for tokens, role for users.
    Repo(Scope, Access, Permission),
}

pub(super) type Handler = fn(&mut Call<'_>) -> Answer;

/// One operation of GitHub's REST description.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub method: &'static str,
    /// The path as GitHub's description writes it.
    pub path: &'static str,
    pub need: Need,
    pub run: Handler,
}

impl Route {
    /// Whether the call changes something.
    pub(super) fn writes(&self) -> bool {
        self.method != "GET" && self.need != Need::App
    }

    /// The path's parameters, if the path is this route's.
    pub(super) fn params(&self, path: &[String]) -> Option<BTreeMap<&'static str, String>> {
        let template: Vec<&'static str> = self.path.trim_start_matches('/').split('/').collect();
        let mut params = BTreeMap::new();
        for (index, part) in template.iter().enumerate() {
            let value = path.get(index)?;
            let Some(name) = part
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'))
            else {
                if part != value {
                    return None;
                }
                continue;
            };
            if index + 1 == template.len() && spans_segments(name) {
                params.insert(name, path.get(index..)?.join("/"));
                return Some(params);
            }
            params.insert(name, value.clone());
        }
        (template.len() == path.len()).then_some(params)
    }
}

/// Parameters whose value may hold slashes.
fn spans_segments(name: &str) -> bool {
    matches!(name, "ref" | "branch" | "basehead")
}

/// A request with its route found and its rights checked.
pub(super) struct Call<'w> {
    pub world: &'w mut World,
    pub principal: Principal,
    pub token: Token,
    pub params: BTreeMap<&'static str, String>,
    pub query: BTreeMap<String, String>,
    pub body: Value,
    /// The repository the path names, 0 where it names none.
    pub repo: u64,
    /// The request's address without its query.
    pub url: String,
    /// A fault: a later page shows the page before it.
    pub repeats_page: bool,
}

impl Call<'_> {
    pub(super) fn actor(&self) -> Actor {
        self.world.actor_of(self.principal)
    }

    pub(super) fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, Reply> {
        self.param(name).parse().map_err(|_| Reply::not_found())
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub(super) fn repo(&self) -> Result<&Repo, Reply> {
        self.world
            .repos
            .get(&self.repo)
            .ok_or_else(Reply::not_found)
    }

    /// What the caller may do in the request's repository.
    pub(super) fn permission(&self) -> Permission {
        let repo = self.world.repos.get(&self.repo);
        repo.map_or(Permission::None, |repo| {
            permission_in(self.world, self.principal, &self.token, repo)
        })
    }

    /// Refuses callers whose role is lower.
    pub(super) fn need_role(&self, role: Permission) -> Result<(), Reply> {
        if self.permission() >= role {
            return Ok(());
        }
        Err(Reply::error(403, "Must have admin rights to Repository."))
    }

    /// A text member of the body; null and absent are the same.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Reply> {
        match self.body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Reply::error(
                422,
                &format!("Invalid request.\n\nFor '{name}', not a string."),
            )),
        }
    }

    pub(super) fn required_text(&self, name: &str) -> Result<String, Reply> {
        let missing = format!("Invalid request.\n\n\"{name}\" wasn't supplied.");
        self.text(name)?.ok_or_else(|| Reply::error(422, &missing))
    }

    /// For lists whose largest page is smaller than a hundred.
    pub(super) fn page_at_most(&mut self, most: usize) {
        let asked = self.query("per_page").and_then(|asked| asked.parse().ok());
        if asked.is_some_and(|asked: usize| asked > most) {
            self.query.insert("per_page".to_owned(), most.to_string());
        }
    }

    pub(super) fn page(&self) -> Page {
        Page::asked(self.query("page"), self.query("per_page"))
    }

    /// Answers one page of a list, rendering only what is on it.
    pub(super) fn list<T>(&self, items: Vec<T>, render: impl FnMut(T) -> Value) -> Reply {
        let (page, total) = (self.page(), items.len());
        let link = page.link(total, |number| self.page_url(number));
        let mut shown = page;
        if self.repeats_page && page.number > 1 {
            shown.number -= 1;
        }
        let body = shown.cut(items).into_iter().map(render).collect();
        let mut reply = Reply::ok(Value::Array(body));
        reply.headers.extend(link.map(|link| ("link", link)));
        reply
    }

    /// The same for lists that GitHub wraps: `{"total_count": …, "<name>": […]}`.
    pub(super) fn wrapped_list<T>(
        &self,
        name: &str,
        items: Vec<T>,
        render: impl FnMut(T) -> Value,
    ) -> Reply {
        let total = items.len();
        let mut reply = self.list(items, render);
        let mut members = Map::new();
        members.insert("total_count".to_owned(), Value::from(total));
        members.insert(name.to_owned(), reply.body.take().unwrap_or_default());
        reply.body = Some(Value::Object(members));
        reply
    }

    fn page_url(&self, page: usize) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.query.iter().filter(|(name, _)| *name != "page") {
            query.append_pair(name, value);
        }
        query.append_pair("page", &page.to_string());
        format!("{}?{}", self.url, query.finish())
    }
}

/// What a credential may do in a repository.
pub(super) fn permission_in(
    world: &World,
    principal: Principal,
    token: &Token,
    repo: &Repo,
) -> Permission {
    if token
        .repositories
        .as_ref()
        .is_some_and(|some| !some.contains(&repo.id))
    {
        return if repo.private {
            Permission::None
        } else {
            Permission::Read
        };
    }
    match principal {
        Principal::User { user, .. } => repo.permission_of(user),
        Principal::Installation { app } => {
            let Some(app) = world.apps.get(&app) else {
                return Permission::None;
            };
            let covers = app
                .repositories
                .as_ref()
                .is_none_or(|some| some.contains(&repo.id));
            if covers && app.owner == repo.owner && !app.suspended {
                Permission::Write
            } else if repo.private {
                Permission::None
            } else {
                Permission::Read
            }
        }
        Principal::App { .. } => Permission::None,
    }
}

/// Checks a repository route's need; the error is GitHub's answer.
pub(super) fn check_repo(
    call: &Call<'_>,
    scope: Scope,
    access: Access,
    role: Permission,
) -> Result<(), Reply> {
    let permission = call.permission();
    if permission < Permission::Read {
        return Err(Reply::not_found());
    }
    let granted = match &call.token.permissions {
        None => true,
        Some(granted) => {
            scope.names().is_empty()
                || scope
                    .names()
                    .iter()
                    .any(|name| match granted.get(*name).map(String::as_str) {
                        Some("write" | "admin") => true,
                        Some("read") => access == Access::Read,
                        _ => false,
                    })
        }
    };
    if !granted {
        let whose = match call.principal {
            Principal::User { .. } => "personal access token",
            _ => "integration",
        };
        return Err(Reply::error(
            403,
            &format!("Resource not accessible by {whose}"),
        ));
    }
    if access == Access::Write && call.repo()?.archived {
        return Err(Reply::error(
            403,
            "Repository was archived so is read-only.",
        ));
    }
    call.need_role(role)
}
