//! The two GraphQL reads: which repositories moved, and the hot set.
//!
//! Answers may be partial: an error that names one alias concerns that one
//! alone. Anything else makes the whole read an error.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    GithubForge,
    client::{Call, decode},
    wire::{account_kind, subject_state},
};
use crate::{
    domain::{
        Timestamp,
        forge::{Actor, ContentEdit, EditHistory, Issue},
        ids::{BranchName, IssueNumber, LabelName, RepositoryId, RepositoryName, UserId},
        mirror::Detected,
    },
    forge::{
        Detection, ForgeError, ForgeErrorKind, ForgeResult, Purpose, RepositoryRef, SubjectRead,
    },
};

/// Repositories in one detection query: two connections each stay below the
/// 150 at which GitHub charges a second point.
pub(super) const DETECT_BATCH: usize = 74;

/// Subjects in one hot-set query: the most ids that `nodes` takes.
pub(super) const SUBJECT_BATCH: usize = 100;

const DETECT_FIELDS: &str = "fragment moved on Repository {
  databaseId
  nameWithOwner
  isArchived
  defaultBranchRef { name target { oid } }
  issues(first: 1, orderBy: {field: UPDATED_AT, direction: DESC}) { totalCount nodes { updatedAt } }
  pullRequests(first: 1, orderBy: {field: UPDATED_AT, direction: DESC}) { totalCount nodes { updatedAt } }
}";

const SUBJECTS: &str = "query Subjects($ids: [ID!]!) {
  nodes(ids: $ids) {
    __typename
    ... on Issue {
      id number title body issueState: state createdAt updatedAt url
      repository { databaseId }
      author { ...who }
      labels(first: 100) { nodes { name } }
      userContentEdits(first: 100) { totalCount nodes { editedAt editor { ...who } } }
      renames: timelineItems(last: 100, itemTypes: [RENAMED_TITLE_EVENT]) {
        pageInfo { hasPreviousPage } nodes { ... on RenamedTitleEvent { createdAt actor { ...who } } }
      }
      newest: timelineItems(last: 1, itemTypes: [LABELED_EVENT, UNLABELED_EVENT, CLOSED_EVENT, REOPENED_EVENT, TRANSFERRED_EVENT]) {
        nodes {
          ... on LabeledEvent { id }
          ... on UnlabeledEvent { id }
          ... on ClosedEvent { id }
          ... on ReopenedEvent { id }
          ... on TransferredEvent { id }
        }
      }
    }
    ... on PullRequest {
      id number title body pullState: state createdAt updatedAt url
      repository { databaseId }
      author { ...who }
      labels(first: 100) { nodes { name } }
      userContentEdits(first: 100) { totalCount nodes { editedAt editor { ...who } } }
      renames: timelineItems(last: 100, itemTypes: [RENAMED_TITLE_EVENT]) {
        pageInfo { hasPreviousPage } nodes { ... on RenamedTitleEvent { createdAt actor { ...who } } }
      }
      newest: timelineItems(last: 1, itemTypes: [LABELED_EVENT, UNLABELED_EVENT, CLOSED_EVENT, REOPENED_EVENT]) {
        nodes {
          ... on LabeledEvent { id }
          ... on UnlabeledEvent { id }
          ... on ClosedEvent { id }
          ... on ReopenedEvent { id }
        }
      }
    }
  }
}
fragment who on Actor {
  __typename
  login
  ... on User { databaseId }
  ... on Bot { databaseId }
  ... on Organization { databaseId }
}";

#[derive(Debug, Deserialize)]
struct GraphqlAnswer {
    data: Option<Value>,
    #[serde(default)]
    errors: Vec<GraphqlError>,
}

#[derive(Debug, Deserialize)]
struct GraphqlError {
    #[serde(rename = "type")]
    kind: Option<String>,
    message: String,
    path: Option<Vec<Value>>,
}

