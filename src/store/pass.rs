//! Loading for a pass: one repeatable-read, read-only transaction, one query a
//! table, restricted to the projects and to what can matter (see
//! [`StoreSnapshot`]).

use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{
    Store, StoreError, approvals,
    pass_forge::{self, HotSubjects},
    rows::{
        AttemptRow, EffectRow, EnvironmentRow, FactRow, RunRow, TriggerRow, select_runs,
        select_triggers,
    },
};
use crate::domain::{
    fact::{PushOutcome, RunFact},
    forge::Issue,
    ids::{IssueNumber, ProjectKey, RepositoryId, RunId, SlotNo},
    mirror::RepositoryMirror,
    run::{Attempt, Environment, Run},
    snapshot::{PushOutcomeRow, SlotRow, StoreSnapshot},
};

impl Store {
    /// Loads what a pass over these projects may look at; `None` means all of them.
    pub async fn load_pass(
        &self,
        projects: Option<&[ProjectKey]>,
    ) -> Result<StoreSnapshot, StoreError> {
        let keys: Option<Vec<String>> =
            projects.map(|keys| keys.iter().map(|key| key.as_str().to_owned()).collect());
        let keys = keys.as_deref();
        let mut tx = self
            .pool
            .begin_with("begin isolation level repeatable read read only")
            .await?;
        let db = &mut *tx;
        let now = sqlx::query_scalar!(r#"select platform_now() as "now!""#)
            .fetch_one(&mut *db)
            .await?;
        let restored_at = sqlx::query_scalar!("select restored_at from lease")
            .fetch_one(&mut *db)
            .await?;
        let repositories = pass_forge::repositories(db, keys).await?;
        let hot = HotSubjects::load(db, keys).await?;
        let runs = runs(db, keys, &hot).await?;
        let ids: Vec<Uuid> = runs.iter().map(|run| run.id.0).collect();
        let live: Vec<Uuid> = runs
            .iter()
            .filter(|run| run.finalized_at.is_none())
            .map(|run| run.id.0)
            .collect();
        let facts = facts(db, &live).await?;
        let asked = (hot.repositories(), hot.numbers());
        let approvals = approvals::approvals(db, keys, asked).await?;
        let snapshot = StoreSnapshot {
            now,
            restored_at,
            identities: pass_forge::identities(db).await?,
            permissions: pass_forge::permissions(db, &repositories).await?,
            labels: pass_forge::labels(db, &repositories).await?,
            variables: pass_forge::variables(db, &repositories).await?,
            issues: hot.issues(db).await?,
            events: hot.events(db).await?,
            pulls: hot.pulls(db).await?,
            reviews: hot.reviews(db).await?,
            comments: hot.comments(db).await?,
            branches: pass_forge::branches(db, &repositories).await?,
            triggers: triggers(db, keys, &hot).await?,
            attempts: attempts(db, &ids).await?,
            environments: environments(db, &ids).await?,
            slots: slots(db, keys).await?,
            effects: effects(db, &ids).await?,
            push_outcomes: push_outcomes(db, &facts).await?,
            decisions: approvals::decisions(db, &approvals).await?,
            approvals,
            repositories,
            runs,
            facts,
        };
        tx.commit().await?;
        Ok(snapshot)
    }
}

impl Store {
    /// All bound repositories, by id.
    pub async fn mirrors(&self) -> Result<Vec<RepositoryMirror>, StoreError> {
        let mut db = self.pool.acquire().await?;
        pass_forge::repositories(&mut db, None).await
    }

    /// The mirrored issues of a repository with these numbers.
    pub async fn mirrored_issues(
        &self,
        repository: RepositoryId,
        numbers: &[IssueNumber],
    ) -> Result<Vec<Issue>, StoreError> {
        let mut db = self.pool.acquire().await?;
        HotSubjects::these(repository, numbers)
            .issues(&mut db)
            .await
    }

