//! The credentials by which a location is read. Secrets stay in [`SecretString`], so that no `Debug` output shows one.

use std::fmt;
use std::sync::{Arc, OnceLock};

use object_store::azure::AzureCredentialProvider;
use secrecy::{ExposeSecret, SecretString};

/// The credential by which a storage location is read.
#[derive(Clone, Debug)]
pub enum StorageCredential {
    /// A shared access signature: account, container or user delegation. The rights Read and List suffice.
    Sas(SecretString),
    /// A SAS that the source's catalog vended for one table; it is valid for about an hour.
    VendedSas(SecretString),
    /// An Entra application with a role on the storage account.
    ServicePrincipal(ServicePrincipal),
    /// No credential: for local files, and for containers that allow anonymous reading.
    None,
}

/// An Entra application. Its clones share one token, which is fetched when it is first needed and again before it expires.
#[derive(Clone)]
pub struct ServicePrincipal {
    pub(crate) tenant: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: SecretString,
    pub(crate) authority_host: Option<String>,
    /// Set by the first store that is opened, whose HTTP client then fetches the token for all.
    pub(crate) token: Arc<OnceLock<AzureCredentialProvider>>,
}

impl ServicePrincipal {
    /// An application of a directory. If `authority_host` is `None`, the login endpoint is `https://login.microsoftonline.com`.
    pub fn new(tenant: String, client_id: String, client_secret: SecretString, authority_host: Option<String>) -> Self {
        Self { tenant, client_id, client_secret, authority_host, token: Arc::default() }
    }
}

impl fmt::Debug for ServicePrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServicePrincipal").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl StorageCredential {
    /// The kind of credential in words, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sas(_) => "a shared access signature",
            Self::VendedSas(_) => "a vended shared access signature",
            Self::ServicePrincipal(_) => "a service principal",
            Self::None => "no credential",
        }
    }
}

/// Splits a SAS into decoded pairs; `None` if it is not a signed query string. Object stores encode the pairs again, so a pair
/// that stayed encoded would not match its signature.
pub(crate) fn sas_pairs(sas: &SecretString) -> Option<Vec<(String, String)>> {
    let text = sas.expose_secret().trim();
    let text = text.strip_prefix('?').unwrap_or(text);
    if text.is_empty() || text.contains("://") || text.split('&').any(|pair| !pair.contains('=')) {
        return None;
    }
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(text.replace('+', "%2B").as_bytes())
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    let signed = pairs.iter().any(|(key, value)| key == "sig" && !value.is_empty());
    signed.then_some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sas_is_split_with_or_without_question_mark() {
        let expected = vec![("sv".to_owned(), "2023-11-03".to_owned()), ("sig".to_owned(), "a+b/c=".to_owned())];
        for text in
            ["?sv=2023-11-03&sig=a%2Bb%2Fc%3D", "sv=2023-11-03&sig=a+b%2Fc%3D", " sv=2023-11-03&sig=a%2Bb/c%3D\n"]
        {
            assert_eq!(sas_pairs(&text.into()), Some(expected.clone()), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_signed_query_string_is_refused() {
        for text in ["", "?", "abc", "sv=1&se=2", "sig=", "https://a.blob.core.windows.net/c?sig=x", "sig=a&&sv=1"] {
            assert_eq!(sas_pairs(&text.into()), None, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let all = [
            StorageCredential::Sas("sig=canary".into()),
            StorageCredential::VendedSas("sig=canary".into()),
            StorageCredential::ServicePrincipal(ServicePrincipal::new("t".into(), "c".into(), "canary".into(), None)),
        ];
        assert!(!format!("{all:?}").contains("canary"));
    }
}
