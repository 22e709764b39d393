//! Attempts: one pod's try at the work. An attempt ends by its result or by its pod's end;
//! without a result the next one starts after a pause, up to the policy's number.

use chrono::Duration;
use serde_json::json;

use super::{
    action::{ActionKind, RunChange},
    builder::PlanBuilder,
    environment, event,
    index::Index,
    moves::{begin_work, report_quiet, stop_run, update_run},
    publish::next_push,
    stop::delete_jobs,
    wait, workload,
};
use crate::{
    cluster::snapshot::{JobOutcome, JobRow, PodPhase, RunRows},
    domain::{
        event::EventKind,
        fact::Fact,
        ids::{AttemptNo, RunId},
        report::ReportState,
        run::{Attempt, AttemptState, FrozenRun, Outcome, Run, RunState},
    },
};

/// Pod waiting reasons that do not mend themselves.
const FATAL_WAITS: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
];

/// The ledger key of an attempt's objects.
pub(super) fn apply_key(run: &RunId, number: AttemptNo) -> String {
    format!("run/{run}/attempt/{number}")
}

/// Moves on the attempts of every run that works or is about to.
pub(super) fn step_attempts(index: &Index<'_>, plan: &mut PlanBuilder<'_>) {
    for run in index.runs.values().filter(|run| run.state.takes_facts()) {
        let Some(frozen) = &run.frozen else { continue };
        if plan.touches(&run.id) {
            continue;
        }
        let attempt = index.attempt(&run.id);
        if let Some(found) = forgotten(index, run, frozen, attempt) {
            take_over(index, plan, run, attempt, found);
            continue;
        }
        match attempt {
            None => start(index, plan, run, AttemptNo(1)),
            Some(attempt) => step_attempt(index, plan, run, frozen, attempt),
        }
    }
}

/// The Job of an attempt that a restored database has forgotten: the newest that the cluster
/// shows, where the rows are older than the restore. Not so in ordinary life: an agent may label
/// what it makes as it likes.
fn forgotten<'a>(
    index: &Index<'a>,
    run: &Run,
    frozen: &FrozenRun,
    known: Option<&Attempt>,
) -> Option<&'a JobRow> {
    let restored_at = index.input.rows.restored_at?;
    if known.is_some_and(|attempt| attempt.created_at >= restored_at) {
        return None;
    }
    let after = known.map_or(0, |attempt| attempt.number.0);
    let jobs = index.in_cluster(&run.id)?.jobs.iter().copied();
    jobs.filter(|job| {
        let number = number_of(job).0;
        number > after && number <= frozen.max_attempts + wait::MOST_PARKED
    })
    .max_by_key(|job| number_of(job))
}

fn number_of(job: &JobRow) -> AttemptNo {
    let number = job
        .owner
        .attempt
        .and_then(|number| i32::try_from(number).ok());
    AttemptNo(number.unwrap_or(0))
}

/// Takes a forgotten attempt over with its number and key, so that its pod's token is good.
fn take_over(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    known: Option<&Attempt>,
    job: &JobRow,
) {
    let number = number_of(job);
    let open =
        known.filter(|known| matches!(known.state, AttemptState::Starting | AttemptState::Running));
    if let Some(known) = open {
        let reason = format!("attempt {number} followed it before the database was restored");
        move_attempt(plan, run, known, AttemptState::Lost, Some(&reason));
    }
    let attempt = Attempt {
        job_uid: Some(job.uid.clone()),
        key_version: job
            .token_key_version
            .unwrap_or(index.settings().token_key_version),
        ..new_attempt(index, run, number)
    };
    begin(plan, run, attempt, "takes over");
}

fn step_attempt(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    frozen: &FrozenRun,
    attempt: &Attempt,
) {
    note_job(index, plan, run, frozen, attempt);
    if accept_result(index, plan, run) {
        return;
    }
    match attempt.state {
        AttemptState::Reported => {}
        AttemptState::Lost => after_loss(index, plan, run, frozen, attempt),
        AttemptState::Parked => after_parking(index, plan, run, attempt),
        AttemptState::Starting | AttemptState::Running => {
            watch(index, plan, run, frozen, attempt);
        }
    }
}

/// Applies a Job once more that a process made and, dying, did not note. The cluster is not
/// changed by it, and the ledger gets the Job's uid: without that a Job that vanished would be
/// made anew for the same attempt instead of counting as lost.
fn note_job(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    frozen: &FrozenRun,
    attempt: &Attempt,
) {
    let called = index
        .effect(&apply_key(&run.id, attempt.number))
        .is_some_and(|effect| effect.attempted_at.is_some() && effect.done_at.is_none());
    let open = matches!(
        attempt.state,
        AttemptState::Starting | AttemptState::Running
    );
    let number = u32::try_from(attempt.number.0).ok();
    let there = index.in_cluster(&run.id).is_some_and(|rows| {
        let mut jobs = rows.jobs.iter();
        jobs.any(|job| job.owner.attempt == number && job.deletion_timestamp.is_none())
    });
    if called && open && there {
        apply(index, plan, run, frozen, attempt);
    }
}

