//! Approvals: what agents ask for, put to people and carried out.
//!
//! 1. A request by a tool or in an accepted result becomes a row ([`super::requests`]).
//! 2. One comment says what is asked, who decides and by which code; it is edited to its
//!    outcome. Where its text is not ours any more, another one with another code replaces it.
//! 3. What people decided is judged in [`super::decisions`].
//! 4. What was granted becomes a trigger, which from then on is like any other.
//!
//! Closing the issue takes back what nobody decided; a granted one is taken back as its trigger.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    action::ActionKind,
    builder::{Ensure, PlanBuilder},
    comment::{Upsert, upsert},
    decisions::{self, Standing, Thread},
    event,
    index::Index,
    requests::step_requests,
    sighting::text_hash,
};
use crate::{
    cluster::snapshot::NamespacePhase,
    domain::{
        Timestamp,
        approval::{Approval, ApprovalId, ApprovalState, DecidedVia, Decision, Verdict},
        event::{EventActor, EventKind, NewEvent},
        forge::{Comment, IssueEventKind, SubjectState},
        ids::Subject,
        messages,
        report::ReportState,
        run::Run,
        trigger::{Disposition, Trigger, TriggerKind, TriggerSource, WaitReason, WithdrawnBy},
    },
};

/// Follows up what agents ask for.
pub(super) fn step_approvals(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    let mut open: BTreeSet<(Subject, TriggerKind)> = index
        .approvals
        .values()
        .filter(|row| !row.state.is_terminal())
        .filter_map(|row| Some((row.subject(), row.kind.clone()?)))
        .collect();
    for run in index.runs.values() {
        step_requests(index, plan, run, &mut open);
    }
    let thread = Thread::new(index);
    for approval in index.approvals.values() {
        if !approval.settled {
            step_approval(index, plan, &thread, approval);
        }
    }
    decisions::report_strays(plan, &thread);
}

pub(super) fn candidate(id: &ApprovalId) -> String {
    format!("approval/{id}")
}

/// An event of an approval.
pub(super) fn of_approval(
    approval: &Approval,
    kind: EventKind,
    actor: EventActor,
    reason: Option<&str>,
) -> NewEvent {
    NewEvent {
        kind,
        correlation: format!("approval/{}", approval.id),
        actor,
        project: Some(approval.project.clone()),
        run: Some(approval.run),
        subject: Some(approval.subject()),
        payload: json!({
            "approval": approval.id,
            "action": approval.action,
            "target": approval.target,
            "agent": approval.agent,
            "mode": approval.mode,
            "reason": reason,
        }),
    }
}

fn step_approval(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    thread: &Thread<'_>,
    approval: &Approval,
) {
    // Of a repository that is bound no more nothing can be said to anybody.
    if !index.repositories.contains_key(&approval.repository) && approval.state.is_terminal() {
        settle(plan, approval);
        return;
    }
    if let Err(reason) = index.repository(approval.repository) {
        say(plan, approval, ReportState::Unknown, reason);
        return;
    }
    match approval.state {
        ApprovalState::Requested => step_requested(index, plan, thread, approval),
        ApprovalState::Approved => step_granted(index, plan, approval),
        _ => step_ended(index, plan, approval),
    }
}

fn say(
    plan: &mut PlanBuilder<'_>,
    approval: &Approval,
    state: ReportState,
    reason: impl AsRef<str>,
) {
    let text = format!("`{}`: {}", approval.target, reason.as_ref());
    plan.report_other(
        candidate(&approval.id),
        Some(approval.subject()),
        state,
        text,
    );
}

fn step_requested(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    thread: &Thread<'_>,
    approval: &Approval,
) {
    if closed_after(index, approval).is_some() {
        end(
            plan,
            approval,
            ApprovalState::Withdrawn,
            "the issue was closed",
        );
        return;
    }
    if is_begun(index, approval) {
        let run = index.runs.get(&approval.run);
        let decision = Decision {
            verdict: Verdict::Approve,
            actor: None,
            via: DecidedVia::Recovered,
            reason: None,
            as_of: run.map_or(approval.requested_at, |run| {
                asked_at(index, run, approval.requested_at)
            }),
        };
        decide(plan, approval, decision);
        return;
    }
    let body = messages::approval_comment(approval);
    let shown = shown(index, thread, approval, &body);
    match decisions::standing(index, plan, thread, approval, shown) {
        Standing::Decided(decision) => decide(plan, approval, decision),
        Standing::Unknown => say(
            plan,
            approval,
            ReportState::Unknown,
            "somebody decided; whether they may is not read yet",
        ),
        Standing::Open if approval.expires_at <= index.now() => {
            end(
                plan,
                approval,
                ApprovalState::Expired,
                "nobody decided in time",
            );
        }
        Standing::Open => ask(index, plan, approval, body, shown),
    }
}

