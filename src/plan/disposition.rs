//! Dispositions: what becomes of each waiting trigger, and why not more.
//!
//! Refusals are final; everything else waits and starts by itself. Triggers of
//! different kinds on one work item conflict; of the same kind they merge.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    action::ActionKind,
    authority::{self, Verdict},
    builder::PlanBuilder,
    discussion, event,
    guards::{self, Asked},
    index::Index,
    reasons::{refusal_text, wait_state, wait_text},
    recover::begun,
    reopen, review,
    sighting::{report, withdrawn_by},
    texts,
};
use crate::{
    desired::model::{Desired, LabelMeaning},
    domain::{
        event::EventKind,
        forge::{Issue, SubjectState},
        ids::{LabelName, Subject},
        messages,
        report::ReportState,
        run::{Run, RunState},
        trigger::{
            Disposition, RefusalReason, Trigger, TriggerIdentity, TriggerKind, TriggerSource,
            WaitReason,
        },
    },
};

/// A trigger's judgement in this pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    /// May start, as far as it alone is concerned.
    Ready,
    /// Waits.
    Wait(WaitReason),
    /// Is refused.
    Refuse(RefusalReason),
}

/// Decides every waiting trigger, work item by work item, oldest first.
pub(super) fn step_dispositions(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for trigger in answered(index) {
        join_launched(index, plan, trigger);
    }
    for (work_item, triggers) in &index.waiting {
        let mut triggers = triggers.clone();
        triggers.sort_by(|one, other| one.place().cmp(&other.place()));
        decide_work_item(index, plan, *work_item, &triggers);
    }
}

/// Waiting triggers by work item, in the order of their identities.
pub(super) fn waiting<'a>(index: &Index<'a>) -> BTreeMap<Subject, Vec<&'a Trigger>> {
    let waiting = index.triggers.values().copied().filter(|trigger| {
        matches!(trigger.disposition, Disposition::Waiting(_))
            && withdrawn_by(index, trigger).is_none()
            && begun(index, trigger).is_none()
            && review::answered_by(index, trigger).is_none()
    });
    let mut work_items: BTreeMap<Subject, Vec<&Trigger>> = BTreeMap::new();
    for trigger in waiting {
        let work_item = Subject {
            repository: trigger.identity.repository,
            number: index.work_item(trigger.subject()),
        };
        work_items.entry(work_item).or_default().push(trigger);
    }
    work_items
}

/// Reviews that wait and are part of a launched revise.
fn answered<'a>(index: &Index<'a>) -> impl Iterator<Item = &'a Trigger> {
    index.triggers.values().copied().filter(|trigger| {
        matches!(trigger.disposition, Disposition::Waiting(_))
            && withdrawn_by(index, trigger).is_none()
            && begun(index, trigger).is_none()
            && review::answered_by(index, trigger).is_some()
    })
}

fn join_launched(index: &Index<'_>, plan: &mut PlanBuilder<'_>, trigger: &Trigger) {
    match (judge(index, trigger), review::answered_by(index, trigger)) {
        (Judged::Refuse(reason), _) => refuse(plan, trigger, reason),
        (Judged::Wait(reason), _) if !is_authorised(&reason) => {
            report(plan, trigger, wait_state(&reason), wait_text(&reason));
        }
        (_, Some(run)) => merge(plan, trigger, run),
        (_, None) => {}
    }
}

/// Whether what a trigger waits for is asked only once its actor is known to be entitled.
fn is_authorised(reason: &WaitReason) -> bool {
    !matches!(
        reason,
        WaitReason::New
            | WaitReason::IdentitiesUnknown
            | WaitReason::PermissionUnknown
            | WaitReason::SubjectUnknown { .. }
            | WaitReason::Config { .. }
    )
}

