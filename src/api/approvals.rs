//! The staff API's approvals: what agents ask for, and handing in a decision.
//!
//! A decision is a fact in the name of a member: the lease holder judges it as
//! it judges a comment of theirs. Who plainly may not decide is told so here.

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};

use super::{
    body,
    error::{ApiError, ApiResult},
    staff::{Items, MAX_ROWS, QueryOf, StaffContext, query, refused},
};
use crate::domain::{
    Timestamp,
    approval::{Approval, ApprovalMode, ApprovalState, Verdict, folded_code},
    ids::RunId,
};

/// The longest body of a decision.
const MAX_BODY: usize = 16 * 1024;

/// An approval as staff see it.
#[derive(Debug, Serialize)]
pub struct ApprovalView {
    id: String,
    code: Option<String>,
    state: ApprovalState,
    project: String,
    repository_id: i64,
    issue: i64,
    run: RunId,
    agent: String,
    action: String,
    target: String,
    decided_by: ApprovalMode,
    requested_at: Timestamp,
    expires_at: Timestamp,
    verdict: Option<Verdict>,
    actor: Option<String>,
    reason: Option<String>,
}

impl From<Approval> for ApprovalView {
    fn from(approval: Approval) -> Self {
        let decision = approval.decision;
        let said = decision
            .as_ref()
            .and_then(|decision| decision.reason.clone());
        Self {
            id: approval.id.to_string(),
            code: approval.code,
            state: approval.state,
            project: approval.project.to_string(),
            repository_id: approval.repository.0,
            issue: approval.number.0,
            run: approval.run,
            agent: approval.agent.to_string(),
            action: approval.action.to_string(),
            target: approval.target.to_string(),
            decided_by: approval.mode,
            requested_at: approval.requested_at,
            expires_at: approval.expires_at,
            verdict: decision.as_ref().map(|decision| decision.verdict),
            actor: decision.and_then(|decision| Some(decision.actor?.login)),
            reason: said.or(approval.reason),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    project: Option<String>,
    /// Also what is decided.
    #[serde(default)]
    all: bool,
    limit: Option<u32>,
}

pub(super) async fn list(
    State(context): State<StaffContext>,
    given: QueryOf<ListQuery>,
) -> ApiResult<Json<Items<ApprovalView>>> {
    let given = query(given)?;
    let limit = given.limit.unwrap_or(100).min(MAX_ROWS);
    let approvals = context
        .store
        .list_approvals(given.project.as_deref(), !given.all, limit)
        .await
        .map_err(refused)?;
    let items = approvals.into_iter().map(ApprovalView::from).collect();
    Ok(Json(Items { items }))
}

/// A decision as it is handed in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decide {
    /// `approve` or `deny`.
    decision: String,
    /// The member in whose name.
    login: String,
    #[serde(default)]
    reason: Option<String>,
}

/// Takes a decision: 202 with the request as it stands where it is handed to the lease holder,
/// 200 with its state where it is decided already.
pub(super) async fn decide(
    State(context): State<StaffContext>,
    Path(code): Path<String>,
    headers: HeaderMap,
    given: Body,
) -> ApiResult<(StatusCode, Json<ApprovalView>)> {
    let given: Decide = body::json(&headers, given, MAX_BODY).await?;
    let unknown = |_| ApiError::bad_field("decision", "a decision is `approve` or `deny`");
    let verdict: Verdict = given.decision.parse().map_err(unknown)?;
    let code = folded_code(&code);
    let found = context.store.approval_of_code(&code).await;
    let approval = found
        .map_err(refused)?
        .ok_or_else(|| ApiError::not_found(format!("no request has code {code}")))?;
    if approval.state != ApprovalState::Requested {
        return Ok((StatusCode::OK, Json(approval.into())));
    }
    let role = context
        .store
        .member_role(approval.project.as_str(), &given.login)
        .await
        .map_err(refused)?;
    if !may_decide(role.as_deref()) {
        let message = format!(
            "`{}` is no member of project {} who may decide",
            given.login, approval.project
        );
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    let decided = context
        .store
        .decide(&code, verdict, &given.login, given.reason.as_deref())
        .await;
    if !decided.map_err(refused)? {
        // It was decided, or posted anew with another code, since it was read.
        let message = "the request was decided or has another code now";
        return Err(ApiError::conflict("moved_on", message));
    }
    Ok((StatusCode::ACCEPTED, Json(approval.into())))
}

/// Whether a role may ever decide; which one it takes is the lease holder's to judge.
pub(crate) fn may_decide(role: Option<&str>) -> bool {
    role.is_some_and(|role| role != "read")
}
