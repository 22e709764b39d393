//! Subjects by node id, as GraphQL gives them: state, labels, the newest label or state event;
//! of the hot ones their edit history too.
//!
//! What is asked of issues and of pull requests, of hot ones and of others, stands in lists of
//! its own: GitHub charges each connection for every id, whether the thing behind it has it or not.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    GithubForge,
    batches::Batches,
    graphql::{GraphqlError, RATE},
    wire::{account_kind, subject_state},
};
use crate::{
    domain::{
        Timestamp,
        forge::{AccountKind, Actor, ContentEdit, EditHistory, Issue, PullRequest},
        ids::{BranchName, CommitSha, IssueNumber, LabelName, RepositoryId, UserId},
    },
    forge::{ForgeError, ForgeErrorKind, ForgeResult, Purpose, SubjectRead},
};

/// Ids in one list: the most that `nodes` takes.
pub(super) const SUBJECT_BATCH: usize = 100;

/// Who somebody is.
pub(super) const WHO: &str = "fragment who on Actor {
  __typename
  login
  ... on User { databaseId }
  ... on Bot { databaseId }
  ... on Organization { databaseId }
}
";

const COMMON: &str = "__typename id number title body createdAt updatedAt url
      repository { databaseId }
      author { ...who }
      labels(first: 100) { nodes { name } }";

const ISSUE: &str = "issueState: state
      newest: timelineItems(last: 1, itemTypes: [LABELED_EVENT, UNLABELED_EVENT, CLOSED_EVENT, REOPENED_EVENT, TRANSFERRED_EVENT]) {
        nodes {
          ... on LabeledEvent { id }
          ... on UnlabeledEvent { id }
          ... on ClosedEvent { id }
          ... on ReopenedEvent { id }
          ... on TransferredEvent { id }
        }
      }";

const PULL: &str = "pullState: state
      headRefName headRefOid baseRefName merged
      headRepository { databaseId }
      newest: timelineItems(last: 1, itemTypes: [LABELED_EVENT, UNLABELED_EVENT, CLOSED_EVENT, REOPENED_EVENT]) {
        nodes {
          ... on LabeledEvent { id }
          ... on UnlabeledEvent { id }
          ... on ClosedEvent { id }
          ... on ReopenedEvent { id }
        }
      }";

const HISTORY: &str = "userContentEdits(first: 100) { totalCount nodes { editedAt editor { ...who } } }
      renames: timelineItems(last: 100, itemTypes: [RENAMED_TITLE_EVENT]) {
        pageInfo { hasPreviousPage } nodes { ... on RenamedTitleEvent { createdAt actor { ...who } } }
      }";

/// A subject to be read.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Its node id.
    pub(super) node_id: String,
    /// Its repository: one that lives in another by now is not read.
    pub(super) repository: RepositoryId,
    /// What it is; `None` where that is not known.
    pub(super) is_pull_request: Option<bool>,
    /// Whether its edit history is wanted.
    pub(super) history: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireWho {
    #[serde(rename = "__typename")]
    kind: String,
    login: String,
    database_id: Option<i64>,
}

impl WireWho {
    fn id(&self) -> Option<UserId> {
        self.database_id.map(UserId)
    }