/// Takes over the first result that an attempt handed in; after it no attempt starts.
fn accept_result(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) -> bool {
    if run.result.is_some() {
        return true;
    }
    let Some((fact, number)) = index.result_fact(&run.id) else {
        return false;
    };
    let Fact::Result(result) = &fact.what else {
        return false;
    };
    let open = index.attempts.get(&run.id).into_iter().flatten().find(|a| {
        a.number == number && matches!(a.state, AttemptState::Starting | AttemptState::Running)
    });
    if let Some(attempt) = open {
        move_attempt(
            plan,
            run,
            attempt,
            AttemptState::Reported,
            Some("it handed in its result"),
        );
    }
    if run.state == RunState::Preparing {
        begin_work(plan, run);
        return true;
    }
    let change = RunChange {
        result: Some(result.clone()),
        ..RunChange::default()
    };
    update_run(plan, run, "result", change);
    plan.report_run(run, ReportState::Acting, "takes over its result");
    true
}

fn watch(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    frozen: &FrozenRun,
    attempt: &Attempt,
) {
    let Some(rows) = index.in_cluster(&run.id) else {
        report_quiet(plan, run, ReportState::Unknown, index.cluster_unknown());
        return;
    };
    let spoke = attempt.heartbeat_at.is_some();
    let of_attempt = |owner: Option<u32>| owner == u32::try_from(attempt.number.0).ok();
    let pod = rows.pods.iter().find(|pod| of_attempt(pod.owner.attempt));
    let job = rows.jobs.iter().find(|job| of_attempt(job.owner.attempt));
    let works = spoke || pod.is_some_and(|pod| pod.phase == PodPhase::Running);
    if works && attempt.state == AttemptState::Starting {
        move_attempt(plan, run, attempt, AttemptState::Running, None);
    }
    if works && run.state == RunState::Preparing {
        begin_work(plan, run);
        return;
    }
    if let Some(reason) = loss(index, attempt, rows) {
        let (to, line) = if wait::is_parked(index, attempt) {
            (AttemptState::Parked, "ended to wait for people")
        } else {
            (AttemptState::Lost, "is lost")
        };
        move_attempt(plan, run, attempt, to, Some(&reason));
        plan.report_run(
            run,
            ReportState::Acting,
            format!("attempt {} {line}: {reason}", attempt.number),
        );
        return;
    }
    if job.is_none() && pod.is_none() {
        apply(index, plan, run, frozen, attempt);
        return;
    }
    if run.state.waits() {
        wait::report(index, plan, run);
        return;
    }
    let line = if works {
        format!("attempt {} is at work", attempt.number)
    } else {
        let why = pod
            .and_then(|pod| pod.waiting_reason.as_deref())
            .unwrap_or("not started yet");
        format!("attempt {} waits for its pod: {why}", attempt.number)
    };
    report_quiet(plan, run, ReportState::Running, line);
}

/// Why an attempt counts as lost, if it does: its pod ended or vanished without a result.
fn loss(index: &Index<'_>, attempt: &Attempt, rows: &RunRows<'_>) -> Option<String> {
    let number = u32::try_from(attempt.number.0).ok();
    let pod = rows.pods.iter().find(|pod| pod.owner.attempt == number);
    let job = rows.jobs.iter().find(|job| job.owner.attempt == number);
    if let Some(pod) = pod {
        if pod.has_ended() {
            let code = pod.terminated.as_ref().map(|end| end.exit_code);
            let reason = pod
                .reason
                .clone()
                .or_else(|| pod.terminated.as_ref().and_then(|end| end.reason.clone()))
                .unwrap_or_else(|| "no result".to_owned());
            let code = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
            return Some(format!("its pod ended with exit code {code} ({reason})"));
        }
        let waiting = pod
            .waiting_reason
            .as_deref()
            .filter(|reason| FATAL_WAITS.contains(reason));
        let grace = Duration::seconds(index.settings().start_grace_seconds);
        if let Some(reason) = waiting.filter(|_| attempt.created_at + grace <= index.now()) {
            return Some(format!("its pod does not start: {reason}"));
        }
        let node = Duration::seconds(index.settings().node_grace_seconds);
        let unreachable = pod
            .node_unreachable_since
            .filter(|since| *since + node <= index.now());
        return unreachable.map(|_| "its node is unreachable".to_owned());
    }
    if let Some(job) = job {
        return match &job.outcome {
            JobOutcome::Failed { reason } => Some(format!(
                "its job failed ({})",
                reason.as_deref().unwrap_or("no reason")
            )),
            JobOutcome::Complete => Some("its job ended without a result".to_owned()),
            JobOutcome::Open => None,
        };
    }
    let applied = attempt.job_uid.is_some();
    let hidden = index.job_may_be_hidden(&apply_key(&attempt.run, attempt.number));
    (applied && !hidden).then(|| "its job is gone".to_owned())
}

