//! Approvals: inserted once by id, then moved along their transition table by
//! compare-and-set on (id, state), each step with its event. Decisions of
//! command line and staff API are facts beside them.

use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{
    ApiStore, HolderTx, StoreError,
    enums::{PgApprovalState, PgForge},
    events,
};
use crate::domain::{
    Timestamp,
    approval::{Approval, ApprovalId, ApprovalState, Decision, DecisionFact, Verdict},
    event::NewEvent,
    ids::{
        AgentKey, EventId, IssueNumber, LabelName, Locale, ProjectKey, RepositoryId, RunId,
        StageKind, Subject,
    },
    trigger::TriggerKind,
};

/// One step along the transition table.
#[derive(Debug, Clone)]
pub struct ApprovalStep<'a> {
    /// The approval.
    pub approval: ApprovalId,
    /// The state that it must be in.
    pub from: ApprovalState,
    /// The state that it goes to.
    pub to: ApprovalState,
    /// How it was decided, where this is its decision.
    pub decision: Option<&'a Decision>,
    /// Why, where nobody decided.
    pub reason: Option<&'a str>,
    /// The step's event.
    pub event: &'a NewEvent,
}

/// A row of `approvals`.
struct ApprovalRow {
    approval_id: Uuid,
    run_id: Uuid,
    project: String,
    forge: PgForge,
    repository_id: i64,
    number: i64,
    action: String,
    target: String,
    stage: Option<String>,
    revise: Option<bool>,
    agent: String,
    mode: String,
    locale: String,
    state: PgApprovalState,
    code: Option<String>,
    posting: i32,
    after_event: i64,
    requested_at: Timestamp,
    expires_at: Timestamp,
    decision: Option<Json<Decision>>,
    reason: Option<String>,
    settled: bool,
}

/// Selects whole rows of `approvals a`; the tail is what follows `from approvals a`.
macro_rules! select_approvals {
    ($tail:tt $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            ApprovalRow,
            r#"select a.approval_id, a.run_id, a.project, a.forge as "forge: _", a.repository_id,
                   a.number, a.action, a.target, a.stage, a.revise, a.agent, a.mode, a.locale,
                   a.state as "state: _", a.code, a.posting, a.after_event, a.requested_at,
                   a.expires_at, a.decision as "decision: _", a.reason, a.settled
               from approvals a "# + $tail
            $(, $arg)*
        )
    };
}

impl TryFrom<ApprovalRow> for Approval {
    type Error = StoreError;

    fn try_from(row: ApprovalRow) -> Result<Self, StoreError> {
        let unknown =
            |error: strum::ParseError| StoreError::from(sqlx::Error::Decode(Box::new(error)));
        Ok(Self {
            id: ApprovalId(row.approval_id),
            run: RunId(row.run_id),
            project: ProjectKey::new(row.project),
            forge: row.forge.into(),
            repository: RepositoryId(row.repository_id),
            number: IssueNumber(row.number),
            action: row.action.parse().map_err(unknown)?,
            target: LabelName::new(row.target),
            kind: row
                .stage
                .zip(row.revise)
                .map(|(stage, revise)| TriggerKind {
                    stage: StageKind::new(stage),
                    revise,
                }),
            agent: AgentKey::new(row.agent),
            mode: row.mode.parse().map_err(unknown)?,
            locale: Locale::new(row.locale),
            state: row.state.into(),
            code: row.code,
            posting: row.posting,
            after_event: EventId(row.after_event),
            requested_at: row.requested_at,
            expires_at: row.expires_at,
            decision: row.decision.map(|json| json.0),
            reason: row.reason,
            settled: row.settled,
        })
    }
}

fn all(rows: Vec<ApprovalRow>) -> Result<Vec<Approval>, StoreError> {
    rows.into_iter().map(Approval::try_from).collect()
}

