//! The run API: where it listens, what its pods are told, what it takes.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf};

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use url::Url;

use super::{
    Concern, Reader,
    cluster::is_cidr,
    value::{Bytes, HttpUrl, PathText},
    variables as var,
};

/// The shortest key that run tokens may be made with.
const MIN_KEY_BYTES: usize = 32;

/// The run API and what its pods are told.
#[derive(Debug, Clone)]
pub struct Run {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How Jobs are told to reach it. With port 0 in `listen` it must be given.
    pub url: Url,
    /// Its addresses where it is outside the cluster; `None` means the platform's pods.
    pub cidr: Option<String>,
    /// The keys that run tokens are made with.
    pub token_keys: TokenKeys,
    /// The image of agent pods whose policy names none.
    pub image: Option<String>,
    /// When nodes pull it.
    pub image_pull_policy: PullPolicy,
    /// The largest log chunk taken, in bytes.
    pub log_chunk_bytes: u64,
    /// The log kept of one attempt at most, in bytes.
    pub log_total_bytes: u64,
    /// The largest pack an agent may push, in bytes.
    pub push_bytes: u64,
    /// Where repositories are kept to check pushes.
    pub git_cache: PathBuf,
    /// The way to providers of models.
    pub models: Models,
}

/// The way to providers of models.
#[derive(Debug, Clone, Default)]
pub struct Models {
    /// The folder of their keys.
    pub keys: Option<PathBuf>,
    /// A PEM file of further certificates to trust.
    pub ca_bundle: Option<PathBuf>,
    /// The proxy to them.
    pub proxy: Option<Url>,
}

/// When nodes pull an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
pub enum PullPolicy {
    /// When the node does not have it.
    IfNotPresent,
    /// Before every start.
    Always,
    /// Never.
    Never,
}

/// One key of the ring.
#[derive(Clone)]
pub struct TokenKey(SecretSlice<u8>);

impl TokenKey {
    /// The key's bytes, for making and checking tokens only.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

/// The keys that run tokens are made with, by version. Never empty.
#[derive(Clone)]
pub struct TokenKeys(BTreeMap<i32, TokenKey>);

impl TokenKeys {
    /// The key of a version; tokens of versions that are gone are refused.
    pub fn get(&self, version: i32) -> Option<&[u8]> {
        self.0.get(&version).map(TokenKey::expose)
    }

    /// The version that new tokens are made with: the highest.
    pub fn current_version(&self) -> i32 {
        self.0.keys().next_back().copied().unwrap_or_default()
    }

    /// The keys by version, for the ring of the run API.
    pub fn by_version(&self) -> BTreeMap<i32, SecretSlice<u8>> {
        let keys = self.0.iter();
        keys.map(|(version, key)| (*version, key.0.clone()))
            .collect()
    }

    /// Reads `VERSION:HEX,…`; the error never repeats a key.
    pub fn parse(secret: &SecretString) -> Result<Self, String> {
        let mut keys = BTreeMap::new();
        let entries = secret.expose_secret().split(',').map(str::trim);
        for (index, entry) in entries.filter(|entry| !entry.is_empty()).enumerate() {
            let place = index + 1;
            let (version, key) = entry
                .split_once(':')
                .ok_or_else(|| format!("entry {place} is not VERSION:HEX"))?;
            let version: i32 = version
                .parse()
                .ok()
                .filter(|version| *version > 0)
                .ok_or_else(|| format!("entry {place} has no version from 1 up"))?;
            let key = hex::decode(key)
                .map_err(|_| format!("the key of version {version} is not hexadecimal"))?;
            if key.len() < MIN_KEY_BYTES {
                return Err(format!(
                    "the key of version {version} is shorter than {MIN_KEY_BYTES} bytes"
                ));
            }
            if keys.insert(version, TokenKey(key.into())).is_some() {
                return Err(format!("version {version} is there twice"));
            }
        }
        if keys.is_empty() {
            return Err("there is no key".to_owned());
        }
        Ok(Self(keys))
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Concern for Run {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let listen = reader.required::<SocketAddr>(&var::RUN_LISTEN);
        let url = reader.optional::<HttpUrl>(&var::RUN_URL);
        let cidr = reader.optional::<String>(&var::RUN_CIDR);
        let token_keys = token_keys(reader);
        let image = reader.optional(&var::RUN_IMAGE);
        let image_pull_policy = reader.required(&var::RUN_IMAGE_PULL_POLICY);
        let log_chunk_bytes = reader.required::<Bytes>(&var::RUN_LOG_CHUNK_BYTES);
        let log_total_bytes = reader.required::<Bytes>(&var::RUN_LOG_TOTAL_BYTES);
        let push_bytes = reader.required::<Bytes>(&var::RUN_PUSH_BYTES);
        let git_cache = reader.required::<PathText>(&var::RUN_GIT_CACHE);
        let model_keys = reader.optional::<PathText>(&var::MODEL_KEYS);
        let model_ca_bundle = reader.optional::<PathText>(&var::MODEL_CA_BUNDLE);
        let model_proxy = reader.optional::<HttpUrl>(&var::MODEL_PROXY);
        if let Some(Some(cidr)) = cidr
            .as_ref()
            .filter(|cidr| cidr.as_ref().is_some_and(|cidr| !is_cidr(cidr)))
        {
            reader.note(
                &var::RUN_CIDR,
                format!("`{cidr}` is not a range such as `192.0.2.7/32`"),
            );
        }
        if let (Some(Bytes(chunk)), Some(Bytes(total))) = (log_chunk_bytes, log_total_bytes)
            && chunk > total
        {
            reader.note(
                &var::RUN_LOG_CHUNK_BYTES,
                "a chunk cannot be larger than the whole log",
            );
        }
        let listen = listen?;
        Some(Self {
            listen,
            url: run_url(url?, listen)?,
            cidr: cidr?,
            token_keys: token_keys?,
            image: image?,
            image_pull_policy: image_pull_policy?,
            log_chunk_bytes: log_chunk_bytes?.0,
            log_total_bytes: log_total_bytes?.0,
            push_bytes: push_bytes?.0,
            git_cache: git_cache?.0,
            models: Models {
                keys: model_keys?.map(|PathText(path)| path),
                ca_bundle: model_ca_bundle?.map(|PathText(path)| path),
                proxy: model_proxy?.map(|HttpUrl(url)| url),
            },
        })
    }
}

fn token_keys(reader: &mut Reader<'_>) -> Option<TokenKeys> {
    let secret = reader.required_secret(&var::RUN_TOKEN_KEYS)?;
    TokenKeys::parse(&secret)
        .map_err(|message| reader.note(&var::RUN_TOKEN_KEYS, message))
        .ok()
}

fn run_url(given: Option<HttpUrl>, listen: SocketAddr) -> Option<Url> {
    given.map_or_else(
        || format!("http://{listen}").parse().ok(),
        |HttpUrl(url)| Some(url),
    )
}