fn after_loss(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    frozen: &FrozenRun,
    attempt: &Attempt,
) {
    // Those that ended to wait do not count.
    let counted = attempt.number.0 - wait::parked(index, attempt);
    if counted >= frozen.max_attempts && next_push(index, run).is_none() {
        let reason = attempt
            .reason
            .clone()
            .unwrap_or_else(|| "no result".to_owned());
        stop_run(
            plan,
            run,
            Outcome::Failed,
            format!("attempt {counted} of {}: {reason}", frozen.max_attempts),
        );
        return;
    }
    if !is_cleared(index, plan, run) {
        return;
    }
    let doubled = u32::try_from(attempt.number.0 - 1).unwrap_or(0).min(6);
    let pause = Duration::seconds(index.settings().attempt_backoff_seconds << doubled);
    let due = attempt.ended_at.unwrap_or(attempt.created_at) + pause;
    if due > index.now() {
        let at = due.format("%Y-%m-%dT%H:%M:%SZ");
        report_quiet(
            plan,
            run,
            ReportState::Retrying,
            format!("its next attempt starts at {at}"),
        );
        return;
    }
    start(index, plan, run, AttemptNo(attempt.number.0 + 1));
}

/// The next attempt starts with the answer that the parked one waited for; while there is none,
/// nothing runs.
fn after_parking(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run, attempt: &Attempt) {
    if !is_cleared(index, plan, run) {
        return;
    }
    if wait::is_open(index, run) {
        wait::report(index, plan, run);
    } else {
        start(index, plan, run, AttemptNo(attempt.number.0 + 1));
    }
}

/// Whether nothing of a run's earlier attempts is left in the cluster, or on its way to the
/// forge; deletes what is there.
fn is_cleared(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run) -> bool {
    let Some(rows) = index.in_cluster(&run.id) else {
        report_quiet(plan, run, ReportState::Unknown, index.cluster_unknown());
        return false;
    };
    delete_jobs(plan, run, rows);
    if !rows.jobs.is_empty() || !rows.pods.is_empty() {
        let line = "waits until the attempt that ended is gone from the cluster";
        report_quiet(plan, run, ReportState::Waiting, line);
        return false;
    }
    // What it pushed was received, so it is not lost: the next attempt must find it, and a push
    // of an older attempt is refused.
    if next_push(index, run).is_some() {
        let line = "waits until the push of the attempt that ended is passed on";
        report_quiet(plan, run, ReportState::Waiting, line);
        return false;
    }
    true
}

fn start(index: &Index<'_>, plan: &mut PlanBuilder<'_>, run: &Run, number: AttemptNo) {
    begin(plan, run, new_attempt(index, run, number), "starts");
}

fn new_attempt(index: &Index<'_>, run: &Run, number: AttemptNo) -> Attempt {
    Attempt {
        run: run.id,
        number,
        state: AttemptState::Starting,
        key_version: index.settings().token_key_version,
        job_uid: None,
        reason: None,
        created_at: index.now(),
        started_at: None,
        ended_at: None,
        heartbeat_at: None,
    }
}

fn begin(plan: &mut PlanBuilder<'_>, run: &Run, attempt: Attempt, doing: &str) {
    let number = attempt.number;
    let found = plan.ensure(
        format!("run/{}/attempt/{number}/start", run.id),
        Some(run.id),
        ActionKind::StartAttempt {
            event: event::of_run(run, EventKind::AttemptStarted, json!({ "attempt": number })),
            attempt,
        },
    );
    plan.report_effect(run, found, &format!("{doing} attempt {number}"));
}

fn move_attempt(
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    attempt: &Attempt,
    to: AttemptState,
    reason: Option<&str>,
) {
    let ended = matches!(to, AttemptState::Lost | AttemptState::Reported);
    let payload = json!({ "attempt": attempt.number, "state": to, "reason": reason });
    plan.ensure(
        format!("run/{}/attempt/{}/{to}", run.id, attempt.number),
        Some(run.id),
        ActionKind::MoveAttempt {
            number: attempt.number,
            from: attempt.state,
            to,
            reason: reason.map(str::to_owned),
            event: ended.then(|| event::of_run(run, EventKind::AttemptEnded, payload)),
        },
    );
}

fn apply(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    run: &Run,
    frozen: &FrozenRun,
    attempt: &Attempt,
) {
    if !environment::is_ready(index, run, frozen) {
        report_quiet(
            plan,
            run,
            ReportState::Waiting,
            "waits until its namespace is ready",
        );
        return;
    }
    let key = apply_key(&run.id, attempt.number);
    if attempt.job_uid.is_some()
        || index
            .effect(&key)
            .is_some_and(|effect| effect.done_at.is_some())
    {
        report_quiet(
            plan,
            run,
            ReportState::Waiting,
            "its job is applied; the cluster does not show it yet",
        );
        return;
    }
    let found = plan.ensure(
        key,
        Some(run.id),
        ActionKind::ApplyAttempt {
            number: attempt.number,
            spec: Box::new(workload::spec(index, run, frozen, attempt)),
            event: event::of_run(
                run,
                EventKind::ObjectApplied,
                json!({ "attempt": attempt.number }),
            ),
        },
    );
    plan.report_effect(
        run,
        found,
        &format!("makes the job of attempt {}", attempt.number),
    );
}
