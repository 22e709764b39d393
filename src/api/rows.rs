//! The store behind the API: its port on the API's own login.

use anyhow::anyhow;
use async_trait::async_trait;

use crate::{
    domain::{
        Timestamp,
        approval::{Approval, ApprovalId, Verdict},
        event::FlowEvent,
        fact::{Fact, PushFact, PushOutcome, WaitFact},
        ids::{AttemptNo, IssueNumber, LabelName, ProjectKey, RepositoryId, RunId, Subject},
        run::{LogsAbsent, Run},
        run_api::LogChunk,
    },
    store::{self, ApiStore, StoreError},
};

use super::mcp::ToolCallRecord;
use super::models::{ModelCallRecord, TokensUsed};
use super::port::{
    Inserted, PortError, RunAccess, RunFilter, RunStore, SessionBlob, StaffStore, StoredChunk,
};

impl From<StoreError> for PortError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::Over,
            error if error.is_transient() => Self::Unavailable(error.into()),
            error => Self::Failed(error.into()),
        }
    }
}

#[async_trait]
impl RunStore for ApiStore {
    async fn run_access(&self, run: RunId) -> Result<Option<RunAccess>, PortError> {
        let Some(row) = Self::run_access(self, run).await? else {
            return Ok(None);
        };
        let (Some(attempt), Some(key_version)) = (row.attempt, row.key_version) else {
            return Ok(None);
        };
        Ok(Some(RunAccess {
            run: row.run,
            project: row.project,
            repository: row.repository,
            state: row.state,
            attempt,
            key_version,
            branch: row.branch,
            accepted_head: row.accepted_head,
            frozen: row.frozen,
            stopping_at: row.stopping_at,
            now: row.now,
        }))
    }

    async fn get_run(&self, run: RunId) -> Result<Option<Run>, PortError> {
        Ok(Self::get_run(self, run).await?)
    }

    async fn has_result(&self, run: RunId, attempt: AttemptNo) -> Result<bool, PortError> {
        Ok(Self::has_result(self, run, attempt).await?)
    }

    async fn insert_fact(
        &self,
        run: RunId,
        attempt: AttemptNo,
        fact: &Fact,
    ) -> Result<Inserted, PortError> {
        let inserted = Self::insert_fact(self, run, attempt, fact).await?;
        Ok(if inserted.new {
            Inserted::New
        } else {
            Inserted::Repeated
        })
    }

    async fn insert_push(
        &self,
        run: RunId,
        attempt: AttemptNo,
        push: &PushFact,
        pack: Vec<u8>,
    ) -> Result<i64, PortError> {
        let known = self.push_of(run, attempt, &push.new).await?;
        if let Some(fact) = known
            && !matches!(
                Self::push_outcome(self, fact).await?,
                Some(PushOutcome::Refused { .. })
            )
        {
            return Ok(fact);
        }
        Ok(Self::insert_push(self, run, attempt, push, &pack).await?)
    }

    async fn push_outcome(&self, fact: i64) -> Result<Option<PushOutcome>, PortError> {
        Ok(Self::push_outcome(self, fact).await?)
    }

    async fn append_log_chunks(
        &self,
        run: RunId,
        attempt: AttemptNo,
        chunks: &[LogChunk],
    ) -> Result<(), PortError> {
        for chunk in chunks {
            let bytes = chunk.text.as_bytes();
            self.append_log_chunk(run, attempt, chunk.sequence, bytes)
                .await?;
        }
        Ok(())
    }

    async fn save_session(
        &self,
        run: RunId,
        attempt: AttemptNo,
        session: SessionBlob,
    ) -> Result<(), PortError> {
        Ok(Self::save_session(self, run, attempt, &tagged(session)).await?)
    }

    async fn tokens_used(&self, run: RunId, project: &ProjectKey) -> Result<TokensUsed, PortError> {
        let used = Self::tokens_used(self, run, project).await?;
        let tokens = |used: i64| u64::try_from(used).unwrap_or_default();
        Ok(TokensUsed {
            run: tokens(used.run),
            project_today: tokens(used.project_today),
        })
    }

    async fn insert_model_call(
        &self,
        run: RunId,
        attempt: AttemptNo,
        project: &ProjectKey,
        call: &ModelCallRecord,
    ) -> Result<(), PortError> {
        let row = store::NewModelCall {
            run,
            attempt,
            project: project.clone(),
            provider: call.provider.clone(),
            model: call.model.clone(),
            status: call.status.map(i32::from),
            input_tokens: call.usage.input.map(signed),
            cached_tokens: call.usage.cached.map(signed),
            output_tokens: call.usage.output.map(signed),
            cost: call.cost.map(|cost| signed(cost.0)),
            started_at: call.started_at,
        };
        Ok(Self::insert_model_call(self, &row).await?)
    }

    async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, PortError> {
        Ok(self.approval_of_id(id).await?)
    }