fn decide_work_item(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    work_item: Subject,
    triggers: &[&Trigger],
) {
    let judged: Vec<(&Trigger, Judged)> = triggers
        .iter()
        .map(|trigger| (*trigger, judge(index, trigger)))
        .collect();
    let current = index.current_run(work_item);
    let contending = contending(&judged, current);
    let conflict = conflicting(index, &contending, current);
    let in_conflict = conflict.len() > 1;
    let labels = conflict.into_iter().collect();
    let reason = WaitReason::Conflict { labels };
    let mut ready = Vec::new();
    for (trigger, judged) in judged {
        let contends = || contending.iter().any(|it| it.identity == trigger.identity);
        match judged {
            Judged::Refuse(reason) => refuse(plan, trigger, reason),
            _ if in_conflict && contends() => {
                report(plan, trigger, ReportState::Waiting, wait_text(&reason));
            }
            Judged::Wait(reason) => report(plan, trigger, wait_state(&reason), wait_text(&reason)),
            Judged::Ready if in_conflict => report(plan, trigger, ReportState::Waiting, BEHIND),
            Judged::Ready => ready.push(trigger),
        }
    }
    start_first(index, plan, work_item, current, &ready);
}

/// What is said of a trigger whose turn comes after an older one's.
const BEHIND: &str = "waits behind what was granted before on the same work item";

/// Whether a trigger counts beside others: it is live and authorised, whatever else it waits for.
pub(super) fn contends(judged: &Judged) -> bool {
    matches!(
        judged,
        Judged::Ready
            | Judged::Wait(
                WaitReason::Blocked { .. }
                    | WaitReason::StageMissing { .. }
                    | WaitReason::Unreviewed { .. }
            )
    )
}

/// The triggers that count beside each other. What was granted on request is nobody's label to
/// take off: of several only one counts, the oldest that may start, and the others come after it.
fn contending<'a>(judged: &[(&'a Trigger, Judged)], current: Option<&Run>) -> Vec<&'a Trigger> {
    let contending = judged.iter().filter(|(_, judged)| contends(judged));
    let (granted, mut all): (Vec<_>, Vec<_>) =
        contending.partition(|(trigger, _)| is_granted(&trigger.identity));
    let pending = current.filter(|run| run.state == RunState::Pending);
    if !pending.is_some_and(|run| is_granted(&run.trigger)) {
        let first = granted
            .into_iter()
            .min_by_key(|(trigger, judged)| (*judged != Judged::Ready, trigger.place()));
        all.extend(first);
    }
    all.into_iter().map(|(trigger, _)| *trigger).collect()
}

/// Whether a trigger is what an agent asked for and people, or the policy, granted.
pub(super) fn is_granted(trigger: &TriggerIdentity) -> bool {
    trigger.source == TriggerSource::Command
}

/// The labels of authorised live triggers when they ask for different kinds.
fn conflicting(
    index: &Index<'_>,
    contending: &[&Trigger],
    current: Option<&Run>,
) -> BTreeSet<LabelName> {
    let pending = current
        .filter(|run| run.state == RunState::Pending && reopen::stopped_by(index, run).is_none());
    // A discussion gives way to whatever is asked for.
    let asks = |kind: &TriggerKind| !discussion::is_discussion(index, kind);
    let pending = pending.filter(|run| asks(&run.kind));
    let contending: Vec<_> = contending.iter().filter(|t| asks(&t.kind)).collect();
    let kinds: BTreeSet<&TriggerKind> = contending
        .iter()
        .map(|t| &t.kind)
        .chain(pending.map(|run| &run.kind))
        .collect();
    if kinds.len() < 2 {
        return BTreeSet::new();
    }
    let asked = contending.iter().map(|t| (&t.label, &t.kind));
    asked
        .chain(pending.map(|run| (&run.label, &run.kind)))
        .map(|(label, kind)| label.clone().unwrap_or_else(|| label_of(index, kind)))
        .collect()
}

/// What people call a kind that was asked for without a label: the catalogue's label for it.
pub(super) fn label_of(index: &Index<'_>, kind: &TriggerKind) -> LabelName {
    let catalogue = index.desired().map(|desired| &desired.labels);
    let label = catalogue.and_then(|labels| labels.trigger_for(kind));
    let discussion = index.desired().and_then(Desired::discussion);
    let discussion = discussion.filter(|(stage, _)| stage.kind == kind.stage && !kind.revise);
    let label = label.map(|label| &label.name);
    label
        .or(discussion.map(|(_, label)| &label.name))
        .map_or_else(|| LabelName::new(kind.to_string()), LabelName::clone)
}

