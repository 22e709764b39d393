//! Requests: what an agent asks for by a tool or in an accepted result becomes a row, with the
//! policy frozen in it.
//!
//! What is no trigger of the catalogue, what the agent may not ask for and what is asked for
//! already is written down as refused, and said in the report.

use std::collections::BTreeSet;

use chrono::Duration;

use super::{
    action::ActionKind,
    approvals::{asked_at, candidate, of_approval},
    builder::PlanBuilder,
    comment,
    index::Index,
    tools,
};
use crate::{
    desired::model::{Asked, Desired, LabelMeaning},
    domain::{
        approval::{
            Approval, ApprovalAction, ApprovalId, ApprovalMode, ApprovalState, DecidedVia,
            Decision, Verdict,
        },
        event::{EventActor, EventKind},
        forge::SubjectState,
        ids::{EventId, LabelName, Subject},
        report::ReportState,
        run::{Run, RunState},
        trigger::TriggerKind,
    },
};

/// Requests of one run that are looked at: an agent that asks for more asks for nothing.
const MAX_REQUESTS: usize = 10;

/// Records what a run asks for and no row knows.
pub(super) fn step_requests(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    open: &mut BTreeSet<(Subject, TriggerKind)>,
) {
    let told = run.result.as_ref().map(|result| &result.answer.requests);
    let told = told.filter(|_| run.state == RunState::Succeeded);
    let asked = tools::requests(index, run);
    let all = asked.into_iter().chain(told.into_iter().flatten());
    let targets: BTreeSet<&LabelName> = all.take(MAX_REQUESTS).collect();
    for target in targets {
        let id = ApprovalId::of(&run.id, ApprovalAction::StartStage, target);
        if index.approvals.contains_key(&id) {
            continue;
        }
        match new_approval(index, run, id, target, open) {
            Ok(approval) => {
                if !approval.state.is_terminal() {
                    open.extend(approval.kind.clone().map(|kind| (approval.subject(), kind)));
                }
                record(plan, approval);
            }
            Err(reason) => plan.report_other(
                candidate(&id),
                Some(run.work_subject()),
                ReportState::Unknown,
                format!("run {} asks for `{target}`; {reason}", run.id),
            ),
        }
    }
}

/// A request's row; an error where something is not known yet.
fn new_approval(
    index: &Index<'_>,
    run: &Run,
    id: ApprovalId,
    target: &LabelName,
    open: &BTreeSet<(Subject, TriggerKind)>,
) -> Result<Approval, String> {
    let desired = index.desired().ok_or("no config is accepted yet")?;
    if index.project().is_none() {
        return Err("the project is not in the config".to_owned());
    }
    let mirror = index.repository(run.repository)?;
    let subject = run.work_subject();
    let issue = index.issues.get(&subject).ok_or("the issue is not read")?;
    let frozen = run
        .frozen
        .as_ref()
        .ok_or("what it was launched with is lost")?;
    let put = put(index, desired, run, target)
        .and_then(|put| {
            if open.contains(&(subject, put.kind.clone())) {
                Err("the same is asked for already".to_owned())
            } else {
                Ok(put)
            }
        })
        .and_then(|put| match issue.state {
            SubjectState::Open => Ok(put),
            SubjectState::Closed | SubjectState::Gone => Err("the issue is closed".to_owned()),
        });
    let (put, reason) = match put {
        Ok(put) => (Some(put), None),
        Err(reason) => (None, Some(reason)),
    };
    let granted = put
        .as_ref()
        .is_some_and(|put| put.mode == ApprovalMode::None);
    Ok(Approval {
        id,
        run: run.id,
        project: run.project.clone(),
        forge: mirror.forge,
        repository: run.repository,
        number: run.work_item,
        action: ApprovalAction::StartStage,
        target: target.clone(),
        kind: put.as_ref().map(|put| put.kind.clone()),
        agent: frozen.agent.clone(),
        mode: put.as_ref().map_or(ApprovalMode::Owner, |put| put.mode),
        locale: comment::locale(index, None),
        state: match &put {
            None => ApprovalState::Refused,
            Some(_) if granted => ApprovalState::Approved,
            Some(_) => ApprovalState::Requested,
        },
        code: None,
        posting: 1,
        after_event: newest_event(index, subject),
        requested_at: index.now(),
        expires_at: index.now()
            + put
                .as_ref()
                .map_or(Duration::zero(), |put| put.expires_after),
        decision: granted.then(|| Decision {
            verdict: Verdict::Approve,
            actor: run.actor.clone(),
            via: DecidedVia::Policy,
            reason: None,
            as_of: asked_at(index, run, issue.created_at),
        }),
        settled: put.is_none(),
        reason,
    })
}