impl HolderTx {
    /// Keeps an approval with its event; says whether it was new. A second time changes
    /// nothing; [`StoreError::Conflict`] where its code names another open request.
    pub async fn insert_approval(
        &mut self,
        approval: &Approval,
        event: &NewEvent,
    ) -> Result<bool, StoreError> {
        if !approval.state.is_beginning() {
            return Err(StoreError::conflict(format_args!(
                "approval {} would begin as {}",
                approval.id, approval.state
            )));
        }
        let kind = approval.kind.as_ref();
        let inserted = sqlx::query!(
            "insert into approvals
                 (approval_id, run_id, project, forge, repository_id, number, action, target,
                  stage, revise, agent, mode, locale, state, code, posting, after_event,
                  requested_at, expires_at, decision, reason, settled)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                     $18, $19, $20, $21, $22)
             on conflict (approval_id) do nothing",
            approval.id.0,
            approval.run.0,
            approval.project.as_str(),
            PgForge::from(approval.forge) as _,
            approval.repository.0,
            approval.number.0,
            approval.action.to_string(),
            approval.target.as_str(),
            kind.map(|kind| kind.stage.as_str()),
            kind.map(|kind| kind.revise),
            approval.agent.as_str(),
            approval.mode.to_string(),
            approval.locale.as_str(),
            PgApprovalState::from(approval.state) as _,
            approval.code,
            approval.posting,
            approval.after_event.0,
            approval.requested_at,
            approval.expires_at,
            approval.decision.as_ref().map(Json) as _,
            approval.reason,
            approval.settled,
        )
        .execute(self.db())
        .await?;
        let new = inserted.rows_affected() == 1;
        if new {
            events::insert(self.db(), event).await?;
        }
        Ok(new)
    }

    /// Moves an approval one step and records its event; [`StoreError::Conflict`] where the
    /// table forbids the step or the row has moved on.
    pub async fn move_approval(&mut self, step: &ApprovalStep<'_>) -> Result<(), StoreError> {
        let moved_on = || {
            StoreError::conflict(format_args!(
                "approval {} may not go from {} to {}",
                step.approval, step.from, step.to
            ))
        };
        if !step.from.may_become(step.to) {
            return Err(moved_on());
        }
        let updated = sqlx::query!(
            "update approvals set state = $3, decision = coalesce($4, decision),
                 reason = coalesce($5, reason), updated_at = platform_now()
             where approval_id = $1 and state = $2",
            step.approval.0,
            PgApprovalState::from(step.from) as _,
            PgApprovalState::from(step.to) as _,
            step.decision.map(Json) as _,
            step.reason,
        )
        .execute(self.db())
        .await?;
        if updated.rows_affected() != 1 {
            return Err(moved_on());
        }
        events::insert(self.db(), step.event).await
    }

    /// Gives an open request another code, for another comment, with its event.
    pub async fn renew_approval(
        &mut self,
        approval: ApprovalId,
        posting: i32,
        code: &str,
        event: &NewEvent,
    ) -> Result<(), StoreError> {
        let updated = sqlx::query!(
            "update approvals set code = $3, posting = posting + 1, updated_at = platform_now()
             where approval_id = $1 and posting = $2 and state = 'requested'",
            approval.0,
            posting,
            code,
        )
        .execute(self.db())
        .await?;
        if updated.rows_affected() != 1 {
            return Err(StoreError::conflict(format_args!(
                "approval {approval} was posted anew or decided"
            )));
        }
        events::insert(self.db(), event).await
    }

    /// Records that nothing is left to do at the forge for an approval; says whether that was
    /// news.
    pub async fn mark_approval_settled(
        &mut self,
        approval: ApprovalId,
    ) -> Result<bool, StoreError> {
        let updated = sqlx::query!(
            "update approvals set settled = true, updated_at = platform_now()
             where approval_id = $1 and not settled",
            approval.0,
        )
        .execute(self.db())
        .await?;
        Ok(updated.rows_affected() == 1)
    }
}

/// The approvals of hot subjects and those that are not settled, by id.
pub(super) async fn approvals(
    db: &mut PgConnection,
    projects: Option<&[String]>,
    (repositories, numbers): (&[i64], &[i64]),
) -> Result<Vec<Approval>, StoreError> {
    let rows = select_approvals!(
        "where ($1::text[] is null or a.project = any($1)) and (
             not a.settled
             or (a.repository_id, a.number) in (select * from unnest($2::bigint[], $3::bigint[])))
         order by a.approval_id",
        projects,
        repositories,
        numbers,
    )
    .fetch_all(db)
    .await?;
    all(rows)
}