/// The conflict on a work item in this pass, if there is one.
pub(super) fn conflict_on(index: &Index<'_>, work_item: Subject) -> Option<Vec<LabelName>> {
    let waiting = index.waiting.get(&work_item).into_iter().flatten().copied();
    let judged: Vec<(&Trigger, Judged)> = waiting
        .map(|trigger| (trigger, judge(index, trigger)))
        .collect();
    let current = index.current_run(work_item);
    let labels = conflicting(index, &contending(&judged, current), current);
    (labels.len() > 1).then(|| labels.into_iter().collect())
}

fn start_first(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    work_item: Subject,
    current: Option<&Run>,
    ready: &[&Trigger],
) {
    if let Some(run) = current {
        for trigger in ready {
            if run.state == RunState::Pending && run.kind == trigger.kind {
                merge(plan, trigger, run);
            } else {
                let reason = WaitReason::BehindRun { run: run.id };
                report(plan, trigger, ReportState::Waiting, wait_text(&reason));
            }
        }
        return;
    }
    if let Some((first, rest)) = ready.split_first() {
        enqueue(index, plan, work_item, first);
        for trigger in rest {
            let reason = if trigger.kind == first.kind {
                "joins the run of the older trigger next"
            } else {
                BEHIND
            };
            report(plan, trigger, ReportState::Waiting, reason);
        }
    }
}

/// Judges one waiting trigger by itself.
pub(super) fn judge(index: &Index<'_>, trigger: &Trigger) -> Judged {
    let (Some(desired), Some(project_key)) = (index.desired(), index.project_key()) else {
        return wait_config("no config is accepted yet");
    };
    let Some(project) = index.project() else {
        return wait_config("the project is not in the config");
    };
    if review::came_too_late(index, trigger) {
        return match authority::judge(index, &project.spec, trigger) {
            Verdict::Entitled => Judged::Refuse(RefusalReason::PullRequestClosed),
            Verdict::Wait(reason) => Judged::Wait(reason),
            Verdict::Refuse(reason) => Judged::Refuse(reason),
        };
    }
    let issue = match readable(index, trigger) {
        Ok(issue) => issue,
        Err(why) => return Judged::Wait(WaitReason::SubjectUnknown { why }),
    };
    for verdict in [
        authority::judge(index, &project.spec, trigger),
        texts::judge_text(index, &project.spec, trigger, issue),
    ] {
        match verdict {
            Verdict::Entitled => {}
            Verdict::Wait(reason) => return Judged::Wait(reason),
            Verdict::Refuse(reason) => return Judged::Refuse(reason),
        }
    }
    let judged = guards::judge(&Asked {
        index,
        trigger,
        issue,
        desired,
        project: project_key,
    });
    if contends(&judged) && reopen::takes_back(index, trigger) {
        return Judged::Refuse(RefusalReason::Superseded);
    }
    if contends(&judged) && discussion::gives_way(index, trigger) {
        return Judged::Refuse(RefusalReason::DiscussionOver);
    }
    judged
}

fn readable<'a>(index: &Index<'a>, trigger: &Trigger) -> Result<&'a Issue, String> {
    index.repository(trigger.identity.repository)?;
    let Some(issue) = index.issues.get(&trigger.subject()).copied() else {
        return Err("the issue is not read yet".to_owned());
    };
    if issue.state != SubjectState::Open {
        return Err("the issue is not open".to_owned());
    }
    if label_missing(index, trigger, issue) {
        return Err(LABEL_MISSING.to_owned());
    }
    Ok(issue)
}

/// What is said of a label that is not there for no known reason.
pub(super) const LABEL_MISSING: &str = "the label is missing and no event says who took it off";

/// Whether a trigger's label is missing and no event explains it. The deletion of the label
/// from the repository explains it, and so does our own removal, which was meant for an
/// older trigger.
pub(super) fn label_missing(index: &Index<'_>, trigger: &Trigger, issue: &Issue) -> bool {
    let there = trigger
        .label
        .as_ref()
        .is_none_or(|label| issue.labels.contains(label));
    !there
        && !index
            .sighting(trigger)
            .is_some_and(|sighting| sighting.ignored.is_some() || sighting.removed_by_us.is_some())
}

