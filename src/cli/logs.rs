//! `codex-k8s logs RUN`: what a run's agent and its runner wrote, in order, all attempts or one.
//!
//! It reads rows only, so it needs no cluster, and goes back further than pods do. With `--follow`
//! it goes on as the run does and ends with it. Why there is nothing to print is said on standard
//! error.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use secrecy::SecretString;

use super::{
    printer::Printer,
    runs::{RunRef, rows},
};
use crate::{
    domain::{
        ids::{AttemptNo, RunId},
        run::LogsAbsent,
    },
    store::{ApiStore, LogChunk},
};

/// How often it is looked for more.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Chunks of one read: some megabytes at most.
const PAGE: i64 = 100;

/// Arguments of `logs`.
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// The run: its id, or the first eight or more characters of it
    run: RunRef,
    /// Go on with what is written from now on, until the run is over
    #[arg(short, long)]
    follow: bool,
    /// Print this attempt's only
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..i64::from(i32::MAX)))]
    attempt: Option<i32>,
    /// Print no more than so many lines, the last; all without it
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
    /// The database's address
    #[arg(long, env = "CODEXK8S_DATABASE_URL", hide_env_values = true)]
    database_url: Option<SecretString>,
}

/// Prints.
pub async fn run(args: &LogsArgs) -> anyhow::Result<ExitCode> {
    let rows = rows(args.database_url.as_ref()).await?;
    let run = args.run.found(&rows).await?.id;
    let mut log = Log::of(rows, run, args.attempt.map(AttemptNo)).await?;
    let printer = Printer::new();
    if let Some(lines) = args.tail {
        let text = log.tail(lines).await?;
        if printer.text(&text)?.is_break() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let mut told = false;
    loop {
        // In this order: what was written before the end is there after it.
        let over = log.is_over().await?;
        let chunks = log.next().await?;
        for chunk in &chunks {
            if printer.text(&text_of(chunk))?.is_break() {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if !chunks.is_empty() {
            continue;
        }
        if log.place.is_none() && !told {
            writeln!(io::stderr(), "{}", log.why_empty().await?).context("write why")?;
            told = true;
        }
        if over || !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A run's log, and how far it was read.
struct Log {
    rows: ApiStore,
    run: RunId,
    attempt: Option<AttemptNo>,
    /// The last chunk that was read.
    place: Option<(AttemptNo, i64)>,
}

impl Log {
    /// *Errors*: an attempt is asked for that did not begin.
    async fn of(rows: ApiStore, run: RunId, attempt: Option<AttemptNo>) -> anyhow::Result<Self> {
        let log = Self {
            rows,
            run,
            attempt,
            place: None,
        };
        let newest = log.access().await?.1;
        match (attempt, newest) {
            (Some(wanted), None) => bail!("run {run} has no attempt {wanted}: none began"),
            (Some(wanted), Some(newest)) if wanted > newest => {
                bail!("run {run} has no attempt {wanted}: its last is {newest}")
            }
            _ => Ok(log),
        }
    }

    /// Whether the run has ended, and its newest attempt.
    async fn access(&self) -> anyhow::Result<(bool, Option<AttemptNo>)> {
        let access = self.rows.run_access(self.run).await?;
        let access = access.with_context(|| format!("run {} is gone", self.run))?;
        Ok((access.state.is_terminal(), access.attempt))
    }

    /// Whether nothing more can come: the run has ended, or the attempt was followed by another.
    async fn is_over(&self) -> anyhow::Result<bool> {
        let (ended, newest) = self.access().await?;
        Ok(ended || (self.attempt.is_some() && newest > self.attempt))
    }

    /// The next chunks, none where there are no more yet.
    async fn next(&mut self) -> anyhow::Result<Vec<LogChunk>> {
        let begin = self.attempt.map(|attempt| (attempt, -1));
        let after = self.place.or(begin);
        let mut chunks = self.rows.read_logs(self.run, after, PAGE).await?;
        chunks.retain(|chunk| self.is_wanted(chunk));
        self.place = chunks.last().map(LogChunk::place).or(self.place);
        Ok(chunks)
    }

    /// The last lines of what is there; what follows them is next.
    async fn tail(&mut self, lines: usize) -> anyhow::Result<String> {
        let mut before = self.attempt.map(|attempt| (AttemptNo(attempt.0 + 1), 0));
        let mut texts = Vec::new();
        let mut ends = 0;
        loop {
            let mut chunks = self.rows.read_logs_back(self.run, before, PAGE).await?;
            chunks.retain(|chunk| self.is_wanted(chunk));
            self.place = self.place.or(chunks.first().map(LogChunk::place));
            let Some(last) = chunks.last().map(LogChunk::place) else {
                break;
            };
            before = Some(last);
            texts.extend(chunks.iter().map(text_of));
            ends += chunks
                .iter()
                .flat_map(|chunk| &chunk.bytes)
                .filter(|byte| **byte == b'\n')
                .count();
            if ends > lines {
                break;
            }
        }
        texts.reverse();
        Ok(last_lines(&texts.concat(), lines).to_owned())
    }

    fn is_wanted(&self, chunk: &LogChunk) -> bool {
        self.attempt.is_none_or(|attempt| chunk.attempt == attempt)
    }

    async fn why_empty(&self) -> anyhow::Result<String> {
        let run = self.run;
        Ok(match self.rows.logs_absent(run).await? {
            Some(LogsAbsent::NotStarted) => {
                format!("run {run} has no logs: it has not started an attempt")
            }
            Some(LogsAbsent::Expired) => format!(
                "run {run} has no logs any more: they are expired, kept only for as long after \
                 its end as the config says (retention.logs)"
            ),
            None => format!("run {run} has written nothing"),
        })
    }
}

fn text_of(chunk: &LogChunk) -> String {
    String::from_utf8_lossy(&chunk.bytes).into_owned()
}

fn last_lines(text: &str, lines: usize) -> &str {
    let Some(others) = lines.checked_sub(1) else {
        return "";
    };
    let body = text.strip_suffix('\n').unwrap_or(text);
    let from = body.rmatch_indices('\n').nth(others);
    from.map_or(text, |(end, _)| &text[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_whole_whether_or_not_the_last_has_ended() {
        for (text, lines, wanted) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 2, "a\nb\n"),
            ("a\n", 9, "a\n"),
            ("a\n\n\n", 2, "\n\n"),
            ("a\n", 0, ""),
            ("", 3, ""),
        ] {
            assert_eq!(last_lines(text, lines), wanted, "{text:?}");
        }
    }
}
