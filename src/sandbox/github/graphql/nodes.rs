//! The things of the graph: repositories, issues, comments, events, users and what hangs on them.

use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use chrono::DateTime;
use serde_json::{Value, json};

use super::super::store;
use super::super::views::{maybe_time, node_id, time};
use super::super::world::{
    Comment, Edit, Event, EventKind, Issue, Label, Permission, Repo, Review, StateReason, UserKind,
};
use super::View;
use super::connection::Connection;
use super::root::arguments;

/// One thing of the graph, borrowed from the world.
#[derive(Clone, Copy)]
pub(super) enum Thing<'v> {
    Repository(&'v Repo),
    Issue(&'v Repo, &'v Issue),
    Comment(&'v Repo, &'v Comment),
    Label(&'v Repo, &'v Label),
    Event(&'v Repo, &'v Event),
    Review(&'v Repo, &'v Review),
    Edit(&'v Edit),
    User(u64),
    /// The caller, whom GitHub always shows as a user.
    Viewer(u64),
    Ref(&'v Repo, &'v str),
    Commit(&'v str),
}

/// A thing with the view it is seen by.
pub(super) struct Object<'v> {
    pub view: &'v View<'v>,
    pub thing: Thing<'v>,
}

type Resolved<'a> = Result<ResolvedValue<'a>, FieldError>;

impl<'v> Object<'v> {
    fn other(&self, thing: Thing<'v>) -> ResolvedValue<'v> {
        ResolvedValue::object(Object {
            view: self.view,
            thing,
        })
    }

    fn maybe(&self, thing: Option<Thing<'v>>) -> ResolvedValue<'v> {
        thing.map_or_else(ResolvedValue::null, |thing| self.other(thing))
    }

    /// A user, null where the account is gone.
    fn person(&self, id: u64) -> ResolvedValue<'v> {
        self.maybe(
            self.view
                .world
                .users
                .contains_key(&id)
                .then_some(Thing::User(id)),
        )
    }

    fn connection(
        &self,
        type_name: &'static str,
        things: Vec<Thing<'v>>,
        args: &Value,
    ) -> ResolvedValue<'v> {
        ResolvedValue::object(Connection::new(type_name, self.view, things, args))
    }
}

fn leaf<'a>(value: Value) -> Resolved<'a> {
    Ok(ResolvedValue::leaf(value))
}

const fn event_type(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Labeled { .. } => "LabeledEvent",
        EventKind::Unlabeled { .. } => "UnlabeledEvent",
        EventKind::Closed => "ClosedEvent",
        EventKind::Reopened => "ReopenedEvent",
        EventKind::Renamed { .. } => "RenamedTitleEvent",
        EventKind::Transferred => "TransferredEvent",
        EventKind::Merged { .. } => "MergedEvent",
        EventKind::HeadRefDeleted => "HeadRefDeletedEvent",
        EventKind::HeadRefForcePushed { .. } => "HeadRefForcePushedEvent",
    }
}

/// The name of an event's kind in `itemTypes`.
const fn item_type(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Labeled { .. } => "LABELED_EVENT",
        EventKind::Unlabeled { .. } => "UNLABELED_EVENT",
        EventKind::Closed => "CLOSED_EVENT",
        EventKind::Reopened => "REOPENED_EVENT",
        EventKind::Renamed { .. } => "RENAMED_TITLE_EVENT",
        EventKind::Transferred => "TRANSFERRED_EVENT",
        EventKind::Merged { .. } => "MERGED_EVENT",
        EventKind::HeadRefDeleted => "HEAD_REF_DELETED_EVENT",
        EventKind::HeadRefForcePushed { .. } => "HEAD_REF_FORCE_PUSHED_EVENT",
    }
}

