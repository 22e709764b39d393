//! The things of the graph, and the small ones of them: users, labels.

use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use serde_json::{Value, json};

use super::super::views::{node_id, time};
use super::super::world::{
    Comment, Edit, Event, EventKind, Issue, Label, Repo, Review, ReviewComment, UserKind,
};
use super::View;
use super::connection::Connection;

/// One thing of the graph, borrowed from the world.
#[derive(Clone, Copy)]
pub(super) enum Thing<'v> {
    Repository(&'v Repo),
    Issue(&'v Repo, &'v Issue),
    Comment(&'v Repo, &'v Comment),
    Label(&'v Label),
    Event(&'v Repo, &'v Event),
    Review(&'v Repo, &'v Review),
    Edit(&'v Edit),
    /// The thread that a remark on a line begins.
    Thread(&'v ReviewComment),
    Remark(&'v ReviewComment),
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
    pub(super) fn other(&self, thing: Thing<'v>) -> ResolvedValue<'v> {
        ResolvedValue::object(Object {
            view: self.view,
            thing,
        })
    }

    pub(super) fn maybe(&self, thing: Option<Thing<'v>>) -> ResolvedValue<'v> {
        thing.map_or_else(ResolvedValue::null, |thing| self.other(thing))
    }

    /// A user, null where the account is gone.
    pub(super) fn person(&self, id: u64) -> ResolvedValue<'v> {
        self.maybe(
            self.view
                .world
                .users
                .contains_key(&id)
                .then_some(Thing::User(id)),
        )
    }

    pub(super) fn connection(
        &self,
        type_name: &'static str,
        things: Vec<Thing<'v>>,
        args: &Value,
    ) -> ResolvedValue<'v> {
        ResolvedValue::object(Connection::new(type_name, self.view, things, args))
    }
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
            Thing::Thread(_) => "PullRequestReviewThread",
            Thing::Remark(_) => "PullRequestReviewComment",
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
            Thing::Label(label) => Object::label(label, info),
            Thing::Event(repo, event) => this.event(repo, event, info),
            Thing::Review(repo, review) => this.review(repo, review, info),
            Thing::Thread(first) => this.thread(first, info),
            Thing::Remark(remark) => match info.field_name() {
                "id" => Some(json!(node_id("PRRC", remark.id))),
                "fullDatabaseId" => Some(json!(remark.id.to_string())),
                _ => None,
            }
            .map(ResolvedValue::leaf),
            Thing::Edit(edit) => this.edit(edit, info),
            Thing::User(id) | Thing::Viewer(id) => this.user(id, info),
            Thing::Ref(repo, name) => Object::reference(repo, name, info),
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
}
