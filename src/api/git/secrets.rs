//! Secrets in what a push brings: every commit, tree and blob that is new is read once and
//! searched for the values that the platform knows.
//!
//! Looked at are contents, file names, messages, names and addresses, in every new commit and
//! not the last alone. A value is known as it is, in hex, in Base64 (of both alphabets, in the
//! middle of other text, broken into lines) and as in an address.
//!
//! *Guarantees*: what is said of a find names commit and path and never the value; memory is
//! bounded whatever the push holds.
//!
//! *Caveats*: it is against accidents. What is compressed, encrypted, put together from parts or
//! encoded twice is not found, nor is a secret that the platform does not know: what merely
//! looks like one is an ordinary thing in tests' fixtures.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use base64::{
    Engine, alphabet,
    engine::{
        GeneralPurpose,
        general_purpose::{NO_PAD, STANDARD},
    },
};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::domain::{ids::CommitSha, redact::MARK};

use super::{
    super::{
        port::GitRemote,
        run::{Caller, RunApi, known_values},
    },
    cache::Quarantine,
    command::{GitError, TIME_LIMIT},
};

/// The shortest value looked for: a shorter one may stand in ordinary text by chance.
const LEAST: usize = 16;
/// What of a value's Base64 is enough to know it, and short enough that of two such pieces in
/// a row the end of a line cuts one at most.
const PIECE: usize = 24;
/// What is searched at a time.
const CHUNK: usize = 64 * 1024;
/// What a push may hold unpacked: a small pack may hold any amount of the same.
const MAX_UNPACKED_BYTES: u64 = 1024 * 1024 * 1024;
/// The longest line about one object, its path included.
const MAX_LINE_BYTES: u64 = 64 * 1024;
/// What of a path is said.
const SAID_PATH_CHARS: usize = 160;

/// The values that nothing pushed may hold, in all their forms.
pub(super) struct KnownSecrets {
    forms: Option<AhoCorasick>,
    longest: usize,
}

/// What the platform knows and this run's agent may have come by, the credential of its own
/// reads of the forge included.
pub(super) async fn known(api: &RunApi, caller: &Caller, remote: &GitRemote) -> KnownSecrets {
    let mut values = known_values(api, caller).await;
    values.extend(remote.authorization.as_ref().and_then(credential));
    KnownSecrets::new(&values)
}

/// The secret of an `Authorization` header.
fn credential(header: &SecretString) -> Option<String> {
    let (scheme, value) = header.expose_secret().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Some(value.trim().to_owned());
    }
    let decoded = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    let (_, password) = decoded.split_once(':')?;
    Some(password.to_owned())
}

impl KnownSecrets {
    fn new(values: &[String]) -> Self {
        let values = values.iter().filter(|value| value.len() >= LEAST);
        let forms: BTreeSet<Vec<u8>> = values.flat_map(|value| forms(value.as_bytes())).collect();
        let longest = forms.iter().map(Vec::len).max().unwrap_or_default();
        // Only patterns of gigabytes are too many for it.
        let forms = (!forms.is_empty()).then(|| AhoCorasick::new(&forms).ok());
        Self {
            forms: forms.flatten(),
            longest,
        }
    }

    fn are_in(&self, bytes: &[u8]) -> bool {
        self.forms
            .as_ref()
            .is_some_and(|forms| forms.is_match(bytes))
    }

    /// A path as it may be said.
    fn masked(&self, path: &[u8]) -> String {
        let masked = match &self.forms {
            None => path.to_vec(),
            Some(forms) => {
                let mut masked = Vec::new();
                forms.replace_all_with_bytes(path, &mut masked, |_, _, out| {
                    out.extend_from_slice(MARK.as_bytes());
                    true
                });
                masked
            }
        };
        let text = String::from_utf8_lossy(&masked);
        text.chars().take(SAID_PATH_CHARS).collect()
    }

    /// Reads an object to its end or to the first find; whether there is one.
    async fn are_read(
        &self,
        input: &mut (impl AsyncRead + Unpin),
        size: u64,
    ) -> std::io::Result<bool> {
        let mut left = size;
        let mut window = Vec::new();
        while left > 0 {
            // A value may lie across two pieces.
            let kept = window.len().min(self.longest.saturating_sub(1));
            window.drain(..window.len() - kept);
            let piece = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            window.resize(kept + piece, 0);
            input.read_exact(&mut window[kept..]).await?;
            if self.are_in(&window) {
                return Ok(true);
            }
            left -= piece as u64;
        }
        Ok(false)
    }
}