/// A request that people are asked about.
struct Put {
    kind: TriggerKind,
    mode: ApprovalMode,
    expires_after: Duration,
}

/// What a request asks for and who decides; an error where it is put to nobody.
fn put(index: &Index<'_>, desired: &Desired, run: &Run, target: &LabelName) -> Result<Put, String> {
    let Some(LabelMeaning::Trigger(kind)) = desired.label(target.as_str()) else {
        return Err("no trigger of the catalogue has this label".to_owned());
    };
    let stage = desired.stage(&run.kind.stage);
    let agent = run.frozen.as_ref().map(|frozen| &frozen.agent);
    let (Some(stage), Some(agent), Some(project)) = (stage, agent, index.project_key()) else {
        return Err("the config does not know the stage that asks".to_owned());
    };
    let policy = desired.policy_for(project, agent);
    let asks = policy.and_then(|policy| policy.requestable_stages.as_ref());
    if asks.is_some_and(|stages| !stages.contains(&kind.stage)) {
        return Err("the agent's policy does not let it ask for this stage".to_owned());
    }
    let asked = Asked {
        agent,
        stage: &run.kind.stage,
        runtime_mode: stage.runtime_mode,
        action: ApprovalAction::StartStage,
        target: &kind.stage,
    };
    let terms = desired.approval_terms(project, &asked);
    let seconds = i64::try_from(terms.expires_after.as_secs()).unwrap_or(i64::MAX);
    // What nobody asked for, such as a run of a schedule, has no rights to lend to what it asks for.
    let mode = match terms.approval {
        ApprovalMode::None if run.actor.is_none() => ApprovalMode::Owner,
        mode => mode,
    };
    Ok(Put {
        mode,
        expires_after: Duration::try_seconds(seconds).unwrap_or(Duration::days(365)),
        kind,
    })
}

fn record(plan: &mut PlanBuilder<'_>, approval: Approval) {
    let id = approval.id;
    let (state, kind, reason) = match approval.state {
        ApprovalState::Refused => (
            ReportState::Refused,
            EventKind::ApprovalRefused,
            approval.reason.clone().unwrap_or_default(),
        ),
        ApprovalState::Approved => (
            ReportState::Acting,
            EventKind::ApprovalApproved,
            "granted by the policy".to_owned(),
        ),
        _ => (
            ReportState::Acting,
            EventKind::ApprovalRequested,
            "is put to people".to_owned(),
        ),
    };
    let text = format!(
        "run {} asks for `{}`: {reason}",
        approval.run, approval.target
    );
    plan.report_other(candidate(&id), Some(approval.subject()), state, text);
    let actor = EventActor::Agent { run: approval.run };
    let event = of_approval(&approval, kind, actor, Some(&reason));
    let approval = Box::new(approval);
    let run = Some(approval.run);
    let kind = ActionKind::RecordApproval { approval, event };
    plan.ensure(format!("approval/{id}/record"), run, kind);
}

/// The newest event of a subject that is known.
fn newest_event(index: &Index<'_>, subject: Subject) -> EventId {
    let events = index.input.rows.events.iter();
    let of =
        events.filter(|row| (row.repository, row.number) == (subject.repository, subject.number));
    of.map(|event| event.id).max().unwrap_or(EventId(0))
}
