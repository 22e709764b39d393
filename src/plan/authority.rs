//! Authority: may this actor start this, and do their words count?

use chrono::Duration;

use super::{
    index::Index,
    standing::{self, is_standing},
};
use crate::{
    desired::model::{Member, MemberRole, ProjectSpec},
    domain::{
        forge::{AccountKind, Actor, Permission},
        ids::{RepositoryId, UserId},
        mirror::PermissionRecord,
        trigger::{RefusalReason, Trigger, WaitReason},
    },
};

/// For how long a permission counts (DESIGN §3). It is read again after three quarters of that,
/// so that a read in progress does not make the actor a stranger.
const PERMISSION_VALID: Duration = Duration::minutes(10);

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

/// Whether the edits and words of an account count: its entry may ask for work. `None` where its
/// permission decides and is not read.
pub(super) fn counts(
    index: &Index<'_>,
    project: &ProjectSpec,
    repository: RepositoryId,
    user: UserId,
) -> Option<bool> {
    if is_listed(project, user) {
        return Some(true);
    }
    if !counts_by_permission(project, user) {
        return Some(false);
    }
    let held = permission(index, repository, user)?;
    Some(held >= Permission::Write && is_member(project, user, held, MemberRole::ReadWrite))
}

/// Whether only its permission says if an account counts.
pub(super) fn counts_by_permission(project: &ProjectSpec, user: UserId) -> bool {
    !is_listed(project, user) && may_match(project, user, MemberRole::ReadWrite)
}

fn is_listed(project: &ProjectSpec, user: UserId) -> bool {
    project.members.iter().any(
        |member| matches!(member, Member::User { id, role, .. } if *id == user && role.may_trigger()),
    )
}
