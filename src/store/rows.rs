//! Rows as statements return them, and the domain values they become.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::enums::{
    PgAttemptState, PgEnvironmentState, PgForge, PgOutcome, PgReportState, PgRunState,
    PgTriggerSource,
};
use crate::domain::{
    effect::{Effect, EffectKey},
    event::{EventActor, FlowEvent, NewEvent},
    fact::{Fact, ResultRecord, RunFact},
    forge::Actor,
    ids::{
        AttemptNo, BranchName, CommitSha, IssueNumber, LabelName, ProjectKey, RepositoryId, RunId,
        SlotNo, StageKind, Subject,
    },
    report::ReportLine,
    run::{Attempt, Environment, FrozenRun, Run},
    trigger::{Disposition, Trigger, TriggerIdentity, TriggerKind, WithdrawnBy},
};

type Time = DateTime<Utc>;

/// A row of `runs`.
pub(super) struct RunRow {
    pub(super) run_id: Uuid,
    pub(super) forge: PgForge,
    pub(super) repository_id: i64,
    pub(super) source: PgTriggerSource,
    pub(super) source_id: String,
    pub(super) project: String,
    pub(super) number: i64,
    pub(super) work_item: i64,
    pub(super) stage: String,
    pub(super) revise: bool,
    pub(super) label: Option<String>,
    pub(super) actor: Option<Json<Actor>>,
    pub(super) state: PgRunState,
    pub(super) outcome: Option<PgOutcome>,
    pub(super) reason: Option<String>,
    pub(super) held: Option<String>,
    pub(super) priority: i32,
    pub(super) frozen: Option<Json<FrozenRun>>,
    pub(super) branch: Option<String>,
    pub(super) slot: Option<i32>,
    pub(super) accepted_head: Option<String>,
    pub(super) pull_request: Option<i64>,
    pub(super) result: Option<Json<ResultRecord>>,
    pub(super) timeout_at: Option<Time>,
    pub(super) waiting_since: Option<Time>,
    pub(super) created_at: Time,
    pub(super) preparing_at: Option<Time>,
    pub(super) started_at: Option<Time>,
    pub(super) stopping_at: Option<Time>,
    pub(super) finished_at: Option<Time>,
    pub(super) finalized_at: Option<Time>,
    pub(super) version: i64,
}

/// Selects rows of `runs r` as [`RunRow`], whole but for the prompt, which is most of a row and
/// the runner's alone; the tail is what follows `from runs r`.
macro_rules! select_runs {
    ($tail:tt $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::store::rows::RunRow,
            r#"select r.run_id, r.forge as "forge: _", r.repository_id, r.source as "source: _",
                   r.source_id, r.project, r.number, r.work_item, r.stage, r.revise, r.label,
                   r.actor as "actor: _", r.state as "state: _", r.outcome as "outcome: _",
                   r.reason, r.held, r.priority, r.frozen - 'prompt' as "frozen: _", r.branch,
                   r.slot, r.accepted_head, r.pull_request, r.result as "result: _", r.timeout_at,
                   r.waiting_since, r.created_at, r.preparing_at, r.started_at, r.stopping_at, r.finished_at,
                   r.finalized_at, r.version
               from runs r "# + $tail
            $(, $arg)*
        )
    };
}
pub(super) use select_runs;

impl From<RunRow> for Run {
    fn from(row: RunRow) -> Self {
        Self {
            id: RunId(row.run_id),
            trigger: TriggerIdentity {
                forge: row.forge.into(),
                repository: RepositoryId(row.repository_id),
                source: row.source.into(),
                source_id: row.source_id,
            },
            project: ProjectKey::new(row.project),
            repository: RepositoryId(row.repository_id),
            number: IssueNumber(row.number),
            work_item: IssueNumber(row.work_item),
            kind: TriggerKind {
                stage: StageKind::new(row.stage),
                revise: row.revise,
            },
            label: row.label.map(LabelName::new),
            actor: row.actor.map(|json| json.0),
            state: row.state.into(),
            outcome: row.outcome.map(Into::into),
            reason: row.reason,
            held: row.held,
            priority: row.priority,
            frozen: row.frozen.map(|json| json.0),
            branch: row.branch.map(BranchName::new),
            slot: row.slot.map(SlotNo),
            accepted_head: row.accepted_head.map(CommitSha::new),
            pull_request: row.pull_request.map(IssueNumber),
            result: row.result.map(|json| json.0),
            timeout_at: row.timeout_at,
            waiting_since: row.waiting_since,
            created_at: row.created_at,
            preparing_at: row.preparing_at,
            started_at: row.started_at,
            stopping_at: row.stopping_at,
            finished_at: row.finished_at,
            finalized_at: row.finalized_at,
            version: row.version,
        }
    }
}

