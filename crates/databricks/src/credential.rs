//! Owns [`Credential`]: how a workspace knows us. Its `Debug` must never show a secret.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// How a workspace knows us.
#[derive(Clone)]
pub enum Credential {
    /// A personal access token.
    Token(SecretString),
    /// An OAuth client (machine to machine): its tokens are requested when they are needed.
    Client {
        /// Application id of a service principal.
        id: String,
        /// OAuth secret that Databricks made for it.
        secret: SecretString,
    },
}

impl Credential {
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Token(one), Self::Token(two)) => one.expose_secret() == two.expose_secret(),
            (Self::Client { id: one, secret: first }, Self::Client { id: two, secret: second }) => {
                one == two && first.expose_secret() == second.expose_secret()
            }
            _ => false,
        }
    }
}

impl From<SecretString> for Credential {
    fn from(token: SecretString) -> Self {
        Self::Token(token)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token"),
            Self::Client { id, .. } => f.debug_struct("Client").field("id", id).finish_non_exhaustive(),
        }
    }
}
