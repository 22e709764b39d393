//! The run token: all that a pod holds. HMAC over (key version, run, attempt),
//! so that a retried apply makes the same Secret, and checked at every call.

use std::fmt;

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::ids::{AttemptNo, RunId};

/// A run token's text. Never printed, never serialised.
#[derive(Clone)]
pub struct RunToken(SecretString);

/// What a token claims to be for; true only once [`RunToken::verify`] said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenClaim {
    /// The version of the key it was made with.
    pub key_version: i32,
    /// The run.
    pub run: RunId,
    /// The attempt.
    pub attempt: AttemptNo,
}

impl RunToken {
    /// Makes the token of an attempt: the same each time.
    pub fn derive(key: &[u8], claim: TokenClaim) -> Self {
        let mac = mac(key, claim).finalize().into_bytes();
        Self(SecretString::from(format!(
            "ck8s_{}_{}_{}_{}",
            claim.key_version,
            claim.run.0.simple(),
            claim.attempt,
            hex::encode(mac)
        )))
    }

    /// Takes a token as it came in.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// What the token claims, unverified; `None` where it has not the form of one.
    pub fn claim(&self) -> Option<TokenClaim> {
        let mut parts = self.0.expose_secret().strip_prefix("ck8s_")?.split('_');
        Some(TokenClaim {
            key_version: parts.next()?.parse().ok()?,
            run: parts.next()?.parse().ok()?,
            attempt: AttemptNo(parts.next()?.parse().ok()?),
        })
    }

    /// Whether the token was made with this key, compared in constant time.
    pub fn verify(&self, key: &[u8]) -> Option<TokenClaim> {
        let claim = self.claim()?;
        let given = hex::decode(self.0.expose_secret().rsplit('_').next()?).ok()?;
        mac(key, claim).verify_slice(&given).ok()?;
        Some(claim)
    }

    /// The text, for the Secret and the request header only.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for RunToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunToken(…)")
    }
}

fn mac(key: &[u8], claim: TokenClaim) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(
        format!(
            "run-token/{}/{}/{}",
            claim.key_version, claim.run, claim.attempt
        )
        .as_bytes(),
    );
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(attempt: i32) -> TokenClaim {
        TokenClaim {
            key_version: 1,
            run: RunId(uuid::Uuid::from_u128(9)),
            attempt: AttemptNo(attempt),
        }
    }

    #[test]
    fn a_token_speaks_for_its_attempt_under_its_key_only() {
        let token = RunToken::derive(b"key", claim(1));
        assert_eq!(token.verify(b"key"), Some(claim(1)));
        assert_eq!(token.verify(b"other"), None);
        let forged = token.expose().replace("_1_", "_2_");
        assert_eq!(RunToken::from_text(forged).verify(b"key"), None);
        assert_eq!(RunToken::from_text("ck8s_1").verify(b"key"), None);
    }

    #[test]
    fn a_token_is_not_printed() {
        let token = RunToken::derive(b"key", claim(1));
        assert!(!format!("{token:?}").contains("ck8s_"));
    }
}