    /// The pack of a push that waits; `None` once it was dealt with.
    pub async fn push_pack(&self, fact: i64) -> Result<Option<Vec<u8>>, StoreError> {
        let pack = sqlx::query_scalar!("select pack from push_packs where fact_id = $1", fact)
            .fetch_optional(&self.pool)
            .await?;
        Ok(pack)
    }
}

async fn runs(
    db: &mut PgConnection,
    projects: Option<&[String]>,
    hot: &HotSubjects,
) -> Result<Vec<Run>, StoreError> {
    let rows: Vec<RunRow> = select_runs!(
        "where ($1::text[] is null or r.project = any($1)) and (
             r.finalized_at is null
             or exists (select 1 from environments e where e.run_id = r.run_id and e.state <> 'gone')
             or ((r.source not in ('push', 'schedule')
                     or r.finalized_at > platform_now() - interval '7 days')
                 and ((r.repository_id, r.work_item)
                         in (select * from unnest($2::bigint[], $3::bigint[]))
                     or (r.repository_id, r.number)
                         in (select * from unnest($2::bigint[], $3::bigint[]))))
             or (r.repository_id, r.pull_request)
                 in (select * from unnest($2::bigint[], $3::bigint[])))
         order by r.created_at, r.run_id",
        projects,
        hot.repositories(),
        hot.numbers(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

async fn triggers(
    db: &mut PgConnection,
    projects: Option<&[String]>,
    hot: &HotSubjects,
) -> Result<Vec<crate::domain::trigger::Trigger>, StoreError> {
    let rows: Vec<TriggerRow> = select_triggers!(
        "where ($1::text[] is null or t.project = any($1)) and (
             not t.settled
             or ((t.source not in ('push', 'schedule')
                     or t.first_seen_at > platform_now() - interval '7 days'
                     or not exists (select 1 from triggers n
                         where n.repository_id = t.repository_id and n.number = t.number
                             and n.source = t.source and n.first_seen_at > t.first_seen_at))
                 and (t.repository_id, t.number)
                     in (select * from unnest($2::bigint[], $3::bigint[]))))
         order by t.forge, t.repository_id, t.source, length(t.source_id), t.source_id",
        projects,
        hot.repositories(),
        hot.numbers(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Attempts of runs, each with its newest heartbeat, by run and number.
pub(super) async fn attempts(
    db: &mut PgConnection,
    runs: &[Uuid],
) -> Result<Vec<Attempt>, StoreError> {
    let rows = sqlx::query_as!(
        AttemptRow,
        r#"select a.run_id, a.attempt, a.state as "state: _", a.key_version, a.job_uid, a.reason,
               a.created_at, a.started_at, a.ended_at,
               (select max(f.created_at) from run_facts f
                where f.run_id = a.run_id and f.attempt = a.attempt and f.kind = 'heartbeat')
                   as heartbeat_at
           from attempts a where a.run_id = any($1) order by a.run_id, a.attempt"#,
        runs,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Environments of runs, by run.
pub(super) async fn environments(
    db: &mut PgConnection,
    runs: &[Uuid],
) -> Result<Vec<Environment>, StoreError> {
    let rows = sqlx::query_as!(
        EnvironmentRow,
        r#"select run_id, namespace, state as "state: _", uid, input_hash, created_at,
               retained_at, deleting_at
           from environments where run_id = any($1) order by run_id"#,
        runs,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

async fn slots(
    db: &mut PgConnection,
    projects: Option<&[String]>,
) -> Result<Vec<SlotRow>, StoreError> {
    let rows = sqlx::query!(
        "select project, slot, run_id, created_at from slots
         where $1::text[] is null or project = any($1) order by project, slot",
        projects,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| SlotRow {
            project: ProjectKey::new(row.project),
            slot: SlotNo(row.slot),
            run: RunId(row.run_id),
            leased_at: row.created_at,
        })
        .collect())
}

/// What keeps the catalogue right is planned from the mirror: of what was done long ago the
/// ledger has nothing to say.
async fn effects(
    db: &mut PgConnection,
    runs: &[Uuid],
) -> Result<Vec<crate::domain::effect::Effect>, StoreError> {
    let rows = sqlx::query_as!(
        EffectRow,
        "select key, run_id, kind, attempts, next_at, last_error, external_id, content_hash,
             intended_hash, attempted_at, done_at
         from effects
         where (run_id is null or done_at is null or run_id = any($1))
             and not (kind = any(array['ensure_label', 'set_variable']) and next_at is null
                      and done_at is not null
                      and done_at < platform_now() - interval '1 hour')
         order by key",
        runs,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

async fn facts(db: &mut PgConnection, runs: &[Uuid]) -> Result<Vec<RunFact>, StoreError> {
    let rows = sqlx::query_as!(
        FactRow,
        r#"select fact_id, run_id, attempt, payload as "payload: _", created_at
           from run_facts where run_id = any($1) and kind <> 'heartbeat' order by fact_id"#,
        runs,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

async fn push_outcomes(
    db: &mut PgConnection,
    facts: &[RunFact],
) -> Result<Vec<PushOutcomeRow>, StoreError> {
    let ids: Vec<_> = facts.iter().map(|fact| fact.id).collect();
    let rows = sqlx::query!(
        r#"select o.fact_id, f.run_id, o.outcome as "outcome: Json<PushOutcome>"
           from push_outcomes o join run_facts f using (fact_id)
           where fact_id = any($1) order by fact_id"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| PushOutcomeRow {
            fact: row.fact_id,
            run: RunId(row.run_id),
            outcome: row.outcome.0,
        })
        .collect())
}
