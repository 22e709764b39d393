//! GraphQL: sending a query, and the one that asks which repositories moved.
//!
//! Answers may be partial: an error that names one alias concerns that one
//! alone. Anything else makes the whole read an error.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    GithubForge,
    batches::Batches,
    client::{Call, decode},
};
use crate::{
    domain::{
        Timestamp,
        ids::{BranchName, RepositoryId, RepositoryName},
        mirror::Detected,
    },
    forge::{BudgetLeft, Detection, ForgeError, ForgeErrorKind, ForgeResult, Purpose},
};

/// Repositories in one detection query: two connections each stay below the
/// 150 at which GitHub charges a second point.
pub(super) const DETECT_BATCH: usize = 74;

const DETECT_FIELDS: &str = "fragment moved on Repository {
  databaseId
  nameWithOwner
  isArchived
  defaultBranchRef { name target { oid } }
  issues(first: 1, orderBy: {field: UPDATED_AT, direction: DESC}) { totalCount nodes { updatedAt } }
  pullRequests(first: 1, orderBy: {field: UPDATED_AT, direction: DESC}) { totalCount nodes { updatedAt } }
}";

#[derive(Debug, Deserialize)]
struct GraphqlAnswer {
    data: Option<Value>,
    #[serde(default)]
    errors: Vec<GraphqlError>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GraphqlError {
    #[serde(rename = "type")]
    kind: Option<String>,
    pub(super) message: String,
    path: Option<Vec<Value>>,
}

impl GraphqlError {
    /// Whether it concerns the part of the answer under this name.
    pub(super) fn is_of(&self, alias: &str) -> bool {
        let first = self.path.as_ref().and_then(|path| path.first());
        first.and_then(Value::as_str) == Some(alias)
    }

    pub(super) fn kind(&self) -> ForgeErrorKind {
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

/// What each query asks beside its own: what it cost, and what is left.
pub(super) const RATE: &str = "  rateLimit { cost limit remaining resetAt }\n";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRate {
    cost: u64,
    limit: u64,
    remaining: u64,
    reset_at: Timestamp,
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
pub(super) struct WireOid {
    pub(super) oid: String,
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

impl GithubForge {
    /// Asks which repositories moved, one answer each; an error is that of its own query.
    pub(super) async fn detect_all(&self, names: &[RepositoryName]) -> Vec<ForgeResult<Detection>> {
        let mut answers: Vec<Option<ForgeResult<Detection>>> = names.iter().map(|_| None).collect();
        let mut batches = Batches::of(names.len(), DETECT_BATCH);
        while let Some(batch) = batches.next() {
            if self.has_graphql() {
                match self.detect_batch(&names[batch.clone()]).await {
                    Ok(found) => {
                        batches.note_answer();
                        for (at, found) in batch.zip(found) {
                            answers[at] = Some(found);
                        }
                        continue;
                    }
                    Err(error) if error.kind == ForgeErrorKind::NotFound => {
                        self.note_graphql_missing();
                    }
                    Err(error) => {
                        let failed = batches.note_failure(batch, &error).into_iter().flatten();
                        for at in failed {
                            answers[at] = Some(Err(error.clone()));
                        }
                        continue;
                    }
                }
            }
            for at in batch {
                answers[at] = Some(self.detect_by_rest(&names[at]).await);
            }
        }
        let answers = answers.into_iter();
        answers
            .map(|answer| answer.expect("every batch is answered, halved or failed"))
            .collect()
    }

    async fn detect_batch(
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

    /// Sends a query: its data, and the errors that concern single aliases.
    pub(super) async fn graphql(
        &self,
        purpose: Purpose,
        about: &str,
        query: &str,
        variables: Value,
    ) -> ForgeResult<(Value, Vec<GraphqlError>)> {
        let answer = self.graphql_dated(purpose, about, query, variables).await?;
        Ok((answer.0, answer.1))
    }

    /// The same, with the forge's clock when it answered.
    pub(super) async fn graphql_dated(
        &self,
        purpose: Purpose,
        about: &str,
        query: &str,
        variables: Value,
    ) -> ForgeResult<(Value, Vec<GraphqlError>, Timestamp)> {
        let body = json!({ "query": query, "variables": variables });
        let call = Call::send(Method::POST, purpose, about, "/graphql", body);
        let answer = self.client.call(&call).await?;
        let date = answer.date;
        let answer: GraphqlAnswer = decode(&call, &answer.body)?;
        let placed = |error: &GraphqlError| {
            error.path.as_ref().is_some_and(|path| !path.is_empty())
                && !matches!(error.kind(), ForgeErrorKind::RateLimited { .. })
        };
        if let Some(error) = answer.errors.iter().find(|error| !placed(error)) {
            return Err(call.error(error.kind(), error.message.clone()));
        }
        match answer.data {
            Some(mut data) if data.is_object() => {
                self.note_rate(purpose, data.get_mut("rateLimit").map(Value::take), date);
                Ok((data, answer.errors, date))
            }
            _ => Err(call.error(ForgeErrorKind::Server, "an answer without data")),
        }
    }
}

impl GithubForge {
    /// Notes what a query cost and what is left; a server without limits says neither.
    fn note_rate(&self, purpose: Purpose, rate: Option<Value>, date: Timestamp) {
        let rate = rate.and_then(|rate| serde_json::from_value::<WireRate>(rate).ok());
        let Some(rate) = rate else { return };
        self.client.metrics.count_points(purpose, rate.cost);
        let left = BudgetLeft {
            limit: rate.limit,
            remaining: rate.remaining,
            reset_epoch_seconds: rate.reset_at.timestamp(),
        };
        self.client.note_budget("graphql", left, date);
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
    let query = format!("query Detect({parameters}) {{\n{RATE}{fields}}}\n{DETECT_FIELDS}");
    (query, Value::Object(variables))
}

fn detection(
    name: &RepositoryName,
    alias: &str,
    value: Value,
    errors: &[GraphqlError],
) -> ForgeResult<Detection> {
    let failed = |kind, message: &str| ForgeError::new(kind, Purpose::Detect, name, message);
    if let Some(error) = errors.iter().find(|error| error.is_of(alias)) {
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
