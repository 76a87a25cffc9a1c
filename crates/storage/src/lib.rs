//! Where a table lies: [`StorageLocation`] says which bytes, [`StorageCredential`] who may read them, and [`open`] makes
//! the object store that does.
//!
//! Nothing here knows of Delta, Parquet or rows. Nothing here builds an HTTP client: it is handed one, so that proxy,
//! certificates and time limits of the network connection hold for storage too.

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
