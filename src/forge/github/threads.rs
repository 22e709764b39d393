//! Which remarks on lines are settled: those whose threads somebody has resolved. REST knows
//! remarks and no threads, so they are asked for by GraphQL.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{GithubForge, graphql::RATE, reads::object};
use crate::{
    domain::{forge::Comment, ids::IssueNumber},
    forge::{ForgeError, ForgeErrorKind, ForgeResult, Purpose, RepositoryRef},
};

/// Threads of one query, and remarks of each that are looked at: one point.
const THREADS: &str = "reviewThreads(first: 100, after: $after) {
        nodes { isResolved comments(first: 90) { nodes { fullDatabaseId } } }
        pageInfo { hasNextPage endCursor }
      }";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireThreads {
    nodes: Vec<Option<WireThread>>,
    page_info: WirePage,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireThread {
    is_resolved: bool,
    comments: WireRemarks,
}

#[derive(Debug, Deserialize)]
struct WireRemarks {
    nodes: Vec<Option<WireRemark>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRemark {
    full_database_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePage {
    has_next_page: bool,
    end_cursor: Option<String>,
}

impl GithubForge {
    /// Notes at remarks on lines which of them are settled; where GraphQL is missing none is.
    pub(super) async fn mark_resolved(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        remarks: &mut [Comment],
    ) -> ForgeResult<()> {
        if remarks.is_empty() || !self.has_graphql() {
            return Ok(());
        }
        let resolved = self.read_resolved(repository, number).await?;
        for remark in remarks {
            if let Some(place) = &mut remark.place {
                place.resolved = resolved.contains(&remark.id.0);
            }
        }
        Ok(())
    }

    async fn read_resolved(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> ForgeResult<BTreeSet<i64>> {
        let about = object(repository, number);
        let query = format!(
            "query Threads($owner: String!, $name: String!, $number: Int!, $after: String) {{\n{RATE}  \
             repository(owner: $owner, name: $name) {{\n    pullRequest(number: $number) {{\n      \
             {THREADS}\n    }}\n  }}\n}}"
        );
        let mut resolved = BTreeSet::new();
        let mut after = Value::Null;
        loop {
            let variables = json!({
                "owner": repository.name.owner.as_str(),
                "name": repository.name.name.as_str(),
                "number": number.0,
                "after": after,
            });
            let read = self.graphql(Purpose::Reviews, &about, &query, variables);
            let (mut data, errors) = read.await?;
            if let Some(error) = errors.first() {
                let failed =
                    ForgeError::new(error.kind(), Purpose::Reviews, &about, &error.message);
                return Err(failed);
            }
            let threads = data.pointer_mut("/repository/pullRequest/reviewThreads");
            let threads = threads.map(Value::take).unwrap_or_default();
            let threads: WireThreads = serde_json::from_value(threads).map_err(|error| {
                let kind = ForgeErrorKind::Invalid;
                ForgeError::new(kind, Purpose::Reviews, &about, error.to_string())
            })?;
            let settled = threads.nodes.into_iter().flatten();
            let settled = settled.filter(|thread| thread.is_resolved);
            let remarks = settled.flat_map(|thread| thread.comments.nodes).flatten();
            let ids = remarks.filter_map(|remark| remark.full_database_id?.parse::<i64>().ok());
            resolved.extend(ids);
            match threads.page_info.end_cursor {
                Some(cursor) if threads.page_info.has_next_page => after = Value::from(cursor),
                _ => return Ok(resolved),
            }
        }
    }
}
