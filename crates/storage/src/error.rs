//! The one error of this crate. No message carries a credential.

/// What can be wrong with a location, or with opening it.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The text is not a URL with a path.
    #[error(
        "storage location {location:?} is not a URL: {reason}; expected for example abfss://container@account.dfs.core.windows.net/path"
    )]
    NotAUrl {
        /// The location as given.
        location: String,
        /// What the parser objected to.
        reason: String,
    },
    /// A scheme that this service does not read.
    #[error(
        "storage location {location:?} has scheme {scheme:?}, which cannot be read directly; supported are abfss, abfs, wasbs and https of Azure Storage"
    )]
    Scheme {
        /// The location as given.
        location: String,
        /// Its scheme.
        scheme: String,
    },
    /// A local path where local paths are not allowed.
    #[error(
        "storage location {location:?} is a local path; local files are read only where the configuration allows it"
    )]
    LocalRefused {
        /// The location as given.
        location: String,
    },
    /// A host that is not one of Azure Storage.
    #[error(
        "storage location {location:?} names host {host:?}, which is not <account>.blob|dfs.<suffix> of a known Azure cloud"
    )]
    Host {
        /// The location as given.
        location: String,
        /// Its host.
        host: String,
    },
    /// A part of the location breaks the rules of Azure Storage names.
    #[error("storage location {location:?}: {part} {value:?} is not valid: {rule}")]
    Part {
        /// The location as given.
        location: String,
        /// Which part.
        part: &'static str,
        /// Its value.
        value: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A credential that does not fit the location.
    #[error("{credential} cannot be used for {location}: {rule}")]
    CredentialMismatch {
        /// The kind of credential, never its content.
        credential: &'static str,
        /// The location, canonical.
        location: String,
        /// Why not.
        rule: &'static str,
    },
    /// The SAS is not a query string of key=value pairs.
    #[error(
        "the SAS for {location} is not a query string of key=value pairs with a signature (sig=…); paste the token, not the URL"
    )]
    MalformedSas {
        /// The location, canonical.
        location: String,
    },
    /// The object store refused its configuration.
    #[error("cannot open {location}: {reason}")]
    Open {
        /// The location, canonical.
        location: String,
        /// What the store said.
        reason: String,
    },
}