/// How a value may be written down.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![value.to_vec(), hex::encode(value).into_bytes()];
    let escaped: String = url::form_urlencoded::byte_serialize(value).collect();
    forms.push(escaped.into_bytes());
    for alphabet in [alphabet::STANDARD, alphabet::URL_SAFE] {
        let engine = GeneralPurpose::new(&alphabet, NO_PAD);
        for before in 0..3 {
            forms.extend(encoded(&engine, value, before));
        }
    }
    forms
}

/// The end of a value's Base64 where so many bytes of a group of three stand before it, without
/// the characters that depend on what is around it.
fn encoded(engine: &GeneralPurpose, value: &[u8], before: usize) -> [Vec<u8>; 2] {
    let bytes = [&vec![0; before], value].concat();
    let mut text = engine.encode(&bytes).into_bytes();
    text.truncate(bytes.len() * 8 / 6);
    text.drain(..(before * 8).div_ceil(6));
    let last = text.split_off(text.len().saturating_sub(PIECE));
    // One of a short value is found whole or not at all.
    if text.len() < PIECE {
        let whole = [text, last].concat();
        return [whole.clone(), whole];
    }
    [text.split_off(text.len() - PIECE), last]
}

/// An object of a push.
struct Object {
    id: String,
    kind: String,
    size: u64,
    path: Vec<u8>,
}

/// Why a push that brings `new`, and nothing of `not`, is refused for what it holds, if it is.
pub(super) async fn brought(
    quarantine: &Quarantine,
    new: &CommitSha,
    not: &[Option<&CommitSha>],
    known: &KnownSecrets,
) -> Result<Option<String>, GitError> {
    if known.forms.is_none() {
        return Ok(None);
    }
    let mut range = vec![new.to_string()];
    range.extend(not.iter().flatten().map(|not| format!("^{not}")));
    let range: Vec<&str> = range.iter().map(String::as_str).collect();
    let looked = tokio::time::timeout(TIME_LIMIT, first_holder(quarantine, &range, known)).await;
    let slow = |_| GitError::Slow("cat-file".to_owned());
    Ok(match looked.map_err(slow)?? {
        Looked::Clean => None,
        Looked::TooMuch => Some(format!(
            "unpacked the push is larger than {MAX_UNPACKED_BYTES} bytes"
        )),
        Looked::Found(object) => Some(said(quarantine, &range, &object, known).await?),
    })
}

enum Looked {
    Clean,
    TooMuch,
    Found(Object),
}

/// Streams all new objects through and stops at the first that holds a secret.
async fn first_holder(
    quarantine: &Quarantine,
    range: &[&str],
    known: &KnownSecrets,
) -> Result<Looked, GitError> {
    let mut list = quarantine
        .git(&[&["rev-list", "--objects"], range].concat())
        .start()?;
    let format = "--batch=%(objectname) %(objecttype) %(objectsize) %(rest)";
    let mut contents = quarantine
        .git(&["cat-file", format, "--buffer"])
        .fed_by(&mut list)?
        .start()?;
    let mut input = BufReader::with_capacity(CHUNK, contents.take_output()?);
    let mut room = MAX_UNPACKED_BYTES;
    while let Some(line) = line(&mut input).await? {
        let Some(line) = line else {
            return Ok(Looked::TooMuch);
        };
        let object = object(&line)?;
        let Some(left) = room.checked_sub(object.size) else {
            return Ok(Looked::TooMuch);
        };
        room = left;
        if known.are_read(&mut input, object.size).await? {
            return Ok(Looked::Found(object));
        }
        input.read_u8().await?;
    }
    // A list that broke off would leave objects unseen.
    list.ended().await?;
    contents.ended().await?;
    Ok(Looked::Clean)
}

/// The line before an object; `None` inside where it is too long, outside at the end.
async fn line(
    input: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<Option<Vec<u8>>>, GitError> {
    let mut line = Vec::new();
    input
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut line)
        .await?;
    Ok(match line.pop() {
        None => None,
        Some(b'\n') => Some(Some(line)),
        Some(_) => Some(None),
    })
}

fn object(line: &[u8]) -> Result<Object, GitError> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let mut word = || String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
    let (id, kind, size) = (word(), word(), word());
    let Ok(size) = size.parse() else {
        return Err(GitError::Failed {
            verb: "cat-file".to_owned(),
            message: format!("{id} {kind}"),
        });
    };
    let path = words.next().unwrap_or_default().to_vec();
    Ok(Object {
        id,
        kind,
        size,
        path,
    })
}

