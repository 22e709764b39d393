//! What runs used of models: one row a call.

use serde::Serialize;

use super::{ApiStore, StoreError};
use crate::domain::{
    Timestamp,
    ids::{AttemptNo, ProjectKey, RunId},
};

/// A call of a model that has ended. Numbers that the provider did not tell are absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewModelCall {
    /// The run.
    pub run: RunId,
    /// Its attempt.
    pub attempt: AttemptNo,
    /// Its project.
    pub project: ProjectKey,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The provider's HTTP status.
    pub status: Option<i32>,
    /// Tokens that went in, cached ones included.
    pub input_tokens: Option<i64>,
    /// Those of them that were cached.
    pub cached_tokens: Option<i64>,
    /// Tokens that came out.
    pub output_tokens: Option<i64>,
    /// What they cost, in millionths of the installation's currency.
    pub cost: Option<i64>,
    /// When it began.
    pub started_at: Timestamp,
}

/// Tokens used so far, input and output together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokensUsed {
    /// By the run.
    pub run: i64,
    /// By its project since the day (UTC) began.
    pub project_today: i64,
}

/// What a run used of models.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ModelUse {
    /// Calls.
    pub calls: i64,
    /// Calls whose tokens the provider did not tell.
    pub unknown: i64,
    /// Tokens that went in, cached ones included.
    pub input_tokens: i64,
    /// Those of them that were cached.
    pub cached_tokens: i64,
    /// Tokens that came out.
    pub output_tokens: i64,
    /// What they cost, in millionths; `None` where that of any call is unknown.
    pub cost: Option<i64>,
}

impl ApiStore {
    /// Writes a call down, whether or not its run is still at work: its tokens are used.
    pub async fn insert_model_call(&self, call: &NewModelCall) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into model_calls (run_id, attempt, project, provider, model, status,
                 input_tokens, cached_tokens, output_tokens, cost, started_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            call.run.0,
            call.attempt.0,
            call.project.as_str(),
            call.provider,
            call.model,
            call.status,
            call.input_tokens,
            call.cached_tokens,
            call.output_tokens,
            call.cost,
            call.started_at,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The tokens that a run, and its project today, have used.
    pub async fn tokens_used(
        &self,
        run: RunId,
        project: &ProjectKey,
    ) -> Result<TokensUsed, StoreError> {
        let used = sqlx::query_as!(
            TokensUsed,
            r#"select
                 (select coalesce(sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)), 0)
                  from model_calls where run_id = $1)::bigint as "run!",
                 (select coalesce(sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)), 0)
                  from model_calls where project = $2
                      and created_at >= date_trunc('day', platform_now(), 'UTC')
                 )::bigint as "project_today!""#,
            run.0,
            project.as_str(),
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(used)
    }

    /// What a run used of models.
    pub async fn model_use(&self, run: RunId) -> Result<ModelUse, StoreError> {
        let used = sqlx::query_as!(
            ModelUse,
            r#"select count(*) as "calls!",
                 count(*) filter (where input_tokens is null or output_tokens is null)
                     as "unknown!",
                 coalesce(sum(input_tokens), 0)::bigint as "input_tokens!",
                 coalesce(sum(cached_tokens), 0)::bigint as "cached_tokens!",
                 coalesce(sum(output_tokens), 0)::bigint as "output_tokens!",
                 case when count(*) = count(cost) then sum(cost)::bigint end as "cost"
               from model_calls where run_id = $1"#,
            run.0,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(used)
    }
}
