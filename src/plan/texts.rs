//! The text that a trigger's run is given: what carries the trigger and its work item, who
//! wrote it, and whether it is still what whoever triggered meant.
//!
//! An edit after the trigger by someone who may not start it refuses the trigger. Of a standing
//! order, which nobody has looked at, all of the text counts. What is not read yet is waited for:
//! the text of a waiting trigger is hot, and so is read with its edits.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    authority::{self, Verdict},
    index::Index,
    sighting::text_hash,
    standing::is_standing,
};
use crate::{
    desired::model::{Desired, ProjectSpec},
    domain::{
        forge::{AccountKind, Actor, EditHistory, Issue, SubjectState},
        ids::{BranchName, RepositoryId, Subject, UserId},
        run::RunState,
        snapshot::StoreSnapshot,
        trigger::{Disposition, RefusalReason, Trigger, WaitReason},
    },
};

/// What is said while it is not known who edited the text, or what they may do.
pub(super) const EDITS_UNREAD: &str = "it is not read yet who edited the text";

/// Judges the text of what carries the trigger, and of its work item.
pub(super) fn judge_text(
    index: &Index<'_>,
    project: &ProjectSpec,
    trigger: &Trigger,
    issue: &Issue,
) -> Verdict {
    let work_item = Subject {
        number: index.work_item(trigger.subject()),
        ..trigger.subject()
    };
    let of_work_item = index.issues.get(&work_item).copied();
    let of_work_item = of_work_item.filter(|other| other.number != issue.number);
    let mut verdict = Verdict::Entitled;
    for text in [Some(issue), of_work_item].into_iter().flatten() {
        match judge_one(index, project, trigger, text) {
            Verdict::Entitled => {}
            // What is refused is so whatever else is read.
            refused @ Verdict::Refuse(_) => return refused,
            wait @ Verdict::Wait(_) => verdict = wait,
        }
    }
    verdict
}

fn judge_one(
    index: &Index<'_>,
    project: &ProjectSpec,
    trigger: &Trigger,
    issue: &Issue,
) -> Verdict {
    let standing = is_standing(&trigger.identity);
    let wait = Verdict::Wait(WaitReason::SubjectUnknown {
        why: EDITS_UNREAD.to_owned(),
    });
    let refuse = Verdict::Refuse(if standing {
        RefusalReason::ForeignText
    } else {
        RefusalReason::ContentChanged
    });
    match &issue.edits {
        // A work item that left is read no more: its text stays as it was.
        EditHistory::Unread if issue.state == SubjectState::Gone => return Verdict::Entitled,
        EditHistory::Unread => return wait,
        EditHistory::Withheld if standing => return wait,
        EditHistory::Withheld => {
            // The hash at first sight is of the text that carries the trigger.
            let hash = trigger.content_hash.as_ref();
            let hash = hash.filter(|_| issue.number == trigger.number);
            return match hash {
                Some(hash) if *hash != text_hash(issue) => refuse,
                _ => Verdict::Entitled,
            };
        }
        EditHistory::Read { .. } => {}
    }
    let mut verdict = Verdict::Entitled;
    for writer in writers(trigger, issue) {
        let Some(writer) = writer else { return refuse };
        match may_write(index, project, trigger, writer.id) {
            Some(true) => {}
            None if writer.login.is_some() => verdict = wait.clone(),
            // Without a login nobody can ask what the account may do.
            Some(false) | None => return refuse,
        }
    }
    verdict
}

/// Who wrote a part of a text.
struct Writer<'a> {
    id: UserId,
    /// Its login, where it is a person.
    login: Option<&'a str>,
}

/// Who wrote what counts of a text: its edits since the trigger, of a standing order all of it.
/// `None` stands for somebody whom the forge does not name.
fn writers<'a>(trigger: &Trigger, issue: &'a Issue) -> Vec<Option<Writer<'a>>> {
    let standing = is_standing(&trigger.identity);
    let author = issue.author.as_ref().map(|author| Writer {
        id: author.id,
        login: (author.kind == AccountKind::User).then_some(author.login.as_str()),
    });
    let edits = match &issue.edits {
        EditHistory::Read { edits } => edits.as_slice(),
        EditHistory::Unread | EditHistory::Withheld => &[],
    };
    let counted = edits
        .iter()
        .filter(|edit| standing || edit.at > trigger.occurred_at);
    let editors = counted.map(|edit| {
        edit.editor.map(|id| Writer {
            id,
            login: edit.login.as_deref(),
        })
    });
    standing
        .then_some(author)
        .into_iter()
        .chain(editors)
        .collect()
}

