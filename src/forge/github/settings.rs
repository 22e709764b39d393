//! How to reach a GitHub and as whom. Plain values; nothing is read from
//! files or the environment here.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use secrecy::SecretString;
use url::Url;

/// As whom to speak.
#[derive(Debug, Clone)]
pub enum GithubCredential {
    /// A personal or fine-grained token.
    Token(SecretString),
    /// An installation of a GitHub App; its tokens are made and renewed here.
    App {
        /// The app's id.
        app_id: u64,
        /// The installation's id.
        installation_id: u64,
        /// The app's private key, PEM.
        private_key: SecretString,
    },
}

/// Tells the time by which pauses that the forge asked for pass: the machine's, unless a
/// world whose clocks are moved by hand has another.
#[derive(Clone)]
pub struct PauseClock(Arc<dyn Fn() -> Instant + Send + Sync>);

impl PauseClock {
    /// A clock that asks `now`, whose times never go back.
    pub fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(super) fn now(&self) -> Instant {
        (self.0)()
    }
}

impl Default for PauseClock {
    fn default() -> Self {
        Self::new(Instant::now)
    }
}

impl fmt::Debug for PauseClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PauseClock").finish_non_exhaustive()
    }
}

/// How to reach a GitHub and as whom.
#[derive(Debug, Clone)]
pub struct GithubSettings {
    /// The credential's name in the settings, for reports and metrics.
    pub credential_name: String,
    /// The credential.
    pub credential: GithubCredential,
    /// The REST base: `https://api.github.com` or `https://HOST/api/v3`.
    pub api_url: Url,
    /// The GraphQL address; derived from `api_url` by default.
    pub graphql_url: Option<Url>,
    /// The base of web and clone addresses; derived from `api_url` by default.
    pub web_url: Option<Url>,
    /// Who requests say they are from, in `User-Agent`.
    pub user_agent: String,
    /// The longest a request may take, its answer included.
    pub request_timeout: Duration,
    /// The longest a push may take.
    pub push_timeout: Duration,
    /// Certificates to trust besides the system's, PEM.
    pub ca_bundle: Option<Vec<u8>>,
    /// A proxy for all requests; without one the system's settings hold.
    pub proxy: Option<Url>,
    /// Changing requests a minute; GitHub allows 80.
    pub writes_per_minute: usize,
    /// Pages kept for conditional requests.
    pub cached_pages: usize,
    /// Bytes kept for conditional requests.
    pub cached_bytes: usize,
    /// The clock of pauses.
    pub clock: PauseClock,
}

impl GithubSettings {
    /// Production's values for an address and a credential.
    pub fn new(
        api_url: Url,
        credential_name: impl Into<String>,
        credential: GithubCredential,
    ) -> Self {
        Self {
            credential_name: credential_name.into(),
            credential,
            api_url,
            graphql_url: None,
            web_url: None,
            user_agent: concat!("codex-k8s/", env!("CARGO_PKG_VERSION")).to_owned(),
            request_timeout: Duration::from_secs(10),
            push_timeout: Duration::from_mins(1),
            ca_bundle: None,
            proxy: None,
            writes_per_minute: 80,
            cached_pages: 4096,
            cached_bytes: 64 << 20,
            clock: PauseClock::default(),
        }
    }

    /// The REST base without a slash at its end.
    pub(super) fn rest_base(&self) -> String {
        trimmed(&self.api_url)
    }

    /// The GraphQL address: `/api/graphql` beside an Enterprise Server's
    /// `/api/v3`, else `/graphql` below the REST base.
    pub(super) fn graphql_address(&self) -> String {
        if let Some(url) = &self.graphql_url {
            return trimmed(url);
        }
        let rest = self.rest_base();
        match rest.strip_suffix("/v3") {
            Some(base) => format!("{base}/graphql"),
            None => format!("{rest}/graphql"),
        }
    }

    /// The base of clone addresses.
    pub(super) fn web_base(&self) -> String {
        if let Some(url) = &self.web_url {
            return trimmed(url);
        }
        let rest = self.rest_base();
        match rest.strip_suffix("/api/v3") {
            Some(base) => base.to_owned(),
            None => rest.replacen("://api.", "://", 1),
        }
    }
}

fn trimmed(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(api: &str) -> GithubSettings {
        let credential = GithubCredential::Token(SecretString::from("t"));
        GithubSettings::new(api.parse().unwrap(), "reader", credential)
    }

    #[test]
    fn addresses_follow_the_rest_base() {
        let cloud = settings("https://api.github.com/");
        assert_eq!(cloud.rest_base(), "https://api.github.com");
        assert_eq!(cloud.graphql_address(), "https://api.github.com/graphql");
        assert_eq!(cloud.web_base(), "https://github.com");
        let server = settings("https://git.example.org/api/v3");
        assert_eq!(
            server.graphql_address(),
            "https://git.example.org/api/graphql"
        );
        assert_eq!(server.web_base(), "https://git.example.org");
    }

    #[test]
    fn settings_print_no_secret() {
        let mut it = settings("https://api.github.com");
        it.credential = GithubCredential::Token(SecretString::from("hush-hush"));
        assert!(!format!("{it:?}").contains("hush"));
    }
}
