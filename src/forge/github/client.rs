//! One request to GitHub: budget, conditional request, sending through
//! octocrab, and what the answer means.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt;
use octocrab::{AuthState, CachedToken, Octocrab, OctocrabBuilder, auth::AppAuth};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    budget::{Admission, Budget, forge_now},
    pages::{Page, Pages},
    settings::{GithubCredential, GithubSettings},
    transport::{Transport, TransportError, http_client},
};
use crate::{
    domain::Timestamp,
    forge::{
        BudgetLeft, BudgetWindow, ForgeError, ForgeErrorKind, ForgeMetrics, ForgeResult, Purpose,
        WriteGate,
    },
};

/// How long a refusal without a time of its own lasts: GitHub's advice.
const DEFAULT_RETRY: Duration = Duration::from_mins(1);

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) purpose: Purpose,
    pub(super) object: String,
    pub(super) method: Method,
    /// Path and query below the REST base, or `/graphql`.
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// Whether a kept page must not answer for it.
    pub(super) anew: bool,
}

impl Call {
    pub(super) fn get(
        purpose: Purpose,
        object: impl std::fmt::Display,
        path: impl Into<String>,
    ) -> Self {
        Self {
            purpose,
            object: object.to_string(),
            method: Method::GET,
            path: path.into(),
            body: None,
            anew: false,
        }
    }

    pub(super) fn send(
        method: Method,
        purpose: Purpose,
        object: impl std::fmt::Display,
        path: impl Into<String>,
        body: Value,
    ) -> Self {
        let body = Some(body).filter(|body| !body.is_null());
        Self {
            method,
            body,
            ..Self::get(purpose, object, path)
        }
    }

    fn is_graphql(&self) -> bool {
        self.path == "/graphql"
    }

    fn changes(&self) -> bool {
        self.method != Method::GET && !self.is_graphql()
    }

    pub(super) fn error(&self, kind: ForgeErrorKind, message: impl Into<String>) -> ForgeError {
        ForgeError::new(kind, self.purpose, &self.object, message)
    }
}

/// A successful answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) body: Bytes,
    /// The path of the next page, where there is one.
    pub(super) next: Option<String>,
    /// The forge's clock when it answered.
    pub(super) date: Timestamp,
}

/// A connection to one GitHub as one credential.
#[derive(Debug)]
pub(super) struct Client {
    crab: Octocrab,
    app: Option<Octocrab>,
    pub(super) http: reqwest::Client,
    pub(super) settings: GithubSettings,
    pub(super) gate: Arc<dyn WriteGate>,
    pub(super) metrics: Arc<ForgeMetrics>,
    budget: Budget,
    pages: Pages,
}

/// What of the raw answer is needed to judge it.
struct Raw {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Client {
    /// Builds the connection; nothing is sent. Needs a tokio runtime.
    pub(super) fn new(
        settings: GithubSettings,
        gate: Arc<dyn WriteGate>,
        metrics: Arc<ForgeMetrics>,
    ) -> Result<Self, String> {
        let http = http_client(&settings)?;
        let transport = Transport::new(http.clone(), &settings, gate.clone(), metrics.clone());
        let crab = |auth: AuthState| -> Octocrab {
            let built = OctocrabBuilder::new_empty()
                .with_service(transport.clone())
                .with_auth(auth)
                .build();
            match built {
                Ok(crab) => crab,
                Err(never) => match never {},
            }
        };
        let (own, app) = match &settings.credential {
            GithubCredential::Token(token) => (
                AuthState::AccessToken {
                    token: token.clone(),
                },
                None,
            ),
            GithubCredential::App {
                app_id,
                installation_id,
                private_key,
            } => {
                let app = app_auth(*app_id, private_key)?;
                let own = AuthState::Installation {
                    app: app.clone(),
                    installation: (*installation_id).into(),
                    token: CachedToken::default(),
                    repositories: None,
                    repository_ids: None,
                };
                (own, Some(crab(AuthState::App(app))))
            }
        };
        Ok(Self {
            crab: crab(own),
            app,
            http,
            budget: Budget::new(settings.writes_per_minute),
            pages: Pages::new(settings.cached_pages, settings.cached_bytes),
            settings,
            gate,
            metrics,
        })
    }