    async fn approvals_of(&self, run: RunId) -> Result<Vec<Approval>, PortError> {
        Ok(Self::approvals_of(self, run).await?)
    }

    async fn labels_of(&self, subject: Subject) -> Result<Option<Vec<LabelName>>, PortError> {
        Ok(Self::labels_of(self, subject).await?)
    }

    async fn wait_of(
        &self,
        run: RunId,
        attempt: AttemptNo,
    ) -> Result<Option<(WaitFact, Timestamp)>, PortError> {
        Ok(Self::wait_of(self, run, attempt).await?)
    }

    async fn insert_tool_call(
        &self,
        run: RunId,
        attempt: AttemptNo,
        call: &ToolCallRecord,
    ) -> Result<(), PortError> {
        let row = store::NewToolCall {
            run,
            attempt,
            tool: call.tool.clone(),
            arguments: call.arguments.clone(),
            outcome: call.outcome,
            detail: call.detail.clone(),
        };
        Ok(Self::insert_tool_call(self, &row).await?)
    }

    async fn latest_session(&self, run: RunId) -> Result<Option<SessionBlob>, PortError> {
        match Self::latest_session(self, run).await? {
            None => Ok(None),
            Some(bytes) => untagged(&bytes)
                .map(Some)
                .ok_or_else(|| PortError::Failed(anyhow!("the session of {run} has no tag"))),
        }
    }
}

/// A number of tokens as the database counts.
fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

/// A stored session is its format, a line's end, and the blob.
fn tagged(session: SessionBlob) -> Vec<u8> {
    let mut bytes = session.format.into_bytes();
    bytes.push(b'\n');
    bytes.extend(session.bytes);
    bytes
}

fn untagged(bytes: &[u8]) -> Option<SessionBlob> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some(SessionBlob {
        format: std::str::from_utf8(&bytes[..end]).ok()?.to_owned(),
        bytes: bytes[end + 1..].to_vec(),
    })
}

#[async_trait]
impl StaffStore for ApiStore {
    async fn list_runs(&self, filter: &RunFilter) -> Result<Vec<Run>, PortError> {
        let subject = filter.repository.zip(filter.issue);
        let narrowed = store::RunFilter {
            project: filter.project.clone().map(ProjectKey::new),
            state: filter.state,
            repository: filter.repository.map(RepositoryId),
            subject: subject.map(|(repository, number)| Subject {
                repository: RepositoryId(repository),
                number: IssueNumber(number),
            }),
        };
        Ok(Self::list_runs(self, &narrowed, i64::from(filter.limit)).await?)
    }

    async fn get_run(&self, run: RunId) -> Result<Option<Run>, PortError> {
        Ok(Self::get_run(self, run).await?)
    }

    async fn events(
        &self,
        run: RunId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<FlowEvent>, PortError> {
        let events = self.events_of(run).await?;
        let after = events.into_iter().filter(|event| event.id > after);
        Ok(after.take(limit as usize).collect())
    }

    async fn logs(
        &self,
        run: RunId,
        after: Option<(AttemptNo, i64)>,
        limit: u32,
    ) -> Result<Vec<StoredChunk>, PortError> {
        let chunks = self.read_logs(run, after, i64::from(limit)).await?;
        let chunk = |chunk: store::LogChunk| StoredChunk {
            attempt: chunk.attempt,
            sequence: chunk.seq,
            text: String::from_utf8_lossy(&chunk.bytes).into_owned(),
        };
        Ok(chunks.into_iter().map(chunk).collect())
    }

    async fn logs_absent(&self, run: RunId) -> Result<Option<LogsAbsent>, PortError> {
        Ok(Self::logs_absent(self, run).await?)
    }

    async fn list_approvals(
        &self,
        project: Option<&str>,
        open: bool,
        limit: u32,
    ) -> Result<Vec<Approval>, PortError> {
        let project = project.map(ProjectKey::new);
        Ok(Self::list_approvals(self, project.as_ref(), open, i64::from(limit)).await?)
    }

    async fn approval_of_code(&self, code: &str) -> Result<Option<Approval>, PortError> {
        Ok(Self::approval_of_code(self, code).await?)
    }

    async fn member_role(&self, project: &str, login: &str) -> Result<Option<String>, PortError> {
        Ok(Self::member_role(self, &ProjectKey::new(project), login).await?)
    }

    async fn decide(
        &self,
        code: &str,
        verdict: Verdict,
        login: &str,
        reason: Option<&str>,
    ) -> Result<bool, PortError> {
        let decision = store::NewDecision {
            code: code.to_owned(),
            verdict,
            login: login.to_owned(),
            reason: reason.map(str::to_owned),
        };
        match self.insert_decision(&decision).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_its_format_whatever_it_holds() {
        let session = SessionBlob {
            format: "files/1".to_owned(),
            bytes: b"a\nb\0".to_vec(),
        };
        assert_eq!(untagged(&tagged(session.clone())), Some(session));
        assert_eq!(untagged(b"no tag"), None);
    }
}
