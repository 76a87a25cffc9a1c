//! The outgoing HTTP client of this project: [`HttpClient`], built from a [`NetworkConnection`], the one retry policy ([`retry`])
//! and the one redaction ([`redact`]). The crates for Databricks, storage and MaxCompute are handed a client. What they reach is
//! called a *far end*.
//!
//! The client must never know a particular far end, follow a redirect to another host (credentials would travel with it), talk to
//! a host that the connection does not allow, or put a secret into an error or a log line. Bodies are only read up to a stated
//! limit.

mod client;
mod connection;
mod deny;
mod error;
mod guard;
mod host;
pub mod redact;
pub mod retry;
mod stall;
mod traffic;
mod wire;

pub use client::{HttpClient, install_crypto_provider};
pub use connection::{NetworkConnection, ProxyUrl};
pub use deny::DeniedHost;
pub use error::{HttpError, HttpErrorKind};
pub use guard::AddressGuard;
pub use host::HostPattern;
pub use reqwest::{Body, Method, StatusCode, header};
pub use traffic::{Counts, Outcome, Traffic};
pub use url::Url;
pub use wire::{Request, Response};