    /// Sends one request.
    pub(super) async fn call(&self, call: &Call) -> ForgeResult<Answer> {
        self.call_through(&self.crab, call).await
    }

    /// What is left of the budgets.
    pub(super) fn windows(&self) -> Vec<BudgetWindow> {
        let windows = self.budget.windows(self.settings.clock.now()).into_iter();
        windows
            .map(|(resource, left, resets_in)| BudgetWindow {
                credential: self.settings.credential_name.clone(),
                resource,
                limit: left.limit,
                remaining: left.remaining,
                resets_in,
            })
            .collect()
    }

    /// Notes a budget that an answer's body tells.
    pub(super) fn note_budget(&self, resource: &str, left: BudgetLeft, date: Timestamp) {
        let (name, now) = (&self.settings.credential_name, self.settings.clock.now());
        self.budget.note_body(resource, left, date.timestamp(), now);
        self.metrics.note_budget(name, resource, left);
    }

    /// Sends one request as the app itself instead of its installation.
    pub(super) async fn call_as_app(&self, call: &Call) -> ForgeResult<Answer> {
        let app = self.app.as_ref();
        let app = app.ok_or_else(|| call.error(ForgeErrorKind::Invalid, "not an app"))?;
        self.call_through(app, call).await
    }

    /// Whether the credential is an app's.
    pub(super) fn is_app(&self) -> bool {
        self.app.is_some()
    }

    /// Sends one request and reads its answer as JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: &Call) -> ForgeResult<T> {
        decode(call, &self.call(call).await?.body)
    }

    /// Reads all pages of a list.
    pub(super) async fn all<T: DeserializeOwned>(&self, first: Call) -> ForgeResult<Vec<T>> {
        let mut items = Vec::new();
        let mut call = first;
        loop {
            let answer = self.call(&call).await?;
            items.extend(decode::<Vec<T>>(&call, &answer.body)?);
            match answer.next {
                Some(next) => call.path = next,
                None => return Ok(items),
            }
        }
    }

    /// The token for Git over HTTP.
    pub(super) async fn git_token(&self) -> ForgeResult<SecretString> {
        if let GithubCredential::Token(token) = &self.settings.credential {
            return Ok(token.clone());
        }
        let call = Call::get(Purpose::Token, &self.settings.credential_name, "/");
        // A token that ends within a clone is worth nothing.
        let renewed = self
            .crab
            .installation_token_with_buffer(chrono::Duration::minutes(5))
            .await;
        let renewed = renewed.map_err(|error| octocrab_error(&call, &error));
        self.count(&call, renewed.as_ref().map(|_| "ok"));
        renewed
    }

    async fn call_through(&self, crab: &Octocrab, call: &Call) -> ForgeResult<Answer> {
        let result = self.attempt(crab, call).await;
        self.count(call, result.as_ref().map(|(_, how)| *how));
        result.map(|(answer, _)| answer)
    }

    fn count(&self, call: &Call, result: Result<&'static str, &ForgeError>) {
        let result = result.unwrap_or_else(|error| error.kind.as_str());
        self.metrics.count(call.purpose, result);
    }

