//! Repositories and what hangs on them: refs, lists of issues and pull requests.

use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use chrono::DateTime;
use serde_json::{Value, json};

use super::super::store;
use super::super::views::{node_id, time};
use super::super::world::{Issue, Permission, Pull, Repo};
use super::issues::state_name;
use super::nodes::{Object, Thing};
use super::root::arguments;

impl<'v> Object<'v> {
    pub(super) fn repository(
        &self,
        repo: &'v Repo,
        info: &ResolveInfo<'_>,
    ) -> Option<ResolvedValue<'v>> {
        let (world, args) = (self.view.world, arguments(info));
        let value = match info.field_name() {
            "id" => json!(node_id("R", repo.id)),
            "databaseId" => json!(repo.id),
            "nameWithOwner" => json!(world.full_name(repo)),
            "name" => json!(repo.name),
            "isArchived" => json!(repo.archived),
            "isPrivate" => json!(repo.private),
            "url" => json!(world.repo_html_url(repo)),
            "createdAt" => json!(time(repo.created_at)),
            "updatedAt" => json!(time(repo.updated_at)),
            "pushedAt" => json!(time(repo.pushed_at)),
            "viewerPermission" => self.viewer_permission(repo),
            "owner" => return Some(self.other(Thing::User(repo.owner))),
            "defaultBranchRef" => {
                let exists = store::branch(&repo.path, &repo.default_branch).is_some();
                return Some(self.maybe(exists.then_some(Thing::Ref(repo, &repo.default_branch))));
            }
            "ref" => {
                let full = args["qualifiedName"].as_str()?;
                let name = full.trim_start_matches("refs/heads/").to_owned();
                let branch = store::branch(&repo.path, &name).map(|sha| Branch { name, sha });
                return Some(branch.map_or_else(ResolvedValue::null, ResolvedValue::object));
            }
            "issues" => {
                return Some(self.connection("IssueConnection", self.issues(repo, &args), &args));
            }
            "pullRequests" => {
                return Some(self.connection(
                    "PullRequestConnection",
                    self.pulls(repo, &args),
                    &args,
                ));
            }
            "labels" => {
                let labels = repo.labels.values().map(Thing::Label);
                return Some(self.connection("LabelConnection", labels.collect(), &args));
            }
            "label" => {
                let label = repo.label_named(args["name"].as_str()?);
                return Some(self.maybe(label.map(Thing::Label)));
            }
            "issue" | "pullRequest" => {
                let number = args["number"].as_u64().unwrap_or(0);
                let wanted = info.field_name() == "pullRequest";
                let seen = repo
                    .issues
                    .get(&number)
                    .and_then(|issue| issue.seen(self.view.now));
                let found = seen.filter(|issue| issue.pull.is_some() == wanted);
                return Some(self.maybe(found.map(|issue| Thing::Issue(repo, issue))));
            }
            _ => return None,
        };
        Some(ResolvedValue::leaf(value))
    }

    fn viewer_permission(&self, repo: &Repo) -> Value {
        let permission = super::super::call::permission_in(
            self.view.world,
            self.view.principal,
            self.view.token,
            repo,
        );
        match permission {
            Permission::None => Value::Null,
            some => json!(some.role_name().to_uppercase()),
        }
    }

    pub(super) fn reference(
        repo: &'v Repo,
        name: &'v str,
        info: &ResolveInfo<'_>,
    ) -> Option<ResolvedValue<'v>> {
        let value = match info.field_name() {
            "id" => json!(node_id("REF", repo.id)),
            "name" => json!(name),
            "target" => {
                return Some(match store::branch(&repo.path, name) {
                    Some(sha) => ResolvedValue::object(Commit { sha }),
                    None => ResolvedValue::null(),
                });
            }
            _ => return None,
        };
        Some(ResolvedValue::leaf(value))
    }

    fn issues(&self, repo: &'v Repo, args: &Value) -> Vec<Thing<'v>> {
        let filter = &args["filterBy"];
        let labels = strings(&args["labels"]).or_else(|| strings(&filter["labels"]));
        let states = strings(&args["states"]).or_else(|| strings(&filter["states"]));
        let since = filter["since"]
            .as_str()
            .and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        let seen = repo
            .issues
            .values()
            .filter_map(|issue| issue.seen(self.view.now));
        let chosen = seen.filter(|issue| issue.pull.is_none()).filter(|issue| {
            since.is_none_or(|since| issue.updated_at.timestamp() >= since.timestamp())
        });
        sorted(
            repo,
            chosen.collect(),
            labels.as_deref(),
            states.as_deref(),
            &args["orderBy"],
        )
    }

    fn pulls(&self, repo: &'v Repo, args: &Value) -> Vec<Thing<'v>> {
        let (labels, states) = (strings(&args["labels"]), strings(&args["states"]));
        let is = |name: &str, value: &str| args[name].as_str().is_none_or(|wanted| wanted == value);
        let seen = repo
            .issues
            .values()
            .filter_map(|issue| issue.seen_in_pulls(self.view.now));
        let chosen = seen.filter(|issue| {
            let matches = |pull: &Pull| {
                is("headRefName", &pull.head_ref) && is("baseRefName", &pull.base_ref)
            };
            issue.pull.as_ref().is_some_and(matches)
        });
        sorted(
            repo,
            chosen.collect(),
            labels.as_deref(),
            states.as_deref(),
            &args["orderBy"],
        )
    }
}

pub(super) fn strings(value: &Value) -> Option<Vec<String>> {
    serde_json::from_value(value.clone())
        .ok()
        .filter(|_: &Vec<String>| !value.is_null())
}

/// Filters by labels (any of them) and states, and puts in order.
fn sorted<'v>(
    repo: &'v Repo,
    mut issues: Vec<&'v Issue>,
    labels: Option<&[String]>,
    states: Option<&[String]>,
    order: &Value,
) -> Vec<Thing<'v>> {
    let wearing = |issue: &Issue, name: &String| {
        repo.label_named(name)
            .is_some_and(|label| issue.labels.contains(&label.id))
    };
    issues.retain(|issue| {
        labels.is_none_or(|names| names.iter().any(|name| wearing(issue, name)))
            && states.is_none_or(|states| states.iter().any(|state| state == state_name(issue)))
    });
    match order["field"].as_str() {
        Some("UPDATED_AT") => issues.sort_by_key(|issue| (issue.updated_at, issue.number)),
        _ => issues.sort_by_key(|issue| issue.number),
    }
    if order["direction"].as_str() == Some("DESC") {
        issues.reverse();
    }
    issues
        .into_iter()
        .map(|issue| Thing::Issue(repo, issue))
        .collect()
}

/// A branch as it stands just now.
struct Branch {
    name: String,
    sha: String,
}

impl ObjectValue for Branch {
    fn type_name(&self) -> &'static str {
        "Ref"
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        match info.field_name() {
            "id" => Ok(ResolvedValue::leaf(json!(format!("REF_{}", self.name)))),
            "name" => Ok(ResolvedValue::leaf(json!(self.name))),
            "target" => Ok(ResolvedValue::object(Commit {
                sha: self.sha.clone(),
            })),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

/// A commit whose name was read from the repository just now.
struct Commit {
    sha: String,
}

impl ObjectValue for Commit {
    fn type_name(&self) -> &'static str {
        "Commit"
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        match info.field_name() {
            "oid" => Ok(ResolvedValue::leaf(json!(self.sha))),
            "id" => Ok(ResolvedValue::leaf(json!(format!("C_{}", self.sha)))),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}
