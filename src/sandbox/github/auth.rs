//! Who a request is from: tokens, installation tokens, an app's JWT.

use base64::Engine as _;
use chrono::TimeDelta;
use serde_json::Value;

use super::reply::Reply;
use super::world::{Principal, Token, World};

/// GitHub refuses JWTs that live longer than ten minutes.
const LONGEST_JWT: TimeDelta = TimeDelta::minutes(10);

/// How much an app's clock may be ahead.
const CLOCK_DRIFT: TimeDelta = TimeDelta::seconds(60);

/// The credential text of an `Authorization` header: bearer, token, or basic's password.
pub(super) fn credential(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => Some(rest.trim().to_owned()),
        "basic" => {
            let plain = base64::engine::general_purpose::STANDARD
                .decode(rest.trim())
                .ok()?;
            let plain = String::from_utf8(plain).ok()?;
            let (user, password) = plain.split_once(':')?;
            let text = if password.is_empty() || password == "x-oauth-basic" {
                user
            } else {
                password
            };
            Some(text.to_owned())
        }
        _ => None,
    }
}

/// Looks a credential up.
pub(super) fn authenticate(
    world: &World,
    header: Option<&str>,
) -> Result<(Principal, Token), Reply> {
    let Some(header) = header else {
        return Err(Reply::error(401, "Requires authentication"));
    };
    let bad = || Reply::error(401, "Bad credentials");
    let text = credential(header).ok_or_else(bad)?;
    if text.matches('.').count() == 2 {
        return app_jwt(world, &text);
    }
    let token = world.tokens.get(&text).ok_or_else(bad)?;
    if token.expires_at.is_some_and(|at| at <= world.now()) {
        return Err(bad());
    }
    if let Principal::Installation { app } = token.principal
        && world.apps.get(&app).is_none_or(|app| app.suspended)
    {
        return Err(Reply::error(403, "This installation has been suspended"));
    }
    Ok((token.principal, token.clone()))
}

/// Checks an app's JWT loosely: well-formed RS256, a known issuer, times in order.
/// The signature is not verified: the model keeps no public keys.
fn app_jwt(world: &World, text: &str) -> Result<(Principal, Token), Reply> {
    let undecodable = || Reply::error(401, "A JSON web token could not be decoded");
    let mut parts = text.split('.').map(decoded);
    let (header, claims) = (parts.next().flatten(), parts.next().flatten());
    let (header, claims) = header.zip(claims).ok_or_else(undecodable)?;
    if header.get("alg").and_then(Value::as_str) != Some("RS256") {
        return Err(undecodable());
    }
    let seconds = |name: &str| claims.get(name).and_then(Value::as_i64);
    let (issued, expires) = seconds("iat").zip(seconds("exp")).ok_or_else(undecodable)?;
    // Whoever signs one has the machine's clock, however far the model's is moved.
    let now = chrono::Utc::now().timestamp();
    if expires <= now || expires - now > (LONGEST_JWT + CLOCK_DRIFT).num_seconds() {
        let message = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires";
        return Err(Reply::error(401, message));
    }
    if issued > now + CLOCK_DRIFT.num_seconds() {
        let message = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued";
        return Err(Reply::error(401, message));
    }
    let issuer = match claims.get("iss") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Err(undecodable()),
    };
    let app = world
        .apps
        .values()
        .find(|app| issuer == app.id.to_string() || issuer == app.client_id());
    let app = app
        .ok_or_else(|| Reply::error(401, "Integration not found"))?
        .id;
    let principal = Principal::App { app };
    Ok((
        principal,
        Token {
            principal,
            repositories: None,
            permissions: None,
            expires_at: None,
        },
    ))
}

fn decoded(part: &str) -> Option<Value> {
    let plain = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(part)
        .ok()?;
    serde_json::from_slice(&plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_read_from_bearer_token_and_basic() {
        assert_eq!(credential("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(credential("token abc").as_deref(), Some("abc"));
        // x-access-token:abc
        assert_eq!(
            credential("Basic eC1hY2Nlc3MtdG9rZW46YWJj").as_deref(),
            Some("abc")
        );
        assert_eq!(credential("Digest abc"), None);
    }
}
