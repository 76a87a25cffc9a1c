//! Access to the files of a table: [`StorageLocation`] names a folder, [`StorageCredential`] the right to read it, and [`open`]
//! creates the object store that reads it.
//!
//! This crate must know nothing of Delta, Parquet or rows. It must not build an HTTP client: it is handed one, so that the proxy,
//! certificates and time limits of the network connection apply to storage too.

mod credential;
mod error;
mod live;
mod local;
mod location;
mod login;
mod open;
mod probe;
mod refusal;
mod sas;
mod transport;

pub use credential::{ServicePrincipal, StorageCredential};
pub use error::StorageError;
pub use live::{LiveStore, Reopen};
pub use location::{AzureLocation, LocalFiles, StorageLocation};
pub use mms_http::redact::redact_text;
pub use object_store::ObjectStore;
pub use open::{StorageSettings, open};
pub use probe::{ProbeError, probe};
pub use refusal::{Refusal, Unreadable, refusal};
pub use sas::Sas;
