//! The mirror's part of loading for a pass: repositories wholly, and of the
//! rest what belongs to hot subjects.

use sqlx::{PgConnection, types::Json};

use super::{
    StoreError,
    enums::{PgForge, PgPermission},
};
use crate::domain::{
    forge::{
        Comment, Issue, IssueEvent, LabelRecord, OwnIdentity, PullRequest, RepositoryRecord,
        Review, VariableRecord,
    },
    ids::{
        BranchName, CommitSha, EventId, IssueNumber, LabelName, ProjectKey, RepositoryId, ReviewId,
        UserId,
    },
    mirror::{
        BranchHead, IdentityRecord, MirrorCursors, OwnerVariable, PermissionRecord,
        RepositoryMirror,
    },
    snapshot::{RepositoryLabel, RepositoryVariable},
};

/// Bound repositories of the projects, by id.
pub(super) async fn repositories(
    db: &mut PgConnection,
    projects: Option<&[String]>,
) -> Result<Vec<RepositoryMirror>, StoreError> {
    let rows = sqlx::query!(
        r#"select forge as "forge: PgForge", project, configured_name,
               record as "record: Json<RepositoryRecord>", bound_at, binding_event,
               binding_review, adopt_existing, cursors as "cursors: Json<MirrorCursors>",
               unknown, complete, owner_variable as "owner_variable: Json<OwnerVariable>"
           from repositories where $1::text[] is null or project = any($1)
           order by repository_id"#,
        projects,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(RepositoryMirror {
                forge: row.forge.into(),
                project: ProjectKey::new(row.project),
                configured_name: row
                    .configured_name
                    .parse()
                    .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                record: row.record.0,
                bound_at: row.bound_at,
                binding_event: EventId(row.binding_event),
                binding_review: ReviewId(row.binding_review),
                adopt_existing: row.adopt_existing,
                cursors: row.cursors.0,
                unknown: row.unknown,
                complete: row.complete,
                owner_variable: row.owner_variable.0,
            })
        })
        .collect()
}

/// Our own identities, by credential.
pub(super) async fn identities(db: &mut PgConnection) -> Result<Vec<IdentityRecord>, StoreError> {
    let rows = sqlx::query!(
        r#"select credential, record as "record: Json<OwnIdentity>"
           from forge_identities order by credential"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| IdentityRecord {
            credential: row.credential,
            identity: row.record.0,
        })
        .collect())
}

/// Permissions read in these repositories, by repository and account.
pub(super) async fn permissions(
    db: &mut PgConnection,
    repositories: &[RepositoryMirror],
) -> Result<Vec<PermissionRecord>, StoreError> {
    let rows = sqlx::query!(
        r#"select repository_id, user_id, permission as "permission: PgPermission", read_at
           from forge_permissions where repository_id = any($1)
           order by repository_id, user_id"#,
        &ids(repositories),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| PermissionRecord {
            repository: RepositoryId(row.repository_id),
            user: UserId(row.user_id),
            permission: row.permission.into(),
            read_at: row.read_at,
        })
        .collect())
}

/// Labels defined in these repositories, by repository and name.
pub(super) async fn labels(
    db: &mut PgConnection,
    repositories: &[RepositoryMirror],
) -> Result<Vec<RepositoryLabel>, StoreError> {
    let rows = sqlx::query!(
        r#"select repository_id, name, colour, description,
               overlay_until is null as "is_confirmed!" from forge_labels
           where repository_id = any($1) order by repository_id, name collate "C""#,
        &ids(repositories),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| RepositoryLabel {
            repository: RepositoryId(row.repository_id),
            label: LabelRecord {
                name: LabelName::new(row.name),
                colour: row.colour,
                description: row.description,
            },
            is_confirmed: row.is_confirmed,
        })
        .collect())
}

/// Variables of ours in these repositories, by repository and name.
pub(super) async fn variables(
    db: &mut PgConnection,
    repositories: &[RepositoryMirror],
) -> Result<Vec<RepositoryVariable>, StoreError> {
    let rows = sqlx::query!(
        r#"select repository_id, name, value from forge_variables
           where repository_id = any($1) order by repository_id, name collate "C""#,
        &ids(repositories),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| RepositoryVariable {
            repository: RepositoryId(row.repository_id),
            variable: VariableRecord {
                name: row.name,
                value: row.value,
            },
        })
        .collect())
}

/// Branches read in these repositories, by repository and name.
pub(super) async fn branches(
    db: &mut PgConnection,
    repositories: &[RepositoryMirror],
) -> Result<Vec<BranchHead>, StoreError> {
    let rows = sqlx::query!(
        r#"select repository_id, branch, head, ours from forge_branches
           where repository_id = any($1) order by repository_id, branch collate "C""#,
        &ids(repositories),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| BranchHead {
            repository: RepositoryId(row.repository_id),
            branch: BranchName::new(row.branch),
            head: row.head.map(CommitSha::new),
            ours: row.ours,
        })
        .collect())
}

fn ids(repositories: &[RepositoryMirror]) -> Vec<i64> {
    repositories.iter().map(|r| r.id().0).collect()
}

/// The subjects that can matter, as two parallel columns.
pub(super) struct HotSubjects {
    repositories: Vec<i64>,
    numbers: Vec<i64>,
}