/// Keeps the request's comment, and replaces one that is not ours any more.
fn ask(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    approval: &Approval,
    body: String,
    shown: Shown,
) {
    match write(index, plan, approval, body) {
        Ensure::NotNeeded => {}
        Ensure::Backoff(at) => {
            let at = at.format("%Y-%m-%dT%H:%M:%SZ");
            let text = format!("its comment failed before, retried at {at}");
            say(plan, approval, ReportState::Retrying, text);
            return;
        }
        Ensure::Added | Ensure::Held => {
            say(plan, approval, ReportState::Acting, "is put to people");
            return;
        }
    }
    let until = approval.expires_at.format("%Y-%m-%dT%H:%M:%SZ");
    let text = format!("waits for {} until {until}", approval.mode);
    say(plan, approval, ReportState::Waiting, text);
    if shown == Shown::Spoilt && !index.just_done(&effect_key(approval)) {
        let reason = "the request's comment is not ours any more";
        say(plan, approval, ReportState::Acting, reason);
        let kind = EventKind::ApprovalRenewed;
        plan.ensure(
            format!("approval/{}/renew/{}", approval.id, approval.posting),
            Some(approval.run),
            ActionKind::RenewApproval {
                approval: approval.id,
                posting: approval.posting,
                event: of_approval(approval, kind, EventActor::System, Some(reason)),
            },
        );
    }
}

/// How a request stands on its issue, as far as that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// In our words, or not at all yet.
    Ours,
    /// Somebody changed its comment, or deleted it: then it is missing among comments that were
    /// read and are newer. What people answer there, they answer to something else.
    Spoilt,
}

fn shown(index: &Index<'_>, thread: &Thread<'_>, approval: &Approval, body: &str) -> Shown {
    let Some(id) = decisions::request_comment(index, approval) else {
        return Shown::Ours;
    };
    let comments = thread.of(approval.subject());
    let is_spoilt = match comments.iter().find(|comment| comment.id == id) {
        Some(comment) => !same_text(comment, body),
        None => comments.iter().any(|comment| comment.id > id),
    };
    if is_spoilt {
        Shown::Spoilt
    } else {
        Shown::Ours
    }
}

/// Forges keep texts but for the ends of lines and of the whole.
fn same_text(comment: &Comment, body: &str) -> bool {
    comment.body.replace("\r\n", "\n").trim_end() == body.trim_end()
}

pub(super) fn effect_key(approval: &Approval) -> String {
    format!("comment/{}", messages::approval_comment_key(approval))
}

fn write(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    approval: &Approval,
    body: String,
) -> Ensure {
    let run = index.runs.get(&approval.run).copied();
    let mut event = of_approval(
        approval,
        EventKind::CommentUpserted,
        EventActor::System,
        None,
    );
    event.payload["state"] = json!(approval.state);
    let upserted = Upsert {
        key: &messages::approval_comment_key(approval),
        run,
        subject: approval.subject(),
        body,
        event,
    };
    upsert(index, plan, upserted)
}

/// What was granted becomes a trigger; it is applied once that is a row.
fn step_granted(index: &Index<'_>, plan: &mut PlanBuilder<'_>, approval: &Approval) {
    if index.triggers.contains_key(&approval.trigger()) {
        say(
            plan,
            approval,
            ReportState::Acting,
            "granted; it is a trigger",
        );
        let kind = EventKind::ApprovalApplied;
        let event = of_approval(approval, kind, EventActor::System, None);
        advance(plan, approval, ApprovalState::Applied, (None, None), event);
        return;
    }
    let Some(issue) = index.issues.get(&approval.subject()) else {
        let reason = "granted; the issue is not read";
        say(plan, approval, ReportState::Unknown, reason);
        return;
    };
    if closed_after(index, approval).is_some() || issue.state != SubjectState::Open {
        let reason = "the issue was closed before it could start";
        end(plan, approval, ApprovalState::Failed, reason);
        return;
    }
    let (Some(kind), Some(decision)) = (&approval.kind, &approval.decision) else {
        let reason = "it says neither what it is about nor who granted it";
        end(plan, approval, ApprovalState::Failed, reason);
        return;
    };
    let trigger = Trigger {
        identity: approval.trigger(),
        project: approval.project.clone(),
        number: approval.number,
        kind: kind.clone(),
        label: None,
        actor: decision.actor.clone(),
        via_app: None,
        occurred_at: decision.as_of,
        content_hash: Some(text_hash(issue)),
        first_seen_at: index.now(),
        disposition: Disposition::Waiting(WaitReason::New),
        withdrawn_by: None,
        settled: false,
    };
    say(
        plan,
        approval,
        ReportState::Acting,
        "granted; becomes a trigger",
    );
    let actor = event::human(trigger.actor.as_ref());
    plan.ensure(
        format!("trigger/{}/seen", trigger.identity),
        None,
        ActionKind::RecordTrigger {
            event: event::of_trigger(&trigger, EventKind::TriggerSeen, actor, "approved"),
            trigger: Box::new(trigger),
        },
    );
}

