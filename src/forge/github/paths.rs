//! Paths and queries below the REST base.

use crate::domain::{Timestamp, ids::RepositoryName};

/// `/repos/OWNER/NAME`.
pub(super) fn repo_path(name: &RepositoryName) -> String {
    format!("/repos/{}/{}", segment(&name.owner), segment(&name.name))
}

/// One path segment, percent-encoded.
pub(super) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex::encode_upper([byte]));
        }
    }
    out
}

/// A path of several segments, each percent-encoded.
pub(super) fn segments(text: &str) -> String {
    let parts: Vec<String> = text.split('/').map(segment).collect();
    parts.join("/")
}

/// A path with its query.
#[derive(Debug, Clone)]
pub(super) struct Query {
    path: String,
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(super) fn new(path: String) -> Self {
        let pairs = Vec::new();
        Self { path, pairs }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.pairs.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn with_time(self, name: &str, time: Option<Timestamp>) -> Self {
        match time {
            Some(time) => {
                let text = time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                self.with(name, &text)
            }
            None => self,
        }
    }

    /// Ends it with the largest page there is.
    pub(super) fn page_size(self) -> String {
        self.pages_of(100)
    }

    /// Ends it with pages of this size, for lists whose largest page is a smaller one.
    pub(super) fn pages_of(self, size: u8) -> String {
        let Self { path, pairs } = self.with("per_page", &size.to_string());
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        format!("{path}?{}", query.extend_pairs(pairs).finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_and_slashes_kept_only_between_segments() {
        assert_eq!(segment("run:dev ü/1"), "run%3Adev%20%C3%BC%2F1");
        assert_eq!(segments("codex/issue-1"), "codex/issue-1");
        let query = Query::new("/x".to_owned()).with("labels", "a b&c");
        assert_eq!(query.page_size(), "/x?labels=a+b%26c&per_page=100");
    }
}
