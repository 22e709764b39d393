//! The keys of providers and the way to them.

use std::path::PathBuf;

use anyhow::{Context, bail};
use secrecy::SecretString;
use url::Url;

use std::time::Duration;

/// Where providers' keys lie, and the client that calls them.
///
/// A key is the file of its provider's name; it is read at each call, so that a changed key
/// counts at once.
#[derive(Debug, Clone)]
pub struct ModelKeys {
    folder: Option<PathBuf>,
    client: reqwest::Client,
}

impl ModelKeys {
    /// Keys from `folder`, and a client that trusts `ca_file` as well and goes through `proxy`.
    ///
    /// *Errors*: a file that is no certificate, a proxy that is no address.
    pub fn new(
        folder: Option<PathBuf>,
        ca_file: Option<&std::path::Path>,
        proxy: Option<&Url>,
    ) -> anyhow::Result<Self> {
        // A redirect would carry key and conversation elsewhere.
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_mins(5));
        if let Some(path) = ca_file {
            let pem = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)?;
            builder = builder.tls_certs_merge(certificates);
        }
        if let Some(proxy) = proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.as_str())?);
        }
        let client = builder.build()?;
        Ok(Self { folder, client })
    }

    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The key of a provider.
    pub(super) async fn key(&self, provider: &str) -> anyhow::Result<SecretString> {
        let folder = self.folder.as_ref().context("no folder of keys is set")?;
        // Names come from the checked config; this keeps a mistake there inside the folder.
        if provider.contains(['/', '\\']) || provider.starts_with('.') {
            bail!("`{provider}` is no name of a file");
        }
        let path = folder.join(provider);
        let text = tokio::fs::read_to_string(&path).await;
        let text = text.with_context(|| format!("read {}", path.display()))?;
        let key = text.trim();
        anyhow::ensure!(!key.is_empty(), "{} is empty", path.display());
        Ok(key.to_owned().into())
    }

    /// The keys of all providers, for those who look for them where they must not be. One that
    /// cannot be read now is left out: no call can use it either.
    pub(crate) async fn all(&self) -> Vec<SecretString> {
        let Some(folder) = &self.folder else {
            return Vec::new();
        };
        let Ok(mut entries) = tokio::fs::read_dir(folder).await else {
            return Vec::new();
        };
        let mut keys = Vec::new();
        while let Ok(Some(entry)) = entries.next_entry().await {
            // A mounted Secret keeps its versions in folders that begin with a dot.
            let name = entry.file_name();
            if let Some(name) = name.to_str().filter(|name| !name.starts_with('.'))
                && let Ok(key) = self.key(name).await
            {
                keys.push(key);
            }
        }
        keys
    }
}