/// Edits the comment to its outcome, where there is one, and is done.
fn step_ended(index: &Index<'_>, plan: &mut PlanBuilder<'_>, approval: &Approval) {
    let text = match &approval.reason {
        Some(reason) => format!("{}: {reason}", approval.state),
        None => approval.state.to_string(),
    };
    say(plan, approval, ReportState::Done, text);
    if index.effect(&effect_key(approval)).is_some() {
        let body = messages::approval_comment(approval);
        if write(index, plan, approval, body) != Ensure::NotNeeded {
            return;
        }
    }
    settle(plan, approval);
}

fn settle(plan: &mut PlanBuilder<'_>, approval: &Approval) {
    let kind = ActionKind::SettleApproval {
        approval: approval.id,
    };
    plan.ensure(
        format!("approval/{}/settle", approval.id),
        Some(approval.run),
        kind,
    );
}

fn decide(plan: &mut PlanBuilder<'_>, approval: &Approval, decision: Decision) {
    let to = decision.verdict.state();
    let who = decision.actor.as_ref();
    let by = who.map_or("what stands in the world", |actor| actor.login.as_str());
    let text = format!("{to} by {by}");
    say(plan, approval, ReportState::Acting, text);
    let kind = match decision.verdict {
        Verdict::Approve => EventKind::ApprovalApproved,
        Verdict::Deny => EventKind::ApprovalDenied,
    };
    let reason = decision.reason.as_deref();
    let mut event = of_approval(approval, kind, event::human(who), reason);
    event.payload["decided"] = json!(decision.via);
    advance(plan, approval, to, (Some(decision), None), event);
}

/// Ends an approval without anybody's decision.
fn end(plan: &mut PlanBuilder<'_>, approval: &Approval, to: ApprovalState, reason: &str) {
    say(plan, approval, ReportState::Acting, reason);
    let kind = match to {
        ApprovalState::Expired => EventKind::ApprovalExpired,
        ApprovalState::Failed => EventKind::ApprovalFailed,
        _ => EventKind::ApprovalWithdrawn,
    };
    let event = of_approval(approval, kind, EventActor::System, Some(reason));
    advance(plan, approval, to, (None, Some(reason.to_owned())), event);
}

fn advance(
    plan: &mut PlanBuilder<'_>,
    approval: &Approval,
    to: ApprovalState,
    (decision, reason): (Option<Decision>, Option<String>),
    event: NewEvent,
) {
    let kind = ActionKind::MoveApproval {
        approval: approval.id,
        from: approval.state,
        to,
        decision,
        reason,
        event,
    };
    plan.ensure(
        format!("approval/{}/{to}", approval.id),
        Some(approval.run),
        kind,
    );
}

/// From when on a change of the text counts as later, where nobody looked at it since the run
/// that asks was itself asked for.
pub(super) fn asked_at(index: &Index<'_>, run: &Run, otherwise: Timestamp) -> Timestamp {
    let trigger = index.triggers.get(&run.trigger);
    trigger.map_or(otherwise, |trigger| trigger.occurred_at)
}

/// Whether what is asked for stands in the world already: a restored database has forgotten
/// that it was granted.
fn is_begun(index: &Index<'_>, approval: &Approval) -> bool {
    let identity = approval.trigger();
    let run = identity.run_id(&index.input.installation);
    let identity_text = identity.to_string();
    let namespaces = index.namespaces_of(&run);
    let at_work = namespaces.iter().any(|row| {
        row.phase == NamespacePhase::Active && row.mark.trigger.as_ref() == Some(&identity_text)
    });
    at_work || index.pull_naming(&run).is_some() || index.triggers.contains_key(&identity)
}

/// What closed an approval's issue since it was asked for.
fn closed_after(index: &Index<'_>, approval: &Approval) -> Option<WithdrawnBy> {
    let subject = approval.subject();
    let ends = index.ends_of(subject).iter();
    let mut later = ends.filter(|event| event.id > approval.after_event);
    let by_event = later.find_map(|event| match event.what {
        IssueEventKind::Closed | IssueEventKind::Merged => Some(WithdrawnBy::Closed {
            event: event.id,
            actor: event.actor.clone(),
        }),
        IssueEventKind::Transferred => Some(WithdrawnBy::Gone),
        _ => None,
    });
    by_event.or_else(|| {
        let issue = index.issues.get(&subject)?;
        (issue.state == SubjectState::Gone).then_some(WithdrawnBy::Gone)
    })
}

/// What took the trigger of an approval back: nothing but the end of its issue does.
pub(super) fn closed_since(index: &Index<'_>, trigger: &Trigger) -> Option<WithdrawnBy> {
    if trigger.identity.source != TriggerSource::Command {
        return None;
    }
    let id: ApprovalId = trigger.identity.source_id.parse().ok()?;
    closed_after(index, index.approvals.get(&id)?)
}
