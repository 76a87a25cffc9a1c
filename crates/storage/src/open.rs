//! Creates the object store of a location. It keeps no state: callers that open a location often should keep the store.

use std::sync::Arc;
use std::time::Duration;

use mms_http::HttpClient;
use object_store::azure::{AzureCredential, AzureCredentialProvider, MicrosoftAzureBuilder};
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig, StaticCredentialProvider};
use secrecy::ExposeSecret;
use url::Url;

use crate::credential::sas_pairs;
use crate::local::LocalFolder;
use crate::login::Login;
use crate::transport::Handed;
use crate::{AzureLocation, ServicePrincipal, StorageCredential, StorageError, StorageLocation};

/// How requests to storage are made.
#[derive(Clone, Debug)]
pub struct StorageSettings {
    /// The client of the network connection, whose allowed hosts and time limits apply to each request.
    pub client: HttpClient,
    /// Replaces `https://<account>.blob.<suffix>`: an emulator, or a private endpoint. The container is appended.
    pub endpoint: Option<Url>,
    /// Maximum number of retries after a transient failure (5xx, 429, 408, connection errors).
    pub max_retries: usize,
    /// Time after the first attempt during which retries may begin.
    pub retry_timeout: Duration,
}

impl StorageSettings {
    /// Five retries within a minute. Longer waits are left to the task, which can be given to another worker.
    pub fn new(client: HttpClient) -> Self {
        Self {
            client: client.to_end("storage"),
            endpoint: None,
            max_retries: 5,
            retry_timeout: Duration::from_secs(60),
        }
    }

    fn retry(&self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(10),
                base: 2.0,
            },
            max_retries: self.max_retries,
            retry_timeout: self.retry_timeout,
        }
    }
}

/// Opens the store of `location`: the whole container or the whole file system, so that paths inside it are those of
/// [`StorageLocation::object_path`]. Sends no request.
///
/// # Errors
/// A credential that does not fit the location, or is malformed.
pub fn open(
    location: &StorageLocation,
    credential: &StorageCredential,
    settings: &StorageSettings,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    match (location, credential) {
        (StorageLocation::Local(folder), StorageCredential::None) => Ok(Arc::new(LocalFolder::new(folder))),
        (StorageLocation::Local(_), other) => Err(StorageError::CredentialMismatch {
            credential: other.kind(),
            location: location.to_string(),
            rule: "local files are read with the rights of this process",
        }),
        (StorageLocation::Azure(azure), credential) => open_azure(location, azure, credential, settings),
    }
}

fn open_azure(
    location: &StorageLocation,
    azure: &AzureLocation,
    credential: &StorageCredential,
    settings: &StorageSettings,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let endpoint = settings
        .endpoint
        .as_ref()
        .map_or_else(|| azure.blob_endpoint(), |url| url.as_str().trim_end_matches('/').to_owned());
    let plain_http = endpoint.starts_with("http://");
    let builder = MicrosoftAzureBuilder::new()
        .with_account(azure.account())
        .with_container_name(azure.container())
        .with_endpoint(endpoint)
        // The endpoint was checked for plain HTTP already, and the handed client checks it by its own rule.
        .with_allow_http(plain_http)
        .with_client_options(ClientOptions::new().with_allow_http(plain_http))
        .with_http_connector(Handed::new(settings.client.clone()))
        .with_retry(settings.retry());
    let builder = match credential {
        StorageCredential::Sas(sas) | StorageCredential::VendedSas(sas) => {
            let pairs = sas_pairs(sas).ok_or_else(|| StorageError::MalformedSas { location: location.to_string() })?;
            let fixed = StaticCredentialProvider::new(AzureCredential::SASToken(pairs));
            builder.with_credentials(Arc::new(fixed))
        }
        StorageCredential::ServicePrincipal(principal) => {
            let shared = shared_token(principal, builder.clone());
            let shared =
                shared.map_err(|e| StorageError::Open { location: location.to_string(), reason: e.to_string() })?;
            builder.with_credentials(shared)
        }
        StorageCredential::None => builder.with_skip_signature(true),
    };
    let store =
        builder.build().map_err(|e| StorageError::Open { location: location.to_string(), reason: e.to_string() })?;
    Ok(Arc::new(store))
}

/// The token of a service principal, shared by all stores that are opened with it.
fn shared_token(
    principal: &ServicePrincipal,
    builder: MicrosoftAzureBuilder,
) -> object_store::Result<AzureCredentialProvider> {
    if let Some(shared) = principal.token.get() {
        return Ok(Arc::clone(shared));
    }
    let ServicePrincipal { tenant, client_id, client_secret, authority_host, .. } = principal;
    let builder = builder.with_client_secret_authorization(client_id, client_secret.expose_secret(), tenant);
    let builder = match authority_host {
        Some(host) => builder.with_authority_host(host.trim_end_matches('/')),
        None => builder,
    };
    let made: AzureCredentialProvider = Arc::new(Login::new(Arc::clone(builder.build()?.credentials())));
    Ok(Arc::clone(principal.token.get_or_init(|| made)))
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