impl HotSubjects {
    /// Open subjects, and those with an unsettled trigger, a run that is not finalized or an
    /// environment that is not gone; with a run's subject also its work item and pull request,
    /// and with a pull request of ours also its work item. With an unsettled trigger also what
    /// came from its branch and what earlier runs on its issue made, in any state: a restored
    /// database may have forgotten its run, and whether that was merged may count.
    /// And those that an unsettled approval is about.
    pub(super) async fn load(
        db: &mut PgConnection,
        projects: Option<&[String]>,
    ) -> Result<Self, StoreError> {
        let rows = sqlx::query!(
            r#"with scope as (
                 select repository_id from repositories
                 where $1::text[] is null or project = any($1)
               ), live as (
                 select r.repository_id, r.number, r.work_item, r.pull_request from runs r
                 where ($1::text[] is null or r.project = any($1)) and (
                     r.finalized_at is null
                     or exists (select 1 from environments e
                                where e.run_id = r.run_id and e.state <> 'gone')
                     or exists (select 1 from forge_pulls p
                                where p.repository_id = r.repository_id
                                    and p.number = r.pull_request and p.state = 'open'))
               )
               select repository_id as "repository_id!", number as "number!" from (
                 select i.repository_id, i.number from forge_issues i join scope using (repository_id)
                 where i.state = 'open'
                 union select p.repository_id, p.number from forge_pulls p
                     join scope using (repository_id) where p.state = 'open'
                 union select t.repository_id, t.number from triggers t
                     where ($1::text[] is null or t.project = any($1)) and not t.settled
                 union select p.repository_id, p.number from triggers t join forge_pulls p
                     on p.repository_id = t.repository_id and p.head = 'codex/issue-' || t.number
                     where ($1::text[] is null or t.project = any($1)) and not t.settled
                 union select r.repository_id, r.pull_request from triggers t join runs r
                     on r.repository_id = t.repository_id and r.work_item = t.number
                     where ($1::text[] is null or t.project = any($1)) and not t.settled
                         and r.pull_request is not null
                 union select a.repository_id, a.number from approvals a
                     where ($1::text[] is null or a.project = any($1)) and not a.settled
                 union select repository_id, number from live
                 union select repository_id, work_item from live
                 union select repository_id, pull_request from live where pull_request is not null
               ) hot"#,
            projects,
        )
        .fetch_all(db)
        .await?;
        Ok(Self {
            repositories: rows.iter().map(|row| row.repository_id).collect(),
            numbers: rows.iter().map(|row| row.number).collect(),
        })
    }

    /// Named subjects of one repository.
    pub(super) fn these(repository: RepositoryId, numbers: &[IssueNumber]) -> Self {
        Self {
            repositories: vec![repository.0; numbers.len()],
            numbers: numbers.iter().map(|number| number.0).collect(),
        }
    }

    pub(super) fn repositories(&self) -> &[i64] {
        &self.repositories
    }

    pub(super) fn numbers(&self) -> &[i64] {
        &self.numbers
    }

    /// Their issues, by repository and number.
    pub(super) async fn issues(&self, db: &mut PgConnection) -> Result<Vec<Issue>, StoreError> {
        let rows = sqlx::query!(
            r#"select record as "record: Json<Issue>" from forge_issues
               where (repository_id, number) in (select * from unnest($1::bigint[], $2::bigint[]))
               order by repository_id, number"#,
            &self.repositories,
            &self.numbers,
        )
        .fetch_all(db)
        .await?;
        Ok(rows.into_iter().map(|row| row.record.0).collect())
    }

    /// Their events, by repository and id.
    pub(super) async fn events(
        &self,
        db: &mut PgConnection,
    ) -> Result<Vec<IssueEvent>, StoreError> {
        let rows = sqlx::query!(
            r#"select record as "record: Json<IssueEvent>" from forge_events
               where (repository_id, number) in (select * from unnest($1::bigint[], $2::bigint[]))
               order by repository_id, event_id"#,
            &self.repositories,
            &self.numbers,
        )
        .fetch_all(db)
        .await?;
        Ok(rows.into_iter().map(|row| row.record.0).collect())
    }

    /// Their pull requests, by repository and number.
    pub(super) async fn pulls(
        &self,
        db: &mut PgConnection,
    ) -> Result<Vec<PullRequest>, StoreError> {
        let rows = sqlx::query!(
            r#"select record as "record: Json<PullRequest>" from forge_pulls
               where (repository_id, number) in (select * from unnest($1::bigint[], $2::bigint[]))
               order by repository_id, number"#,
            &self.repositories,
            &self.numbers,
        )
        .fetch_all(db)
        .await?;
        Ok(rows.into_iter().map(|row| row.record.0).collect())
    }

    /// Their reviews, by repository and id.
    pub(super) async fn reviews(&self, db: &mut PgConnection) -> Result<Vec<Review>, StoreError> {
        let rows = sqlx::query!(
            r#"select record as "record: Json<Review>" from forge_reviews
               where (repository_id, number) in (select * from unnest($1::bigint[], $2::bigint[]))
               order by repository_id, review_id"#,
            &self.repositories,
            &self.numbers,
        )
        .fetch_all(db)
        .await?;
        Ok(rows.into_iter().map(|row| row.record.0).collect())
    }

    /// Their comments, by repository and id, those on diffs last.
    pub(super) async fn comments(&self, db: &mut PgConnection) -> Result<Vec<Comment>, StoreError> {
        let rows = sqlx::query!(
            r#"select record as "record: Json<Comment>" from forge_comments
               where (repository_id, number) in (select * from unnest($1::bigint[], $2::bigint[]))
               order by repository_id, on_diff, comment_id"#,
            &self.repositories,
            &self.numbers,
        )
        .fetch_all(db)
        .await?;
        Ok(rows.into_iter().map(|row| row.record.0).collect())
    }
}
