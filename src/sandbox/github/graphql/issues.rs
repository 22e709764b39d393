//! Issues, pull requests and what hangs on them: comments, events, reviews, edits.

use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use serde_json::{Value, json};

use super::super::views::{maybe_time, node_id, time};
use super::super::world::{
    Comment, Edit, Event, EventKind, Issue, Repo, Review, ReviewComment, StateReason,
};
use super::nodes::{Object, Thing};
use super::repositories::strings;
use super::root::arguments;

impl<'v> Object<'v> {
    pub(super) fn issue(
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
            "labels" | "comments" | "timelineItems" | "reviews" | "reviewThreads" => {
                return Some(self.issue_lists(repo, issue, info));
            }
            _ => {
                return self
                    .pull(repo, issue, info)
                    .or_else(|| self.edited(&issue.edits, info));
            }
        };
        Some(ResolvedValue::leaf(value))
    }

    fn pull(
        &self,
        repo: &'v Repo,
        issue: &'v Issue,
        info: &ResolveInfo<'_>,
    ) -> Option<ResolvedValue<'v>> {
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
            "headRepository" => return Some(self.other(Thing::Repository(repo))),
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
    ) -> ResolvedValue<'v> {
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
                let things = labels.map(Thing::Label).collect();
                self.connection("LabelConnection", things, &args)
            }
            "comments" => {
                let things = comments()
                    .map(|comment| Thing::Comment(repo, comment))
                    .collect();
                self.connection("IssueCommentConnection", things, &args)
            }
            "reviews" => {
                let things = reviews()
                    .map(|review| Thing::Review(repo, review))
                    .collect();
                self.connection("PullRequestReviewConnection", things, &args)
            }
            "reviewThreads" => {
                let all = repo.review_comments.iter();
                let seen = all.filter(|it| it.number == issue.number && it.seen_at <= now);
                let things = seen.map(Thing::Thread).collect();
                self.connection("PullRequestReviewThreadConnection", things, &args)
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
                self.connection(
                    name,
                    things.into_iter().map(|(_, thing)| thing).collect(),
                    &args,
                )
            }
        }
    }

    pub(super) fn comment(
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

    pub(super) fn review(
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

    /// Each remark begins a thread of its own here.
    pub(super) fn thread(
        &self,
        first: &'v ReviewComment,
        info: &ResolveInfo<'_>,
    ) -> Option<ResolvedValue<'v>> {
        let value = match info.field_name() {
            "id" => json!(node_id("PRRT", first.id)),
            "isResolved" => json!(first.resolved),
            "comments" => {
                let name = "PullRequestReviewCommentConnection";
                return Some(self.connection(name, vec![Thing::Remark(first)], &arguments(info)));
            }
            _ => return None,
        };
        Some(ResolvedValue::leaf(value))
    }

    pub(super) fn event(
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
                    Some(label) => self.other(Thing::Label(label)),
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
}

pub(super) fn state_name(issue: &Issue) -> &'static str {
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

/// A label that events remember and the repository no longer has.
struct FormerLabel {
    name: String,
    color: String,
}

impl ObjectValue for FormerLabel {
    fn type_name(&self) -> &'static str {
        "Label"
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        match info.field_name() {
            "id" => Ok(ResolvedValue::leaf(json!(format!("LA_{}", self.name)))),
            "name" => Ok(ResolvedValue::leaf(json!(self.name))),
            "color" => Ok(ResolvedValue::leaf(json!(self.color))),
            "description" => Ok(ResolvedValue::leaf(Value::Null)),
            "isDefault" => Ok(ResolvedValue::leaf(json!(false))),
            _ => Err(self.unknown_field_error(info)),
        }
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
