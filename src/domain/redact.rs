//! Taking secrets out of text: known values such as the run token, bearer and
//! basic headers, credentials in addresses, and what looks like a token of a
//! known maker.
//!
//! The runner redacts before a line leaves the pod, and the run API again when
//! it arrives, as the pod is not to be believed. It is against accidents: an
//! agent that encodes what it knows is kept from nothing.
//!
//! A text costs time in proportion to its length, whatever it holds.

use std::ops::Range;

use aho_corasick::AhoCorasick;
use serde_json::Value;

/// What stands in a secret's place.
pub const MARK: &str = "[redacted]";

/// The shortest value that counts as a secret.
const LEAST: usize = 8;

/// What comes before a credential in headers, in lower case.
const SCHEMES: [&str; 2] = ["bearer ", "basic "];

/// Beginnings of tokens whose makers marked them, with the least length of what follows.
const MARKED: [(&str, usize); 13] = [
    ("ck8s_", 16),
    ("ghp_", 16),
    ("gho_", 16),
    ("ghu_", 16),
    ("ghs_", 16),
    ("ghr_", 16),
    ("github_pat_", 16),
    ("glpat-", 16),
    ("sk-", 20),
    ("xoxb-", 16),
    ("xoxp-", 16),
    ("AKIA", 16),
    ("AGE-SECRET-KEY-", 16),
];

/// Takes secrets out of text.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Vec<String>,
}

impl Redactor {
    /// A redactor that also knows these values. Short ones are left out: they
    /// would mark half of every text.
    pub fn knowing(values: impl IntoIterator<Item = String>) -> Self {
        let known = values.into_iter().filter(|v| v.len() >= LEAST).collect();
        Self { known }
    }

    /// The text without its secrets.
    pub fn redact(&self, text: &str) -> String {
        without(&self.secrets(text), text, 0..text.len())
    }

    /// The text without the values that are known; what merely looks like a secret stays, so
    /// that data in it which must not change by chance does not.
    pub fn redact_known(&self, text: &str) -> String {
        let known = self.known.iter();
        known.fold(text.to_owned(), |text, value| text.replace(value, MARK))
    }

    /// Overwrites the values that are known in bytes of whatever format: nothing moves.
    pub fn overwrite_known(&self, bytes: &mut [u8]) {
        // Only patterns of gigabytes are too many for it.
        let Ok(known) = AhoCorasick::new(&self.known) else {
            return;
        };
        let places: Vec<_> = known
            .find_iter(&*bytes)
            .map(|place| place.range())
            .collect();
        for place in places {
            bytes[place].fill(b'*');
        }
    }

    /// Takes the secrets out of every text of a JSON value.
    pub fn redact_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.redact(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.redact_json(value)),
            Value::Object(fields) => {
                fields
                    .values_mut()
                    .for_each(|value| self.redact_json(value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Takes the secrets out of pieces that follow each other, also those that go on from one
    /// piece to the next: the mark stands where they begin.
    pub fn redact_pieces<'a>(&self, pieces: impl IntoIterator<Item = &'a mut String>) {
        let pieces: Vec<&mut String> = pieces.into_iter().collect();
        let whole: String = pieces.iter().map(|piece| piece.as_str()).collect();
        let secrets = self.secrets(&whole);
        let mut begin = 0;
        for piece in pieces {
            let end = begin + piece.len();
            *piece = without(&secrets, &whole, begin..end);
            begin = end;
        }
    }

    /// Where secrets stand: in order, and apart from each other.
    fn secrets(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for value in &self.known {
            let places = text.match_indices(value.as_str());
            found.extend(places.map(|(at, value)| at..at + value.len()));
            cut_off(text, value, &mut found);
        }
        after_schemes(text, &mut found);
        in_addresses(text, &mut found);
        marked(text, &mut found);
        found.sort_by_key(|secret| secret.start);
        let mut apart: Vec<Range<usize>> = Vec::new();
        for secret in found {
            match apart.last_mut() {
                Some(last) if secret.start <= last.end => last.end = last.end.max(secret.end),
                _ => apart.push(secret),
            }
        }
        apart
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} values)", self.known.len())
    }
}