fn may_write(
    index: &Index<'_>,
    project: &ProjectSpec,
    trigger: &Trigger,
    writer: UserId,
) -> Option<bool> {
    // We start nothing, but we edit our own pull requests.
    let ours = index.own.iter().any(|own| own.actor.id == writer);
    let of_actor = trigger
        .actor
        .as_ref()
        .is_some_and(|actor| actor.id == writer);
    if ours || of_actor {
        return Some(true);
    }
    authority::counts(index, project, trigger.identity.repository, writer)
}

/// The subjects whose text a run is given, by what carries its trigger: that itself, and where it
/// is a pull request the work items of the runs that it may be of.
pub fn texts_of(
    rows: &StoreSnapshot,
    carriers: impl Iterator<Item = Subject>,
) -> BTreeMap<Subject, BTreeSet<Subject>> {
    let mut texts: BTreeMap<Subject, BTreeSet<Subject>> = carriers
        .map(|carrier| (carrier, BTreeSet::from([carrier])))
        .collect();
    let on = |repository, number| Subject { repository, number };
    let mut by_head: BTreeMap<(RepositoryId, &BranchName), Vec<Subject>> = BTreeMap::new();
    for pull in &rows.pulls {
        let subject = on(pull.repository, pull.number);
        if texts.contains_key(&subject) {
            let head = (pull.repository, &pull.head);
            by_head.entry(head).or_default().push(subject);
        }
    }
    for run in &rows.runs {
        let branch = run.branch.as_ref();
        let by_head = branch.and_then(|branch| by_head.get(&(run.repository, branch)));
        let own = run.pull_request.map(|number| on(run.repository, number));
        for carrier in by_head.into_iter().flatten().copied().chain(own) {
            if let Some(texts) = texts.get_mut(&carrier) {
                texts.insert(run.work_subject());
            }
        }
    }
    texts
}

/// Whose rights decide whether what they wrote refuses a trigger, and so are read.
pub fn editors(desired: &Desired, rows: &StoreSnapshot) -> Vec<(RepositoryId, Actor)> {
    let pending = rows
        .runs
        .iter()
        .filter(|run| run.state == RunState::Pending);
    let pending: BTreeSet<_> = pending.map(|run| &run.trigger).collect();
    let is_judged = |trigger: &&Trigger| {
        matches!(trigger.disposition, Disposition::Waiting(_)) && !trigger.settled
            || pending.contains(&trigger.identity)
    };
    let judged: Vec<&Trigger> = rows.triggers.iter().filter(is_judged).collect();
    let texts = texts_of(rows, judged.iter().map(|trigger| trigger.subject()));
    let wanted: BTreeSet<&Subject> = texts.values().flatten().collect();
    let issues = rows.issues.iter().map(|issue| {
        let subject = Subject {
            repository: issue.repository,
            number: issue.number,
        };
        (subject, issue)
    });
    let issues: BTreeMap<Subject, &Issue> = issues
        .filter(|(subject, _)| wanted.contains(subject))
        .collect();
    let mut found = Vec::new();
    for trigger in judged {
        let Some(project) = desired.project(&trigger.project) else {
            continue;
        };
        let texts = texts.get(&trigger.subject()).into_iter().flatten();
        let texts = texts.filter_map(|subject| issues.get(subject).copied());
        let writers = texts.flat_map(|issue| writers(trigger, issue)).flatten();
        let asked =
            writers.filter(|writer| authority::counts_by_permission(&project.spec, writer.id));
        found.extend(asked.filter_map(|writer| {
            let actor = Actor {
                id: writer.id,
                login: writer.login?.to_owned(),
                kind: AccountKind::User,
            };
            Some((trigger.identity.repository, actor))
        }));
    }
    found
}
