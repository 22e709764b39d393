//! Taking secrets out of text before it leaves the pod: the run token, other
//! known values, bearer headers, credentials in addresses, and what looks like
//! a token of a known maker. Works on whole lines.

/// What stands in a secret's place.
pub const MARK: &str = "[redacted]";

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

/// Takes secrets out of lines.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Vec<String>,
}

impl Redactor {
    /// A redactor that also knows these values. Short ones are left out: they
    /// would mark half of every text.
    pub fn knowing(values: impl IntoIterator<Item = String>) -> Self {
        let mut known: Vec<_> = values.into_iter().filter(|v| v.len() >= 8).collect();
        known.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self { known }
    }

    /// The line without its secrets.
    pub fn redact(&self, line: &str) -> String {
        let mut text = line.to_owned();
        for value in &self.known {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), MARK);
            }
        }
        let text = after_scheme(&text);
        let text = in_addresses(&text);
        marked(&text)
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} values)", self.known.len())
    }
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.~+/=".contains(c)
}

/// `Bearer …` and `Basic …`, as in headers.
fn after_scheme(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = next_scheme(rest) {
        let (before, credential) = rest.split_at(at);
        out.push_str(before);
        let end = credential
            .find(|c| !is_token_char(c))
            .unwrap_or(credential.len());
        out.push_str(if end >= 8 { MARK } else { &credential[..end] });
        rest = &credential[end..];
    }
    out.push_str(rest);
    out
}

/// Where the next credential after a scheme begins.
fn next_scheme(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    let starts = ["bearer ", "basic "].map(|scheme| lower.find(scheme).map(|at| at + scheme.len()));
    starts.into_iter().flatten().min()
}

/// `://user:secret@`.
fn in_addresses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c == '/' || c.is_whitespace() || "\"'<>".contains(c))
            .unwrap_or(after.len());
        let authority = &after[..end];
        match authority.rfind('@') {
            Some(host) if authority[..host].contains(':') => {
                out.push_str(MARK);
                out.push_str(&authority[host..]);
            }
            _ => out.push_str(authority),
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

/// Tokens that show their maker.
fn marked(text: &str) -> String {
    let mut text = text.to_owned();
    for (prefix, least) in MARKED {
        let mut from = 0;
        while let Some(found) = text[from..].find(prefix) {
            let at = from + found;
            let body = at + prefix.len();
            let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let length = text[body..]
                .find(|c| !inner(c))
                .unwrap_or(text.len() - body);
            let whole_word = !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
            if length >= least && whole_word {
                text.replace_range(at..body + length, MARK);
                from = at + MARK.len();
            } else {
                from = body;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redact(line: &str) -> String {
        Redactor::knowing(["the-run-token-text".to_owned()]).redact(line)
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
                "git clone https://ada:pa55@forge.example/x.git".to_owned(),
                "git clone https://[redacted]@forge.example/x.git",
            ),
            (format!("export T={token};"), "export T=[redacted];"),
        ];
        for (line, wanted) in cases {
            assert_eq!(redact(&line), wanted);
        }
        for kept in [
            "the bearer of news",
            "see https://forge.example/@ada/x",
            "task-list of sk-items",
        ] {
            assert_eq!(redact(kept), kept);
        }
    }

    proptest! {
        #[test]
        fn a_known_value_never_passes(before in ".{0,40}", after in ".{0,40}") {
            let line = format!("{before}the-run-token-text{after}");
            prop_assert!(!redact(&line).contains("the-run-token-text"));
        }
    }
}