    pub(super) fn actor(self) -> Option<Actor> {
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
pub(super) struct WireList<T> {
    #[serde(default)]
    pub(super) total_count: usize,
    #[serde(default)]
    page_info: WirePage,
    pub(super) nodes: Option<Vec<Option<T>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePage {
    has_previous_page: bool,
}

impl<T> WireList<T> {
    pub(super) fn items(self) -> Vec<T> {
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
pub(super) struct WireSubject {
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
    renames: Option<WireList<WireRename>>,
    newest: WireList<WireNode>,
    head_ref_name: Option<String>,
    head_ref_oid: Option<String>,
    head_repository: Option<WireHome>,
    base_ref_name: Option<String>,
    #[serde(default)]
    merged: bool,
}

impl WireSubject {
    /// The pull request, where it is one.
    fn pull(&self, repository: RepositoryId) -> Option<PullRequest> {
        let head_repository = self.head_repository.as_ref();
        Some(PullRequest {
            repository,
            number: IssueNumber(self.number),
            title: self.title.clone(),
            body: self.body.clone(),
            state: subject_state(self.pull_state.as_deref()?),
            merged: self.merged,
            author: self.author.clone().and_then(WireWho::actor),
            head: BranchName::new(self.head_ref_name.as_deref()?),
            head_repository: head_repository
                .and_then(|home| home.database_id)
                .map(RepositoryId),
            head_sha: CommitSha::new(self.head_ref_oid.as_deref()?),
            base: BranchName::new(self.base_ref_name.as_deref()?),
            html_url: self.url.clone(),
            updated_at: self.updated_at,
        })
    }

    /// The subject; `None` when it lives in another repository by now.
    pub(super) fn record(self, wanted: &Wanted) -> Option<SubjectRead> {
        let repository = wanted.repository;
        if self.repository.database_id != Some(repository.0) {
            return None;
        }
        let pull = self.pull(repository);
        let state = self.issue_state.or(self.pull_state);
        let edits = if wanted.history {
            edit_history(self.user_content_edits, self.renames)
        } else {
            EditHistory::Unread
        };
        let labels = self.labels.map(WireList::items).unwrap_or_default();
        Some(SubjectRead {
            newest_event: self.newest.items().pop().and_then(|node| node.id),
            pull,
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

/// Edits of the text and renames of the title, oldest first; `Withheld` when the forge did not
/// give those that matter.
fn edit_history(
    edits: Option<WireList<WireEdit>>,
    renames: Option<WireList<WireRename>>,
) -> EditHistory {
    let Some((edits, renames)) = edits.zip(renames) else {
        return EditHistory::Withheld;
    };
    // A timeline's total count is that of all its items, so its page tells.
    let (all_edits, more_renames) = (edits.total_count, renames.page_info.has_previous_page);
    let of = |at: Timestamp, who: Option<WireWho>| {
        let who = who.and_then(WireWho::actor);
        ContentEdit {
            at,
            editor: who.as_ref().map(|who| who.id),
            login: who
                .filter(|who| who.kind == AccountKind::User)
                .map(|who| who.login),
        }
    };
    let mut edits: Vec<ContentEdit> = edits
        .items()
        .into_iter()
        .map(|edit| of(edit.edited_at, edit.editor))
        .collect();
    let mut renames: Vec<ContentEdit> = renames
        .items()
        .into_iter()
        .map(|rename| of(rename.created_at, rename.actor))
        .collect();
    // Edits come newest first and renames are the last ones: what is left out is older.
    if edits.len() < all_edits {
        let Some(last) = edits.last().map(|edit| edit.at) else {
            return EditHistory::Withheld;
        };
        if edits.iter().any(|edit| edit.at < last) {
            return EditHistory::Withheld;
        }
        edits.push(by_nobody(last));
    }
    if more_renames {
        let Some(first) = renames.iter().map(|rename| rename.at).min() else {
            return EditHistory::Withheld;
        };
        renames.push(by_nobody(first));
    }
    edits.append(&mut renames);
    edits.sort_by_key(|edit| edit.at);
    EditHistory::Read { edits }
}

/// Stands for edits that are not known, none of them later than this.
fn by_nobody(at: Timestamp) -> ContentEdit {
    ContentEdit {
        at,
        editor: None,
        login: None,
    }
}

/// One list of a query: its name, what it asks of issues and of pull requests, and which
/// subjects it is for.
struct List {
    name: &'static str,
    issues: bool,
    pulls: bool,
    history: bool,
}

const LISTS: [List; 6] = [
    List {
        name: "hotIssues",
        issues: true,
        pulls: false,
        history: true,
    },
    List {
        name: "hotPulls",
        issues: false,
        pulls: true,
        history: true,
    },
    List {
        name: "hot",
        issues: true,
        pulls: true,
        history: true,
    },
    List {
        name: "issues",
        issues: true,
        pulls: false,
        history: false,
    },
    List {
        name: "pulls",
        issues: false,
        pulls: true,
        history: false,
    },
    List {
        name: "others",
        issues: true,
        pulls: true,
        history: false,
    },
];

impl List {
    fn holds(&self, wanted: &Wanted) -> bool {
        let kind = match wanted.is_pull_request {
            Some(pull) => self.pulls == pull && self.issues != pull,
            None => self.pulls && self.issues,
        };
        kind && wanted.history == self.history
    }

    fn selection(&self) -> String {
        let history = if self.history { HISTORY } else { "" };
        let of = |wanted: bool, kind: &str, own: &str| {
            let fields = format!(
                "    ... on {kind} {{\n      {COMMON}\n      {own}\n      {history}\n    }}\n"
            );
            if wanted { fields } else { String::new() }
        };
        let (issue, pull) = (
            of(self.issues, "Issue", ISSUE),
            of(self.pulls, "PullRequest", PULL),
        );
        let name = self.name;
        format!("  {name}: nodes(ids: ${name}) {{\n{issue}{pull}  }}\n")
    }
}

impl GithubForge {
    /// Reads subjects, one answer each, in order; `None` for one that is not in its repository.
    /// An error is that of its own query, but for a forge that has no GraphQL.
    pub(super) async fn read_subjects(
        &self,
        wanted: &[Wanted],
    ) -> ForgeResult<Vec<ForgeResult<Option<SubjectRead>>>> {
        let mut reads: Vec<_> = wanted.iter().map(|_| Ok(None)).collect();
        let mut batches = Batches::of(wanted.len(), SUBJECT_BATCH);
        while let Some(batch) = batches.next() {
            match self.subjects_batch(&wanted[batch.clone()]).await {
                Ok(found) => {
                    batches.note_answer();
                    for (at, found) in batch.zip(found) {
                        reads[at] = Ok(found);
                    }
                }
                Err(error) if error.kind == ForgeErrorKind::NotFound => return Err(error),
                Err(error) => {
                    for at in batches.note_failure(batch, &error).into_iter().flatten() {
                        reads[at] = Err(error.clone());
                    }
                }
            }
        }
        Ok(reads)
    }

    async fn subjects_batch(&self, wanted: &[Wanted]) -> ForgeResult<Vec<Option<SubjectRead>>> {
        let about = format!("{} subjects", wanted.len());
        let mut parameters = Vec::new();
        let mut selections = String::new();
        let mut variables = Map::new();
        let mut places: Vec<Vec<usize>> = Vec::new();
        for list in &LISTS {
            let all = wanted.iter().enumerate();
            let held: Vec<usize> = all
                .filter_map(|(at, one)| list.holds(one).then_some(at))
                .collect();
            if !held.is_empty() {
                parameters.push(format!("${}: [ID!]!", list.name));
                selections.push_str(&list.selection());
                let ids = held
                    .iter()
                    .map(|at| Value::from(wanted[*at].node_id.as_str()));
                variables.insert(list.name.to_owned(), ids.collect());
            }
            places.push(held);
        }
        let parameters = parameters.join(", ");
        let query = format!("query Subjects({parameters}) {{\n{RATE}{selections}}}\n{WHO}");
        let (mut data, errors) = self
            .graphql(Purpose::Subjects, &about, &query, Value::Object(variables))
            .await?;
        no_other_error(&errors, &about)?;
        let mut reads: Vec<Option<SubjectRead>> = wanted.iter().map(|_| None).collect();
        for (list, held) in LISTS
            .iter()
            .zip(places)
            .filter(|(_, held)| !held.is_empty())
        {
            let nodes: Vec<Option<WireSubject>> = nodes(&mut data, list.name, held.len(), &about)?;
            for (at, node) in held.into_iter().zip(nodes) {
                reads[at] = node.and_then(|node| node.record(&wanted[at]));
            }
        }
        Ok(reads)
    }
}

/// An id that names nothing any more is an answer; any other error spoils the read.
pub(super) fn no_other_error(errors: &[GraphqlError], about: &str) -> ForgeResult<()> {
    let mut errors = errors.iter();
    match errors.find(|error| error.kind() != ForgeErrorKind::NotFound) {
        Some(error) => Err(ForgeError::new(
            error.kind(),
            Purpose::Subjects,
            about,
            &error.message,
        )),
        None => Ok(()),
    }
}

/// The nodes of a list, as many as were asked for.
pub(super) fn nodes<T: serde::de::DeserializeOwned>(
    data: &mut Value,
    name: &str,
    asked: usize,
    about: &str,
) -> ForgeResult<Vec<Option<T>>> {
    let invalid =
        |why: String| ForgeError::new(ForgeErrorKind::Invalid, Purpose::Subjects, about, why);
    let nodes = data.get_mut(name).map(Value::take).unwrap_or_default();
    let nodes: Vec<Option<T>> =
        serde_json::from_value(nodes).map_err(|error| invalid(error.to_string()))?;
    if nodes.len() == asked {
        Ok(nodes)
    } else {
        Err(invalid(format!("{} answers", nodes.len())))
    }
}
