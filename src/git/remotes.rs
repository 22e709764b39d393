//! Remotes that our transport knows, each under a URL of its own.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::blocking::Client;
use secrecy::SecretString;
use url::Url;

use super::http;

/// What a request to a remote authenticates with.
#[derive(Debug, Clone)]
pub enum Credential {
    /// User name and password; forges take a token as the password.
    Basic {
        /// The user name.
        username: String,
        /// The password or token.
        password: SecretString,
    },
    /// A bearer token.
    Bearer(SecretString),
}

/// Gives a remote's credential each time one is needed, so that short-lived
/// tokens stay fresh. `None` means to ask without one.
pub type CredentialSource = Arc<dyn Fn() -> Option<Credential> + Send + Sync>;

/// How remotes are reached.
#[derive(Clone)]
pub struct HttpOptions {
    /// Certificates in PEM that are trusted beside the system's.
    pub ca_bundle: Option<Vec<u8>>,
    /// A proxy for all requests; without one the environment's (`HTTPS_PROXY` …) is used.
    pub proxy: Option<Url>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the other side may be silent, before its answer and inside it.
    pub request_timeout: Duration,
    /// How large an answer may be.
    pub max_response_bytes: u64,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            ca_bundle: None,
            proxy: None,
            connect_timeout: Duration::from_secs(10),
            // A forge may take a while to compute a pack before it sends the first byte.
            request_timeout: Duration::from_mins(1),
            max_response_bytes: 1024 * 1024 * 1024,
        }
    }
}

/// A client for Git remotes. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct GitHttp {
    shared: Arc<Shared>,
}

struct Shared {
    options: HttpOptions,
    /// Made at the first request, because making it blocks.
    client: OnceLock<Result<Client, String>>,
}

impl fmt::Debug for GitHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHttp").finish_non_exhaustive()
    }
}

/// What the transport knows about a remote.
pub(super) struct Target {
    /// Where it really is.
    pub(super) url: Url,
    /// What to authenticate with.
    pub(super) credential: Option<CredentialSource>,
    client: GitHttp,
}

impl Target {
    /// The client to ask with.
    pub(super) fn client(&self) -> Result<&Client, String> {
        let shared = &self.client.shared;
        let client = shared
            .client
            .get_or_init(|| http::client(&shared.options).map_err(|error| error.to_string()));
        client.as_ref().map_err(Clone::clone)
    }

    /// How large an answer may be.
    pub(super) fn max_response_bytes(&self) -> u64 {
        self.client.shared.options.max_response_bytes
    }
}

type Registry = RwLock<BTreeMap<String, Arc<Target>>>;

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(Registry::default)
}

/// The host suffix of registered remotes. `.invalid` never resolves, so that a
/// URL that slipped through to another transport reaches nobody.
const HOST_SUFFIX: &str = ".git-remote.invalid";

/// The remote behind a URL that libgit2 was given.
pub(super) fn target(url: &str) -> Option<Arc<Target>> {
    let url = Url::parse(url).ok()?;
    let key = url.host_str()?;
    registry().read().ok()?.get(key).cloned()
}

/// A registered remote. It is known to the transport until this is dropped.
#[derive(Debug)]
pub struct RemoteHandle {
    key: String,
    url: String,
    shown: String,
}

impl RemoteHandle {
    /// The URL to give to libgit2. It means something in this process only.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The real URL, without credentials, for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl Drop for RemoteHandle {
    fn drop(&mut self) {
        if let Ok(mut remotes) = registry().write() {
            remotes.remove(&self.key);
        }
    }
}

/// Why a URL cannot be a remote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteUrlError {
    /// It is not a URL.
    #[error("the remote is not a URL")]
    NotAUrl,
    /// Its scheme is neither `http` nor `https`.
    #[error("`{0}` remotes are not supported; use http, https or a local path")]
    Scheme(String),
    /// It carries a user name or password.
    #[error("the remote's URL carries a credential; give it in the settings instead")]
    Credential,
}

impl GitHttp {
    /// A client with these options.
    pub fn new(options: HttpOptions) -> Self {
        http::install();
        Self {
            shared: Arc::new(Shared {
                options,
                client: OnceLock::new(),
            }),
        }
    }

    /// Makes a remote known under a URL of its own.
    ///
    /// *Errors*: the URL is not `http(s)`, or carries a credential.
    pub fn remote(
        &self,
        url: &str,
        credential: Option<CredentialSource>,
    ) -> Result<RemoteHandle, RemoteUrlError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let url = Url::parse(url).map_err(|_| RemoteUrlError::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(RemoteUrlError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RemoteUrlError::Credential);
        }
        let key = format!("r{}{HOST_SUFFIX}", NEXT.fetch_add(1, Ordering::Relaxed));
        let handle = RemoteHandle {
            url: format!("https://{key}/"),
            shown: url.to_string(),
            key: key.clone(),
        };
        let target = Arc::new(Target {
            url,
            credential,
            client: self.clone(),
        });
        let mut remotes = registry()
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        remotes.insert(key, target);
        Ok(handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_with_one_url_are_kept_apart_and_forgotten_when_dropped() {
        let git = GitHttp::new(HttpOptions::default());
        let first = git.remote("https://forge.example/o/r.git", None).unwrap();
        let second = git.remote("https://forge.example/o/r.git", None).unwrap();
        assert_ne!(first.url(), second.url());
        assert_eq!(
            target(first.url()).unwrap().url.as_str(),
            "https://forge.example/o/r.git"
        );
        let url = first.url().to_owned();
        drop(first);
        assert!(target(&url).is_none());
        assert!(target(second.url()).is_some());
    }

    #[test]
    fn urls_with_credentials_or_other_schemes_are_refused() {
        let git = GitHttp::new(HttpOptions::default());
        assert_eq!(
            git.remote("https://x:y@forge.example/r", None).unwrap_err(),
            RemoteUrlError::Credential
        );
        assert!(matches!(
            git.remote("ssh://forge.example/r", None),
            Err(RemoteUrlError::Scheme(_))
        ));
        assert_eq!(
            git.remote("not a url", None).unwrap_err(),
            RemoteUrlError::NotAUrl
        );
    }
}
