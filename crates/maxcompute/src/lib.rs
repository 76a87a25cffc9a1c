//! A client of a MaxCompute project.
//!
//! Without features this crate is the *model* of the target side, free of I/O: [`types`], [`table`], [`name`], [`limits`],
//! [`ddl`] and [`session`]. The feature `client` adds REST, SQL and signing. `arrow` adds the tunnel, which moves rows as Arrow
//! batches, and the Storage API, which writes timestamps outside the range of the tunnel's.
//!
//! The crate must never know where rows come from and never decide what is published: it does what its caller asks, once, and
//! reports truthfully what the server answered.
#![cfg_attr(feature = "arrow", doc = include_str!("../README.md"))]

pub mod ddl;
pub mod limits;
pub mod name;
pub mod quote;
pub mod session;
pub mod table;
mod type_text;
pub mod types;

pub use type_text::TypeTextError;

#[cfg(feature = "client")]
pub mod account;
#[cfg(feature = "arrow")]
mod commit;
#[cfg(feature = "client")]
mod csv;
#[cfg(feature = "client")]
pub mod error;
#[cfg(feature = "client")]
pub mod instance;
#[cfg(feature = "client")]
pub mod metadata;
#[cfg(feature = "client")]
pub mod project;
#[cfg(feature = "client")]
mod sign;
#[cfg(feature = "client")]
pub mod sql;
#[cfg(feature = "arrow")]
pub mod storage_api;
#[cfg(feature = "client")]
mod transport;
#[cfg(feature = "arrow")]
pub mod tunnel;
#[cfg(feature = "client")]
mod xml;

#[cfg(feature = "client")]
pub use account::{Account, RenewAccount};
#[cfg(feature = "client")]
pub use csv::SqlRows;
#[cfg(feature = "client")]
pub use error::{MaxComputeError, RefusalKind};
#[cfg(feature = "client")]
pub use project::{Project, ProjectConfig};
#[cfg(feature = "client")]
pub use sql::{OWN_SETTINGS, Statement};
