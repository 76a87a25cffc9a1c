//! Owns [`Token`]: a token of an OAuth client, how it is asked for, and how long it is used. It must never show a secret, nor
//! quote an answer that may hold one.

use std::time::Duration;

use mms_http::redact::remember;
use mms_http::{HttpClient, HttpError, Method};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::time::Instant;

use crate::workspace::answered;
use crate::{DatabricksError, WorkspaceUrl};

const CALL: &str = "POST /oidc/v1/token";
/// Every API that the service principal may use.
const FORM: &str = "grant_type=client_credentials&scope=all-apis";
/// Longest wait for a token: all who need it wait with whoever asks.
const LIMIT: Duration = Duration::from_secs(30);
/// Of its life, how much passes before another is asked for.
const USED: f64 = 0.8;
/// The same is asked for again so long after that failed, while the token lasts.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A token, and when it is due.
pub(crate) struct Token {
    pub(crate) secret: SecretString,
    renew: Instant,
    ends: Instant,
}

/// How far a token's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It is used as it is.
    Good,
    /// It is good, and another is to be asked for.
    Due,
    /// It has ended.
    Over,
}

impl Token {
    /// One that lasts so long from when it was asked for.
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

    /// No other was given: this one is used on for a while, at most to its end.
    pub(crate) fn put_off(&mut self, now: Instant) {
        self.renew = (now + ASK_AGAIN).min(self.ends);
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: u32,
}

/// Asks the workspace for a token, once.
///
/// # Errors
/// `Login` when the id or secret is not taken; else what kept the answer away.
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
    // The parser's words are left out: they may quote the token.
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
        /// Whatever it lasts: good, then due for at most a fifth of its life, then over; and it is put off to its end at most.
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
