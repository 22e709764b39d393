//! What the staff API and the commands read: runs, their events, and why an
//! issue's run is where it is.

use std::collections::BTreeMap;

use sqlx::types::Json;

use super::{
    ApiStore, Store, StoreError,
    enums::PgRunState,
    pass,
    rows::{EventRow, ReportRow, RunRow, TriggerRow, select_runs, select_triggers},
};
use crate::domain::{
    approval::Approval,
    event::FlowEvent,
    forge::Issue,
    ids::{ProjectKey, RepositoryId, RepositoryName, RunId, Subject},
    report::ReportLine,
    run::{Attempt, Environment, Run, RunState},
    trigger::Trigger,
};

/// Which runs to list; an empty filter lists all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only those of this project.
    pub project: Option<ProjectKey>,
    /// Only those in this state.
    pub state: Option<RunState>,
    /// Only those of this repository.
    pub repository: Option<RepositoryId>,
    /// Only those of this issue or pull request.
    pub subject: Option<Subject>,
}

/// Everything stored about one issue or pull request.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The subject.
    pub subject: Subject,
    /// Why its repository cannot be read, if so.
    pub repository_unknown: Option<String>,
    /// The issue as mirrored.
    pub issue: Option<Issue>,
    /// Its triggers, in order of identity.
    pub triggers: Vec<Trigger>,
    /// Its runs, newest first.
    pub runs: Vec<Run>,
    /// Attempts of those runs.
    pub attempts: Vec<Attempt>,
    /// Environments of those runs.
    pub environments: Vec<Environment>,
    /// What agents asked people for, the newest first.
    pub approvals: Vec<Approval>,
    /// The report's lines about it or its runs.
    pub lines: Vec<ReportLine>,
    /// Its newest events, oldest of them first.
    pub events: Vec<FlowEvent>,
}

impl Store {
    /// The same database for reading as the API does.
    pub fn reads(&self) -> ApiStore {
        ApiStore {
            pool: self.pool.clone(),
        }
    }
}

