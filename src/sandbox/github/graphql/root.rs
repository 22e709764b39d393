//! The query's root: rate limit, viewer, repositories by name, nodes by id.

use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use serde_json::{Value, json};

use super::super::views::{parse_node_id, time};
use super::super::world::Repo;
use super::nodes::{Object, Thing};
use super::{TYPE_MARK, View};

pub(super) struct Root<'v> {
    pub view: &'v View<'v>,
}

/// An error with GitHub's type.
fn not_found(message: &str) -> FieldError {
    FieldError {
        message: format!("NOT_FOUND{TYPE_MARK}{message}"),
    }
}

fn missing_node(id: &str) -> String {
    format!("Could not resolve to a node with the global id of '{id}'")
}

/// A field's arguments as JSON.
pub(super) fn arguments(info: &ResolveInfo<'_>) -> Value {
    serde_json::to_value(info.arguments()).unwrap_or_default()
}

impl<'v> View<'v> {
    fn repository(&'v self, full_name: &str) -> Option<&'v Repo> {
        let found = self
            .world
            .repo_named(full_name)
            .or_else(|| self.world.repo_formerly(full_name));
        found.filter(|repo| self.readable(repo))
    }

    /// The thing a node id names, as readers see it now.
    fn node(&'v self, id: &str) -> Option<Thing<'v>> {
        let (kind, number) = parse_node_id(id)?;
        if matches!(kind.as_str(), "U" | "B" | "O") {
            return self
                .world
                .users
                .contains_key(&number)
                .then_some(Thing::User(number));
        }
        let mut repos = self.world.repos.values().filter(|repo| self.readable(repo));
        repos.find_map(|repo| match kind.as_str() {
            "R" => (repo.id == number).then_some(Thing::Repository(repo)),
            "LA" => repo.labels.get(&number).map(Thing::Label),
            "IC" => {
                let comment = repo.comments.get(&number)?.seen(self.now)?;
                (!comment.deleted).then_some(Thing::Comment(repo, comment))
            }
            "I" | "PR" => {
                let mut issues = repo
                    .issues
                    .values()
                    .filter_map(|issue| issue.seen(self.now));
                let issue = issues
                    .find(|issue| issue.id == number && issue.pull.is_some() == (kind == "PR"))?;
                Some(Thing::Issue(repo, issue))
            }
            "PRR" => {
                let review = repo.reviews.iter().find(|review| review.id == number)?;
                Some(Thing::Review(repo, review))
            }
            _ => {
                let event = repo.events.iter().find(|event| event.id == number)?;
                Some(Thing::Event(repo, event))
            }
        })
    }

    fn node_or_error(&'v self, id: &str) -> Result<ResolvedValue<'v>, FieldError> {
        let missing = || {
            not_found(&format!(
                "Could not resolve to a node with the global id of '{id}'"
            ))
        };
        let thing = self.node(id).ok_or_else(missing)?;
        Ok(ResolvedValue::object(Object { view: self, thing }))
    }
}

impl ObjectValue for Root<'_> {
    fn type_name(&self) -> &'static str {
        "Query"
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        let (view, args) = (self.view, arguments(info));
        let text = |name: &str| args[name].as_str().unwrap_or("").to_owned();
        match info.field_name() {
            "id" => Ok(ResolvedValue::leaf(json!("Q_"))),
            "rateLimit" => Ok(ResolvedValue::object(RateLimit { view })),
            "viewer" => {
                let user = view.world.actor_of(view.principal).user;
                Ok(ResolvedValue::object(Object {
                    view,
                    thing: Thing::Viewer(user),
                }))
            }
            "user" => {
                let login = text("login");
                let user = view.world.user_named(&login);
                let user = user.ok_or_else(|| {
                    not_found(&format!(
                        "Could not resolve to a User with the login of '{login}'."
                    ))
                })?;
                Ok(ResolvedValue::object(Object {
                    view,
                    thing: Thing::User(user.id),
                }))
            }
            "repository" => {
                let name = format!("{}/{}", text("owner"), text("name"));
                let missing = || {
                    not_found(&format!(
                        "Could not resolve to a Repository with the name '{name}'."
                    ))
                };
                let repo = view.repository(&name).ok_or_else(missing)?;
                Ok(ResolvedValue::object(Object {
                    view,
                    thing: Thing::Repository(repo),
                }))
            }
            "node" => view.node_or_error(&text("id")),
            "nodes" => {
                let ids: Vec<String> =
                    serde_json::from_value(args["ids"].clone()).unwrap_or_default();
                let field = info.field_selections().first();
                let key = field.map_or("nodes", |field| field.response_key().as_str());
                let mut found = Vec::new();
                for (index, id) in ids.iter().enumerate() {
                    let node = view.node(id).map(|thing| Object { view, thing });
                    if node.is_none() {
                        view.errors.borrow_mut().push(json!({
                            "type": "NOT_FOUND",
                            "path": [key, index],
                            "message": missing_node(id),
                        }));
                    }
                    found.push(ResolvedValue::nullable_object(node));
                }
                Ok(ResolvedValue::list(found))
            }
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

struct RateLimit<'v> {
    view: &'v View<'v>,
}

impl ObjectValue for RateLimit<'_> {
    fn type_name(&self) -> &'static str {
        "RateLimit"
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        let (budget, cost) = (self.view.budget, self.view.cost);
        let value = match info.field_name() {
            "cost" => json!(cost.points),
            "nodeCount" => json!(cost.nodes),
            "limit" => json!(budget.limit),
            "remaining" => json!(budget.remaining()),
            "used" => json!(budget.used),
            "resetAt" => json!(time(budget.reset)),
            _ => return Err(self.unknown_field_error(info)),
        };
        Ok(ResolvedValue::leaf(value))
    }
}
