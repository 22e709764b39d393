//! Calls of the platform's tools: one row a call, whatever became of it.

use serde::Serialize;
use sqlx::types::Json;

use super::{ApiStore, StoreError};
use crate::domain::{
    Timestamp,
    fact::{Fact, WaitFact},
    ids::{AttemptNo, LabelName, RunId, Subject},
    tools::ToolOutcome,
};

/// A call of a tool that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct NewToolCall {
    /// The run.
    pub run: RunId,
    /// Its attempt.
    pub attempt: AttemptNo,
    /// The tool, as the agent named it.
    pub tool: String,
    /// What it was called with.
    pub arguments: serde_json::Value,
    /// What became of it.
    pub outcome: ToolOutcome,
    /// Why, where it was refused or failed.
    pub detail: Option<String>,
}

/// A call of a tool as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolCall {
    /// The attempt.
    pub attempt: i32,
    /// The tool, as the agent named it.
    pub tool: String,
    /// What it was called with.
    pub arguments: serde_json::Value,
    /// What became of it.
    pub outcome: String,
    /// Why, where it was refused or failed.
    pub detail: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl ApiStore {
    /// Writes a call down.
    pub async fn insert_tool_call(&self, call: &NewToolCall) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into tool_calls (run_id, attempt, tool, arguments, outcome, detail)
             values ($1, $2, $3, $4, $5, $6)",
            call.run.0,
            call.attempt.0,
            call.tool,
            call.arguments,
            call.outcome.to_string(),
            call.detail,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A run's calls of tools, oldest first.
    pub async fn tool_calls(&self, run: RunId) -> Result<Vec<ToolCall>, StoreError> {
        let calls = sqlx::query_as!(
            ToolCall,
            "select attempt, tool, arguments, outcome, detail, created_at as at
             from tool_calls where run_id = $1 order by call_id",
            run.0,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(calls)
    }

    /// The labels of an issue or pull request as the mirror has them; `None` where it is not read.
    pub async fn labels_of(&self, subject: Subject) -> Result<Option<Vec<LabelName>>, StoreError> {
        let labels = sqlx::query_scalar!(
            r#"select record->'labels' as "labels: Json<Vec<LabelName>>" from forge_issues
               where repository_id = $1 and number = $2"#,
            subject.repository.0,
            subject.number.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(labels.map(|labels| labels.map(|json| json.0).unwrap_or_default()))
    }

    /// What an attempt last said about its waiting, and when; `None` where it never waited.
    pub async fn wait_of(
        &self,
        run: RunId,
        attempt: AttemptNo,
    ) -> Result<Option<(WaitFact, Timestamp)>, StoreError> {
        let row = sqlx::query!(
            r#"select payload as "payload: Json<Fact>", created_at from run_facts
               where run_id = $1 and attempt = $2 and kind = 'wait'
               order by fact_id desc limit 1"#,
            run.0,
            attempt.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.and_then(|row| match row.payload.0 {
            Fact::Wait(wait) => Some((wait, row.created_at)),
            _ => None,
        }))
    }
}
