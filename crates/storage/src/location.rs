//! The locations of tables, parsed once. Object stores know only the public Azure cloud and decode paths in different ways; here
//! every spelling of a location becomes one value, and its path is decoded exactly once.

use std::fmt;
use std::path::{Path as FilePath, PathBuf};

use object_store::path::Path as ObjectPath;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::StorageError;

/// The clouds with hosts `<account>.blob.<suffix>` and `<account>.dfs.<suffix>`.
const CLOUD_SUFFIXES: [&str; 4] =
    ["core.windows.net", "core.chinacloudapi.cn", "core.usgovcloudapi.net", "core.cloudapi.de"];
/// Accounts in DNS zones have hosts `<account>.z<n>.blob.storage.azure.net`.
const ZONE_SUFFIX: &str = "storage.azure.net";

/// Whether `file:` locations are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalFiles {
    /// They are rejected: the default for every location that a workspace names.
    Refused,
    /// They are accepted: for the sandbox and tests.
    Allowed,
}

/// The location of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StorageLocation {
    /// A folder of a container of Azure Storage.
    Azure(AzureLocation),
    /// A folder of this machine, absolute.
    Local(PathBuf),
}

/// A folder of a container of Azure Storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AzureLocation {
    account: String,
    zone: Option<String>,
    suffix: String,
    container: String,
    path: ObjectPath,
}

impl AzureLocation {
    /// The storage account.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The container (file system).
    pub fn container(&self) -> &str {
        &self.container
    }

    /// The folder inside the container, decoded.
    pub fn path(&self) -> &ObjectPath {
        &self.path
    }

    /// The Blob endpoint. No other is used, so a SAS or firewall that allows only dfs is not sufficient.
    pub fn blob_endpoint(&self) -> String {
        format!("https://{}", self.host("blob"))
    }

    fn host(&self, service: &str) -> String {
        match &self.zone {
            Some(zone) => format!("{}.{zone}.{service}.{}", self.account, self.suffix),
            None => format!("{}.{service}.{}", self.account, self.suffix),
        }
    }
}

impl StorageLocation {
    /// Parses any spelling that Databricks or Azure uses for a location.
    ///
    /// # Errors
    /// Names the part of the text that is not acceptable.
    pub fn parse(text: &str, local: LocalFiles) -> Result<Self, StorageError> {
        let url =
            Url::parse(text).map_err(|e| StorageError::NotAUrl { location: text.to_owned(), reason: e.to_string() })?;
        match url.scheme() {
            "abfss" | "abfs" | "wasbs" => parse_container_at_host(text, &url),
            "https" => parse_https(text, &url),
            "file" => parse_local(text, &url, local),
            scheme => Err(StorageError::Scheme { location: text.to_owned(), scheme: scheme.to_owned() }),
        }
    }

    /// A local folder, whose path must be absolute.
    ///
    /// # Errors
    /// The path is relative.
    pub fn local(path: &FilePath) -> Result<Self, StorageError> {
        if path.is_absolute() {
            Ok(Self::Local(path.to_owned()))
        } else {
            Err(part(&path.to_string_lossy(), "path", &path.to_string_lossy(), "it must be absolute"))
        }
    }

    /// The canonical URL, ending in `/`, against which the relative paths of a table's log are resolved.
    pub fn url(&self) -> Url {
        match self {
            Self::Azure(azure) => {
                let base = format!("abfss://{}@{}/", azure.container, azure.host("dfs"));
                let mut url = Url::parse(&base).expect("container and host were checked when this was parsed");
                if let Ok(mut segments) = url.path_segments_mut() {
                    segments.clear().extend(azure.path.parts().map(|p| p.as_ref().to_owned())).push("");
                }
                url
            }
            Self::Local(path) => Url::from_directory_path(path).expect("a local location is absolute"),
        }
    }

    /// The path inside the store, decoded.
    ///
    /// # Errors
    /// A local path may have parts that no object store can name.
    pub fn object_path(&self) -> Result<ObjectPath, StorageError> {
        match self {
            Self::Azure(azure) => Ok(azure.path.clone()),
            Self::Local(path) => ObjectPath::from_absolute_path(path)
                .map_err(|e| StorageError::NotAUrl { location: self.to_string(), reason: e.to_string() }),
        }
    }

