//! What the API roles may do: insert facts, logs and sessions of live runs, and
//! read what authorises them. The login has no right to change or delete a row;
//! whether a run takes facts is checked in the inserting statement itself.

use sqlx::{PgPool, types::Json};

use super::{
    StoreError, StoreSettings,
    enums::{PgFactKind, PgRunState},
};
use crate::domain::{
    Timestamp,
    fact::{Fact, PushFact, PushOutcome},
    ids::{AttemptNo, BranchName, CommitSha, ProjectKey, RepositoryId, RunId},
    run::{FrozenRun, RunState},
};

/// The store as the API uses it, over its own login.
#[derive(Debug, Clone)]
pub struct ApiStore {
    pub(super) pool: PgPool,
}

/// What the run API must know of a run to authorise a call.
#[derive(Debug, Clone, PartialEq)]
pub struct RunAccess {
    /// The run.
    pub run: RunId,
    /// Its project.
    pub project: ProjectKey,
    /// Its repository.
    pub repository: RepositoryId,
    /// Where it stands.
    pub state: RunState,
    /// The number of its newest attempt, which alone may speak.
    pub attempt: Option<AttemptNo>,
    /// The key version of that attempt's token.
    pub key_version: Option<i32>,
    /// Its branch.
    pub branch: Option<BranchName>,
    /// The head of its branch that was accepted last.
    pub accepted_head: Option<CommitSha>,
    /// Everything fixed at its launch.
    pub frozen: Option<FrozenRun>,
    /// When it began to stop; for a minute after that it hands in its last logs and session.
    pub stopping_at: Option<Timestamp>,
    /// The database's time.
    pub now: Timestamp,
}

/// An inserted fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactInserted {
    /// Its id.
    pub id: i64,
    /// Whether it is new; a second result of one attempt is not, and the first one stays.
    pub new: bool,
}

impl ApiStore {
    /// Connects; fails where no connection can be had.
    pub async fn connect(settings: &StoreSettings) -> Result<Self, StoreError> {
        Ok(Self {
            pool: settings.pool().await?,
        })
    }

