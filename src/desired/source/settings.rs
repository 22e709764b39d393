//! Where the config repo is and which commit of it counts.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

use crate::{
    domain::ids::CommitSha,
    git::{CredentialSource, HttpOptions},
};

/// How many of a hundred documents a commit may remove without saying so.
const PRUNE_PERCENT: u8 = 20;

/// Where the config repo is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// At an `http` or `https` URL.
    Remote(String),
    /// In a folder of this machine: a bare repository or a work tree. Only what is committed counts.
    Local(PathBuf),
}

impl FromStr for Location {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.strip_prefix("file://") {
            Some(path) => Self::Local(PathBuf::from(path)),
            None if text.contains("://") => Self::Remote(text.to_owned()),
            None => Self::Local(PathBuf::from(text)),
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What looks like a credential is not shown, even where it is going to be refused.
            Self::Remote(url) => match url.split_once("://") {
                Some((scheme, rest)) => {
                    let host_and_path = rest.split_once('@').map_or(rest, |(_, after)| after);
                    write!(f, "{scheme}://{host_and_path}")
                }
                None => f.write_str(url),
            },
            Self::Local(path) => path.display().fmt(f),
        }
    }
}

/// Which commit counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The newest of a branch.
    Branch(String),
    /// The one a tag points at.
    Tag(String),
    /// This one.
    Sha(CommitSha),
}

impl FromStr for Reference {
    type Err = Infallible;

    /// `branch:NAME`, `tag:NAME`, `sha:ID`, a full object id, or the name of a branch.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if let Some(name) = text.strip_prefix("tag:") {
            Self::Tag(name.to_owned())
        } else if let Some(name) = text.strip_prefix("branch:") {
            Self::Branch(name.to_owned())
        } else if let Some(id) = text.strip_prefix("sha:") {
            Self::Sha(CommitSha::new(id.to_lowercase()))
        } else if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Self::Sha(CommitSha::new(text.to_lowercase()))
        } else {
            Self::Branch(text.to_owned())
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) => write!(f, "branch `{name}`"),
            Self::Tag(name) => write!(f, "tag `{name}`"),
            Self::Sha(sha) => write!(f, "commit {sha}"),
        }
    }
}

/// Settings of a source.
#[derive(Clone)]
pub struct SourceSettings {
    /// Where the config repo is.
    pub location: Location,
    /// Which commit counts.
    pub reference: Reference,
    /// Where a remote's objects are kept. It may be lost at any time. Not used for a local one.
    pub cache: PathBuf,
    /// What to authenticate with.
    pub credential: Option<CredentialSource>,
    /// How a remote is reached.
    pub http: HttpOptions,
    /// The one commit that may count although it does not descend from the last accepted one.
    pub allow_rewind: Option<CommitSha>,
    /// How many of a hundred documents a commit may remove without a trailer.
    pub prune_percent: u8,
}

impl SourceSettings {
    /// Settings for a location, with defaults for all else.
    pub fn new(location: Location, reference: Reference, cache: PathBuf) -> Self {
        Self {
            location,
            reference,
            cache,
            credential: None,
            http: HttpOptions::default(),
            allow_rewind: None,
            prune_percent: PRUNE_PERCENT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_and_references_are_read_from_text() {
        let location = |text: &str| text.parse::<Location>().unwrap();
        assert_eq!(
            location("/srv/config"),
            Location::Local("/srv/config".into())
        );
        assert_eq!(
            location("file:///srv/config"),
            Location::Local("/srv/config".into())
        );
        assert_eq!(
            location("https://x:secret@forge.example/r").to_string(),
            "https://forge.example/r"
        );
        let reference = |text: &str| text.parse::<Reference>().unwrap();
        assert_eq!(reference("main"), Reference::Branch("main".into()));
        assert_eq!(reference("tag:v1"), Reference::Tag("v1".into()));
        assert_eq!(
            reference(&"A".repeat(40)),
            Reference::Sha(CommitSha::new("a".repeat(40)))
        );
    }
}