impl ObjectValue for Object<'_> {
    fn type_name(&self) -> &str {
        match self.thing {
            Thing::Repository(_) => "Repository",
            Thing::Issue(_, issue) if issue.pull.is_some() => "PullRequest",
            Thing::Issue(..) => "Issue",
            Thing::Comment(..) => "IssueComment",
            Thing::Label(..) => "Label",
            Thing::Event(_, event) => event_type(&event.kind),
            Thing::Review(..) => "PullRequestReview",
            Thing::Edit(_) => "UserContentEdit",
            Thing::User(id) => match self.view.world.user_or_ghost(id).kind {
                UserKind::User => "User",
                UserKind::Organization => "Organization",
                UserKind::Bot => "Bot",
            },
            Thing::Viewer(_) => "User",
            Thing::Ref(..) => "Ref",
            Thing::Commit(_) => "Commit",
        }
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        // The answer borrows for as long as this call may, not for as long as the view lives.
        let this: &'a Object<'a> = self;
        let resolved = match this.thing {
            Thing::Repository(repo) => this.repository(repo, info),
            Thing::Issue(repo, issue) => this.issue(repo, issue, info),
            Thing::Comment(repo, comment) => this.comment(repo, comment, info),
            Thing::Label(_, label) => Object::label(label, info),
            Thing::Event(repo, event) => this.event(repo, event, info),
            Thing::Review(repo, review) => this.review(repo, review, info),
            Thing::Edit(edit) => this.edit(edit, info),
            Thing::User(id) | Thing::Viewer(id) => this.user(id, info),
            Thing::Ref(repo, name) => this.reference(repo, name, info),
            Thing::Commit(sha) => match info.field_name() {
                "oid" => Some(json!(sha)),
                "id" => Some(json!(format!("C_{sha}"))),
                _ => None,
            }
            .map(ResolvedValue::leaf),
        };
        resolved.ok_or_else(|| self.unknown_field_error(info))
    }
}

