//! The one error type of this crate. No message may contain a credential.

/// What is wrong with a location, or why its store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The text is not a URL with a path.
    #[error(
        "storage location {location:?} is not a URL: {reason}; expected for example abfss://container@account.dfs.core.windows.net/path"
    )]
    NotAUrl {
        /// The location as it was given.
        location: String,
        /// What the parser rejected.
        reason: String,
    },
    /// The location has a scheme that cannot be read.
    #[error(
        "storage location {location:?} has scheme {scheme:?}, which cannot be read directly; supported are abfss, abfs, wasbs and https of Azure Storage"
    )]
    Scheme {
        /// The location as it was given.
        location: String,
        /// The scheme of the location.
        scheme: String,
    },
    /// The location is a local path, and local paths are not allowed here.
    #[error(
        "storage location {location:?} is a local path; local files are read only where the configuration allows it"
    )]
    LocalRefused {
        /// The location as it was given.
        location: String,
    },
    /// The host is not one of Azure Storage.
    #[error(
        "storage location {location:?} names host {host:?}, which is not <account>.blob|dfs.<suffix> of a known Azure cloud"
    )]
    Host {
        /// The location as it was given.
        location: String,
        /// The host of the location.
        host: String,
    },
    /// A part of the location breaks the naming rules of Azure Storage.
    #[error("storage location {location:?}: {part} {value:?} is not valid: {rule}")]
    Part {
        /// The location as it was given.
        location: String,
        /// The part that is not valid.
        part: &'static str,
        /// The value of that part.
        value: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The credential cannot be used for the location.
    #[error("{credential} cannot be used for {location}: {rule}")]
    CredentialMismatch {
        /// The kind of credential, never its content.
        credential: &'static str,
        /// The location in its canonical form.
        location: String,
        /// Why the credential cannot be used.
        rule: &'static str,
    },
    /// The SAS is not a query string of key=value pairs.
    #[error(
        "the SAS for {location} is not a query string of key=value pairs with a signature (sig=…); paste the token, not the URL"
    )]
    MalformedSas {
        /// The location in its canonical form.
        location: String,
    },
    /// The object store rejected its configuration.
    #[error("cannot open {location}: {reason}")]
    Open {
        /// The location in its canonical form.
        location: String,
        /// The object store's own message.
        reason: String,
    },
}
