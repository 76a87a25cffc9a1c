//! Owns [`Token`]: an OAuth client's token, how it is requested, and how long it is used. Must never show a secret, nor quote
//! an answer that may hold one.

use std::time::Duration;

use mms_http::redact::remember;
use mms_http::{HttpClient, HttpError, Method};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::time::Instant;

use crate::workspace::answered;
use crate::{DatabricksError, WorkspaceUrl};

const CALL: &str = "POST /oidc/v1/token";
/// The scope of every API that the service principal may use.
const FORM: &str = "grant_type=client_credentials&scope=all-apis";
/// Longest wait for a token: all who need it wait for this one request.
const LIMIT: Duration = Duration::from_secs(30);
/// Part of a token's life after which the next one is requested.
const USED: f64 = 0.8;
/// Pause after such a request failed, while the present token is still valid.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A token, with the times of its renewal and its end.
pub(crate) struct Token {
    pub(crate) secret: SecretString,
    renew: Instant,
    ends: Instant,
}

/// How much of a token's life has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It is used.
    Good,
    /// It is still used, and the next one has to be requested.
    Due,
    /// It has expired.
    Over,
}

impl Token {
    /// A token that lasts this long from when it was requested.
    pub(crate) fn new(secret: SecretString, asked: Instant, lasts: Duration) -> Self {
        Self { secret, renew: asked + lasts.mul_f64(USED), ends: asked + lasts }
    }

    pub(crate) fn life(&self, now: Instant) -> Life {
        match () {
            () if now < self.renew => Life::Good,
            () if now < self.ends => Life::Due,
            () => Life::Over,
        }
    }

    /// The next token could not be had: this one is used a little longer, at most until it expires.
    pub(crate) fn put_off(&mut self, now: Instant) {
        self.renew = (now + ASK_AGAIN).min(self.ends);
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: u32,
}

/// Requests a token from the workspace, once.
///
/// # Errors
/// [`DatabricksError::Login`] if the id or the secret is rejected; otherwise why no answer came.
pub(crate) async fn fetch(
    http: &HttpClient,
    url: &WorkspaceUrl,
    id: &str,
    secret: &SecretString,
) -> Result<Token, DatabricksError> {
    let asked = Instant::now();
    let mut endpoint = url.base().clone();
    endpoint.set_path("/oidc/v1/token");
    let request = http
        .request(Method::POST, endpoint)
        .basic(id, secret)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .body(FORM)
        .timeout(LIMIT);
    let response =
        request.send().await.map_err(|source: HttpError| DatabricksError::Http { call: CALL.to_owned(), source })?;
    let bytes = match answered(CALL, response).await {
        Err(DatabricksError::Refused { fault, .. }) if matches!(fault.status, 400 | 401 | 403) => {
            return Err(DatabricksError::Login { client: id.chars().take(256).collect(), fault });
        }
        other => other?,
    };
    // The parser's message is left out, because it may quote the token.
    let refuse = || DatabricksError::Answer {
        call: CALL.to_owned(),
        what: "access_token or expires_in is missing or malformed".to_owned(),
    };
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| refuse())?;
    remember(&answer.access_token);
    Ok(Token::new(answer.access_token.into(), asked, Duration::from_secs(answer.expires_in.into())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever its lifetime, a token is good, then due for at most a fifth of its life, then over; renewal is put off
        /// until its end at most.
        #[test]
        fn a_token_is_renewed_before_it_ends(lasts in 0_u32..100_000, at in 0_u32..200_000, put_off in any::<bool>()) {
            let (lasts, at) = (Duration::from_secs(lasts.into()), Duration::from_secs(at.into()));
            let asked = Instant::now();
            let mut token = Token::new("t".into(), asked, lasts);
            if put_off {
                token.put_off(asked + at);
            }
            let life = token.life(asked + at);
            prop_assert_eq!(life == Life::Over, at >= lasts);
            if !put_off {
                prop_assert_eq!(life == Life::Good, at < lasts.mul_f64(USED));
            } else if at < lasts {
                prop_assert_eq!(life, Life::Good);
            }
        }
    }
}