impl<'v> Object<'v> {
    fn repository(&self, repo: &'v Repo, info: &ResolveInfo<'_>) -> Option<ResolvedValue<'v>> {
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
                let labels = repo.labels.values().map(|label| Thing::Label(repo, label));
                return Some(self.connection("LabelConnection", labels.collect(), &args));
            }
            "label" => {
                let label = repo.label_named(args["name"].as_str()?);
                return Some(self.maybe(label.map(|label| Thing::Label(repo, label))));
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

    fn reference(
        &self,
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
            let matches = |pull: &super::super::world::Pull| {
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

    fn user(&self, id: u64, info: &ResolveInfo<'_>) -> Option<ResolvedValue<'v>> {
        let user = self.view.world.user_or_ghost(id);
        let value = match info.field_name() {
            "id" => json!(node_id("U", user.id)),
            "databaseId" => json!(user.id),
            // GraphQL shows a bot without REST's suffix.
            "login" => match self.thing {
                Thing::Viewer(_) => json!(user.login),
                _ => json!(user.login.trim_end_matches("[bot]")),
            },
            "url" => json!(self.view.world.user_url(&user)),
            _ => return None,
        };
        Some(ResolvedValue::leaf(value))
    }

    fn label(label: &Label, info: &ResolveInfo<'_>) -> Option<ResolvedValue<'v>> {
        let value = match info.field_name() {
            "id" => json!(node_id("LA", label.id)),
            "name" => json!(label.name),
            "color" => json!(label.color),
            "description" => json!(label.description),
            "isDefault" => json!(false),
            _ => return None,
        };
        Some(ResolvedValue::leaf(value))
    }

    fn event(
        &self,
        repo: &'v Repo,
        event: &'v Event,
        info: &ResolveInfo<'_>,
    ) -> Option<ResolvedValue<'v>> {
        let value = match (info.field_name(), &event.kind) {
            ("id", kind) => json!(node_id(kind.node_prefix(), event.id)),
            ("createdAt", _) => json!(time(event.created_at)),
            ("actor", _) => return Some(self.person(event.actor.user)),
            ("currentTitle", EventKind::Renamed { to, .. }) => json!(to),
            ("previousTitle", EventKind::Renamed { from, .. }) => json!(from),
            (
                "label",
                EventKind::Labeled { name, color } | EventKind::Unlabeled { name, color },
            ) => {
                return Some(match repo.label_named(name) {
                    Some(label) => self.other(Thing::Label(repo, label)),
                    None => ResolvedValue::object(FormerLabel {
                        name: name.clone(),
                        color: color.clone(),
                    }),
                });
            }
            _ => return None,
        };
        Some(ResolvedValue::leaf(value))
    }

    fn review(
        &self,
        repo: &'v Repo,
        review: &'v Review,
        info: &ResolveInfo<'_>,
    ) -> Option<ResolvedValue<'v>> {
        let value = match info.field_name() {
            "id" => json!(node_id("PRR", review.id)),
            "fullDatabaseId" => json!(review.id.to_string()),
            "state" => json!(review.state.name()),
            "body" => json!(review.body),
            "submittedAt" => json!(time(review.submitted_at)),
            "url" => {
                let html = self.view.world.repo_html_url(repo);
                json!(format!(
                    "{html}/pull/{}#pullrequestreview-{}",
                    review.number, review.id
                ))
            }
            "author" => return Some(self.person(review.author)),
            "commit" => return Some(self.other(Thing::Commit(&review.commit))),
            _ => return None,
        };
        Some(ResolvedValue::leaf(value))
    }

    fn edit(&self, edit: &'v Edit, info: &ResolveInfo<'_>) -> Option<ResolvedValue<'v>> {
        let value = match info.field_name() {
            "id" => json!(node_id("UCE", edit.id)),
            "createdAt" | "updatedAt" | "editedAt" => json!(time(edit.at)),
            "diff" => json!(edit.text),
            "editor" => return Some(self.person(edit.editor)),
            _ => return None,
        };
        Some(ResolvedValue::leaf(value))
    }

    /// The fields that a text with an edit history has: an issue, a pull request, a comment.
    fn edited(&self, edits: &'v [Edit], info: &ResolveInfo<'_>) -> Option<ResolvedValue<'v>> {
        let newest = edits.last();
        let value = match info.field_name() {
            "lastEditedAt" => json!(maybe_time(newest.map(|edit| edit.at))),
            "includesCreatedEdit" => json!(!edits.is_empty()),
            "editor" => {
                return Some(
                    newest.map_or_else(ResolvedValue::null, |edit| self.person(edit.editor)),
                );
            }
            "userContentEdits" => {
                // Newest first, as GitHub has them.
                let things = edits.iter().rev().map(Thing::Edit).collect();
                return Some(self.connection(
                    "UserContentEditConnection",
                    things,
                    &arguments(info),
                ));
            }
            _ => return None,
        };
        Some(ResolvedValue::leaf(value))
    }

    fn comment(
        &self,
        repo: &'v Repo,
        comment: &'v Comment,
        info: &ResolveInfo<'_>,
    ) -> Option<ResolvedValue<'v>> {
        let value = match info.field_name() {
            "id" => json!(node_id("IC", comment.id)),
            "databaseId" => json!(comment.id),
            "fullDatabaseId" => json!(comment.id.to_string()),
            "body" => json!(comment.body),
            "createdAt" => json!(time(comment.created_at)),
            "updatedAt" => json!(time(comment.updated_at)),
            "url" => self.view.world.comment_json(repo, comment)["html_url"].clone(),
            "viewerDidAuthor" => {
                json!(self.view.world.actor_of(self.view.principal).user == comment.author)
            }
            "author" => return Some(self.person(comment.author)),
            _ => return self.edited(&comment.edits, info),
        };
        Some(ResolvedValue::leaf(value))
    }

    fn issue(
        &self,
        repo: &'v Repo,
        issue: &'v Issue,
        info: &ResolveInfo<'_>,
    ) -> Option<ResolvedValue<'v>> {
        let kind = if issue.pull.is_some() { "PR" } else { "I" };
        let value = match info.field_name() {
            "id" => json!(node_id(kind, issue.id)),
            "databaseId" => json!(issue.id),
            "fullDatabaseId" => json!(
                issue
                    .pull
                    .as_ref()
                    .map_or(issue.id, |pull| pull.id)
                    .to_string()
            ),
            "number" => json!(issue.number),
            "title" => json!(issue.title),
            "body" => json!(issue.body.clone().unwrap_or_default()),
            "state" => json!(state_name(issue)),
            "stateReason" => json!(issue.state_reason.map(state_reason)),
            "closed" => json!(issue.closed),
            "createdAt" => json!(time(issue.created_at)),
            "updatedAt" => json!(time(issue.updated_at)),
            "closedAt" => json!(maybe_time(issue.closed_at)),
            "url" => json!(self.view.world.issue_html_url(repo, issue)),
            "repository" => return Some(self.other(Thing::Repository(repo))),
            "author" => return Some(self.person(issue.author)),
            "labels" | "comments" | "timelineItems" | "reviews" => {
                return self.issue_lists(repo, issue, info);
            }
            _ => {
                return self
                    .pull(issue, info)
                    .or_else(|| self.edited(&issue.edits, info));
            }
        };
        Some(ResolvedValue::leaf(value))
    }

    fn pull(&self, issue: &'v Issue, info: &ResolveInfo<'_>) -> Option<ResolvedValue<'v>> {
        let pull = issue.pull.as_ref()?;
        let value = match info.field_name() {
            "headRefName" => json!(pull.head_ref),
            "headRefOid" => json!(pull.head_sha),
            "baseRefName" => json!(pull.base_ref),
            "baseRefOid" => json!(pull.base_sha),
            "merged" => json!(pull.merged_at.is_some()),
            "mergedAt" => json!(maybe_time(pull.merged_at)),
            "isDraft" => json!(pull.draft),
            "isCrossRepository" => json!(false),
            "mergedBy" => {
                return Some(
                    pull.merged_by
                        .map_or_else(ResolvedValue::null, |user| self.person(user)),
                );
            }
            "mergeCommit" => {
                return Some(self.maybe(pull.merge_commit.as_deref().map(Thing::Commit)));
            }
            _ => return None,
        };
        Some(ResolvedValue::leaf(value))
    }

    fn issue_lists(
        &self,
        repo: &'v Repo,
        issue: &'v Issue,
        info: &ResolveInfo<'_>,
    ) -> Option<ResolvedValue<'v>> {
        let (now, args) = (self.view.now, arguments(info));
        let comments = || {
            let seen = repo
                .comments
                .values()
                .filter_map(|comment| comment.seen(now));
            seen.filter(|comment| comment.number == issue.number && !comment.deleted)
        };
        let reviews = || {
            let all = repo.reviews.iter();
            all.filter(|review| review.number == issue.number && review.seen_at <= now)
        };
        match info.field_name() {
            "labels" => {
                let labels = issue.labels.iter().filter_map(|id| repo.labels.get(id));
                let things = labels.map(|label| Thing::Label(repo, label)).collect();
                Some(self.connection("LabelConnection", things, &args))
            }
            "comments" => {
                let things = comments()
                    .map(|comment| Thing::Comment(repo, comment))
                    .collect();
                Some(self.connection("IssueCommentConnection", things, &args))
            }
            "reviews" => {
                let things = reviews()
                    .map(|review| Thing::Review(repo, review))
                    .collect();
                Some(self.connection("PullRequestReviewConnection", things, &args))
            }
            _ => {
                let wanted = strings(&args["itemTypes"]);
                let is = |name: &str| {
                    wanted
                        .as_ref()
                        .is_none_or(|all| all.iter().any(|one| one == name))
                };
                let events = repo.events.iter();
                let events =
                    events.filter(|event| event.number == issue.number && event.seen_at <= now);
                let mut things: Vec<(u64, Thing<'v>)> = events
                    .filter(|event| is(item_type(&event.kind)))
                    .map(|event| (event.id, Thing::Event(repo, event)))
                    .collect();
                if is("ISSUE_COMMENT") {
                    things.extend(
                        comments().map(|comment| (comment.id, Thing::Comment(repo, comment))),
                    );
                }
                if is("PULL_REQUEST_REVIEW") && issue.pull.is_some() {
                    things.extend(reviews().map(|review| (review.id, Thing::Review(repo, review))));
                }
                things.sort_by_key(|(id, _)| *id);
                let name = match issue.pull {
                    Some(_) => "PullRequestTimelineItemsConnection",
                    None => "IssueTimelineItemsConnection",
                };
                Some(self.connection(
                    name,
                    things.into_iter().map(|(_, thing)| thing).collect(),
                    &args,
                ))
            }
        }
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    serde_json::from_value(value.clone())
        .ok()
        .filter(|_: &Vec<String>| !value.is_null())
}

