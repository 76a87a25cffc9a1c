//! Authenticates callers: nothing below `/api` and `/sql` answers without the user's bearer token, or one that was
//! issued to the OAuth client.

use http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::USER_NAME;
use super::answer::Refusal;
use super::oauth::{Client, Tokens};

/// The name of the authenticated caller.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller(pub String);

/// The credentials that are accepted.
#[derive(Debug)]
pub struct Known {
    /// The user's personal access token.
    pub token: SecretString,
    pub client: Option<Client>,
    /// The tokens that were issued to the client.
    pub tokens: Tokens,
}

/// Rejects as the real gateway does: 401 without a bearer token, 403 with one that is unknown or expired.
pub fn check(headers: &HeaderMap, known: &Known) -> Result<Caller, Refusal> {
    let gateway = |status: StatusCode, message: &str| Refusal {
        status,
        code: Value::from(status.as_u16()),
        message: message.to_owned(),
        reason: None,
    };
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, sent) = sent.split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        let message = "Credential was not sent or was of an unsupported type for this API.";
        return Err(gateway(StatusCode::UNAUTHORIZED, message));
    }
    // Compares digests, so that the time it takes reveals nothing about the token.
    if Sha256::digest(sent.trim()) == Sha256::digest(known.token.expose_secret()) {
        return Ok(Caller(USER_NAME.to_owned()));
    }
    match &known.client {
        Some(client) if known.tokens.has(sent) => Ok(Caller(client.id.clone())),
        _ => Err(gateway(StatusCode::FORBIDDEN, "Invalid access token.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_passes() {
        let known = Known { token: "dapi1".into(), client: None, tokens: Tokens::default() };
        let status = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            check(&headers, &known).err().map(|refusal| refusal.status.as_u16())
        };
        assert_eq!(check(&HeaderMap::new(), &known).unwrap_err().status, StatusCode::UNAUTHORIZED);
        assert_eq!(status("Basic ZGFwaTE="), Some(401));
        assert_eq!(status("Bearer dapi2"), Some(403));
        assert_eq!(status("Bearer "), Some(403));
        assert_eq!(status("bearer dapi1"), None);
    }
}
