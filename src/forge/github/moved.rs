//! What moved in many repositories at once, by three kinds of GraphQL queries: which subjects
//! moved (and where branches stand), those subjects and the hot ones, the conversations of the
//! hot ones that moved. No query is one repository's alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    GithubForge,
    batches::Batches,
    graphql::{GraphqlError, RATE, WireOid},
    subjects::{SUBJECT_BATCH, WHO, Wanted, WireList, WireWho, no_other_error, nodes},
};
use crate::{
    domain::{
        Timestamp,
        approval::commands_in,
        forge::{Comment, LabelRecord},
        ids::{CommentId, CommitSha, IssueNumber, LabelName, RepositoryId},
    },
    forge::{ForgeError, ForgeErrorKind, ForgeResult, MovedQuery, MovedRead, Purpose},
};

/// Repositories in one query.
pub(super) const REPOSITORIES: usize = 74;

/// Subjects of each kind that one look at a repository shows, newest first.
const SHOWN: usize = 30;

/// Conversations longer than this are left to REST.
const COMMENTS: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireListed {
    id: String,
    number: i64,
    updated_at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct WireBranch {
    target: Option<WireOid>,
}

#[derive(Debug, Deserialize)]
struct WireLabel {
    name: String,
    color: String,
    description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireConversation {
    comments: WireList<WireComment>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireComment {
    full_database_id: Option<String>,
    author: Option<WireWho>,
    body: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// One repository on its way through the queries.
struct Work<'q> {
    query: &'q MovedQuery,
    /// What is to be read, by number.
    subjects: BTreeMap<IssueNumber, Wanted>,
    read: MovedRead,
    failed: Option<ForgeError>,
}

impl GithubForge {
    /// Reads what moved; one answer a repository, in order.
    pub(super) async fn read_moved(
        &self,
        queries: &[MovedQuery],
    ) -> ForgeResult<Vec<ForgeResult<MovedRead>>> {
        let mut works: Vec<Work<'_>> = queries.iter().map(Work::new).collect();
        let mut listed: Vec<&mut Work<'_>> =
            works.iter_mut().filter(|work| work.is_listed()).collect();
        let mut batches = Batches::of(listed.len(), REPOSITORIES);
        while let Some(batch) = batches.next() {
            match self.list(&mut listed[batch.clone()]).await {
                Ok(()) => batches.note_answer(),
                Err(error) if error.kind == ForgeErrorKind::NotFound => return Err(error),
                Err(error) => {
                    for at in batches.note_failure(batch, &error).into_iter().flatten() {
                        listed[at].failed = Some(error.clone());
                    }
                }
            }
        }
        self.read_works(&mut works).await?;
        self.converse(&mut works).await?;
        let answers = works.into_iter();
        Ok(answers
            .map(|work| work.failed.map_or(Ok(work.read), Err))
            .collect())
    }

    /// Asks what moved, where branches stand and, for a sweep, what bears our labels.
    async fn list(&self, works: &mut [&mut Work<'_>]) -> ForgeResult<()> {
        let about = format!("{} repositories", works.len());
        let (query, variables) = list_query(works);
        let (mut data, errors, date) = self
            .graphql_dated(Purpose::Issues, &about, &query, variables)
            .await?;
        for (index, work) in works.iter_mut().enumerate() {
            let alias = format!("r{index}");
            let value = data.get_mut(&alias).map(Value::take).unwrap_or_default();
            if let Err(error) = work.take_list(value, &alias, &errors, date) {
                work.failed = Some(error);
            }
        }
        Ok(())
    }

    async fn read_works(&self, works: &mut [Work<'_>]) -> ForgeResult<()> {
        let places: Vec<(usize, IssueNumber)> = works
            .iter()
            .enumerate()
            .filter(|(_, work)| work.failed.is_none())
            .flat_map(|(at, work)| work.subjects.keys().map(move |number| (at, *number)))
            .collect();
        let wanted: Vec<Wanted> = places
            .iter()
            .map(|(at, number)| works[*at].subjects[number].clone())
            .collect();
        let reads = self.read_subjects(&wanted).await?;
        for ((at, number), read) in places.into_iter().zip(reads) {
            let work = &mut works[at];
            match read {
                Ok(Some(read)) => work.read.subjects.push(read),
                Ok(None) if work.is_hot(number) => work.read.left.push(number),
                // It left between two queries: nobody waits for it.
                Ok(None) => {}
                Err(error) => work.failed = Some(error),
            }
        }
        Ok(())
    }

    /// Reads the conversations of hot subjects whose update time is another than when it was read.
    async fn converse(&self, works: &mut [Work<'_>]) -> ForgeResult<()> {
        let places: Vec<(usize, IssueNumber, String)> = works
            .iter()
            .enumerate()
            .flat_map(|(at, work)| {
                let moved = work.moved_conversations();
                moved.map(move |(number, id)| (at, number, id))
            })
            .collect();
        let mut batches = Batches::of(places.len(), SUBJECT_BATCH);
        while let Some(batch) = batches.next() {
            let asked = &places[batch.clone()];
            match self.conversations(asked).await {
                Ok(found) => {
                    batches.note_answer();
                    for ((at, number, _), found) in asked.iter().zip(found) {
                        let work = &mut works[*at];
                        let repository = work.query.repository.id;
                        match found.and_then(|found| found.records(repository, *number)) {
                            Some(comments) => work.read.conversations.push((*number, comments)),
                            None => work.read.long_conversations.push(*number),
                        }
                    }
                }
                Err(error) if error.kind == ForgeErrorKind::NotFound => return Err(error),
                Err(error) => {
                    for place in batches.note_failure(batch, &error).into_iter().flatten() {
                        works[places[place].0].failed = Some(error.clone());
                    }
                }
            }
        }
        Ok(())
    }

    async fn conversations(
        &self,
        places: &[(usize, IssueNumber, String)],
    ) -> ForgeResult<Vec<Option<WireConversation>>> {
        let about = format!("{} conversations", places.len());
        let ids: Vec<&str> = places.iter().map(|(.., id)| id.as_str()).collect();
        let (mut data, errors) = self
            .graphql(
                Purpose::Comments,
                &about,
                &conversation_query(),
                json!({ "ids": ids }),
            )
            .await?;
        no_other_error(&errors, &about)?;
        nodes(&mut data, "nodes", places.len(), &about)
    }
}

impl<'q> Work<'q> {
    fn new(query: &'q MovedQuery) -> Self {
        let subjects = query.hot.iter().map(|hot| {
            let wanted = Wanted {
                node_id: hot.node_id.clone(),
                repository: query.repository.id,
                is_pull_request: Some(hot.is_pull_request),
                history: true,
            };
            (hot.number, wanted)
        });
        Self {
            query,
            subjects: subjects.collect(),
            read: MovedRead::default(),
            failed: None,
        }
    }

    /// Whether the repository itself is asked anything.
    fn is_listed(&self) -> bool {
        let query = self.query;
        query.since.is_some() || !query.sweep.is_empty() || !query.branches.is_empty()
    }

    fn is_hot(&self, number: IssueNumber) -> bool {
        self.query.hot.iter().any(|hot| hot.number == number)
    }

    fn selection(&self) -> String {
        let mut fields = "databaseId".to_owned();
        if self.query.since.is_some() {
            for (name, of) in [("movedIssues", "issues"), ("movedPulls", "pullRequests")] {
                write!(
                    fields,
                    " {name}: {of}(first: {SHOWN}, orderBy: {{field: UPDATED_AT, direction: DESC}}) \
                     {{ nodes {{ id number updatedAt }} }}"
                )
                .expect("a String takes every write");
            }
        }
        if !self.query.sweep.is_empty() {
            for (name, of) in [("sweptIssues", "issues"), ("sweptPulls", "pullRequests")] {
                write!(
                    fields,
                    " {name}: {of}(first: 100, states: OPEN, labels: $labels) \
                     {{ totalCount nodes {{ id number updatedAt }} }}"
                )
                .expect("a String takes every write");
            }
            fields.push_str(" labels(first: 100) { totalCount nodes { name color description } }");
        }
        for index in 0..self.query.branches.len() {
            write!(
                fields,
                " b{index}: ref(qualifiedName: $BRANCH{index}) {{ target {{ oid }} }}"
            )
            .expect("a String takes every write");
        }
        fields
    }

    fn take_list(
        &mut self,
        mut value: Value,
        alias: &str,
        errors: &[GraphqlError],
        date: Timestamp,
    ) -> ForgeResult<()> {
        let query = self.query;
        let failed = |kind, message: &str| {
            ForgeError::new(kind, Purpose::Issues, &query.repository, message)
        };
        if let Some(error) = errors.iter().find(|error| error.is_of(alias)) {
            return Err(failed(error.kind(), &error.message));
        }
        if value["databaseId"].as_i64() != Some(query.repository.id.0) {
            return Err(failed(ForgeErrorKind::NotFound, "it is not there any more"));
        }
        let mut part = |name: &str| value.get_mut(name).map(Value::take).unwrap_or_default();
        if let Some(since) = query.since {
            let mut newest = None;
            self.read.reaches_back = true;
            for (name, pulls) in [("movedIssues", false), ("movedPulls", true)] {
                let shown: Vec<WireListed> = self.items(part(name))?;
                newest = newest.max(shown.iter().map(|one| one.updated_at).max());
                let oldest = shown.iter().map(|one| one.updated_at).min();
                self.read.reaches_back &=
                    shown.len() < SHOWN || oldest.is_some_and(|oldest| oldest < since);
                let moved = shown.into_iter().filter(|one| one.updated_at >= since);
                self.want(moved, pulls);
            }
            self.read.newest = newest.map(|newest| newest.min(super::reads::steady(date)));
        }
        if !query.sweep.is_empty() {
            self.read.swept = true;
            for (name, pulls) in [("sweptIssues", false), ("sweptPulls", true)] {
                let found: WireList<WireListed> = self.parsed(part(name))?;
                self.read.swept &= found.total_count <= 100;
                self.want(found.items().into_iter(), pulls);
            }
            let labels: WireList<WireLabel> = self.parsed(part("labels"))?;
            let all = labels.total_count <= 100;
            let records = labels.items().into_iter().map(|label| LabelRecord {
                name: LabelName::new(label.name),
                colour: label.color,
                description: label.description.unwrap_or_default(),
            });
            self.read.labels = all.then(|| records.collect());
        }
        for (index, branch) in query.branches.iter().enumerate() {
            let found: Option<WireBranch> = self.parsed(part(&format!("b{index}")))?;
            let head = found.and_then(|found| found.target);
            let head = head.map(|target| CommitSha::new(target.oid));
            self.read.branches.push((branch.clone(), head));
        }
        Ok(())
    }

    fn want(&mut self, listed: impl Iterator<Item = WireListed>, is_pull_request: bool) {
        for one in listed {
            let wanted = Wanted {
                node_id: one.id,
                repository: self.query.repository.id,
                is_pull_request: Some(is_pull_request),
                history: false,
            };
            let number = IssueNumber(one.number);
            self.subjects.entry(number).or_insert(wanted);
        }
    }

    fn parsed<T: DeserializeOwned>(&self, value: Value) -> ForgeResult<T> {
        serde_json::from_value(value).map_err(|error| {
            let about = &self.query.repository;
            ForgeError::new(
                ForgeErrorKind::Invalid,
                Purpose::Issues,
                about,
                error.to_string(),
            )
        })
    }

    fn items(&self, value: Value) -> ForgeResult<Vec<WireListed>> {
        Ok(self.parsed::<WireList<WireListed>>(value)?.items())
    }

    /// The hot subjects whose conversation is to be read: their numbers and node ids.
    fn moved_conversations(&self) -> impl Iterator<Item = (IssueNumber, String)> {
        let read: BTreeMap<IssueNumber, Timestamp> = self
            .read
            .subjects
            .iter()
            .map(|read| (read.issue.number, read.issue.updated_at))
            .collect();
        self.query.hot.iter().filter_map(move |hot| {
            let updated_at = read.get(&hot.number)?;
            (hot.conversation_at != Some(*updated_at)).then(|| (hot.number, hot.node_id.clone()))
        })
    }
}

impl WireConversation {
    /// The comments; `None` where they are too many, one has no number, or one holds a command:
    /// only REST says through which app it was written, and so whether it counts.
    fn records(self, repository: RepositoryId, number: IssueNumber) -> Option<Vec<Comment>> {
        if self.comments.total_count > COMMENTS {
            return None;
        }
        let comments = self.comments.items();
        let commands = |comment: &WireComment| !commands_in(&comment.body).is_empty();
        if comments.iter().any(commands) {
            return None;
        }
        comments
            .into_iter()
            .map(|comment| {
                Some(Comment {
                    id: CommentId(comment.full_database_id?.parse().ok()?),
                    repository,
                    number,
                    author: comment.author.and_then(WireWho::actor),
                    body: comment.body,
                    created_at: comment.created_at,
                    updated_at: comment.updated_at,
                    place: None,
                    via_app: None,
                })
            })
            .collect()
    }
}

fn conversation_query() -> String {
    let comments = format!(
        "comments(first: {COMMENTS}) {{ totalCount nodes {{ \
         fullDatabaseId author {{ ...who }} body createdAt updatedAt }} }}"
    );
    format!(
        "query Conversations($ids: [ID!]!) {{\n{RATE}  nodes(ids: $ids) {{\n    \
         ... on Issue {{ {comments} }}\n    ... on PullRequest {{ {comments} }}\n  }}\n}}\n{WHO}"
    )
}

fn list_query(works: &[&mut Work<'_>]) -> (String, Value) {
    let mut parameters = Vec::new();
    let mut fields = String::new();
    let mut variables = Map::new();
    let mut bind = |name: String, kind: &str, value: Value| {
        parameters.push(format!("${name}: {kind}"));
        variables.insert(name, value);
    };
    let labels: BTreeSet<&LabelName> = works.iter().flat_map(|work| &work.query.sweep).collect();
    if !labels.is_empty() {
        let labels = labels.into_iter().map(|label| Value::from(label.as_str()));
        bind("labels".to_owned(), "[String!]", labels.collect());
    }
    for (index, work) in works.iter().enumerate() {
        let name = &work.query.repository.name;
        bind(
            format!("o{index}"),
            "String!",
            Value::from(name.owner.as_str()),
        );
        bind(
            format!("n{index}"),
            "String!",
            Value::from(name.name.as_str()),
        );
        for (at, branch) in work.query.branches.iter().enumerate() {
            let full = format!("refs/heads/{branch}");
            bind(format!("r{index}b{at}"), "String!", Value::from(full));
        }
        let selection = work.selection().replace("$BRANCH", &format!("$r{index}b"));
        writeln!(
            fields,
            "  r{index}: repository(owner: $o{index}, name: $n{index}) {{ {selection} }}"
        )
        .expect("a String takes every write");
    }
    let parameters = parameters.join(", ");
    (
        format!("query Moved({parameters}) {{\n{RATE}{fields}}}"),
        Value::Object(variables),
    )
}