    async fn attempt(&self, crab: &Octocrab, call: &Call) -> ForgeResult<(Answer, &'static str)> {
        let resource = if call.is_graphql() { "graphql" } else { "core" };
        self.admit(call, resource).await?;
        let kept = match call.method {
            Method::GET if !call.anew => self.pages.get(&call.path),
            _ => None,
        };
        let raw = self.exchange(crab, call, kept.as_ref()).await?;
        if let Some((resource, left)) = self.budget.note(&raw.headers, self.settings.clock.now()) {
            let name = &self.settings.credential_name;
            self.metrics.note_budget(name, &resource, left);
        }
        let date = chrono::DateTime::from_timestamp(forge_now(&raw.headers), 0);
        let date = date.unwrap_or_default();
        if raw.status == StatusCode::NOT_MODIFIED
            && let Some(page) = kept
        {
            let next = self.next_page(page.link.as_deref());
            let body = page.body;
            return Ok((Answer { body, next, date }, "not_modified"));
        }
        if !raw.status.is_success() {
            return Err(self.refusal(call, &raw));
        }
        let link = text_of(&raw.headers, "link");
        // Half a page that were kept would be confirmed by every later 304.
        if call.method == Method::GET
            && let Some(etag) = text_of(&raw.headers, "etag")
            && serde_json::from_slice::<serde::de::IgnoredAny>(&raw.body).is_ok()
        {
            let body = raw.body.clone();
            let link = link.clone();
            self.pages.put(&call.path, Page { etag, body, link });
        }
        let next = self.next_page(link.as_deref());
        let body = raw.body;
        Ok((Answer { body, next, date }, "ok"))
    }

    /// Waits while the budget asks for it.
    pub(super) async fn admit(&self, call: &Call, resource: &str) -> ForgeResult<()> {
        loop {
            match self
                .budget
                .admit(resource, call.changes(), self.settings.clock.now())
            {
                Admission::Go => return Ok(()),
                Admission::Wait(time) => {
                    self.metrics.held_back(time);
                    tokio::time::sleep(time).await;
                }
                Admission::Refuse(retry_after) => {
                    let kind = ForgeErrorKind::Budget { retry_after };
                    return Err(call.error(kind, "the credential's budget is used up"));
                }
            }
        }
    }

