//! The command's output on its way: redacted line by line, cut into numbered
//! chunks, handed in while the command works, kept while the run API is away.
//!
//! The buffer is bounded: a run API that is away for long costs the oldest
//! lines, never the command's progress.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    sync::Notify,
};

use crate::domain::{ids::AttemptNo, redact::Redactor, run_api::LogChunk};

use super::{
    client::{CallError, Client},
    places::Places,
};

/// A chunk is closed at this length.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks of one call.
const BATCH: usize = 16;
/// What is kept while the run API is away.
const BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// What is kept for the summary.
const TAIL_BYTES: usize = 64 * 1024;
/// A line is cut here, so that one without an end does not fill the memory. Programs that speak
/// in JSON say whole messages in one line.
const LINE_BYTES: u64 = 1024 * 1024;
/// How long output may wait for company.
const SHIP_EVERY: Duration = Duration::from_millis(400);
/// Sequence numbers drawn from the work folder at a time.
const SEQUENCE_BLOCK: i64 = 1000;

/// The output of one attempt.
#[derive(Clone)]
pub(crate) struct Output {
    inner: Arc<Inner>,
}

struct Inner {
    buffer: Mutex<Buffer>,
    written: Notify,
    handed_in: Notify,
    redactor: Redactor,
    places: Places,
    attempt: AttemptNo,
}

#[derive(Default)]
struct Buffer {
    open: String,
    closed: VecDeque<LogChunk>,
    closed_bytes: usize,
    dropped: usize,
    tail: String,
    next: i64,
    reserved: i64,
}

impl Output {
    /// Begins to hand in what is written; the task ends with the process.
    pub(crate) fn start(
        client: Client,
        redactor: Redactor,
        places: Places,
        attempt: AttemptNo,
    ) -> Self {
        let inner = Inner {
            buffer: Mutex::default(),
            written: Notify::new(),
            handed_in: Notify::new(),
            redactor,
            places,
            attempt,
        };
        let output = Self {
            inner: Arc::new(inner),
        };
        tokio::spawn(output.clone().ship(client));
        output
    }

    /// Reads a stream to its end, line by line; `hear` is told each, redacted.
    pub(crate) async fn follow(&self, stream: impl AsyncRead + Unpin, hear: impl Fn(&str)) {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut cut = (&mut reader).take(LINE_BYTES);
            match cut.read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    let line = self.inner.redactor.redact(&String::from_utf8_lossy(&line));
                    hear(&line);
                    self.line(&line).await;
                }
            }
        }
    }

    /// Writes one line of the runner itself.
    pub(crate) async fn say(&self, text: &str) {
        let line = self.inner.redactor.redact(&format!("[runner] {text}\n"));
        self.line(&line).await;
    }

    /// The end of the output, for the summary.
    pub(crate) fn tail(&self) -> String {
        self.lock().tail.clone()
    }

    /// Waits until everything is handed in.
    pub(crate) async fn flushed(&self) {
        loop {
            let handed_in = self.inner.handed_in.notified();
            let empty = {
                let buffer = self.lock();
                buffer.open.is_empty() && buffer.closed.is_empty()
            };
            if empty {
                return;
            }
            self.inner.written.notify_one();
            handed_in.await;
        }
    }

    async fn line(&self, line: &str) {
        {
            let mut buffer = self.lock();
            buffer.tail.push_str(line);
            cut_front(&mut buffer.tail, TAIL_BYTES);
            let mut rest = line;
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.floor_char_boundary(CHUNK_BYTES));
                rest = after;
                buffer.open.push_str(piece);
                if buffer.open.len() >= CHUNK_BYTES {
                    self.close(&mut buffer);
                    self.inner.written.notify_one();
                }
            }
        }
        // The pod's own log shows the same, as far as anyone reads it.
        let mut stdout = tokio::io::stdout();
        drop(stdout.write_all(line.as_bytes()).await);
        drop(stdout.flush().await);
    }

    fn close(&self, buffer: &mut Buffer) {
        if buffer.open.is_empty() {
            return;
        }
        if buffer.next >= buffer.reserved {
            let drawn = self
                .inner
                .places
                .log_sequences(self.inner.attempt, SEQUENCE_BLOCK);
            match drawn {
                Ok(first) => buffer.next = first,
                Err(error) => tracing::warn!(error = %error, "log numbers are not kept"),
            }
            buffer.reserved = buffer.next + SEQUENCE_BLOCK;
        }
        let mut text = std::mem::take(&mut buffer.open);
        if buffer.dropped > 0 {
            text = format!("[runner] {} bytes were dropped\n{text}", buffer.dropped);
            buffer.dropped = 0;
        }
        buffer.closed_bytes += text.len();
        buffer.closed.push_back(LogChunk {
            sequence: buffer.next,
            text,
        });
        buffer.next += 1;
        while buffer.closed_bytes > BUFFER_BYTES {
            let Some(oldest) = buffer.closed.pop_front() else {
                break;
            };
            buffer.closed_bytes -= oldest.text.len();
            buffer.dropped += oldest.text.len();
        }
    }

    async fn ship(self, client: Client) {
        loop {
            let written = self.inner.written.notified();
            drop(tokio::time::timeout(SHIP_EVERY, written).await);
            let batch: Vec<_> = {
                let mut buffer = self.lock();
                self.close(&mut buffer);
                buffer.closed.iter().take(BATCH).cloned().collect()
            };
            let Some(last) = batch.last().map(|chunk| chunk.sequence) else {
                self.inner.handed_in.notify_waiters();
                continue;
            };
            match client.logs(batch).await {
                Ok(()) => self.forget(last),
                Err(error @ CallError::Refused { .. }) => {
                    tracing::warn!(error = %error, "logs are not taken");
                    self.forget(last);
                }
                Err(CallError::Away(_)) => tokio::time::sleep(SHIP_EVERY).await,
            }
        }
    }

    fn forget(&self, up_to: i64) {
        let mut buffer = self.lock();
        while buffer.closed.front().is_some_and(|c| c.sequence <= up_to) {
            if let Some(chunk) = buffer.closed.pop_front() {
                buffer.closed_bytes -= chunk.text.len();
            }
        }
        drop(buffer);
        self.inner.handed_in.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        let buffer = self.inner.buffer.lock();
        buffer.unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut_front(text: &mut String, longest: usize) {
    if text.len() > longest {
        let mut from = text.len() - longest;
        while !text.is_char_boundary(from) {
            from += 1;
        }
        text.drain(..from);
    }
}