    /// The platform's time; fails where the database does not answer.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        let now = sqlx::query_scalar!(r#"select platform_now() as "now!""#)
            .fetch_one(&self.pool)
            .await?;
        Ok(now)
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// What a call for this run is judged by; `None` where there is no such run.
    pub async fn run_access(&self, run: RunId) -> Result<Option<RunAccess>, StoreError> {
        let row = sqlx::query!(
            r#"select r.project, r.repository_id, r.state as "state: PgRunState",
                   a.attempt as "attempt?", a.key_version as "key_version?", r.branch,
                   r.accepted_head, r.frozen as "frozen: Json<FrozenRun>", r.stopping_at,
                   platform_now() as "now!"
               from runs r
               left join lateral (
                   select attempt, key_version from attempts
                   where run_id = r.run_id order by attempt desc limit 1) a on true
               where r.run_id = $1"#,
            run.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| RunAccess {
            run,
            project: ProjectKey::new(row.project),
            repository: RepositoryId(row.repository_id),
            state: row.state.into(),
            attempt: row.attempt.map(AttemptNo),
            key_version: row.key_version,
            branch: row.branch.map(BranchName::new),
            accepted_head: row.accepted_head.map(CommitSha::new),
            frozen: row.frozen.map(|json| json.0),
            stopping_at: row.stopping_at,
            now: row.now,
        }))
    }

    /// Adds a fact of a live run's current attempt; [`StoreError::Conflict`] where the run takes
    /// none or the attempt is not the current one. A result is kept once an attempt.
    pub async fn insert_fact(
        &self,
        run: RunId,
        attempt: AttemptNo,
        fact: &Fact,
    ) -> Result<FactInserted, StoreError> {
        let id = insert_fact(&self.pool, run, attempt, fact).await?;
        if let Some(id) = id {
            return Ok(FactInserted { id, new: true });
        }
        let first = match fact {
            Fact::Result(_) => self.result_of(run, attempt).await?,
            Fact::Heartbeat
            | Fact::Push(_)
            | Fact::Ended { .. }
            | Fact::Labels(_)
            | Fact::Wait(_) => None,
        };
        first
            .map(|id| FactInserted { id, new: false })
            .ok_or_else(|| takes_nothing(run, attempt))
    }

    /// Adds a push with its pack, under the same rule; returns the fact's id.
    pub async fn insert_push(
        &self,
        run: RunId,
        attempt: AttemptNo,
        push: &PushFact,
        pack: &[u8],
    ) -> Result<i64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let id = insert_fact(&mut *tx, run, attempt, &Fact::Push(push.clone()))
            .await?
            .ok_or_else(|| takes_nothing(run, attempt))?;
        sqlx::query!(
            "insert into push_packs (fact_id, pack) values ($1, $2)",
            id,
            pack,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// What became of a push; `None` while it waits.
    pub async fn push_outcome(&self, fact: i64) -> Result<Option<PushOutcome>, StoreError> {
        let outcome = sqlx::query_scalar!(
            r#"select outcome as "outcome: Json<PushOutcome>" from push_outcomes
               where fact_id = $1"#,
            fact,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(outcome.map(|json| json.0))
    }

    /// Appends a piece of an attempt's log; says whether it was new. The same number a second
    /// time changes nothing.
    pub async fn append_log_chunk(
        &self,
        run: RunId,
        attempt: AttemptNo,
        seq: i64,
        bytes: &[u8],
    ) -> Result<bool, StoreError> {
        let row = sqlx::query!(
            r#"with speaker as (
                 select r.run_id from runs r
                 where r.run_id = $1
                     and (r.state in ('preparing', 'running', 'waiting_mcp', 'waiting_owner_review')
                         or r.state = 'stopping'
                             and r.stopping_at > platform_now() - interval '1 minute')
                     and $2 = (select max(a.attempt) from attempts a where a.run_id = r.run_id)
               ), added as (
                 insert into log_chunks (run_id, attempt, seq, bytes)
                 select run_id, $2, $3, $4 from speaker
                 on conflict (run_id, attempt, seq) do nothing
                 returning seq
               )
               select exists (select 1 from speaker) as "allowed!",
                   exists (select 1 from added) as "new!""#,
            run.0,
            attempt.0,
            seq,
            bytes,
        )
        .fetch_one(&self.pool)
        .await?;
        if row.allowed {
            Ok(row.new)
        } else {
            Err(takes_nothing(run, attempt))
        }
    }

    /// Keeps a snapshot of the agent's session; the next attempt goes on from the newest.
    pub async fn save_session(
        &self,
        run: RunId,
        attempt: AttemptNo,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let inserted = sqlx::query!(
            "insert into sessions (run_id, attempt, bytes)
             select r.run_id, $2, $3 from runs r
             where r.run_id = $1
                 and (r.state in ('preparing', 'running', 'waiting_mcp', 'waiting_owner_review')
                     or r.state = 'stopping'
                         and r.stopping_at > platform_now() - interval '1 minute')
                 and $2 = (select max(a.attempt) from attempts a where a.run_id = r.run_id)",
            run.0,
            attempt.0,
            bytes,
        )
        .execute(&self.pool)
        .await?;
        if inserted.rows_affected() == 1 {
            Ok(())
        } else {
            Err(takes_nothing(run, attempt))
        }
    }

    /// The newest session snapshot of a run, of whichever attempt; where it has none yet, that of
    /// the newest run of the same agent on the same work item, whose talk it goes on with.
    pub async fn latest_session(&self, run: RunId) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = sqlx::query_scalar!(
            "select s.bytes from runs own
             join runs r on r.repository_id = own.repository_id and r.work_item = own.work_item
                 and r.frozen->>'agent' = own.frozen->>'agent'
             join sessions s on s.run_id = r.run_id
             where own.run_id = $1
             order by r.run_id = own.run_id desc, s.session_id desc limit 1",
            run.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(bytes)
    }

    /// Whether an attempt has handed in its result.
    pub async fn has_result(&self, run: RunId, attempt: AttemptNo) -> Result<bool, StoreError> {
        Ok(self.result_of(run, attempt).await?.is_some())
    }

    /// The attempt's newest push of a commit, if it pushed it before.
    pub async fn push_of(
        &self,
        run: RunId,
        attempt: AttemptNo,
        new: &CommitSha,
    ) -> Result<Option<i64>, StoreError> {
        let id = sqlx::query_scalar(
            "select fact_id from run_facts
             where run_id = $1 and attempt = $2 and kind = 'push' and payload->>'new' = $3
             order by fact_id desc limit 1",
        )
        .bind(run.0)
        .bind(attempt.0)
        .bind(new.as_str())
        .fetch_optional(&self.pool)
        .await?;
        Ok(id)
    }

    async fn result_of(&self, run: RunId, attempt: AttemptNo) -> Result<Option<i64>, StoreError> {
        let id = sqlx::query_scalar!(
            "select fact_id from run_facts where run_id = $1 and attempt = $2 and kind = 'result'",
            run.0,
            attempt.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(id)
    }
}

async fn insert_fact(
    db: impl sqlx::PgExecutor<'_>,
    run: RunId,
    attempt: AttemptNo,
    fact: &Fact,
) -> Result<Option<i64>, StoreError> {
    let id = sqlx::query_scalar!(
        "insert into run_facts (run_id, attempt, kind, payload)
         select r.run_id, $2, $3, $4 from runs r
         where r.run_id = $1
             and r.state in ('preparing', 'running', 'waiting_mcp', 'waiting_owner_review')
             and $2 = (select max(a.attempt) from attempts a where a.run_id = r.run_id)
         on conflict (run_id, attempt) where kind = 'result' do nothing
         returning fact_id",
        run.0,
        attempt.0,
        PgFactKind::from(fact) as _,
        Json(fact) as _,
    )
    .fetch_optional(db)
    .await?;
    Ok(id)
}

fn takes_nothing(run: RunId, attempt: AttemptNo) -> StoreError {
    StoreError::conflict(format_args!(
        "run {run} takes nothing from attempt {attempt}"
    ))
}
