//! Decisions: what people said about a request, and whether they may.
//!
//! They come as comments on the issue (one line `/approve CODE` or `/deny CODE why`) and as
//! facts of command line and staff API. The first that counts decides; one that does not is
//! reported and changes nothing. It counts
//! 1. with the code of the request as it stands now: an older comment's code is dead;
//! 2. in a comment that is younger than the request's own, on the issue itself, never edited,
//!    and only while the request's own is in our words;
//! 3. by somebody entitled: an account with the role that the policy asks for and write at the
//!    forge, never a bot, an app or one of our own identities.
//!
//! Whose right is not read yet is waited for, also by what was said after it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    approvals::{Shown, asked_at, effect_key},
    authority::{self, Account, Verdict as Right},
    builder::PlanBuilder,
    index::Index,
};
use crate::{
    desired::model::{Desired, Member, MemberRole, ProjectSpec, StateKind},
    domain::{
        approval::{
            Approval, ApprovalMode, ApprovalState, Command, DecidedVia, Decision, DecisionFact,
            Verdict, commands_in,
        },
        forge::{AccountKind, Actor, Comment, IssueEventKind},
        ids::{CommentId, RepositoryId, Subject},
        report::ReportState,
        snapshot::StoreSnapshot,
        trigger::{Disposition, RefusalReason, Trigger},
    },
};

/// How a request stands.
pub(super) enum Standing {
    /// Somebody decided who may.
    Decided(Decision),
    /// Somebody decided; whether they may is not known yet.
    Unknown,
    /// Nobody did.
    Open,
}

/// What was said on the issues that requests are about.
pub(super) struct Thread<'a> {
    comments: BTreeMap<Subject, Vec<&'a Comment>>,
    commands: Vec<(&'a Comment, Command)>,
    codes: BTreeMap<(Subject, &'a str), &'a Approval>,
}

impl<'a> Thread<'a> {
    pub(super) fn new(index: &Index<'a>) -> Self {
        let subjects: BTreeSet<Subject> =
            index.approvals.values().map(|row| row.subject()).collect();
        let mut comments: BTreeMap<Subject, Vec<&'a Comment>> = BTreeMap::new();
        let rows: &'a [Comment] = &index.input.rows.comments;
        // Comments on diffs have ids of their own, and are about lines.
        for comment in rows.iter().filter(|comment| comment.place.is_none()) {
            let subject = subject_of(comment);
            if subjects.contains(&subject) {
                comments.entry(subject).or_default().push(comment);
            }
        }
        for of_subject in comments.values_mut() {
            of_subject.sort_by_key(|comment| comment.id);
        }
        let said = comments.values().flatten().copied();
        let said = said.filter(|comment| !index.is_ours(comment.author.as_ref()));
        let commands = said.flat_map(|comment| {
            let commands = commands_in(&comment.body).into_iter();
            commands.map(move |command| (comment, command))
        });
        let codes = index.approvals.values().filter_map(|row| {
            let code = row.code.as_deref()?;
            Some(((row.subject(), code), *row))
        });
        Self {
            commands: commands.collect(),
            codes: codes.collect(),
            comments,
        }
    }

    /// The comments of an issue, oldest first.
    pub(super) fn of(&self, subject: Subject) -> &[&'a Comment] {
        self.comments.get(&subject).map_or(&[], Vec::as_slice)
    }
}

fn subject_of(comment: &Comment) -> Subject {
    Subject {
        repository: comment.repository,
        number: comment.number,
    }
}

/// The comment that a request was last put in; `None` until it is written.
pub(super) fn request_comment(index: &Index<'_>, approval: &Approval) -> Option<CommentId> {
    let effect = index.effect(&effect_key(approval))?;
    effect.done_at?;
    effect.external_id.as_ref()?.parse().ok().map(CommentId)
}

/// Something that somebody said.
struct Said<'a> {
    candidate: String,
    actor: Option<Actor>,
    via_app: Option<&'a String>,
    verdict: Verdict,
    reason: Option<String>,
    via: DecidedVia,
    as_of: crate::domain::Timestamp,
}

