//! Chooses the credential for a file of a table, by the location of the file.

use std::path::PathBuf;

use mms_http::redact::{remember, remember_encoded};
use mms_proto::registry::v1 as pb;
use mms_storage::{LocalFiles, ServicePrincipal, StorageCredential, StorageLocation};
use pb::storage_access::Access;
use secrecy::SecretString;

use crate::EndError;

/// How the files at one location are read.
#[derive(Debug, Clone)]
pub enum Storage {
    /// With one credential for all tables.
    With(StorageCredential),
    /// With credentials that the workspace vends for each table.
    Vended,
    /// As files of this machine below this folder.
    Local(PathBuf),
}

/// How the files of a data source are read, for each location prefix.
#[derive(Debug, Clone, Default)]
pub struct Storages(Vec<(Option<StorageLocation>, Storage)>);

impl Storages {
    /// Whether no file can be read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether files of this machine may be read: only if one of the prefixes has local access.
    pub fn local_files(&self) -> LocalFiles {
        let local = self.0.iter().any(|(_, storage)| matches!(storage, Storage::Local(_)));
        if local { LocalFiles::Allowed } else { LocalFiles::Refused }
    }

    /// How the files at a location are read: by the longest prefix that contains it. `None` if no prefix does.
    pub fn of(&self, location: &StorageLocation) -> Option<&Storage> {
        let below = |prefix: &Option<StorageLocation>| match prefix {
            None => Some(0),
            Some(prefix) => depth_below(prefix, location),
        };
        let fitting = self.0.iter().filter_map(|(prefix, storage)| Some((below(prefix)?, storage)));
        fitting.max_by_key(|(depth, _)| *depth).map(|(_, storage)| storage)
    }
}

/// The depth of a prefix that contains this location or equals it, in whole path segments; `None` if it does not.
fn depth_below(prefix: &StorageLocation, location: &StorageLocation) -> Option<usize> {
    if !prefix.same_store(location) {
        return None;
    }
    let (prefix, location) = (prefix.object_path().ok()?, location.object_path().ok()?);
    location.prefix_matches(&prefix).then(|| 1 + prefix.parts().count())
}

/// Parses a location prefix of the contract; `None` for an empty one, which matches every location.
///
/// # Errors
/// A text that is not a location.
pub fn location_prefix(text: &str) -> Result<Option<StorageLocation>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    StorageLocation::parse(text, LocalFiles::Allowed).map(Some).map_err(|error| error.to_string())
}

/// Builds the access to the files of a data source.
///
/// # Errors
/// A prefix that is not a location.
pub fn storage(config: &pb::DatabricksSource) -> Result<Storages, EndError> {
    let one = |access: &pb::StorageAccess| {
        let prefix = location_prefix(&access.location_prefix).map_err(EndError::of("databricks.storage"))?;
        Ok(access.access.as_ref().map(|access| (prefix, of(access))))
    };
    let all: Result<Vec<_>, EndError> = config.storage.iter().map(one).collect();
    all.map(|all| Storages(all.into_iter().flatten().collect()))
}

pub(crate) fn of(access: &Access) -> Storage {
    let secret = |text: &String| SecretString::from(text.as_str());
    match access {
        Access::AzureSas(sas) => {
            // Only the signature is secret; the other parameters may be shown.
            let pairs = sas.sas.trim_start_matches('?').split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(name, _)| *name == "sig").for_each(|(_, signature)| remember_encoded(signature));
            Storage::With(StorageCredential::Sas(secret(&sas.sas)))
        }
        Access::AzureServicePrincipal(principal) => {
            remember(&principal.client_secret);
            let authority_host = (!principal.authority_host.is_empty()).then(|| principal.authority_host.clone());
            Storage::With(StorageCredential::ServicePrincipal(ServicePrincipal::new(
                principal.tenant_id.clone(),
                principal.client_id.clone(),
                secret(&principal.client_secret),
                authority_host,
            )))
        }
        Access::Vended(_) => Storage::Vended,
        Access::LocalFiles(files) => Storage::Local(PathBuf::from(&files.root)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(prefix: &str, root: &str) -> pb::StorageAccess {
        let access = Access::LocalFiles(pb::LocalFiles { root: root.to_owned() });
        pb::StorageAccess { location_prefix: prefix.to_owned(), access: Some(access) }
    }

    fn root_of(storages: &Storages, place: &str) -> Option<String> {
        let place = StorageLocation::parse(place, LocalFiles::Allowed).expect("a place");
        storages.of(&place).map(|storage| match storage {
            Storage::Local(root) => root.display().to_string(),
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn the_longest_prefix_wins_and_whole_segments_count() {
        let account = "abfss://sales@acc.dfs.core.windows.net";
        let config = pb::DatabricksSource {
            storage: vec![
                local("", "/all"),
                local(&format!("{account}/eu"), "/eu"),
                local(&format!("{account}/eu/2024/"), "/eu-2024"),
                local("wasbs://people@acc.blob.core.windows.net", "/hr"),
            ],
            ..pb::DatabricksSource::default()
        };
        let storages = storage(&config).expect("usable");
        for (place, root) in [
            (format!("{account}/eu/orders"), "/eu"),
            (format!("{account}/eu"), "/eu"),
            (format!("{account}/europe/orders"), "/all"),
            (format!("{account}/eu/2024/orders"), "/eu-2024"),
            ("https://acc.blob.core.windows.net/people/all".to_owned(), "/hr"),
            ("abfss://sales@other.dfs.core.windows.net/eu/x".to_owned(), "/all"),
            ("file:///data/t".to_owned(), "/all"),
        ] {
            assert_eq!(root_of(&storages, &place).as_deref(), Some(root), "{place}");
        }
    }

    #[test]
    fn a_place_below_no_prefix_is_not_read() {
        let config = pb::DatabricksSource {
            storage: vec![local("abfss://sales@acc.dfs.core.windows.net", "/sales")],
            ..pb::DatabricksSource::default()
        };
        let storages = storage(&config).expect("usable");
        assert_eq!(root_of(&storages, "abfss://people@acc.dfs.core.windows.net/t"), None);
        let bad = pb::DatabricksSource { storage: vec![local("s3://x/y", "/x")], ..pb::DatabricksSource::default() };
        assert_eq!(storage(&bad).expect_err("no location").field, "databricks.storage");
    }
}