    /// Whether `self` and `other` are read through the same store.
    pub fn same_store(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Azure(a), Self::Azure(b)) => {
                (&a.account, &a.zone, &a.suffix, &a.container) == (&b.account, &b.zone, &b.suffix, &b.container)
            }
            (Self::Local(_), Self::Local(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for StorageLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url().as_str())
    }
}

fn parse_container_at_host(text: &str, url: &Url) -> Result<StorageLocation, StorageError> {
    plain(text, url)?;
    let host = url.host_str().unwrap_or_default();
    azure(text, host, url.username(), url.path())
}

fn parse_https(text: &str, url: &Url) -> Result<StorageLocation, StorageError> {
    plain(text, url)?;
    if !url.username().is_empty() {
        return Err(part(text, "user", url.username(), "https locations have none"));
    }
    let path = url.path().trim_start_matches('/');
    let (container, path) = path.split_once('/').unwrap_or((path, ""));
    azure(text, url.host_str().unwrap_or_default(), container, path)
}

fn parse_local(text: &str, url: &Url, local: LocalFiles) -> Result<StorageLocation, StorageError> {
    if local == LocalFiles::Refused {
        return Err(StorageError::LocalRefused { location: text.to_owned() });
    }
    plain(text, url)?;
    let path = url
        .to_file_path()
        .map_err(|()| part(text, "path", url.path(), "a local path names no other host and is absolute"))?;
    StorageLocation::local(&path)
}

/// Rejects whatever else a URL can carry (query, fragment, password, port): a location does not need it, and it would be lost or
/// misused.
fn plain(text: &str, url: &Url) -> Result<(), StorageError> {
    let redacted = || text.split(['?', '#']).next().unwrap_or_default().to_owned();
    if url.query().is_some() || url.fragment().is_some() {
        return Err(StorageError::Part {
            location: redacted(),
            part: "query",
            value: "(hidden)".into(),
            rule: "a location has neither query nor fragment; a SAS is configured as a credential",
        });
    }
    if url.password().is_some() || url.port().is_some() {
        return Err(StorageError::Part {
            location: "(hidden)".into(),
            part: "authority",
            value: "(hidden)".into(),
            rule: "a location has neither password nor port",
        });
    }
    Ok(())
}

fn azure(text: &str, host: &str, container: &str, encoded_path: &str) -> Result<StorageLocation, StorageError> {
    let (account, zone, suffix) =
        split_host(host).ok_or_else(|| StorageError::Host { location: text.to_owned(), host: host.to_owned() })?;
    let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=24).contains(&account.len()) || !account.chars().all(name) {
        return Err(part(text, "account", account, "3 to 24 lower-case letters and digits"));
    }
    let special = matches!(container, "$root" | "$web" | "$logs");
    let ordinary = (3..=63).contains(&container.len()) && container.chars().all(|c| name(c) || c == '-');
    if !special && !ordinary {
        return Err(part(text, "container", container, "3 to 63 lower-case letters, digits and hyphens"));
    }
    let decoded = percent_decode_str(encoded_path)
        .decode_utf8()
        .map_err(|_| part(text, "path", encoded_path, "it must be UTF-8 after percent-decoding"))?;
    let path = ObjectPath::parse(decoded.trim_matches('/')).map_err(|_| {
        part(text, "path", encoded_path, "its segments are not empty, not . or .., and have no control characters")
    })?;
    Ok(StorageLocation::Azure(AzureLocation {
        account: account.to_owned(),
        zone: zone.map(str::to_owned),
        suffix: suffix.to_owned(),
        container: container.to_owned(),
        path,
    }))
}

fn split_host(host: &str) -> Option<(&str, Option<&str>, &str)> {
    let (account, rest) = host.split_once('.')?;
    let service = |rest: &'static str| move |r: &str| r.strip_prefix("blob.").or(r.strip_prefix("dfs.")) == Some(rest);
    if let Some(suffix) = CLOUD_SUFFIXES.into_iter().find(|s| service(s)(rest)) {
        return Some((account, None, suffix));
    }
    let (zone, rest) = rest.split_once('.')?;
    let number = zone.strip_prefix('z')?;
    let zoned = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) && service(ZONE_SUFFIX)(rest);
    zoned.then_some((account, Some(zone), ZONE_SUFFIX))
}

fn part(location: &str, part: &'static str, value: &str, rule: &'static str) -> StorageError {
    StorageError::Part { location: location.to_owned(), part, value: value.to_owned(), rule }
}

#[cfg(test)]
#[path = "location_tests.rs"]
mod tests;
