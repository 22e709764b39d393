//! Authority: may this actor start this, and is the text still what they meant?

use chrono::Duration;

use super::{index::Index, sighting::text_hash};
use crate::{
    desired::model::{Member, ProjectSpec},
    domain::{
        forge::{AccountKind, EditHistory, Issue, Permission},
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

/// Judges a trigger's actor by immutable id: never one of ours, never a bot, a member
/// whose role allows it, and with write or more at the forge.
pub(super) fn judge(index: &Index<'_>, project: &ProjectSpec, trigger: &Trigger) -> Verdict {
    if !index.identities_known() {
        return Verdict::Wait(WaitReason::IdentitiesUnknown);
    }
    let Some(actor) = &trigger.actor else {
        return Verdict::Refuse(RefusalReason::NoRights);
    };
    let ours = index.own.iter().any(|own| {
        own.actor.id == actor.id || (own.app_slug.is_some() && own.app_slug == trigger.via_app)
    });
    let foreign_app = trigger
        .via_app
        .as_ref()
        .is_some_and(|app| !project.trusted_apps.contains(app));
    if ours || foreign_app || actor.kind != AccountKind::User {
        return Verdict::Refuse(RefusalReason::Bot);
    }
    if !may_match(project, actor.id) {
        return Verdict::Refuse(RefusalReason::NoRights);
    }
    match permission(index, trigger.identity.repository, actor.id) {
        None => Verdict::Wait(WaitReason::PermissionUnknown),
        Some(held) if held >= Permission::Write && is_member(project, actor.id, held) => {
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

/// Whether some entry could let this account start runs, whatever its permission.
fn may_match(project: &ProjectSpec, user: UserId) -> bool {
    is_member(project, user, Permission::Admin)
}

/// Whether the member list lets an account with this permission start runs.
fn is_member(project: &ProjectSpec, user: UserId, held: Permission) -> bool {
    project.members.iter().any(|member| {
        member.role().may_trigger()
            && match member {
                Member::User { id, .. } => *id == user,
                Member::AnyoneWith { permission, .. } => held >= *permission,
            }
    })
}

/// Whether title or body changed after the trigger by someone who may not start it: of what
/// carries the label, and of its work item, whose text the prompt takes, too.
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
    match &issue.edits {
        EditHistory::Unread => trigger
            .content_hash
            .as_ref()
            .is_some_and(|hash| *hash != text_hash(issue)),
        EditHistory::Read { edits } => edits.iter().any(|edit| {
            edit.at > trigger.occurred_at
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
    listed || (held >= Permission::Write && is_member(project, editor, held))
}
