//! Where desired state is read from.

use std::{fmt, path::PathBuf, str::FromStr};

use secrecy::SecretString;
use url::Url;

use super::{
    Concern, Reader,
    value::{HttpUrl, PathText},
    variables as var,
};
use crate::domain::ids::CommitSha;

/// The config repo and how to reach it.
#[derive(Debug, Clone)]
pub struct ConfigRepo {
    /// Where it is.
    pub location: ConfigLocation,
    /// What of it is followed.
    pub reference: ConfigRef,
    /// The user name that goes with the token.
    pub username: String,
    /// The token that reads it.
    pub token: Option<SecretString>,
    /// A PEM file of further certificates to trust.
    pub ca_bundle: Option<PathBuf>,
    /// The proxy to it.
    pub proxy: Option<Url>,
    /// The one commit that may be accepted although it is no descendant.
    pub allow_rewind: Option<CommitSha>,
}

/// Where the config repo is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigLocation {
    /// A Git server.
    Remote(Url),
    /// A repository on this machine.
    Local(PathBuf),
}

impl FromStr for ConfigLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return text.parse().map(|HttpUrl(url)| Self::Remote(url));
        }
        Ok(Self::Local(PathBuf::from(text)))
    }
}

impl fmt::Display for ConfigLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(url) => url.fmt(f),
            Self::Local(path) => path.display().fmt(f),
        }
    }
}

/// What of the config repo is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigRef {
    /// The head of a branch.
    Branch(String),
    /// A tag.
    Tag(String),
    /// One commit.
    Sha(CommitSha),
}

impl FromStr for ConfigRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write `branch:NAME`, `tag:NAME` or `sha:ID`";
        let (kind, name) = text.split_once(':').ok_or(FORM)?;
        let plain = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
        match kind {
            "branch" if plain(name) => Ok(Self::Branch(name.to_owned())),
            "tag" if plain(name) => Ok(Self::Tag(name.to_owned())),
            "sha" => name.parse().map(|Sha(sha)| Self::Sha(sha)),
            _ => Err(FORM.to_owned()),
        }
    }
}

impl fmt::Display for ConfigRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) => write!(f, "branch:{name}"),
            Self::Tag(name) => write!(f, "tag:{name}"),
            Self::Sha(sha) => write!(f, "sha:{sha}"),
        }
    }
}

/// A whole commit id.
struct Sha(CommitSha);

impl FromStr for Sha {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = matches!(text.len(), 40 | 64) && text.chars().all(|c| c.is_ascii_hexdigit());
        if whole {
            return Ok(Self(CommitSha::new(text.to_ascii_lowercase())));
        }
        Err("a commit id has 40 hexadecimal digits".to_owned())
    }
}

impl Concern for ConfigRepo {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let location = reader.required::<ConfigLocation>(&var::CONFIG_SOURCE);
        let reference = reader.required(&var::CONFIG_REF);
        let username = reader.required(&var::CONFIG_USERNAME);
        let token = reader.optional_secret(&var::CONFIG_TOKEN);
        let ca_bundle = reader.optional::<PathText>(&var::CONFIG_CA_BUNDLE);
        let proxy = reader.optional::<HttpUrl>(&var::CONFIG_PROXY);
        let allow_rewind = reader.optional::<Sha>(&var::CONFIG_ALLOW_REWIND);
        Some(Self {
            location: location?,
            reference: reference?,
            username: username?,
            token: token?,
            ca_bundle: ca_bundle?.map(|PathText(path)| path),
            proxy: proxy?.map(|HttpUrl(url)| url),
            allow_rewind: allow_rewind?.map(|Sha(sha)| sha),
        })
    }
}