fn state_name(issue: &Issue) -> &'static str {
    let merged = issue
        .pull
        .as_ref()
        .is_some_and(|pull| pull.merged_at.is_some());
    match (merged, issue.closed) {
        (true, _) => "MERGED",
        (_, true) => "CLOSED",
        _ => "OPEN",
    }
}

const fn state_reason(reason: StateReason) -> &'static str {
    match reason {
        StateReason::Completed => "COMPLETED",
        StateReason::NotPlanned => "NOT_PLANNED",
        StateReason::Reopened => "REOPENED",
    }
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

/// A commit whose name was read from the repository just now.
struct Commit {
    sha: String,
}

impl ObjectValue for Commit {
    fn type_name(&self) -> &'static str {
        "Commit"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        match info.field_name() {
            "oid" => leaf(json!(self.sha)),
            "id" => leaf(json!(format!("C_{}", self.sha))),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

/// A label that events remember and the repository no longer has.
struct FormerLabel {
    name: String,
    color: String,
}

impl ObjectValue for FormerLabel {
    fn type_name(&self) -> &'static str {
        "Label"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        match info.field_name() {
            "id" => leaf(json!(format!("LA_{}", self.name))),
            "name" => leaf(json!(self.name)),
            "color" => leaf(json!(self.color)),
            "description" => leaf(Value::Null),
            "isDefault" => leaf(json!(false)),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}
