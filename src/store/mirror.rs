//! Mirror rows as a poll reads them, outside any pass.

use super::{
    Store, StoreError,
    pass_forge::{self, HotSubjects},
};
use crate::domain::{
    forge::Issue,
    ids::{IssueNumber, RepositoryId},
    mirror::RepositoryMirror,
};

impl Store {
    /// The bookkeeping rows of all bound repositories, by id.
    pub async fn repositories(&self) -> Result<Vec<RepositoryMirror>, StoreError> {
        let mut db = self.pool.acquire().await?;
        pass_forge::repositories(&mut db, None).await
    }

    /// The mirrored issues of a repository with these numbers.
    pub async fn mirrored_issues(
        &self,
        repository: RepositoryId,
        numbers: &[IssueNumber],
    ) -> Result<Vec<Issue>, StoreError> {
        let mut db = self.pool.acquire().await?;
        HotSubjects::of(repository, numbers).issues(&mut db).await
    }
}
