//! Authority: may this actor start this, and is the text still what they meant?

use chrono::Duration;

use super::{
    index::Index,
    sighting::text_hash,
    standing::{self, is_standing},
};
use crate::{
    desired::model::{Member, MemberRole, ProjectSpec},
    domain::{
        forge::{AccountKind, Actor, EditHistory, Issue, Permission},
        ids::{RepositoryId, Subject, UserId},
        mirror::PermissionRecord,
        trigger::{RefusalReason, Trigger, WaitReason},
    },
};

/// A permission is read again after ten minutes; it counts for twice as long, so that a
/// read in progress does not make the actor a stranger.
const PERMISSION_VALID: Duration = Duration::minutes(20);

/// What was found about an actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// May do it.
    Entitled,
    /// Cannot be judged yet.
    Wait(WaitReason),
    /// May not, for good.
    Refuse(RefusalReason),
}

/// Judges a trigger's actor: a member whose role may ask for work.
pub(super) fn judge(index: &Index<'_>, project: &ProjectSpec, trigger: &Trigger) -> Verdict {
    if is_standing(&trigger.identity) {
        return standing(index, trigger);
    }
    let Some(actor) = &trigger.actor else {
        return if index.identities_known() {
            Verdict::Refuse(RefusalReason::NoRights)
        } else {
            Verdict::Wait(WaitReason::IdentitiesUnknown)
        };
    };
    let account = Account {
        repository: trigger.identity.repository,
        actor,
        via_app: trigger.via_app.as_ref(),
    };
    judge_account(index, project, &account, MemberRole::ReadWrite)
}

/// Judges what the config itself asks for.
fn standing(index: &Index<'_>, trigger: &Trigger) -> Verdict {
    let refused = index
        .project()
        .and_then(|project| standing::refused(project, index, trigger));
    match refused {
        _ if !index.identities_known() => Verdict::Wait(WaitReason::IdentitiesUnknown),
        Some(reason) => Verdict::Refuse(reason),
        None => Verdict::Entitled,
    }
}

/// Who did something at the forge, and where.
pub(super) struct Account<'a> {
    pub(super) repository: RepositoryId,
    pub(super) actor: &'a Actor,
    pub(super) via_app: Option<&'a String>,
}

/// Judges an account by immutable id: never one of ours, never a bot, a member with this role or
/// more that may ask for work, and with write or more at the forge.
pub(super) fn judge_account(
    index: &Index<'_>,
    project: &ProjectSpec,
    account: &Account<'_>,
    least: MemberRole,
) -> Verdict {
    if !index.identities_known() {
        return Verdict::Wait(WaitReason::IdentitiesUnknown);
    }
    let (actor, via_app) = (account.actor, account.via_app);
    let ours = index.own.iter().any(|own| {
        own.actor.id == actor.id || (own.app_slug.is_some() && own.app_slug.as_ref() == via_app)
    });
    let foreign_app = via_app.is_some_and(|app| !project.trusted_apps.contains(app));
    if ours || foreign_app || actor.kind != AccountKind::User {
        return Verdict::Refuse(RefusalReason::Bot);
    }
    if !may_match(project, actor.id, least) {
        return Verdict::Refuse(RefusalReason::NoRights);
    }
    match permission(index, account.repository, actor.id) {
        None => Verdict::Wait(WaitReason::PermissionUnknown),
        Some(held) if held >= Permission::Write && is_member(project, actor.id, held, least) => {
            Verdict::Entitled
        }
        Some(_) => Verdict::Refuse(RefusalReason::NoRights),
    }
}

/// The permission read for an account, where it is fresh enough.
fn permission(index: &Index<'_>, repository: RepositoryId, user: UserId) -> Option<Permission> {
    let fresh = |row: &&PermissionRecord| row.read_at + PERMISSION_VALID > index.now();
    let mut rows = index.permissions(repository, user).iter().copied();
    rows.find(fresh).map(|row| row.permission)
}

/// Whether some entry could give this account the role, whatever its permission.
pub(super) fn may_match(project: &ProjectSpec, user: UserId, least: MemberRole) -> bool {
    is_member(project, user, Permission::Admin, least)
}

/// Whether the member list gives an account with this permission the role, or more, and lets it
/// ask for work.
fn is_member(project: &ProjectSpec, user: UserId, held: Permission, least: MemberRole) -> bool {
    project.members.iter().any(|member| {
        member.role().may_trigger()
            && member.role() >= least
            && match member {
                Member::User { id, .. } => *id == user,
                Member::AnyoneWith { permission, .. } => held >= *permission,
            }
    })
}

/// Whether title or body changed after the trigger by someone who may not start it: of what
/// carries the label, and of its work item, whose text the prompt takes, too. For a standing
/// order, which nobody has looked at, all of the text counts.
pub(super) fn content_changed(
    index: &Index<'_>,
    project: &ProjectSpec,
    trigger: &Trigger,
    issue: &Issue,
) -> bool {
    let work_item = Subject {
        number: index.work_item(trigger.subject()),
        ..trigger.subject()
    };
    let of_work_item = index.issues.get(&work_item).filter(|other| {
        // The hash at first sight is of the text that carries the label.
        other.number != issue.number && matches!(other.edits, EditHistory::Read { .. })
    });
    [Some(issue), of_work_item.copied()]
        .into_iter()
        .flatten()
        .any(|text| text_changed(index, project, trigger, text))
}

fn text_changed(
    index: &Index<'_>,
    project: &ProjectSpec,
    trigger: &Trigger,
    issue: &Issue,
) -> bool {
    let standing = is_standing(&trigger.identity);
    let author = issue.author.as_ref().map(|author| author.id);
    if standing && !author.is_some_and(|author| may_edit(index, project, trigger, author)) {
        return true;
    }
    match &issue.edits {
        EditHistory::Unread => trigger
            .content_hash
            .as_ref()
            .is_some_and(|hash| *hash != text_hash(issue)),
        EditHistory::Read { edits } => edits.iter().any(|edit| {
            (standing || edit.at > trigger.occurred_at)
                && !edit
                    .editor
                    .is_some_and(|editor| may_edit(index, project, trigger, editor))
        }),
    }
}

fn may_edit(index: &Index<'_>, project: &ProjectSpec, trigger: &Trigger, editor: UserId) -> bool {
    // We start nothing, but we edit our own pull requests.
    let ours = index.own.iter().any(|own| own.actor.id == editor);
    let of_actor = trigger
        .actor
        .as_ref()
        .is_some_and(|actor| actor.id == editor);
    if ours || of_actor {
        return true;
    }
    let held = permission(index, trigger.identity.repository, editor).unwrap_or(Permission::None);
    let listed = project.members.iter().any(
        |member| matches!(member, Member::User { id, role, .. } if *id == editor && role.may_trigger()),
    );
    listed || (held >= Permission::Write && is_member(project, editor, held, MemberRole::ReadWrite))
}