/// A row of `triggers`.
pub(super) struct TriggerRow {
    pub(super) forge: PgForge,
    pub(super) repository_id: i64,
    pub(super) source: PgTriggerSource,
    pub(super) source_id: String,
    pub(super) project: String,
    pub(super) number: i64,
    pub(super) stage: String,
    pub(super) revise: bool,
    pub(super) label: Option<String>,
    pub(super) actor: Option<Json<Actor>>,
    pub(super) via_app: Option<String>,
    pub(super) occurred_at: Time,
    pub(super) content_hash: Option<String>,
    pub(super) first_seen_at: Time,
    pub(super) disposition_detail: Json<Disposition>,
    pub(super) withdrawn_by: Option<Json<WithdrawnBy>>,
    pub(super) settled: bool,
}

/// Selects whole rows of `triggers t` as [`TriggerRow`]; the tail is what follows `from triggers t`.
macro_rules! select_triggers {
    ($tail:tt $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::store::rows::TriggerRow,
            r#"select t.forge as "forge: _", t.repository_id, t.source as "source: _",
                   t.source_id, t.project, t.number, t.stage, t.revise, t.label,
                   t.actor as "actor: _", t.via_app, t.occurred_at, t.content_hash,
                   t.first_seen_at, t.disposition_detail as "disposition_detail: _",
                   t.withdrawn_by as "withdrawn_by: _", t.settled
               from triggers t "# + $tail
            $(, $arg)*
        )
    };
}
pub(super) use select_triggers;

impl From<TriggerRow> for Trigger {
    fn from(row: TriggerRow) -> Self {
        Self {
            identity: TriggerIdentity {
                forge: row.forge.into(),
                repository: RepositoryId(row.repository_id),
                source: row.source.into(),
                source_id: row.source_id,
            },
            project: ProjectKey::new(row.project),
            number: IssueNumber(row.number),
            kind: TriggerKind {
                stage: StageKind::new(row.stage),
                revise: row.revise,
            },
            label: row.label.map(LabelName::new),
            actor: row.actor.map(|json| json.0),
            via_app: row.via_app,
            occurred_at: row.occurred_at,
            content_hash: row.content_hash,
            first_seen_at: row.first_seen_at,
            disposition: row.disposition_detail.0,
            withdrawn_by: row.withdrawn_by.map(|json| json.0),
            settled: row.settled,
        }
    }
}

/// A row of `attempts` with its newest heartbeat.
pub(super) struct AttemptRow {
    pub(super) run_id: Uuid,
    pub(super) attempt: i32,
    pub(super) state: PgAttemptState,
    pub(super) key_version: i32,
    pub(super) job_uid: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) created_at: Time,
    pub(super) started_at: Option<Time>,
    pub(super) ended_at: Option<Time>,
    pub(super) heartbeat_at: Option<Time>,
}

impl From<AttemptRow> for Attempt {
    fn from(row: AttemptRow) -> Self {
        Self {
            run: RunId(row.run_id),
            number: AttemptNo(row.attempt),
            state: row.state.into(),
            key_version: row.key_version,
            job_uid: row.job_uid,
            reason: row.reason,
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
            heartbeat_at: row.heartbeat_at,
        }
    }
}

