//! The key ring of run tokens: keys by version, the newest of which signs.
//!
//! A token names the version it was made with, so that a key can be rotated
//! while pods with the older one are still at work.

use std::{collections::BTreeMap, fmt};

use secrecy::{ExposeSecret, SecretSlice};

use super::{
    ids::{AttemptNo, RunId},
    run_token::{RunToken, TokenClaim},
};

/// A key ring without a key, or with one too short to be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyRing {
    /// No key at all.
    #[error("the run token key ring is empty")]
    Empty,
    /// A key of fewer than 16 bytes.
    #[error("run token key version {0} is shorter than 16 bytes")]
    Short(i32),
}

/// Keys by version; at least one.
#[derive(Clone)]
pub struct RunKeys {
    keys: BTreeMap<i32, SecretSlice<u8>>,
    newest: i32,
}

impl RunKeys {
    /// Takes keys by version.
    pub fn new(keys: BTreeMap<i32, SecretSlice<u8>>) -> Result<Self, InvalidKeyRing> {
        let short = |key: &SecretSlice<u8>| key.expose_secret().len() < 16;
        if let Some((version, _)) = keys.iter().find(|(_, key)| short(key)) {
            return Err(InvalidKeyRing::Short(*version));
        }
        let newest = *keys.keys().next_back().ok_or(InvalidKeyRing::Empty)?;
        Ok(Self { keys, newest })
    }

    /// The version that new attempts are made with.
    pub fn newest(&self) -> i32 {
        self.newest
    }

    /// The token of an attempt under a version; `None` where that key is gone.
    pub fn token(&self, key_version: i32, run: RunId, attempt: AttemptNo) -> Option<RunToken> {
        let key = self.keys.get(&key_version)?;
        let claim = TokenClaim {
            key_version,
            run,
            attempt,
        };
        Some(RunToken::derive(key.expose_secret(), claim))
    }

    /// What a token speaks for, if it was made with a key of this ring. The
    /// signature is computed even where the version is unknown, so that the
    /// answer's time says nothing of which versions exist.
    pub fn verify(&self, token: &RunToken) -> Option<TokenClaim> {
        let claim = token.claim()?;
        let known = self.keys.get(&claim.key_version);
        let key = known.or_else(|| self.keys.get(&self.newest))?;
        let verified = token.verify(key.expose_secret());
        known.and(verified)
    }
}

impl fmt::Debug for RunKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunKeys")
            .field("versions", &self.keys.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(versions: &[i32]) -> RunKeys {
        let key = |v: &i32| {
            let bytes = format!("key number {v} of the ring").into_bytes();
            (*v, SecretSlice::from(bytes))
        };
        RunKeys::new(versions.iter().map(key).collect()).unwrap()
    }

    #[test]
    fn a_token_of_an_older_key_is_good_until_the_key_goes() {
        let run = RunId(uuid::Uuid::from_u128(3));
        let token = ring(&[1]).token(1, run, AttemptNo(1)).unwrap();
        assert!(ring(&[1, 2]).verify(&token).is_some());
        assert!(ring(&[2]).verify(&token).is_none());
    }

    #[test]
    fn empty_rings_and_short_keys_are_refused() {
        assert_eq!(
            RunKeys::new(BTreeMap::new()).unwrap_err(),
            InvalidKeyRing::Empty
        );
        let short = BTreeMap::from([(4, b"short".to_vec().into())]);
        assert_eq!(RunKeys::new(short).unwrap_err(), InvalidKeyRing::Short(4));
    }
}
