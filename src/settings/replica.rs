//! What this process is called among its like.

use std::{fmt, str::FromStr};

use super::{Concern, Reader, variables as var};

/// The longest name, as for a host.
const LONGEST: usize = 63;

/// A replica's name: it stands in the lease and in the `User-Agent` of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaName(String);

impl ReplicaName {
    /// The host's name, as far as it can be one of ours.
    pub fn of_host() -> Self {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let name: String = host
            .chars()
            .filter(|letter| is_fit(*letter))
            .take(LONGEST)
            .collect();
        if name.is_empty() {
            return Self("unnamed".to_owned());
        }
        Self(name)
    }
}

fn is_fit(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-')
}

impl fmt::Display for ReplicaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ReplicaName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > LONGEST || !text.chars().all(is_fit) {
            return Err(format!(
                "must be letters, digits, dots and dashes, at most {LONGEST}"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Concern for ReplicaName {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let given = reader.optional(&var::REPLICA)?;
        Some(given.unwrap_or_else(Self::of_host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_into_a_header() {
        assert!("reconciler-0.platform".parse::<ReplicaName>().is_ok());
        assert!("a b".parse::<ReplicaName>().is_err());
        assert!("".parse::<ReplicaName>().is_err());
        assert!("x".repeat(64).parse::<ReplicaName>().is_err());
        let host = ReplicaName::of_host().to_string();
        assert!(host.parse::<ReplicaName>().is_ok(), "{host}");
    }
}