/// A row of `environments`.
pub(super) struct EnvironmentRow {
    pub(super) run_id: Uuid,
    pub(super) namespace: String,
    pub(super) state: PgEnvironmentState,
    pub(super) uid: Option<String>,
    pub(super) input_hash: Option<String>,
    pub(super) created_at: Time,
    pub(super) retained_at: Option<Time>,
    pub(super) deleting_at: Option<Time>,
}

impl From<EnvironmentRow> for Environment {
    fn from(row: EnvironmentRow) -> Self {
        Self {
            run: RunId(row.run_id),
            namespace: row.namespace,
            state: row.state.into(),
            uid: row.uid,
            input_hash: row.input_hash,
            created_at: row.created_at,
            retained_at: row.retained_at,
            deleting_at: row.deleting_at,
        }
    }
}

/// A row of `effects`.
pub(super) struct EffectRow {
    pub(super) key: String,
    pub(super) run_id: Option<Uuid>,
    pub(super) kind: String,
    pub(super) attempts: i32,
    pub(super) next_at: Option<Time>,
    pub(super) last_error: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) content_hash: Option<String>,
    pub(super) intended_hash: Option<String>,
    pub(super) attempted_at: Option<Time>,
    pub(super) done_at: Option<Time>,
}

impl From<EffectRow> for Effect {
    fn from(row: EffectRow) -> Self {
        Self {
            key: EffectKey(row.key),
            run: row.run_id.map(RunId),
            kind: row.kind,
            attempts: row.attempts,
            next_at: row.next_at,
            last_error: row.last_error,
            external_id: row.external_id,
            content_hash: row.content_hash,
            intended_hash: row.intended_hash,
            attempted_at: row.attempted_at,
            done_at: row.done_at,
        }
    }
}

/// A row of `run_facts`.
pub(super) struct FactRow {
    pub(super) fact_id: i64,
    pub(super) run_id: Uuid,
    pub(super) attempt: i32,
    pub(super) payload: Json<Fact>,
    pub(super) created_at: Time,
}

impl From<FactRow> for RunFact {
    fn from(row: FactRow) -> Self {
        Self {
            id: row.fact_id,
            run: RunId(row.run_id),
            attempt: AttemptNo(row.attempt),
            what: row.payload.0,
            created_at: row.created_at,
        }
    }
}

/// A row of `report_lines`.
pub(super) struct ReportRow {
    pub(super) candidate: String,
    pub(super) project: Option<String>,
    pub(super) repository_id: Option<i64>,
    pub(super) number: Option<i64>,
    pub(super) run_id: Option<Uuid>,
    pub(super) state: PgReportState,
    pub(super) reason: String,
}

impl From<ReportRow> for ReportLine {
    fn from(row: ReportRow) -> Self {
        Self {
            candidate: row.candidate,
            project: row.project.map(ProjectKey::new),
            subject: subject(row.repository_id, row.number),
            run: row.run_id.map(RunId),
            state: row.state.into(),
            reason: row.reason,
        }
    }
}

/// A row of `flow_events`.
pub(super) struct EventRow {
    pub(super) event_id: i64,
    pub(super) kind: String,
    pub(super) correlation: String,
    pub(super) actor: Json<EventActor>,
    pub(super) project: Option<String>,
    pub(super) run_id: Option<Uuid>,
    pub(super) repository_id: Option<i64>,
    pub(super) number: Option<i64>,
    pub(super) payload: serde_json::Value,
    pub(super) created_at: Time,
}

impl TryFrom<EventRow> for FlowEvent {
    type Error = strum::ParseError;

    fn try_from(row: EventRow) -> Result<Self, strum::ParseError> {
        Ok(Self {
            id: row.event_id,
            event: NewEvent {
                kind: row.kind.parse()?,
                correlation: row.correlation,
                actor: row.actor.0,
                project: row.project.map(ProjectKey::new),
                run: row.run_id.map(RunId),
                subject: subject(row.repository_id, row.number),
                payload: row.payload,
            },
            created_at: row.created_at,
        })
    }
}

fn subject(repository: Option<i64>, number: Option<i64>) -> Option<Subject> {
    Some(Subject {
        repository: RepositoryId(repository?),
        number: IssueNumber(number?),
    })
}