    async fn exchange(
        &self,
        crab: &Octocrab,
        call: &Call,
        kept: Option<&Page>,
    ) -> ForgeResult<Raw> {
        let mut builder = http::request::Builder::new()
            .method(call.method.clone())
            .uri(call.path.as_str())
            .header(header::ACCEPT, "application/vnd.github+json");
        if let Some(page) = kept {
            builder = builder.header(header::IF_NONE_MATCH, page.etag.as_str());
        }
        let failed = |error: octocrab::Error| octocrab_error(call, &error);
        let request = crab
            .build_request(builder, call.body.as_ref())
            .map_err(failed)?;
        let response = crab.execute(request).await.map_err(failed)?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(failed)?.to_bytes();
        Ok(Raw {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }

    fn refusal(&self, call: &Call, raw: &Raw) -> ForgeError {
        let message = message_of(&raw.body);
        let kind = match raw.status.as_u16() {
            301 | 302 | 307 | 308 => ForgeErrorKind::Moved {
                to: text_of(&raw.headers, "location"),
            },
            401 => ForgeErrorKind::Unauthorized,
            403 | 429 => match self.rate_limit(raw, &message) {
                Some(retry_after) => ForgeErrorKind::RateLimited { retry_after },
                None => ForgeErrorKind::Forbidden,
            },
            404 => ForgeErrorKind::NotFound,
            409 | 412 => ForgeErrorKind::Conflict,
            410 => ForgeErrorKind::Gone,
            422 => ForgeErrorKind::Unprocessable,
            500..=599 => ForgeErrorKind::Server,
            _ => ForgeErrorKind::Invalid,
        };
        let maybe = kind == ForgeErrorKind::Server && call.changes();
        let error = call.error(kind, format!("{}: {message}", raw.status.as_u16()));
        if maybe {
            error.possibly_applied()
        } else {
            error
        }
    }

    /// How long a refusal for too many requests lasts; `None` for a plain 403.
    fn rate_limit(&self, raw: &Raw, message: &str) -> Option<Duration> {
        let number = |name: &str| text_of(&raw.headers, name)?.parse::<i64>().ok();
        let exhausted = number("x-ratelimit-remaining") == Some(0);
        let secondary = message.to_lowercase().contains("rate limit");
        let asked = number("retry-after");
        let limited = exhausted || secondary || asked.is_some() || raw.status == 429;
        let reset = number("x-ratelimit-reset").filter(|_| exhausted);
        let seconds = asked.or_else(|| reset.map(|at| at - forge_now(&raw.headers)));
        let time = seconds
            .and_then(|seconds| u64::try_from(seconds.max(1)).ok())
            .map_or(DEFAULT_RETRY, Duration::from_secs);
        // An exhausted window is known to the budget; the rest is not.
        if limited && !exhausted {
            self.budget.block(time, self.settings.clock.now());
        }
        limited.then_some(time)
    }

    /// The path of the next page from a `Link` header, below our own base:
    /// a header that leads elsewhere leads nowhere.
    fn next_page(&self, link: Option<&str>) -> Option<String> {
        let part = link?
            .split(',')
            .find(|part| part.contains("rel=\"next\""))?;
        let address = part.split_once('<')?.1.split_once('>')?.0;
        let url = url::Url::parse(address).ok()?;
        let base = &self.settings.api_url;
        let path = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
        Some(match url.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        })
    }
}

fn app_auth(app_id: u64, private_key: &SecretString) -> Result<AppAuth, String> {
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(private_key.expose_secret().as_bytes());
    // The key's own error could quote it.
    let key = key.map_err(|_| "the app's private key is not an RSA key in PEM".to_owned())?;
    let app_id = app_id.into();
    Ok(AppAuth { app_id, key })
}

/// Reads a body as JSON.
pub(super) fn decode<T: DeserializeOwned>(call: &Call, body: &[u8]) -> ForgeResult<T> {
    serde_json::from_slice(body).map_err(|error| {
        let kind = if error.is_eof() {
            ForgeErrorKind::Truncated
        } else {
            ForgeErrorKind::Invalid
        };
        let failed = call.error(kind, format!("the answer is not as documented: {error}"));
        if call.changes() {
            failed.possibly_applied()
        } else {
            failed
        }
    })
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// GitHub's words for a refusal, cut to a line.
fn message_of(body: &[u8]) -> String {
    let parsed = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let mut words = parsed["message"]
        .as_str()
        .unwrap_or("no message")
        .to_owned();
    for error in parsed["errors"].as_array().into_iter().flatten() {
        let field = |name: &str| error[name].as_str().map(str::to_owned);
        let detail = field("message").or_else(|| {
            let code = field("code")?;
            Some(format!("{} {code}", field("field").unwrap_or_default()))
        });
        if let Some(detail) = detail {
            words = format!("{words}; {detail}");
        }
    }
    words.chars().take(300).collect()
}

fn octocrab_error(call: &Call, error: &octocrab::Error) -> ForgeError {
    let transport = match error {
        octocrab::Error::Service { source, .. } | octocrab::Error::Other { source, .. } => {
            source.downcast_ref::<TransportError>()
        }
        _ => None,
    };
    if let Some(transport) = transport {
        return transport_error(call, transport);
    }
    if let octocrab::Error::GitHub { source, .. } = error {
        // Only the renewal of an app's token ends here.
        let kind = match source.status_code.as_u16() {
            500..=599 => ForgeErrorKind::Server,
            _ => ForgeErrorKind::Unauthorized,
        };
        return call.error(kind, format!("no installation token: {}", source.message));
    }
    // The other variants print a backtrace, and nothing a caller could act on.
    let message = match error {
        octocrab::Error::JWT { .. } => "the app's key cannot sign",
        octocrab::Error::Service { .. } => "the HTTP client has stopped",
        _ => "the request could not be made",
    };
    call.error(ForgeErrorKind::Invalid, message)
}

/// The port's error for what the wire said.
pub(super) fn transport_error(call: &Call, error: &TransportError) -> ForgeError {
    let (kind, sent) = match error {
        TransportError::NotSent(_) => (ForgeErrorKind::NotSent, false),
        TransportError::Connect(_) => (ForgeErrorKind::Network, false),
        TransportError::Broken(_) => (ForgeErrorKind::Network, true),
        TransportError::Timeout => (ForgeErrorKind::Timeout, true),
        TransportError::Truncated(_) => (ForgeErrorKind::Truncated, true),
        TransportError::Invalid(_) => (ForgeErrorKind::Invalid, false),
    };
    let failed = call.error(kind, error.to_string());
    if sent && call.changes() {
        failed.possibly_applied()
    } else {
        failed
    }
}
