//! Owns [`Principal`]: what all callers of a process share that come to one workspace as the same principal, whichever client
//! of theirs they come with: its token, and how many requests are under way. The secrets stay here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use mms_http::HttpClient;
use secrecy::SecretString;
use tokio::time::Instant;

use crate::gate::Gate;
use crate::oauth::{self, Life, Token};
use crate::{Credential, DatabricksError, WorkspaceUrl};

/// Principals known at once; of more, those used last. One that is forgotten asks for its token again.
const MOST: usize = 256;

static KNOWN: Mutex<VecDeque<Arc<Principal>>> = Mutex::new(VecDeque::new());

/// One principal at one workspace.
pub(crate) struct Principal {
    url: WorkspaceUrl,
    credential: Credential,
    /// How many tokens there were, and the last.
    token: tokio::sync::Mutex<(u64, Option<Token>)>,
    pub(crate) gate: Gate,
}

/// What a request shows.
pub(crate) struct Bearer {
    pub(crate) secret: SecretString,
    /// Which token of an OAuth client it is, unless it was given for this very request.
    pub(crate) seen: Option<u64>,
}

impl Principal {
    /// The principal that a process has for this workspace and credential.
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

    /// The OAuth client's id, if it is one.
    pub(crate) fn client_id(&self) -> Option<&str> {
        match &self.credential {
            Credential::Client { id, .. } => Some(id),
            Credential::Token(_) => None,
        }
    }

    /// What to show now. One caller asks for a token, and the others wait for it.
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
                    tracing::warn!(%error, "the token is used on until it ends");
                    token.put_off(Instant::now());
                    Ok(Bearer { secret: token.secret.clone(), seen: Some(*count) })
                }
                _ => Err(error),
            },
        }
    }

    /// Asks for a token whatever there is, so that the secret itself is tried; all use it from then on.
    pub(crate) async fn log_in(&self, http: &HttpClient) -> Result<(), DatabricksError> {
        let spent = self.token.lock().await.0;
        self.bearer(http, Some(spent)).await.map(drop)
    }
}
