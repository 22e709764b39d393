//! People: projects with their members as in the accepted config, permissions
//! read at the forge, and the identities behind our own credentials.

use sqlx::types::Json;

use super::{HolderTx, StoreError, enums::PgPermission};
use crate::domain::{
    ids::{ProjectKey, UserId},
    mirror::{IdentityRecord, PermissionRecord},
};

/// A member entry of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The account.
    pub id: UserId,
    /// The login, for people to read.
    pub login: String,
    /// The role.
    pub role: String,
}

/// A project and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectMembers {
    /// The project.
    pub project: ProjectKey,
    /// Its members.
    pub members: Vec<Member>,
}

impl HolderTx {
    /// Makes `projects` the list of all projects and members; rows that stay are not written.
    pub async fn put_projects(&mut self, projects: &[ProjectMembers]) -> Result<(), StoreError> {
        let keys: Vec<_> = projects
            .iter()
            .map(|p| p.project.as_str().to_owned())
            .collect();
        sqlx::query!("delete from projects where project <> all ($1)", &keys)
            .execute(self.db())
            .await?;
        sqlx::query!(
            "insert into projects (project) select unnest($1::text[]) on conflict do nothing",
            &keys,
        )
        .execute(self.db())
        .await?;
        let members: Vec<_> = projects
            .iter()
            .flat_map(|p| p.members.iter().map(move |m| (p.project.as_str(), m)))
            .collect();
        let of: Vec<_> = members.iter().map(|(p, _)| (*p).to_owned()).collect();
        let ids: Vec<_> = members.iter().map(|(_, m)| m.id.0).collect();
        let logins: Vec<_> = members.iter().map(|(_, m)| m.login.clone()).collect();
        let roles: Vec<_> = members.iter().map(|(_, m)| m.role.clone()).collect();
        sqlx::query!(
            "delete from members m where not exists (
                 select 1 from unnest($1::text[], $2::bigint[], $3::text[])
                     as n (project, user_id, role)
                 where n.project = m.project and n.user_id = m.user_id and n.role = m.role)",
            &of,
            &ids,
            &roles,
        )
        .execute(self.db())
        .await?;
        sqlx::query!(
            "insert into members as m (project, user_id, login, role)
             select distinct on (n.project, n.user_id, n.role)
                 n.project, n.user_id, n.login, n.role
             from unnest($1::text[], $2::bigint[], $3::text[], $4::text[])
                 as n (project, user_id, login, role)
             on conflict (project, user_id, role) do update
                 set login = excluded.login, updated_at = platform_now()
             where m.login is distinct from excluded.login",
            &of,
            &ids,
            &logins,
            &roles,
        )
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Keeps a permission as read. Read again it is written even when it stays, for its age.
    pub async fn put_permission(&mut self, record: &PermissionRecord) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into forge_permissions as p (repository_id, user_id, permission, read_at)
             values ($1, $2, $3, $4)
             on conflict (repository_id, user_id) do update set
                 permission = excluded.permission, read_at = excluded.read_at,
                 updated_at = platform_now()
             where p.read_at <= excluded.read_at",
            record.repository.0,
            record.user.0,
            PgPermission::from(record.permission) as _,
            record.read_at,
        )
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Keeps who is behind a credential; says whether that was news.
    pub async fn put_identity(&mut self, record: &IdentityRecord) -> Result<bool, StoreError> {
        let written = sqlx::query!(
            "insert into forge_identities as i (credential, record) values ($1, $2)
             on conflict (credential) do update set
                 record = excluded.record, updated_at = platform_now()
             where i.record is distinct from excluded.record",
            record.credential,
            Json(&record.identity) as _,
        )
        .execute(self.db())
        .await?;
        Ok(written.rows_affected() == 1)
    }
}