pub(super) fn wait_config(why: impl Into<String>) -> Judged {
    Judged::Wait(WaitReason::Config { why: why.into() })
}

pub(super) fn enqueue(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    work_item: Subject,
    trigger: &Trigger,
) {
    let run = new_run(index, work_item, trigger);
    report(
        plan,
        trigger,
        ReportState::Acting,
        format!("starts run {}", run.id),
    );
    plan.ensure(
        format!("run/{}/enqueue", run.id),
        None,
        ActionKind::EnqueueRun {
            event: event::of_run(
                &run,
                EventKind::RunEnqueued,
                json!({ "trigger": trigger.identity.to_string(), "kind": trigger.kind.to_string() }),
            ),
            from: trigger.disposition.clone(),
            new: Box::new(run),
        },
    );
}

pub(super) fn new_run(index: &Index<'_>, work_item: Subject, trigger: &Trigger) -> Run {
    Run {
        id: trigger.identity.run_id(&index.input.installation),
        trigger: trigger.identity.clone(),
        project: trigger.project.clone(),
        repository: trigger.identity.repository,
        number: trigger.number,
        work_item: work_item.number,
        kind: trigger.kind.clone(),
        label: trigger.label.clone(),
        actor: trigger.actor.clone(),
        state: RunState::Pending,
        outcome: None,
        reason: None,
        held: None,
        priority: priority(index, trigger),
        frozen: None,
        branch: None,
        slot: None,
        accepted_head: None,
        pull_request: None,
        result: None,
        timeout_at: None,
        waiting_since: None,
        created_at: index.now(),
        preparing_at: None,
        started_at: None,
        stopping_at: None,
        finished_at: None,
        finalized_at: None,
        version: 0,
    }
}

fn priority(index: &Index<'_>, trigger: &Trigger) -> i32 {
    let (Some(desired), Some(project)) = (index.desired(), index.project_key()) else {
        return 0;
    };
    let labels = index
        .issues
        .get(&trigger.subject())
        .map_or(&[][..], |issue| &issue.labels);
    let urgent = |label: &LabelName| {
        desired.label_in(project, label.as_str()) == Some(LabelMeaning::Priority)
    };
    i32::from(labels.iter().any(urgent))
}

fn merge(plan: &mut PlanBuilder<'_>, trigger: &Trigger, run: &Run) {
    let reason = format!("joined run {}", run.id);
    report(plan, trigger, ReportState::Acting, reason.clone());
    // Until that run is launched it may yet be taken back, and this must not be lost with it.
    decide(
        plan,
        trigger,
        Disposition::MergedInto { run: run.id },
        run.state != RunState::Pending,
        EventKind::TriggerMerged,
        &reason,
    );
}

/// Lets a trigger go that had joined a run which was never launched: it waits again.
pub(super) fn release(plan: &mut PlanBuilder<'_>, trigger: &Trigger, run: &Run) {
    let reason = format!("run {}, which it had joined, never started", run.id);
    report(plan, trigger, ReportState::Acting, reason.clone());
    decide(
        plan,
        trigger,
        Disposition::Waiting(WaitReason::New),
        false,
        EventKind::TriggerReleased,
        &reason,
    );
}

pub(super) fn refuse(plan: &mut PlanBuilder<'_>, trigger: &Trigger, reason: RefusalReason) {
    let text = refusal_text(&reason);
    report(plan, trigger, ReportState::Refused, text);
    // What we answer on the issue is settled by the answer, everything else here.
    let settled = !messages::is_answered(&reason);
    decide(
        plan,
        trigger,
        Disposition::Refused(reason),
        settled,
        EventKind::TriggerRefused,
        text,
    );
}

fn decide(
    plan: &mut PlanBuilder<'_>,
    trigger: &Trigger,
    to: Disposition,
    settled: bool,
    kind: EventKind,
    reason: &str,
) {
    plan.ensure(
        format!("trigger/{}/decide", trigger.identity),
        None,
        ActionKind::DecideTrigger {
            identity: trigger.identity.clone(),
            from: trigger.disposition.clone(),
            to,
            withdrawn_by: None,
            settled,
            event: event::of_trigger(trigger, kind, event::human(trigger.actor.as_ref()), reason),
        },
    );
}