/// What people decided about a request, as far as it counts.
pub(super) fn standing(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    thread: &Thread<'_>,
    approval: &Approval,
    shown: Shown,
) -> Standing {
    let Some(project) = index.project().map(|project| &project.spec) else {
        return Standing::Open;
    };
    let facts = index.input.rows.decisions.iter();
    let of_approval = facts.filter(|fact| fact.approval == approval.id);
    let by_staff = of_approval.map(|fact| staff(index, project, thread, approval, fact));
    let in_comments = commented(index, plan, thread, approval, shown);
    for said in by_staff.chain(in_comments) {
        match right(index, project, approval, &said) {
            Right::Entitled => {
                return Standing::Decided(Decision {
                    verdict: said.verdict,
                    actor: said.actor,
                    via: said.via,
                    reason: said.reason,
                    as_of: said.as_of,
                });
            }
            Right::Wait(_) => return Standing::Unknown,
            Right::Refuse(reason) => {
                let text = why_not(&reason);
                report(plan, &said.candidate, approval.subject(), text);
            }
        }
    }
    Standing::Open
}

fn report(plan: &mut PlanBuilder<'_>, candidate: &str, subject: Subject, text: &str) {
    plan.report_other(candidate, Some(subject), ReportState::Refused, text);
}

fn why_not(reason: &RefusalReason) -> &'static str {
    match reason {
        RefusalReason::Bot => "not counted: said by a bot, an app or one of our own identities",
        _ => "not counted: whoever said it may not decide this",
    }
}

fn right(index: &Index<'_>, project: &ProjectSpec, approval: &Approval, said: &Said<'_>) -> Right {
    let Some(actor) = &said.actor else {
        return Right::Refuse(RefusalReason::NoRights);
    };
    let account = Account {
        repository: approval.repository,
        actor,
        via_app: said.via_app,
    };
    authority::judge_account(index, project, &account, least_role(project, approval.mode))
}

/// The least role that decides.
fn least_role(project: &ProjectSpec, mode: ApprovalMode) -> MemberRole {
    match mode {
        ApprovalMode::Owner | ApprovalMode::None => project.owner_role(),
        ApprovalMode::Delegated => MemberRole::ReadWrite,
    }
}

/// A decision by command line or staff API: in the name of a member, who is judged like anybody.
fn staff<'a>(
    index: &Index<'_>,
    project: &ProjectSpec,
    thread: &Thread<'_>,
    approval: &Approval,
    fact: &DecisionFact,
) -> Said<'a> {
    // A code that was renewed meanwhile is dead here, too.
    let current = approval.code.as_deref() == Some(fact.code.as_str());
    let posted = request_comment(index, approval);
    let mut comments = thread.of(approval.subject()).iter();
    let shown = comments.find(|comment| Some(comment.id) == posted);
    let run = index.runs.get(&approval.run);
    let before = run.map_or(approval.requested_at, |run| {
        asked_at(index, run, approval.requested_at)
    });
    Said {
        candidate: format!("approval/{}/decision/{}", approval.id, fact.id),
        actor: member(project, &fact.login).filter(|_| current),
        via_app: None,
        verdict: fact.verdict,
        reason: fact.reason.clone(),
        via: DecidedVia::Staff { fact: fact.id },
        // The forge's clock: what was there when the request was put is what was decided on.
        as_of: shown.map_or(before, |comment| comment.created_at),
    }
}

/// The account that the member list names so.
fn member(project: &ProjectSpec, login: &str) -> Option<Actor> {
    project.members.iter().find_map(|member| match member {
        Member::User {
            id, login: name, ..
        } if name.eq_ignore_ascii_case(login) => Some(Actor {
            id: *id,
            login: name.clone(),
            kind: AccountKind::User,
        }),
        _ => None,
    })
}

