//! Comparing credentials in a time that tells nothing of them.

use hmac::{Hmac, Mac};
use http::{HeaderMap, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Whether two texts are equal, in a time that depends on neither's content.
pub(crate) fn same(expected: &SecretString, given: &str) -> bool {
    let mac = |text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(expected.expose_secret().as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        mac
    };
    let reference = mac(expected.expose_secret()).finalize().into_bytes();
    mac(given).verify_slice(&reference).is_ok()
}

/// The bearer token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_texts_are_the_same() {
        let expected = SecretString::from("a-staff-token");
        assert!(same(&expected, "a-staff-token"));
        for wrong in ["", "a-staff-toke", "a-staff-token ", "A-staff-token"] {
            assert!(!same(&expected, wrong), "{wrong}");
        }
    }
}
