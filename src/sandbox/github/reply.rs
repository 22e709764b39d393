//! Answers in GitHub's form: JSON bodies, errors, pages with their `Link` header.

use serde_json::{Value, json};

use super::change::ModelError;

const DOCS: &str = "https://docs.github.com/rest";

/// An answer before the server adds its own headers.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<Value>,
}

/// A handler's result; both sides are answers, the second ends the handler early.
pub(super) type Answer = Result<Reply, Reply>;

impl Reply {
    pub(super) const fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Some(body),
        }
    }

    pub(super) const fn ok(body: Value) -> Self {
        Self::json(200, body)
    }

    pub(super) const fn no_content() -> Self {
        Self {
            status: 204,
            headers: Vec::new(),
            body: None,
        }
    }

    pub(super) fn error(status: u16, message: &str) -> Self {
        let body = json!({
            "message": message,
            "documentation_url": DOCS,
            "status": status.to_string(),
        });
        Self::json(status, body)
    }

    pub(super) fn not_found() -> Self {
        Self::error(404, "Not Found")
    }

    /// A refused field in GitHub's form, `code` being `custom` where `message` says more.
    pub(super) fn invalid(resource: &str, field: &str, code: &str, message: Option<&str>) -> Self {
        let mut error = json!({ "resource": resource, "code": code });
        if let Some(message) = message {
            error["message"] = json!(message);
        }
        if !field.is_empty() {
            error["field"] = json!(field);
        }
        let body = json!({
            "message": "Validation Failed",
            "errors": [error],
            "documentation_url": DOCS,
            "status": "422",
        });
        Self::json(422, body)
    }

    pub(super) fn moved(location: &str) -> Self {
        let mut reply = Self::json(
            301,
            json!({ "message": "Moved Permanently", "url": location, "documentation_url": DOCS }),
        );
        reply.headers.push(("location", location.to_owned()));
        reply
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl From<ModelError> for Reply {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::NotFound(_) => Self::not_found(),
            ModelError::Refused(message) => Self::error(422, &message),
            ModelError::Git(message) => Self::error(500, &message),
        }
    }
}

/// Which page of a list was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub number: usize,
    pub size: usize,
}

impl Page {
    /// Reads `page` and `per_page`; nonsense counts as absent, sizes are capped at 100.
    pub(super) fn asked(page: Option<&str>, per_page: Option<&str>) -> Self {
        let number = page.and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
        let size = per_page
            .and_then(|text| text.parse().ok())
            .filter(|size| *size > 0);
        Self {
            number,
            size: size.unwrap_or(30).min(100),
        }
    }

    fn first(self) -> usize {
        (self.number - 1).saturating_mul(self.size)
    }

    /// The items of this page.
    pub(super) fn cut<T>(self, items: Vec<T>) -> Vec<T> {
        items
            .into_iter()
            .skip(self.first())
            .take(self.size)
            .collect()
    }

    /// GitHub's `Link` header, `url(page)` giving the address of a page.
    pub(super) fn link(self, total: usize, url: impl Fn(usize) -> String) -> Option<String> {
        let last = total.div_ceil(self.size).max(1);
        let mut links = Vec::new();
        if self.number > 1 {
            links.push(format!("<{}>; rel=\"prev\"", url(self.number - 1)));
        }
        if self.number < last {
            links.push(format!("<{}>; rel=\"next\"", url(self.number + 1)));
            links.push(format!("<{}>; rel=\"last\"", url(last)));
        }
        if self.number > 1 {
            links.push(format!("<{}>; rel=\"first\"", url(1)));
        }
        (!links.is_empty()).then(|| links.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_middle_page_links_both_ways_and_the_only_page_nowhere() {
        let url = |page: usize| format!("u?page={page}");
        let middle = Page {
            number: 2,
            size: 10,
        };
        assert_eq!(
            middle.link(25, url).as_deref(),
            Some(
                "<u?page=1>; rel=\"prev\", <u?page=3>; rel=\"next\", <u?page=3>; rel=\"last\", <u?page=1>; rel=\"first\""
            )
        );
        assert_eq!(
            Page {
                number: 1,
                size: 30
            }
            .link(25, url),
            None
        );
        assert_eq!(middle.cut((0..25).collect()), (10..20).collect::<Vec<_>>());
    }
}