impl GraphqlError {
    fn kind(&self) -> ForgeErrorKind {
        match self.kind.as_deref() {
            Some("NOT_FOUND") => ForgeErrorKind::NotFound,
            Some("FORBIDDEN" | "INSUFFICIENT_SCOPES") => ForgeErrorKind::Forbidden,
            Some("RATE_LIMITED" | "RATE_LIMIT") => ForgeErrorKind::RateLimited {
                retry_after: std::time::Duration::from_mins(1),
            },
            Some("MAX_NODE_LIMIT_EXCEEDED") => ForgeErrorKind::Unprocessable,
            Some(_) => ForgeErrorKind::Invalid,
            None => ForgeErrorKind::Server,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMoved {
    database_id: Option<i64>,
    name_with_owner: String,
    is_archived: bool,
    default_branch_ref: Option<WireBranch>,
    issues: WireNewest,
    pull_requests: WireNewest,
}

#[derive(Debug, Deserialize)]
struct WireBranch {
    name: String,
    target: Option<WireOid>,
}

#[derive(Debug, Deserialize)]
struct WireOid {
    oid: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireNewest {
    total_count: i64,
    nodes: Option<Vec<Option<WireUpdated>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireUpdated {
    updated_at: Timestamp,
}

impl WireNewest {
    fn fingerprint(&self) -> (Option<Timestamp>, i64) {
        let newest = self.nodes.iter().flatten().flatten().next();
        (newest.map(|node| node.updated_at), self.total_count)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireWho {
    #[serde(rename = "__typename")]
    kind: String,
    login: String,
    database_id: Option<i64>,
}

impl WireWho {
    fn id(&self) -> Option<UserId> {
        self.database_id.map(UserId)
    }

    fn actor(self) -> Option<Actor> {
        let id = self.id()?;
        // REST says `ada[bot]` where GraphQL says `ada`.
        let login = match self.kind.as_str() {
            "Bot" if !self.login.ends_with("[bot]") => format!("{}[bot]", self.login),
            _ => self.login,
        };
        let kind = account_kind(&self.kind);
        Some(Actor { id, login, kind })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireList<T> {
    #[serde(default)]
    total_count: usize,
    #[serde(default)]
    page_info: WirePage,
    nodes: Option<Vec<Option<T>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePage {
    has_previous_page: bool,
}

impl<T> WireList<T> {
    fn items(self) -> Vec<T> {
        self.nodes.into_iter().flatten().flatten().collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEdit {
    edited_at: Timestamp,
    editor: Option<WireWho>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRename {
    created_at: Timestamp,
    actor: Option<WireWho>,
}

#[derive(Debug, Deserialize)]
struct WireNode {
    id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireLabelName {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireHome {
    database_id: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSubject {
    #[serde(rename = "__typename")]
    kind: String,
    id: String,
    number: i64,
    title: String,
    body: String,
    issue_state: Option<String>,
    pull_state: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    url: String,
    repository: WireHome,
    author: Option<WireWho>,
    labels: Option<WireList<WireLabelName>>,
    user_content_edits: Option<WireList<WireEdit>>,
    renames: WireList<WireRename>,
    newest: WireList<WireNode>,
}

impl WireSubject {
    /// The subject; `None` when it lives in another repository by now.
    fn record(self, repository: RepositoryId) -> Option<SubjectRead> {
        if self.repository.database_id != Some(repository.0) {
            return None;
        }
        let state = self.issue_state.or(self.pull_state);
        let edits = edit_history(self.user_content_edits, self.renames);
        let labels = self.labels.map(WireList::items).unwrap_or_default();
        Some(SubjectRead {
            newest_event: self.newest.items().pop().and_then(|node| node.id),
            issue: Issue {
                repository,
                number: IssueNumber(self.number),
                node_id: self.id,
                title: self.title,
                body: self.body,
                state: subject_state(state.as_deref().unwrap_or_default()),
                is_pull_request: self.kind == "PullRequest",
                author: self.author.and_then(WireWho::actor),
                labels: labels
                    .into_iter()
                    .map(|label| LabelName::new(label.name))
                    .collect(),
                created_at: self.created_at,
                updated_at: self.updated_at,
                edits,
                html_url: self.url,
            },
        })
    }
}

/// Edits of the text and renames of the title, oldest first; `Unread` when the
/// forge did not give all of them.
fn edit_history(edits: Option<WireList<WireEdit>>, renames: WireList<WireRename>) -> EditHistory {
    let Some(edits) = edits else {
        return EditHistory::Unread;
    };
    // A timeline's total count is that of all its items, so its page tells.
    let (all_edits, more_renames) = (edits.total_count, renames.page_info.has_previous_page);
    let (edits, renames) = (edits.items(), renames.items());
    if edits.len() < all_edits || more_renames {
        return EditHistory::Unread;
    }
    let of = |at: Timestamp, who: Option<WireWho>| ContentEdit {
        at,
        editor: who.and_then(|who| who.id()),
    };
    let edits = edits
        .into_iter()
        .map(|edit| of(edit.edited_at, edit.editor));
    let renames = renames
        .into_iter()
        .map(|rename| of(rename.created_at, rename.actor));
    let mut edits: Vec<ContentEdit> = edits.chain(renames).collect();
    edits.sort_by_key(|edit| edit.at);
    EditHistory::Read { edits }
}

impl GithubForge {
    pub(super) async fn detect_batch(
        &self,
        names: &[RepositoryName],
    ) -> ForgeResult<Vec<ForgeResult<Detection>>> {
        let about = format!("{} repositories", names.len());
        let (query, variables) = detect_query(names);
        let (mut data, errors) = self
            .graphql(Purpose::Detect, &about, &query, variables)
            .await?;
        let mut answers = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let alias = format!("r{index}");
            let value = data.get_mut(&alias).map(Value::take).unwrap_or_default();
            answers.push(detection(name, &alias, value, &errors));
        }
        Ok(answers)
    }

    pub(super) async fn subjects_batch(
        &self,
        repository: &RepositoryRef,
        node_ids: &[&str],
    ) -> ForgeResult<Vec<Option<SubjectRead>>> {
        let about = format!("{} subjects of {repository}", node_ids.len());
        let variables = json!({ "ids": node_ids });
        let (mut data, errors) = self
            .graphql(Purpose::Subjects, &about, SUBJECTS, variables)
            .await?;
        if let Some(error) = errors
            .iter()
            .find(|error| error.kind() != ForgeErrorKind::NotFound)
        {
            let kind = error.kind();
            return Err(ForgeError::new(
                kind,
                Purpose::Subjects,
                about,
                &error.message,
            ));
        }
        let invalid =
            |why: String| ForgeError::new(ForgeErrorKind::Invalid, Purpose::Subjects, &about, why);
        let nodes = data.get_mut("nodes").map(Value::take).unwrap_or_default();
        let nodes: Vec<Option<WireSubject>> =
            serde_json::from_value(nodes).map_err(|error| invalid(error.to_string()))?;
        if nodes.len() != node_ids.len() {
            return Err(invalid(format!("{} answers", nodes.len())));
        }
        let records = nodes.into_iter();
        Ok(records
            .map(|node| node.and_then(|node| node.record(repository.id)))
            .collect())
    }

    /// Sends a query: its data, and the errors that concern single aliases.
    async fn graphql(
        &self,
        purpose: Purpose,
        about: &str,
        query: &str,
        variables: Value,
    ) -> ForgeResult<(Value, Vec<GraphqlError>)> {
        let body = json!({ "query": query, "variables": variables });
        let call = Call::send(Method::POST, purpose, about, "/graphql", body);
        let answer = self.client.call(&call).await?;
        let answer: GraphqlAnswer = decode(&call, &answer.body)?;
        let placed = |error: &GraphqlError| {
            error.path.as_ref().is_some_and(|path| !path.is_empty())
                && !matches!(error.kind(), ForgeErrorKind::RateLimited { .. })
        };
        if let Some(error) = answer.errors.iter().find(|error| !placed(error)) {
            return Err(call.error(error.kind(), error.message.clone()));
        }
        match answer.data {
            Some(data) if data.is_object() => Ok((data, answer.errors)),
            _ => Err(call.error(ForgeErrorKind::Server, "an answer without data")),
        }
    }
}

fn detect_query(names: &[RepositoryName]) -> (String, Value) {
    let mut parameters = Vec::new();
    let mut fields = Vec::new();
    let mut variables = serde_json::Map::new();
    for (index, name) in names.iter().enumerate() {
        parameters.push(format!("$o{index}: String!, $n{index}: String!"));
        fields.push(format!(
            "  r{index}: repository(owner: $o{index}, name: $n{index}) {{ ...moved }}\n"
        ));
        variables.insert(format!("o{index}"), Value::from(name.owner.as_str()));
        variables.insert(format!("n{index}"), Value::from(name.name.as_str()));
    }
    let (parameters, fields) = (parameters.join(", "), fields.concat());
    let query = format!("query Detect({parameters}) {{\n{fields}}}\n{DETECT_FIELDS}");
    (query, Value::Object(variables))
}

fn detection(
    name: &RepositoryName,
    alias: &str,
    value: Value,
    errors: &[GraphqlError],
) -> ForgeResult<Detection> {
    let failed = |kind, message: &str| ForgeError::new(kind, Purpose::Detect, name, message);
    let error = errors.iter().find(|error| {
        let first = error.path.as_ref().and_then(|path| path.first());
        first.and_then(Value::as_str) == Some(alias)
    });
    if let Some(error) = error {
        return Err(failed(error.kind(), &error.message));
    }
    if value.is_null() {
        return Err(failed(
            ForgeErrorKind::NotFound,
            "there is no such repository",
        ));
    }
    let invalid = |why: &str| failed(ForgeErrorKind::Invalid, why);
    let wire: WireMoved =
        serde_json::from_value(value).map_err(|error| invalid(&error.to_string()))?;
    let id = wire
        .database_id
        .ok_or_else(|| invalid("a repository without an id"))?;
    let head = wire
        .default_branch_ref
        .as_ref()
        .and_then(|branch| branch.target.as_ref());
    Ok(Detection {
        id: RepositoryId(id),
        name: wire
            .name_with_owner
            .parse()
            .map_err(|_| invalid("a name that is none"))?,
        archived: wire.is_archived,
        detected: Detected {
            issues: wire.issues.fingerprint(),
            pulls: wire.pull_requests.fingerprint(),
            head: head.map(|target| target.oid.clone()),
        },
        default_branch: wire
            .default_branch_ref
            .map(|branch| BranchName::new(branch.name)),
    })
}