/// The decisions that came in for those approvals that wait for one, by id.
pub(super) async fn decisions(
    db: &mut PgConnection,
    approvals: &[Approval],
) -> Result<Vec<DecisionFact>, StoreError> {
    let open = approvals.iter();
    let open = open.filter(|approval| approval.state == ApprovalState::Requested);
    let ids: Vec<Uuid> = open.map(|approval| approval.id.0).collect();
    let rows = sqlx::query!(
        "select decision_id, approval_id, code, verdict, login, reason from approval_decisions
         where approval_id = any($1) order by decision_id",
        &ids,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let verdict: Verdict = row.verdict.parse().map_err(|error: strum::ParseError| {
                StoreError::from(sqlx::Error::Decode(Box::new(error)))
            })?;
            Ok(DecisionFact {
                id: row.decision_id,
                approval: ApprovalId(row.approval_id),
                code: row.code,
                verdict,
                login: row.login,
                reason: row.reason,
            })
        })
        .collect()
}

/// A decision to be handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDecision {
    /// The code, folded.
    pub code: String,
    /// What.
    pub verdict: Verdict,
    /// The member in whose name.
    pub login: String,
    /// Why.
    pub reason: Option<String>,
}

impl ApiStore {
    /// Approvals, newest first; those that wait for people alone, or all.
    pub async fn list_approvals(
        &self,
        project: Option<&ProjectKey>,
        open: bool,
        limit: i64,
    ) -> Result<Vec<Approval>, StoreError> {
        let rows = select_approvals!(
            "where ($1::text is null or a.project = $1) and (not $2 or a.state = 'requested')
             order by a.requested_at desc, a.approval_id limit $3",
            project.map(ProjectKey::as_str),
            open,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        all(rows)
    }

    /// The approval that a code names: the open one, else the last that had it.
    pub async fn approval_of_code(&self, code: &str) -> Result<Option<Approval>, StoreError> {
        let row = select_approvals!(
            "where a.code = $1 order by a.state <> 'requested', a.requested_at desc limit 1",
            code,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(Approval::try_from).transpose()
    }

    /// An approval.
    pub async fn approval_of_id(&self, id: ApprovalId) -> Result<Option<Approval>, StoreError> {
        let row = select_approvals!("where a.approval_id = $1", id.0)
            .fetch_optional(&self.pool)
            .await?;
        row.map(Approval::try_from).transpose()
    }

    /// What runs asked for on an issue, the newest first.
    pub async fn approvals_on(&self, subject: Subject) -> Result<Vec<Approval>, StoreError> {
        let rows = select_approvals!(
            "where a.repository_id = $1 and a.number = $2
             order by a.requested_at desc, a.approval_id",
            subject.repository.0,
            subject.number.0,
        )
        .fetch_all(&self.pool)
        .await?;
        all(rows)
    }

    /// What a run asked for, in order of id.
    pub async fn approvals_of(&self, run: RunId) -> Result<Vec<Approval>, StoreError> {
        let rows = select_approvals!("where a.run_id = $1 order by a.approval_id", run.0)
            .fetch_all(&self.pool)
            .await?;
        all(rows)
    }

    /// The role of a member by login, as the accepted config lists it.
    pub async fn member_role(
        &self,
        project: &ProjectKey,
        login: &str,
    ) -> Result<Option<String>, StoreError> {
        let role = sqlx::query_scalar!(
            "select role from members where project = $1 and lower(login) = lower($2) limit 1",
            project.as_str(),
            login,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(role)
    }

    /// Hands in a decision about an open request; its id. The lease holder judges it.
    /// [`StoreError::Conflict`] where no open request has the code.
    pub async fn insert_decision(&self, decision: &NewDecision) -> Result<i64, StoreError> {
        let id = sqlx::query_scalar!(
            "insert into approval_decisions (approval_id, code, verdict, login, reason)
             select approval_id, code, $2, $3, $4 from approvals
             where code = $1 and state = 'requested'
             returning decision_id",
            decision.code,
            decision.verdict.to_string(),
            decision.login,
            decision.reason,
        )
        .fetch_optional(&self.pool)
        .await?;
        id.ok_or_else(|| {
            StoreError::conflict(format_args!("no open request has code {}", decision.code))
        })
    }

    /// What the lease holder last reported of a decision, where it did not count.
    pub async fn decision_report(
        &self,
        approval: ApprovalId,
        decision: i64,
    ) -> Result<Option<String>, StoreError> {
        let candidate = format!("approval/{approval}/decision/{decision}");
        let reason = sqlx::query_scalar!(
            "select reason from report_lines where candidate = $1",
            candidate,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(reason)
    }
}