/// A part of the text, with a mark for each secret that begins in it.
fn without(secrets: &[Range<usize>], text: &str, part: Range<usize>) -> String {
    let mut out = String::with_capacity(part.len());
    let mut from = part.start;
    let first = secrets.partition_point(|secret| secret.end <= part.start);
    for secret in secrets[first..].iter().take_while(|s| s.start < part.end) {
        if secret.start >= part.start {
            out.push_str(&text[from..secret.start]);
            out.push_str(MARK);
        }
        from = secret.end.min(part.end);
    }
    out.push_str(&text[from..part.end]);
    out
}

/// What of a value stands at either end of a text, as where a text was cut. Fewer characters
/// than make a secret stand there by chance.
fn cut_off(text: &str, value: &str, found: &mut Vec<Range<usize>>) {
    let beginnings = (LEAST..value.len()).rev().filter_map(|at| value.get(..at));
    if let Some(part) = { beginnings }.find(|part| text.ends_with(part)) {
        found.push(text.len() - part.len()..text.len());
    }
    let ends = (1..=value.len() - LEAST).filter_map(|at| value.get(at..));
    if let Some(part) = { ends }.find(|part| text.starts_with(part)) {
        found.push(0..part.len());
    }
}

/// Where what begins at `from` ends: before the first character that is none of it.
fn end_of(text: &str, from: usize, inner: impl Fn(char) -> bool) -> usize {
    let length = text[from..].find(|c| !inner(c));
    length.map_or(text.len(), |length| from + length)
}

/// `Bearer …` and `Basic …`, as in headers.
fn after_schemes(text: &str, found: &mut Vec<Range<usize>>) {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.~+/=".contains(c);
    let lower = text.to_ascii_lowercase();
    for scheme in SCHEMES {
        for (at, _) in lower.match_indices(scheme) {
            let begin = at + scheme.len();
            let end = end_of(text, begin, inner);
            if end - begin >= LEAST {
                found.push(begin..end);
            }
        }
    }
}

/// Where a text that nobody meant to hold a secret shows one: a token of a known maker,
/// credentials in an address, or what follows `Bearer` or `Basic` and is no word.
pub fn shown_secret(text: &str) -> Option<usize> {
    let mut found = Vec::new();
    after_schemes(text, &mut found);
    found.retain(|place| text[place.clone()].contains(|c: char| c.is_ascii_digit()));
    in_addresses(text, &mut found);
    marked(text, &mut found);
    found.into_iter().map(|place| place.start).min()
}

/// `://user:secret@`.
fn in_addresses(text: &str, found: &mut Vec<Range<usize>>) {
    let inner = |c: char| !(c == '/' || c.is_whitespace() || "\"'<>".contains(c));
    for (at, separator) in text.match_indices("://") {
        let begin = at + separator.len();
        let authority = &text[begin..end_of(text, begin, inner)];
        if let Some(host) = authority.rfind('@')
            && authority[..host].contains(':')
        {
            found.push(begin..begin + host);
        }
    }
}

