//! Who may read the files of the tables.

use std::path::PathBuf;

use mms_http::redact::{remember, remember_encoded};
use mms_proto::registry::v1 as pb;
use mms_storage::StorageCredential;
use pb::databricks_config::StorageAccess;
use secrecy::SecretString;

/// How the files of a data source are read.
#[derive(Debug, Clone)]
pub enum Storage {
    /// With one credential for all tables.
    With(StorageCredential),
    /// With credentials that the workspace vends for each table.
    Vended,
    /// As files of this machine below this folder.
    Local(PathBuf),
}

/// How the files of a data source are read; `None` when it does not say.
pub fn storage(config: &pb::DatabricksConfig) -> Option<Storage> {
    let secret = |text: &String| SecretString::from(text.as_str());
    Some(match config.storage_access.as_ref()? {
        StorageAccess::Sas(sas) => {
            // What is secret in it is the signature; the rest may be shown.
            let pairs = sas.sas.trim_start_matches('?').split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(name, _)| *name == "sig").for_each(|(_, signature)| remember_encoded(signature));
            Storage::With(StorageCredential::Sas(secret(&sas.sas)))
        }
        StorageAccess::ServicePrincipal(principal) => Storage::With(StorageCredential::ServicePrincipal {
            tenant: principal.tenant_id.clone(),
            client_id: principal.client_id.clone(),
            client_secret: {
                remember(&principal.client_secret);
                secret(&principal.client_secret)
            },
            authority_host: (!principal.authority_host.is_empty()).then(|| principal.authority_host.clone()),
        }),
        StorageAccess::Vended(_) => Storage::Vended,
        StorageAccess::LocalFiles(files) => Storage::Local(PathBuf::from(&files.root)),
    })
}
