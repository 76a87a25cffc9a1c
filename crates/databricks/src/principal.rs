//! Owns [`Principal`]: what all callers of a process share that use one workspace as the same principal, through whichever
//! client: the token, and the number of requests under way. Its secrets must not leave this module except as the bearer of a
//! request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use mms_http::HttpClient;
use secrecy::SecretString;
use tokio::time::Instant;

use crate::gate::Gate;
use crate::oauth::{self, Life, Token};
use crate::{Credential, DatabricksError, WorkspaceUrl};

/// Principals that are remembered; beyond that, the least recently used one is forgotten and its next caller asks for a new
/// token.
const MOST: usize = 256;

static KNOWN: Mutex<VecDeque<Arc<Principal>>> = Mutex::new(VecDeque::new());

/// One principal at one workspace.
pub(crate) struct Principal {
    url: WorkspaceUrl,
    credential: Credential,
    /// The number of tokens so far, and the latest one.
    token: tokio::sync::Mutex<(u64, Option<Token>)>,
    pub(crate) gate: Gate,
}

/// The credential of one request.
pub(crate) struct Bearer {
    pub(crate) secret: SecretString,
    /// Number of the OAuth token, by which a caller says later that it was rejected; None for a personal access token.
    pub(crate) seen: Option<u64>,
}

impl Principal {
    /// The process's one principal for this workspace and credential.
    pub(crate) fn of(url: &WorkspaceUrl, credential: Credential) -> Arc<Self> {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |other: &Arc<Self>| other.url == *url && other.credential.is_same(&credential);
        let found = known.iter().position(same).and_then(|at| known.remove(at));
        let found = found.unwrap_or_else(|| {
            let (url, gate) = (url.clone(), Gate::new());
            Arc::new(Self { url, credential, token: tokio::sync::Mutex::default(), gate })
        });
        if known.len() == MOST {
            known.pop_front();
        }
        known.push_back(Arc::clone(&found));
        found
    }

    /// Id of the OAuth client; None for a personal access token.
    pub(crate) fn client_id(&self) -> Option<&str> {
        match &self.credential {
            Credential::Client { id, .. } => Some(id),
            Credential::Token(_) => None,
        }
    }

    /// The credential to send now. `spent` is the number of a token that the workspace rejected. One caller asks for a new
    /// token, and the others wait for it.
    pub(crate) async fn bearer(&self, http: &HttpClient, spent: Option<u64>) -> Result<Bearer, DatabricksError> {
        let (id, secret) = match &self.credential {
            Credential::Token(token) => return Ok(Bearer { secret: token.clone(), seen: None }),
            Credential::Client { id, secret } => (id, secret),
        };
        let mut held = self.token.lock().await;
        let (count, token) = &mut *held;
        let known = token.as_mut().filter(|_| spent != Some(*count));
        let life = known.as_ref().map_or(Life::Over, |token| token.life(Instant::now()));
        if let (Life::Good, Some(token)) = (life, &known) {
            return Ok(Bearer { secret: token.secret.clone(), seen: Some(*count) });
        }
        match oauth::fetch(http, &self.url, id, secret).await {
            Ok(fresh) => {
                let (secret, next) = (fresh.secret.clone(), *count + 1);
                *held = (next, Some(fresh));
                Ok(Bearer { secret, seen: None })
            }
            Err(error) => match known {
                Some(token) if life == Life::Due => {
                    tracing::warn!(%error, "no new token; the present one is used until it expires");
                    token.put_off(Instant::now());
                    Ok(Bearer { secret: token.secret.clone(), seen: Some(*count) })
                }
                _ => Err(error),
            },
        }
    }

    /// Asks for a new token even if there is a good one, so that the secret itself is tested; everybody uses the new one from
    /// then on.
    pub(crate) async fn log_in(&self, http: &HttpClient) -> Result<(), DatabricksError> {
        let spent = self.token.lock().await.0;
        self.bearer(http, Some(spent)).await.map(drop)
    }
}