/// Tokens that show their maker.
fn marked(text: &str, found: &mut Vec<Range<usize>>) {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    for (prefix, least) in MARKED {
        let mut seen = 0;
        for (at, _) in text.match_indices(prefix) {
            let whole_word = !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
            // What stands inside a token is no other one, and is not looked through again.
            if !whole_word || at < seen {
                continue;
            }
            let begin = at + prefix.len();
            let end = end_of(text, begin, inner);
            if end - begin >= least {
                found.push(at..end);
                seen = end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "the-run-token-text";

    fn redactor() -> Redactor {
        Redactor::knowing([TOKEN.to_owned()])
    }

    fn redact(line: &str) -> String {
        redactor().redact(line)
    }

    #[test]
    fn secrets_are_marked_and_words_are_kept() {
        let token = format!("ghp_{}", "a1".repeat(18));
        let cases = [
            ("x the-run-token-text y".to_owned(), "x [redacted] y"),
            (
                "Authorization: Bearer abc.def.ghijkl!".to_owned(),
                "Authorization: Bearer [redacted]!",
            ),
            (
                "bearer basic cnVuOnRva2Vu".to_owned(),
                "bearer basic [redacted]",
            ),
            (
                "git clone https://ada:pa55@forge.example/x.git".to_owned(),
                "git clone https://[redacted]@forge.example/x.git",
            ),
            (
                "https://run:the-run-token-text@forge.example/x".to_owned(),
                "https://[redacted]@forge.example/x",
            ),
            (format!("export T={token};"), "export T=[redacted];"),
            (format!("one {token}\ntwo {token}\n"), {
                "one [redacted]\ntwo [redacted]\n"
            }),
        ];
        for (line, wanted) in cases {
            assert_eq!(redact(&line), wanted);
            assert_eq!(redact(wanted), wanted, "what is redacted stays as it is");
        }
        for kept in [
            "the bearer of news",
            "see https://forge.example/@ada/x",
            "task-list of sk-items",
        ] {
            assert_eq!(redact(kept), kept);
        }
    }

    #[test]
    fn a_text_shows_a_secret_where_one_stands_and_not_where_words_do() {
        let token = format!("a\nb ghp_{}", "a1".repeat(18));
        assert_eq!(shown_secret(&token), Some(4));
        assert!(shown_secret("Authorization: Bearer abc1def2.ghi").is_some());
        assert!(shown_secret("clone https://ada:pa55@forge.example/x.git").is_some());
        assert_eq!(shown_secret("Ask for basic understanding first."), None);
    }

    #[test]
    fn known_values_in_bytes_are_overwritten_in_place() {
        let mut bytes = b"\xff8:the-run-token-text;the-run-token-tex".to_vec();
        redactor().overwrite_known(&mut bytes);
        assert_eq!(bytes, b"\xff8:******************;the-run-token-tex");
    }

    #[test]
    fn what_is_left_of_a_secret_where_a_text_was_cut_goes_too() {
        for (cut, wanted) in [
            ("say the-run-token", "say [redacted]"),
            ("say the-run-", "say [redacted]"),
            ("say the-run", "say the-run"),
            ("en-text and on", "en-text and on"),
            ("ken-text and on", "[redacted] and on"),
            ("run-token-text", "[redacted]"),
            (
                "in the-run-token is no secret",
                "in the-run-token is no secret",
            ),
        ] {
            assert_eq!(redact(cut), wanted);
        }
    }

    #[test]
    fn a_secret_in_several_pieces_leaves_nothing_in_any() {
        let mut pieces = ["a the-run-", "token", "", "-text b", "c"].map(str::to_owned);
        redactor().redact_pieces(&mut pieces);
        assert_eq!(pieces, ["a [redacted]", "", "", " b", "c"]);
    }

    proptest! {
        #[test]
        fn a_known_value_never_passes(before in ".{0,40}", after in ".{0,40}") {
            let line = format!("{before}{TOKEN}{after}");
            prop_assert!(!redact(&line).contains(TOKEN));
        }

        #[test]
        fn pieces_together_are_the_whole(
            before in ".{0,20}", after in ".{0,20}", cuts in prop::collection::vec(0..60_usize, 0..4),
        ) {
            let text = format!("{before}{TOKEN}{after}");
            let mut cuts: Vec<_> = cuts.into_iter().filter(|at| text.is_char_boundary(*at)).collect();
            cuts.sort_unstable();
            let ends: Vec<_> = cuts.iter().copied().chain([text.len()]).collect();
            let mut from = 0;
            let mut pieces = Vec::new();
            for end in ends {
                pieces.push(text[from..end].to_owned());
                from = end;
            }
            redactor().redact_pieces(&mut pieces);
            prop_assert_eq!(pieces.concat(), redact(&text));
        }
    }
}