/// The commands with a request's code that stand in comments fit for it.
fn commented<'a>(
    index: &Index<'_>,
    plan: &mut PlanBuilder<'_>,
    thread: &Thread<'a>,
    approval: &Approval,
    shown: Shown,
) -> Vec<Said<'a>> {
    let (Some(code), Some(posted)) = (&approval.code, request_comment(index, approval)) else {
        return Vec::new();
    };
    let named = |(comment, command): &&(&Comment, Command)| {
        subject_of(comment) == approval.subject() && command.code == *code
    };
    let mut said: Vec<Said<'a>> = Vec::new();
    for (comment, command) in thread.commands.iter().filter(named) {
        let candidate = comment_candidate(comment);
        let same = thread.commands.iter().filter(named);
        let contradicts = same
            .filter(|(other, _)| other.id == comment.id)
            .any(|(_, other)| other.verdict != command.verdict);
        let unfit = if shown == Shown::Spoilt {
            Some("not counted: the request's comment is not ours any more")
        } else if comment.id <= posted {
            Some("not counted: it is older than the request")
        } else if comment.was_edited() {
            Some("not counted: the comment was edited; write a new one")
        } else if contradicts {
            Some("not counted: the comment says both")
        } else {
            None
        };
        if let Some(text) = unfit {
            report(plan, &candidate, approval.subject(), text);
            continue;
        }
        said.push(Said {
            candidate,
            actor: comment.author.clone(),
            via_app: comment.via_app.as_ref(),
            verdict: command.verdict,
            reason: command.reason.clone(),
            via: DecidedVia::Comment {
                comment: comment.id,
            },
            as_of: comment.created_at,
        });
    }
    said
}

fn comment_candidate(comment: &Comment) -> String {
    format!("decision/{}/{}", comment.repository, comment.id)
}

/// Reports commands whose code belongs to no open request.
pub(super) fn report_strays(plan: &mut PlanBuilder<'_>, thread: &Thread<'_>) {
    for (comment, command) in &thread.commands {
        let subject = subject_of(comment);
        match thread.codes.get(&(subject, command.code.as_str())) {
            None => report(
                plan,
                &comment_candidate(comment),
                subject,
                "not counted: no request here has this code",
            ),
            Some(approval) if approval.state != ApprovalState::Requested => {
                let decisive = approval.decision.as_ref().is_some_and(|decision| {
                    let via = DecidedVia::Comment {
                        comment: comment.id,
                    };
                    decision.via == via
                });
                if !decisive {
                    let state = approval.state;
                    let text = format!("not counted: the request is {state} already");
                    report(plan, &comment_candidate(comment), subject, &text);
                }
            }
            Some(_) => {}
        }
    }
}

/// Whoever put the label for approved work on an issue where a stage waits for that.
fn approvers(desired: &Desired, rows: &StoreSnapshot) -> Vec<(RepositoryId, Actor)> {
    let Some(label) = desired.labels.state.get(StateKind::Approved) else {
        return Vec::new();
    };
    let asks = |trigger: &&Trigger| {
        let stage = desired.stage(&trigger.kind.stage);
        matches!(trigger.disposition, Disposition::Waiting(_))
            && stage.is_some_and(|stage| stage.entry.reviewed)
    };
    let waiting = rows.triggers.iter().filter(asks);
    let repositories: BTreeSet<_> = waiting.map(|it| it.identity.repository).collect();
    let put_on = rows.events.iter().filter(|event| {
        matches!(&event.what, IssueEventKind::Labeled { label: on } if *on == label.name)
            && repositories.contains(&event.repository)
    });
    put_on
        .filter_map(|event| Some((event.repository, event.actor.clone()?)))
        .collect()
}

/// Whose rights decide about open requests and about finished work, and so are read.
pub fn deciders(desired: &Desired, rows: &StoreSnapshot) -> Vec<(RepositoryId, Actor)> {
    let open = rows.approvals.iter().filter(|row| !row.state.is_terminal());
    let mut found = approvers(desired, rows);
    for approval in open {
        let Some(project) = desired.project(&approval.project) else {
            continue;
        };
        let code = approval.code.as_deref();
        let decides = |comment: &&Comment| {
            subject_of(comment) == approval.subject()
                && commands_in(&comment.body)
                    .iter()
                    .any(|command| Some(command.code.as_str()) == code)
        };
        let comments = rows.comments.iter().filter(decides);
        let authors = comments.filter_map(|comment| comment.author.clone());
        let facts = rows
            .decisions
            .iter()
            .filter(|fact| fact.approval == approval.id);
        let staff = facts.filter_map(|fact| member(&project.spec, &fact.login));
        let least = least_role(&project.spec, approval.mode);
        let known = authors.chain(staff);
        let may = known.filter(|actor| authority::may_match(&project.spec, actor.id, least));
        found.extend(may.map(|actor| (approval.repository, actor)));
    }
    found
}
