//! What a pod printed: kept in memory while the pod exists, readable while it
//! still prints.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

/// The most that is kept of one pod; what comes later is dropped, as a node
/// drops what it has rotated away.
const LONGEST: usize = 8 * 1024 * 1024;

/// One pod's log.
#[derive(Debug)]
pub struct PodLog {
    bytes: Mutex<Vec<u8>>,
    /// Length so far, and whether more may come.
    progress: watch::Sender<(usize, bool)>,
}

impl Default for PodLog {
    fn default() -> Self {
        Self {
            bytes: Mutex::default(),
            progress: watch::Sender::new((0, true)),
        }
    }
}

impl PodLog {
    /// Adds what was printed.
    pub fn append(&self, more: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LONGEST.saturating_sub(bytes.len()).min(more.len());
        bytes.extend_from_slice(&more[..room]);
        let length = bytes.len();
        drop(bytes);
        self.progress.send_modify(|progress| progress.0 = length);
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.progress.send_modify(|progress| progress.1 = false);
    }

    /// Everything so far, from a position on.
    pub(super) fn read_from(&self, position: usize) -> Bytes {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        Bytes::copy_from_slice(bytes.get(position..).unwrap_or_default())
    }

    /// A receiver of length and openness.
    pub(super) fn progress(&self) -> watch::Receiver<(usize, bool)> {
        self.progress.subscribe()
    }
}

/// The last `lines` lines of a text.
pub(super) fn tail(text: &[u8], lines: usize) -> &[u8] {
    if lines == 0 {
        return &[];
    }
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let breaks = body
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n');
    match breaks.map(|(position, _)| position).nth(lines - 1) {
        Some(position) => &text[position + 1..],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_whole_lines_from_the_end() {
        assert_eq!(tail(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(tail(b"a\nb\nc", 1), b"c");
        assert_eq!(tail(b"a\n", 5), b"a\n");
        assert_eq!(tail(b"a\n", 0), b"");
    }
}