impl ApiStore {
    /// Runs, newest first.
    pub async fn list_runs(&self, filter: &RunFilter, limit: i64) -> Result<Vec<Run>, StoreError> {
        let repository = filter.subject.map(|s| s.repository).or(filter.repository);
        let rows: Vec<RunRow> = select_runs!(
            "where ($1::text is null or r.project = $1)
                 and ($2::run_state is null or r.state = $2)
                 and ($3::bigint is null or r.repository_id = $3)
                 and ($4::bigint is null or r.number = $4 or r.work_item = $4
                     or r.pull_request = $4)
             order by r.created_at desc, r.run_id limit $5",
            filter.project.as_ref().map(ProjectKey::as_str),
            filter.state.map(PgRunState::from) as _,
            repository.map(|repository| repository.0),
            filter.subject.map(|subject| subject.number.0),
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// One run.
    pub async fn get_run(&self, run: RunId) -> Result<Option<Run>, StoreError> {
        let row: Option<RunRow> = select_runs!("where r.run_id = $1", run.0)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(Into::into))
    }

    /// Runs with ids from one to another, both included, in order of ids.
    pub async fn runs_between(
        &self,
        first: RunId,
        last: RunId,
        limit: i64,
    ) -> Result<Vec<Run>, StoreError> {
        let rows: Vec<RunRow> = select_runs!(
            "where r.run_id between $1 and $2 order by r.run_id limit $3",
            first.0,
            last.0,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// A run's attempts, by number.
    pub async fn attempts_of(&self, run: RunId) -> Result<Vec<Attempt>, StoreError> {
        let mut db = self.pool.acquire().await?;
        pass::attempts(&mut db, &[run.0]).await
    }

    /// A run's events, oldest first.
    pub async fn events_of(&self, run: RunId) -> Result<Vec<FlowEvent>, StoreError> {
        let rows = sqlx::query_as!(
            EventRow,
            r#"select event_id, kind, correlation, actor as "actor: _", project, run_id,
                   repository_id, number, payload, created_at
               from flow_events where run_id = $1 order by event_id"#,
            run.0,
        )
        .fetch_all(&self.pool)
        .await?;
        events(rows)
    }

    /// Events after an id, oldest first; 0 begins at the first.
    pub async fn events_since(&self, after: i64, limit: i64) -> Result<Vec<FlowEvent>, StoreError> {
        let rows = sqlx::query_as!(
            EventRow,
            r#"select event_id, kind, correlation, actor as "actor: _", project, run_id,
                   repository_id, number, payload, created_at
               from flow_events where event_id > $1 order by event_id limit $2"#,
            after,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        events(rows)
    }

    /// The newest events of a subject, oldest of them first.
    pub async fn events_of_subject(
        &self,
        subject: Subject,
        limit: i64,
    ) -> Result<Vec<FlowEvent>, StoreError> {
        let mut rows = sqlx::query_as!(
            EventRow,
            r#"select event_id, kind, correlation, actor as "actor: _", project, run_id,
                   repository_id, number, payload, created_at
               from flow_events where repository_id = $1 and number = $2
               order by event_id desc limit $3"#,
            subject.repository.0,
            subject.number.0,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.reverse();
        events(rows)
    }

    /// The report's lines about a subject or its runs.
    pub async fn report_of(&self, subject: Subject) -> Result<Vec<ReportLine>, StoreError> {
        let rows = sqlx::query_as!(
            ReportRow,
            r#"select l.candidate, l.project, l.repository_id, l.number, l.run_id,
                   l.state as "state: _", l.reason
               from report_lines l
               where l.repository_id = $1 and l.number = $2
                   or l.run_id in (select r.run_id from runs r where r.repository_id = $1
                       and (r.number = $2 or r.work_item = $2))
               order by l.candidate collate "C""#,
            subject.repository.0,
            subject.number.0,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// All lines of the report, or a project's.
    pub async fn report_lines(
        &self,
        project: Option<&ProjectKey>,
    ) -> Result<Vec<ReportLine>, StoreError> {
        let rows = sqlx::query_as!(
            ReportRow,
            r#"select candidate, project, repository_id, number, run_id, state as "state: _",
                   reason
               from report_lines where $1::text is null or project = $1
               order by candidate collate "C""#,
            project.map(ProjectKey::as_str),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// The bound repository of this name, by its present or configured name.
    pub async fn repository_named(
        &self,
        name: &RepositoryName,
    ) -> Result<Option<RepositoryId>, StoreError> {
        let id = sqlx::query_scalar!(
            "select repository_id from repositories
             where lower(configured_name) = lower($1) or lower(record->>'name') = lower($1)
             order by lower(configured_name) <> lower($1) limit 1",
            name.to_string(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(id.map(RepositoryId))
    }

    /// The configured names of repositories; one that is not bound has none.
    pub async fn repository_names(
        &self,
        repositories: &[RepositoryId],
    ) -> Result<BTreeMap<RepositoryId, String>, StoreError> {
        let ids: Vec<i64> = repositories.iter().map(|id| id.0).collect();
        let rows = sqlx::query!(
            "select repository_id, configured_name from repositories
             where repository_id = any ($1)",
            &ids,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| (RepositoryId(row.repository_id), row.configured_name))
            .collect())
    }

    /// Everything stored about one issue or pull request; [`StoreError::NotFound`] where its
    /// repository is not bound.
    pub async fn explain(&self, subject: Subject) -> Result<Explanation, StoreError> {
        let repository = sqlx::query!(
            "select unknown from repositories where repository_id = $1",
            subject.repository.0,
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| StoreError::not_found(format_args!("repository {}", subject.repository)))?;
        let filter = RunFilter {
            subject: Some(subject),
            ..RunFilter::default()
        };
        let runs = self.list_runs(&filter, 50).await?;
        let ids: Vec<_> = runs.iter().map(|run| run.id.0).collect();
        let mut db = self.pool.acquire().await?;
        let attempts = pass::attempts(&mut db, &ids).await?;
        let environments = pass::environments(&mut db, &ids).await?;
        drop(db);
        Ok(Explanation {
            subject,
            repository_unknown: repository.unknown,
            issue: self.issue(subject).await?,
            triggers: self.triggers_of(subject).await?,
            runs,
            attempts,
            environments,
            approvals: self.approvals_on(subject).await?,
            lines: self.report_of(subject).await?,
            events: self.events_of_subject(subject, 100).await?,
        })
    }

    /// An issue as mirrored.
    pub async fn issue(&self, subject: Subject) -> Result<Option<Issue>, StoreError> {
        let record = sqlx::query_scalar!(
            r#"select record as "record: Json<Issue>" from forge_issues
               where repository_id = $1 and number = $2"#,
            subject.repository.0,
            subject.number.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(record.map(|json| json.0))
    }

    /// A subject's triggers, in order of identity.
    pub async fn triggers_of(&self, subject: Subject) -> Result<Vec<Trigger>, StoreError> {
        let rows: Vec<TriggerRow> = select_triggers!(
            "where t.repository_id = $1 and t.number = $2
             order by t.source, length(t.source_id), t.source_id",
            subject.repository.0,
            subject.number.0,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}

fn events(rows: Vec<EventRow>) -> Result<Vec<FlowEvent>, StoreError> {
    rows.into_iter()
        .map(|row| {
            FlowEvent::try_from(row)
                .map_err(|error| StoreError::from(sqlx::Error::Decode(Box::new(error))))
        })
        .collect()
}
