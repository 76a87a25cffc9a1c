//! OAuth machine to machine: the token endpoint for the workspace's only client, and the documents through which the
//! vendor's SDKs find it. It is as strict as the real one: it requires the client's id and secret, one grant type and
//! one scope, and its tokens expire.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The most tokens that are valid at once; the oldest are dropped first.
const TOKENS_MAX: usize = 1000;

/// A service principal with an OAuth secret.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its application id.
    pub id: String,
    /// The client's secret.
    pub secret: SecretString,
    /// How long its tokens are valid, in whole seconds.
    pub token_life: Duration,
}

/// The tokens that were issued, as digests, with the time at which they expire.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<VecDeque<(Vec<u8>, Instant)>>);

/// The endpoint's answer: a status, and a body in OAuth's own form.
pub type Answer = (StatusCode, Value);

fn digest(text: &str) -> Vec<u8> {
    Sha256::digest(text.trim()).to_vec()
}

fn refuse(status: StatusCode, error: &str, description: &str) -> Answer {
    (status, json!({ "error": error, "error_id": uuid::Uuid::new_v4(), "error_description": description }))
}

impl Tokens {
    /// Whether a token was issued and has not expired.
    pub fn has(&self, token: &str) -> bool {
        let (sought, now) = (digest(token), Instant::now());
        self.0.lock().iter().any(|(given, ends)| *given == sought && now < *ends)
    }

    /// Answers a token request.
    pub fn give(&self, client: Option<&Client>, headers: &HeaderMap, form: &[u8]) -> Answer {
        let mut pair = basic(headers).unwrap_or_default();
        let (mut grant_type, mut scope) = (String::new(), String::new());
        for (name, value) in url::form_urlencoded::parse(form) {
            match &*name {
                "client_id" => pair.0 = value.into_owned(),
                "client_secret" => pair.1 = value.into_owned(),
                "grant_type" => grant_type = value.into_owned(),
                "scope" => scope = value.into_owned(),
                _ => {}
            }
        }
        if grant_type != "client_credentials" {
            let text = "The authorization grant type is not supported by the authorization server";
            return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type", text);
        }
        let known = client.filter(|client| {
            (digest(&client.id), digest(client.secret.expose_secret())) == (digest(&pair.0), digest(&pair.1))
        });
        let Some(client) = known else {
            return refuse(StatusCode::UNAUTHORIZED, "invalid_client", "Client authentication failed");
        };
        if scope != "all-apis" {
            return refuse(StatusCode::BAD_REQUEST, "invalid_scope", "The requested scope is invalid");
        }
        let token = format!("eyJ{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let mut given = self.0.lock();
        if given.len() == TOKENS_MAX {
            given.pop_front();
        }
        given.push_back((digest(&token), Instant::now() + client.token_life));
        let seconds = client.token_life.as_secs();
        let body = json!({ "access_token": token, "scope": "all-apis", "token_type": "Bearer", "expires_in": seconds });
        (StatusCode::OK, body)
    }
}

/// User and password of HTTP Basic authentication, if the header has them.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, text) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let text = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':').filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    Some((user.to_owned(), password.to_owned()))
}

/// The endpoints, in the document at the host's root.
pub fn host(base: &str, workspace_id: u64) -> Value {
    json!({ "oidc_endpoint": format!("{base}/oidc"), "workspace_id": workspace_id.to_string(), "cloud": "Azure" })
}

/// The endpoints, in the document of OAuth's discovery standard.
pub fn endpoints(base: &str) -> Value {
    json!({
        "issuer": format!("{base}/oidc"),
        "authorization_endpoint": format!("{base}/oidc/v1/authorize"),
        "token_endpoint": format!("{base}/oidc/v1/token"),
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": ["all-apis"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(tokens: &Tokens, client: Option<&Client>, secret: &str, form: &str) -> (u16, String) {
        let mut headers = HeaderMap::new();
        let basic = format!("Basic {}", STANDARD.encode(format!("mover:{secret}")));
        headers.insert(header::AUTHORIZATION, basic.parse().unwrap());
        let (status, body) = tokens.give(client, &headers, form.as_bytes());
        let told = body.get("error").or_else(|| body.get("access_token")).and_then(Value::as_str).unwrap_or_default();
        (status.as_u16(), told.to_owned())
    }

    #[test]
    fn only_the_client_gets_tokens_and_they_end() {
        let form = "grant_type=client_credentials&scope=all-apis";
        let tokens = Tokens::default();
        let client =
            |life| Client { id: "mover".into(), secret: "right".into(), token_life: Duration::from_secs(life) };
        let (lasting, ended) = (client(60), client(0));
        for (client, secret, form, told) in [
            (Some(&lasting), "wrong", form, (401, "invalid_client")),
            (None, "right", form, (401, "invalid_client")),
            (Some(&lasting), "right", "scope=all-apis", (400, "unsupported_grant_type")),
            (Some(&lasting), "right", "grant_type=client_credentials&scope=sql", (400, "invalid_scope")),
        ] {
            assert_eq!(asked(&tokens, client, secret, form), (told.0, told.1.to_owned()));
        }
        let (status, token) = asked(&tokens, Some(&lasting), "right", form);
        assert!(status == 200 && tokens.has(&token) && !tokens.has("eyJ"), "{token}");
        let (status, token) = asked(&tokens, Some(&ended), "right", form);
        assert!(status == 200 && !tokens.has(&token), "it has ended");
    }
}
