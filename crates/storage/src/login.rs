//! Marks failures of the login endpoint, so that they can be told from failures of the storage. A refusal by the login endpoint
//! is a [`Refusal`](crate::Refusal) already and is not marked. Fetches nothing itself.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::azure::{AzureCredential, AzureCredentialProvider};

/// A credential provider that gets its tokens from a login endpoint.
#[derive(Debug)]
pub(crate) struct Login(AzureCredentialProvider);

impl Login {
    pub(crate) fn new(inner: AzureCredentialProvider) -> Self {
        Self(inner)
    }
}

#[async_trait]
impl CredentialProvider for Login {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        self.0
            .get_credential()
            .await
            .map_err(|error| object_store::Error::Generic { store: "login", source: Box::new(LoginFailed(error)) })
    }
}

/// The login endpoint returned no token.
#[derive(Debug, thiserror::Error)]
#[error("the login endpoint returned no token: {0}")]
struct LoginFailed(#[source] object_store::Error);

/// Whether an error came from the login endpoint, however it was wrapped on its way.
pub(crate) fn is_of_login(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<LoginFailed>() {
            return true;
        }
        next = error.source();
    }
    false
}
