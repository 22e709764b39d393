//! Report lines: only what changed is written, what vanished is deleted.

use super::{HolderTx, StoreError};
use crate::domain::{ids::ProjectKey, report::ReportLine};

impl HolderTx {
    /// Makes `lines` the report of a project (`None`: of what belongs to none); returns how many
    /// rows were written or deleted. A line whose state and reason stay is not written.
    pub async fn put_report(
        &mut self,
        project: Option<&ProjectKey>,
        lines: &[ReportLine],
    ) -> Result<u64, StoreError> {
        let project = project.map(ProjectKey::as_str);
        let candidates: Vec<_> = lines.iter().map(|l| l.candidate.clone()).collect();
        let repositories: Vec<_> = lines
            .iter()
            .map(|l| l.subject.map(|s| s.repository.0))
            .collect();
        let numbers: Vec<_> = lines
            .iter()
            .map(|l| l.subject.map(|s| s.number.0))
            .collect();
        let runs: Vec<_> = lines.iter().map(|l| l.run.map(|run| run.0)).collect();
        let states: Vec<_> = lines.iter().map(|l| l.state.to_string()).collect();
        let reasons: Vec<_> = lines.iter().map(|l| l.reason.clone()).collect();
        let written = sqlx::query!(
            "insert into report_lines as r
                 (candidate, project, repository_id, number, run_id, state, reason)
             select l.candidate, $1, l.repository_id, l.number, l.run_id, l.state::report_state,
                 l.reason
             from unnest($2::text[], $3::bigint[], $4::bigint[], $5::uuid[], $6::text[],
                         $7::text[])
                 as l (candidate, repository_id, number, run_id, state, reason)
             on conflict (candidate) do update set
                 project = excluded.project, repository_id = excluded.repository_id,
                 number = excluded.number, run_id = excluded.run_id, state = excluded.state,
                 reason = excluded.reason, updated_at = platform_now()
             where (r.state, r.reason, r.project, r.run_id) is distinct from
                 (excluded.state, excluded.reason, excluded.project, excluded.run_id)",
            project,
            &candidates,
            &repositories as &[Option<i64>],
            &numbers as &[Option<i64>],
            &runs as &[Option<uuid::Uuid>],
            &states,
            &reasons,
        )
        .execute(self.db())
        .await?;
        let deleted = sqlx::query!(
            "delete from report_lines
             where project is not distinct from $1 and candidate <> all ($2)",
            project,
            &candidates,
        )
        .execute(self.db())
        .await?;
        Ok(written.rows_affected() + deleted.rows_affected())
    }
}