/// What a find is answered with: enough to mend it, and nothing of the value.
async fn said(
    quarantine: &Quarantine,
    range: &[&str],
    object: &Object,
    known: &KnownSecrets,
) -> Result<String, GitError> {
    let path = known.masked(&object.path);
    let place = match object.kind.as_str() {
        "commit" => format!("the message or an author of commit {}", object.id),
        kind => {
            let commit = bringer(quarantine, range, &object.id).await?;
            match kind {
                "tree" if path.is_empty() => format!("the name of a file in commit {commit}"),
                "tree" => format!("the name of a file in {path} in commit {commit}"),
                _ => format!("{path} in commit {commit}"),
            }
        }
    };
    Ok(format!(
        "{place} holds a secret of the platform: make that commit anew without it, a later one \
         does not take it back"
    ))
}

/// The oldest of the commits that brings an object.
async fn bringer(quarantine: &Quarantine, range: &[&str], id: &str) -> Result<String, GitError> {
    let find = format!("--find-object={id}");
    // Root trees are in no difference; the one that has such a tree is found by its name.
    let log = ["log", "--reverse", "-m", "-t", "--format=%H", &find];
    let found = quarantine.git(&[&log, range].concat()).text().await?;
    if let Some(commit) = found.lines().next() {
        return Ok(commit.to_owned());
    }
    let log = ["log", "--reverse", "--format=%T %H"];
    let found = quarantine.git(&[&log, range].concat()).text().await?;
    let mut lines = found.lines().filter_map(|line| line.split_once(' '));
    let commit = lines
        .find(|(tree, _)| *tree == id)
        .map(|(_, commit)| commit);
    Ok(commit.unwrap_or(range[0]).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::URL_SAFE;

    const VALUE: &str = "sk-model/0123456789abcdef+ghijklmnopqrstuvwxyz?ABCDEFGHIJKLMNOP";

    fn known() -> KnownSecrets {
        KnownSecrets::new(&[VALUE.to_owned(), "short".to_owned()])
    }

    fn wrapped(text: &str, columns: usize) -> String {
        let lines: Vec<_> = text.as_bytes().chunks(columns).collect();
        String::from_utf8(lines.join(&b'\n')).unwrap()
    }

    #[test]
    fn a_value_is_known_in_every_form_and_wherever_it_begins() {
        let known = known();
        for before in 0..80 {
            let text = format!("{}{VALUE} and more", "x".repeat(before));
            let encoded = STANDARD.encode(&text);
            for form in [
                text.clone(),
                hex::encode(&text),
                URL_SAFE.encode(&text),
                wrapped(&encoded, 76),
                wrapped(&encoded, 64),
                encoded,
            ] {
                assert!(known.are_in(form.as_bytes()), "{before}: {form}");
            }
        }
        let address: String = url::form_urlencoded::byte_serialize(VALUE.as_bytes()).collect();
        assert!(known.are_in(address.as_bytes()));
    }

    #[test]
    fn what_is_no_value_is_left_alone() {
        let known = known();
        for text in [&VALUE[1..], "short", "sk-model/0123456789abcdef", ""] {
            assert!(!known.are_in(text.as_bytes()), "{text}");
        }
        assert!(!KnownSecrets::new(&[]).are_in(VALUE.as_bytes()));
    }

    #[test]
    fn a_path_is_said_without_what_it_holds() {
        let path = format!("a/{VALUE}/b");
        assert_eq!(known().masked(path.as_bytes()), "a/[redacted]/b");
    }

    #[tokio::test]
    async fn a_value_across_two_pieces_is_found_and_nothing_beyond_the_object_is_read() {
        let known = known();
        for at in [0, CHUNK - 1, CHUNK - 30, 2 * CHUNK - VALUE.len()] {
            let mut bytes = vec![b'.'; 2 * CHUNK];
            bytes.splice(at..at + VALUE.len().min(bytes.len() - at), VALUE.bytes());
            let size = bytes.len() as u64;
            assert!(known.are_read(&mut bytes.as_slice(), size).await.unwrap());
        }
        let bytes = [&vec![b'.'; CHUNK + 7], VALUE.as_bytes()].concat();
        let mut input = bytes.as_slice();
        let size = CHUNK as u64 + 7;
        assert!(!known.are_read(&mut input, size).await.unwrap());
        assert_eq!(input, VALUE.as_bytes());
    }

    #[test]
    fn the_secret_of_a_header_is_its_password_or_its_token() {
        let basic = format!("Basic {}", STANDARD.encode("x-access-token:a-token"));
        let of = |header: &str| credential(&header.to_owned().into());
        assert_eq!(of(&basic).as_deref(), Some("a-token"));
        assert_eq!(of("Bearer a-token").as_deref(), Some("a-token"));
    }
}
