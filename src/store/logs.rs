//! Logs of runs, as they are read: in order, from a place on or from the end back.

use super::{ApiStore, StoreError};
use crate::domain::{
    ids::{AttemptNo, RunId},
    run::LogsAbsent,
};

/// A piece of an attempt's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// The attempt.
    pub attempt: AttemptNo,
    /// Its number inside the attempt's log.
    pub seq: i64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl LogChunk {
    /// Its place in the run's log.
    pub fn place(&self) -> (AttemptNo, i64) {
        (self.attempt, self.seq)
    }
}

impl ApiStore {
    /// A run's log after a place in it: an attempt and a number; `None` begins at the start.
    pub async fn read_logs(
        &self,
        run: RunId,
        after: Option<(AttemptNo, i64)>,
        limit: i64,
    ) -> Result<Vec<LogChunk>, StoreError> {
        let (attempt, seq) = after.map_or((0, -1), |(attempt, seq)| (attempt.0, seq));
        let rows = sqlx::query_as!(
            ChunkRow,
            "select attempt, seq, bytes from log_chunks
             where run_id = $1 and (attempt, seq) > ($2::integer, $3::bigint)
             order by attempt, seq limit $4",
            run.0,
            attempt,
            seq,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// A run's log before a place in it, the last chunk first; `None` begins at the end.
    pub async fn read_logs_back(
        &self,
        run: RunId,
        before: Option<(AttemptNo, i64)>,
        limit: i64,
    ) -> Result<Vec<LogChunk>, StoreError> {
        let (attempt, seq) = before.map_or((i32::MAX, 0), |(attempt, seq)| (attempt.0, seq));
        let rows = sqlx::query_as!(
            ChunkRow,
            "select attempt, seq, bytes from log_chunks
             where run_id = $1 and (attempt, seq) < ($2::integer, $3::bigint)
             order by attempt desc, seq desc limit $4",
            run.0,
            attempt,
            seq,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Why a run without chunks has none; `None` where it just said nothing, or not yet.
    pub async fn logs_absent(&self, run: RunId) -> Result<Option<LogsAbsent>, StoreError> {
        let row = sqlx::query!(
            r#"select r.logs_expired_at is not null as "expired!",
                   exists (select 1 from attempts a where a.run_id = r.run_id) as "started!"
               from runs r where r.run_id = $1"#,
            run.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.and_then(|row| match (row.started, row.expired) {
            (false, _) => Some(LogsAbsent::NotStarted),
            (true, true) => Some(LogsAbsent::Expired),
            (true, false) => None,
        }))
    }
}

struct ChunkRow {
    attempt: i32,
    seq: i64,
    bytes: Vec<u8>,
}

impl From<ChunkRow> for LogChunk {
    fn from(row: ChunkRow) -> Self {
        Self {
            attempt: AttemptNo(row.attempt),
            seq: row.seq,
            bytes: row.bytes,
        }
    }
}
