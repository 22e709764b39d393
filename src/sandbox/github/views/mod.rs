//! GitHub's JSON: how the world's things look in REST answers.

mod git;
mod issues;
mod people;
mod pulls;
mod repos;

use base64::Engine as _;
use chrono::{DateTime, SecondsFormat, Utc};

pub(super) use issues::comment_count;
pub(super) use people::app_json;
pub(super) use pulls::PullSize;
pub(super) use repos::variable_json;

/// GitHub's time format: seconds, `Z`.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// An optional time, null where absent.
pub(super) fn maybe_time(at: Option<DateTime<Utc>>) -> Option<String> {
    at.map(time)
}

/// An opaque node id of a kind of thing.
pub(super) fn node_id(kind: &str, id: u64) -> String {
    let plain = format!("{kind}:{id}");
    format!(
        "{kind}_{}",
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(plain)
    )
}

/// What a node id names, if it is one of ours.
pub(super) fn parse_node_id(text: &str) -> Option<(String, u64)> {
    let (kind, encoded) = text.split_once('_')?;
    let plain = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(encoded)
        .ok()?;
    let plain = String::from_utf8(plain).ok()?;
    let (inner, id) = plain.split_once(':')?;
    (inner == kind).then(|| id.parse().ok().map(|id| (kind.to_owned(), id)))?
}

/// A name as one path segment.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.extend(['%', hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
    }
    out
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16)
        .unwrap_or('0')
        .to_ascii_uppercase()
}
